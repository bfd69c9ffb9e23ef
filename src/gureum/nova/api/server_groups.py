"""Server groups. API reference: "Server groups (os-server-groups)"."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.spec import (
    Change,
    Enum,
    Integer,
    Json,
    ListOf,
    MapOf,
    Page,
    String,
    Struct,
    Value,
    operation,
)
from gureum.nova.errors import Bad, OverQuota, ServerGroupNotFound
from gureum.nova.logic import quotas
from gureum.nova.policy import PREFIX
from gureum.nova.store import groups as store
from gureum.nova.store import quotas as quota_store

_ONE = "/os-server-groups/{server_group_id}"
_POLICIES = (
    "affinity",
    "anti-affinity",
    Value("soft-affinity", since="2.15"),
    Value("soft-anti-affinity", since="2.15"),
)


class GroupCreate(Struct):
    """A new server group."""

    name = String("Name.", required=True, min=1, printable=True, no_outer_space=True)
    policies = ListOf(
        Enum("", *_POLICIES), "One policy.", min=1, max=1, required=True, until="2.63"
    )
    policy = Enum(
        "Policy.",
        "affinity",
        "anti-affinity",
        "soft-affinity",
        "soft-anti-affinity",
        required=True,
        since="2.64",
    )
    rules = MapOf(Integer("", min=1), "Rules of the policy.", since="2.64")


class GroupShown(Struct):
    """A server group."""

    id = String("Id.")
    name = String("Name.")
    policies = Json("Its policy in a list.", until="2.63")
    policy = String("Policy.", since="2.64")
    rules = Json("Rules of the policy.", since="2.64")
    members = Json("Servers.")
    metadata = Json("Always empty.", until="2.63")
    project_id = String("Project.", since="2.13")
    user_id = String("User.", since="2.13")


class GroupQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Whose groups, and paging."""

    all_projects = String("Groups of all projects.")
    limit = Integer("Most items.", min=0)
    offset = Integer("Items to pass over.", min=0, max=1_000_000)


def _lift(values: dict[str, Any]) -> None:
    if values.get("policies"):
        values["policy"] = values.pop("policies")[0]


def _load(ctx: Context, tx: Tx, group_id: str) -> sa.Row[Any]:
    row = store.get(tx, group_id)
    if row is None or (row.project_id != ctx.project_id and not ctx.is_admin):
        raise ServerGroupNotFound(group_id=group_id)
    return row


def _view(row: sa.Row[Any], members: list[str]) -> dict[str, Any]:
    return {
        **row._mapping,
        "policies": [row.policy],
        "members": members,
        "metadata": {},
    }


@operation(
    "GET",
    "/os-server-groups",
    policy=PREFIX + "os-server-groups:index",
    query=GroupQuery,
    items=GroupShown,
    response_wrap="server_groups",
)
def list_server_groups(ctx: Context, tx: Tx, query: GroupQuery) -> Page:
    """List server groups."""
    project_id = ctx.project_id
    if query.has("all_projects") and ctx.is_admin:
        rule = PREFIX + "os-server-groups:index:all_projects"
        tx.deps.policy.enforce(rule, ctx, {"project_id": ctx.project_id})
        project_id = None
    most = tx.deps.options.max_limit
    limit = most if query.get("limit") is None else min(query.get("limit"), most)
    rows = store.find_slice(tx, project_id, limit=limit, skip=query.get("offset") or 0)
    members = store.members_of(tx, [row.id for row in rows])
    return Page([_view(row, members[row.id]) for row in rows])


@operation(
    "POST",
    "/os-server-groups",
    policy=PREFIX + "os-server-groups:create",
    status=200,
    wrap="server_group",
    request=GroupCreate,
    response=GroupShown,
    changes=(Change("policies was a list", "2.64", up=_lift),),
    errors=(OverQuota, Bad),
)
def create_server_group(ctx: Context, tx: Tx, new: GroupCreate) -> Any:
    """Create a server group."""
    rules = new.get("rules") or {}
    if rules and (set(rules) != {"max_server_per_host"} or new.policy != "anti-affinity"):
        raise Bad("Only anti-affinity policy supports rules, and only max_server_per_host of them.")
    project_id, user_id = ctx.project_id or "", ctx.user_id or ""
    quotas.enter_gate(tx, f"project:{project_id}")
    for who in (None, user_id):
        limit = quotas.limits(tx, project_id, who)["server_groups"]
        if 0 <= limit <= quota_store.groups_used(tx, project_id, who):
            raise OverQuota("Quota exceeded, too many server groups.")
    group_id = store.insert(
        tx,
        project_id=project_id,
        user_id=user_id,
        name=new.name,
        policy=new.policy,
        rules=rules,
    )
    row = store.get(tx, group_id)
    assert row is not None
    return _view(row, [])


@operation(
    "GET",
    _ONE,
    policy=PREFIX + "os-server-groups:show",
    load=_load,
    response=GroupShown,
    response_wrap="server_group",
    errors=(ServerGroupNotFound,),
)
def show_server_group(ctx: Context, tx: Tx, group: sa.Row[Any]) -> Any:
    """Show a server group."""
    return _view(group, store.members_of(tx, [group.id])[group.id])


@operation(
    "DELETE",
    _ONE,
    policy=PREFIX + "os-server-groups:delete",
    load=_load,
    errors=(ServerGroupNotFound,),
)
def delete_server_group(ctx: Context, tx: Tx, group: sa.Row[Any]) -> None:
    """Delete a server group; its servers stay."""
    store.delete(tx, group.id)
