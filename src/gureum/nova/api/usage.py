"""What projects used. API reference: "Usage reports (os-simple-tenant-usage)"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db.types import utc_now
from gureum.core.spec import (
    Behaviour,
    Integer,
    Page,
    Reply,
    String,
    Struct,
    Time,
    operation,
    show_time,
)
from gureum.nova.api.links import list_keys, next_query
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, MarkerNotFound
from gureum.nova.logic.flavors import page_size
from gureum.nova.policy import PREFIX
from gureum.nova.store import usage as store

PATH = "/os-simple-tenant-usage"


class UsageQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Span of time, detail and paging."""

    start = Time("Begin.")
    end = Time("End.")
    detailed = String("1 shows the servers.")
    limit = Integer("Most servers.", min=0, since="2.40")
    marker = String("Last server of the page before.", since="2.40")
    pages = Behaviour("Answers link to the next page.", since="2.40")


def _span(query: UsageQuery) -> tuple[datetime, datetime]:
    now = utc_now()
    start, stop = query.get("start", now), query.get("end", now)
    if start > stop:
        raise Bad("Invalid start time. The start time cannot occur after the end time.")
    return start, stop


def _rows(
    deps: Deps, query: UsageQuery, span: tuple[datetime, datetime], project_id: str | None
) -> tuple[list[sa.Row[Any]], bool]:
    marker, after = query.get("marker"), None
    limit = page_size(query.get("limit"), deps.options.max_limit)
    found: list[sa.Row[Any]] = []
    if marker is not None:
        owner = next(filter(None, (_owner(deps, cell, marker) for cell in deps.cells)), None)
        if owner is None:
            raise MarkerNotFound(marker=marker)
        after = (owner, marker)
    for database in deps.cells.values():
        with database.read() as tx:
            found += store.up_between(
                tx, *span, project_id=project_id, after=after, limit=limit + 1
            )
    found.sort(key=lambda row: (row.project_id, row.id))
    return found[:limit], len(found) > limit


def _owner(deps: Deps, cell: str, server_id: str) -> str | None:
    with deps.cells[cell].read() as tx:
        return store.project_of(tx, server_id)


def _server(row: sa.Row[Any], span: tuple[datetime, datetime]) -> dict[str, Any]:
    start, stop = span
    begun = max(start, row.launched_at)
    ended = min(stop, row.terminated_at) if row.terminated_at else stop
    seconds = max(0.0, (ended - begun).total_seconds())
    uptime_end = row.terminated_at or utc_now()
    return {
        "instance_id": row.id,
        "name": row.name,
        "tenant_id": row.project_id,
        "flavor": row.flavor_name,
        "vcpus": row.vcpus,
        "memory_mb": row.memory_mib,
        "local_gb": row.disk_gib + row.ephemeral_gib,
        "hours": seconds / 3600,
        "started_at": show_time(row.launched_at, "us"),
        "ended_at": row.terminated_at and show_time(row.terminated_at, "us"),
        "state": "terminated" if row.terminated_at else row.vm_state,
        "uptime": int((uptime_end - row.launched_at).total_seconds()),
    }


def _project(
    project_id: str,
    rows: Sequence[sa.Row[Any]],
    span: tuple[datetime, datetime],
    *,
    detailed: bool,
) -> dict[str, Any]:
    used = [_server(row, span) for row in rows]
    shown: dict[str, Any] = {
        "tenant_id": project_id,
        "start": show_time(span[0], "us"),
        "stop": show_time(span[1], "us"),
        "total_hours": sum(item["hours"] for item in used),
        "total_vcpus_usage": sum(item["hours"] * item["vcpus"] for item in used),
        "total_memory_mb_usage": sum(item["hours"] * item["memory_mb"] for item in used),
        "total_local_gb_usage": sum(item["hours"] * item["local_gb"] for item in used),
    }
    return {**shown, "server_usages": used} if detailed else shown


@operation(
    "GET",
    PATH,
    policy=PREFIX + "os-simple-tenant-usage:list",
    query=UsageQuery,
    manual=True,
    errors=(Bad, MarkerNotFound),
)
def list_usage(ctx: Context, deps: Deps, query: UsageQuery) -> Any:
    """Show what every project used in a span of time."""
    span = _span(query)
    rows, more = _rows(deps, query, span, None)
    by_project: dict[str, list[sa.Row[Any]]] = {}
    for row in rows:
        by_project.setdefault(row.project_id, []).append(row)
    detailed = query.get("detailed") == "1"
    shown = [_project(name, part, span, detailed=detailed) for name, part in by_project.items()]
    return Reply({"tenant_usages": shown, **_link(ctx, PATH, "tenant_usages", query, rows, more)})


def _link(
    ctx: Context,
    path: str,
    wrap: str,
    query: UsageQuery,
    rows: Sequence[sa.Row[Any]],
    more: bool,
) -> dict[str, Any]:
    if not more or not rows or not query.pages:
        return {}
    page = Page((), next_query(query, rows[-1].id, query.get("limit")))
    return dict(list_keys(ctx, path, wrap, page))


def _load_project(ctx: Context, deps: Deps, project_id: str) -> dict[str, str]:
    return {"project_id": project_id}


@operation(
    "GET",
    PATH + "/{tenant_id}",
    policy=PREFIX + "os-simple-tenant-usage:show",
    load=_load_project,
    query=UsageQuery,
    manual=True,
    errors=(Bad, MarkerNotFound),
)
def show_usage(ctx: Context, deps: Deps, project: dict[str, str], query: UsageQuery) -> Any:
    """Show what a project used in a span of time."""
    span, project_id = _span(query), project["project_id"]
    rows, more = _rows(deps, query, span, project_id)
    shown = _project(project_id, rows, span, detailed=True) if rows else {}
    path = f"{PATH}/{project_id}"
    return Reply({"tenant_usage": shown, **_link(ctx, path, "tenant_usage", query, rows, more)})
