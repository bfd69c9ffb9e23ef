"""Limits of single projects and domains."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Id, Integer, Json, ListOf, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery
from gureum.keystone.errors import Duplicate, InvalidLimit, Missing
from gureum.keystone.logic import common, limits
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_T = tables.limits


class Limit(Struct):
    """A limit."""

    id = Id("Id.")
    project_id = Id("Project.")
    domain_id = Id("Domain.")
    service_id = Id("Service.")
    region_id = Id("Region; null: all.")
    resource_name = String("What is counted.")
    resource_limit = Integer("The limit.")
    description = String("Text.", max=None)
    links = Json("Links.")


class LimitCreate(Struct):
    """A new limit."""

    project_id = Id("Project.", max=64, null=True)
    domain_id = Id("Domain.", max=64, null=True)
    service_id = Id("Service.", max=64, required=True)
    region_id = String("Region; null: all.", null=True)
    resource_name = String("What is counted.", min=1, required=True)
    resource_limit = Integer("The limit; -1: none.", min=-1, required=True, strict=True)
    description = String("Text.", max=None, null=True)


class LimitUpdate(Struct):
    """Changes to a limit."""

    resource_limit = Integer("The limit; -1: none.", min=-1, strict=True)
    description = String("Text.", max=None, null=True)


class Batch(Struct):
    """Several at once."""

    limits = ListOf(LimitCreate, "Limits.", min=1, required=True)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _load(ctx: Context, tx: Tx, limit_id: str) -> Any:
    row = load(tx, _T, "limit", limit_id)
    project = entities.get(tx, tables.projects, row.project_id) if row.project_id else None
    return row, project.domain_id if project is not None else None


def _target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    if loaded is None:
        return {}
    row, above = loaded
    return {
        "target.limit.project_id": row.project_id or None,
        "target.limit.domain_id": row.domain_id or None,
        "target.limit.project.domain_id": above,
    }


def _shown(ctx: Context, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "links": {"self": f"{ctx.base_url}/limits/{one['id']}"}} for one in items]


@operation("GET", "/limits/model", policy="identity:get_limit_model", target=_no_target)
def show_limit_model(ctx: Context, tx: Tx) -> Any:
    """Show how limits are enforced."""
    name = tx.deps.limits.enforcement_model
    return {"model": {"name": name, "description": limits.MODELS[name]}}


@operation(
    "POST",
    "/limits",
    policy="identity:create_limits",
    request=Batch,
    items=Limit,
    response_wrap="limits",
    target=_no_target,
    errors=(Duplicate, BadRequest, InvalidLimit),
)
def create_limits(ctx: Context, tx: Tx, new: Batch) -> Any:
    """Create limits, all or none."""
    ids = [limits.create(tx, one).id for one in new.limits]
    return _shown(ctx, limits.listed(tx, [_T.c.id.in_(ids)]))


@operation(
    "GET",
    "/limits",
    policy="identity:list_limits",
    query=ListQuery,
    items=Limit,
    response_wrap="limits",
    target=_no_target,
)
def list_limits(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List limits: all for administrators and readers of the system, else those of one's scope."""
    conditions: list[sa.ColumnElement[bool]] = []
    if not ctx.is_admin and not (ctx.system and "reader" in ctx.roles):
        conditions.append(_own(ctx))
    found = limits.listed(tx, conditions)
    names = ("service_id", "region_id", "resource_name", "project_id", "domain_id")
    wanted = shapes.filters(query, dict.fromkeys(names, str))
    found = [one for one in found if all(one[key] == value for key, value in wanted.items())]
    return _shown(ctx, found)


def _own(ctx: Context) -> sa.ColumnElement[bool]:
    if ctx.project_id:
        return _T.c.project_id == ctx.project_id
    if not ctx.domain_id:
        return sa.false()
    projects = tables.projects.c
    inside = sa.select(projects.id).where(projects.domain_id == ctx.domain_id)
    return sa.or_(_T.c.domain_id == ctx.domain_id, _T.c.project_id.in_(inside))


@operation(
    "GET",
    "/limits/{limit_id}",
    policy="identity:get_limit",
    response=Limit,
    response_wrap="limit",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def show_limit(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show a limit."""
    return _shown(ctx, limits.listed(tx, [_T.c.id == loaded[0].id]))[0]


@operation(
    "PATCH",
    "/limits/{limit_id}",
    policy="identity:update_limit",
    wrap="limit",
    request=LimitUpdate,
    response=Limit,
    load=_load,
    target=_target,
    errors=(Missing, InvalidLimit),
)
def update_limit(ctx: Context, tx: Tx, loaded: Any, new: LimitUpdate) -> Any:
    """Change a limit."""
    limits.update(tx, loaded[0], new)
    return _shown(ctx, limits.listed(tx, [_T.c.id == loaded[0].id]))[0]


@operation(
    "DELETE",
    "/limits/{limit_id}",
    policy="identity:delete_limit",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def delete_limit(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Delete a limit; the registered one counts again."""
    common.delete(tx, _T, loaded[0].id)
