"""Registered limits: what a service counts, and the limit of every project that has none of its own."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Id, Integer, Json, ListOf, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Duplicate, Missing, StillLimited
from gureum.keystone.logic import limits
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_T = tables.registered_limits


class RegisteredLimit(Struct):
    """A registered limit."""

    id = Id("Id.")
    service_id = Id("Service.")
    region_id = Id("Region; null: all.")
    resource_name = String("What is counted.")
    default_limit = Integer("The limit.")
    description = String("Text.", max=None)
    links = Json("Links.")


class RegisteredLimitCreate(Struct):
    """A new registered limit."""

    service_id = Id("Service.", max=64, required=True)
    region_id = String("Region; null: all.", null=True)
    resource_name = String("What is counted.", min=1, required=True)
    default_limit = Integer("The limit; -1: none.", min=-1, required=True, strict=True)
    description = String("Text.", max=None, null=True)


class RegisteredLimitUpdate(Struct):
    """Changes to a registered limit."""

    service_id = Id("Service.", max=64)
    region_id = String("Region; null: all.", null=True)
    resource_name = String("What is counted.", min=1)
    default_limit = Integer("The limit; -1: none.", min=-1, strict=True)
    description = String("Text.", max=None, null=True)


class Batch(Struct):
    """Several at once."""

    registered_limits = ListOf(RegisteredLimitCreate, "Limits.", min=1, required=True)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _load(ctx: Context, tx: Tx, limit_id: str) -> Any:
    return load(tx, _T, "registered limit", limit_id)


def _shown(ctx: Context, row: Any) -> dict[str, Any]:
    return {**shown(ctx, "registered_limits", row), "region_id": row.region_id or None}


@operation(
    "POST",
    "/registered_limits",
    policy="identity:create_registered_limits",
    request=Batch,
    items=RegisteredLimit,
    response_wrap="registered_limits",
    target=_no_target,
    errors=(Duplicate, BadRequest),
)
def create_registered_limits(ctx: Context, tx: Tx, new: Batch) -> Any:
    """Register limits, all or none."""
    return [_shown(ctx, limits.register(tx, one)) for one in new.registered_limits]


@operation(
    "GET",
    "/registered_limits",
    policy="identity:list_registered_limits",
    query=ListQuery,
    items=RegisteredLimit,
    response_wrap="registered_limits",
    target=_no_target,
)
def list_registered_limits(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List registered limits."""
    names = {"service_id": str, "region_id": str, "resource_name": str}
    where = entities.matching(_T, shapes.filters(query, names))
    return [_shown(ctx, row) for row in entities.listed(tx, _T, where)]


@operation(
    "GET",
    "/registered_limits/{registered_limit_id}",
    policy="identity:get_registered_limit",
    response=RegisteredLimit,
    response_wrap="registered_limit",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def show_registered_limit(ctx: Context, tx: Tx, limit: Any) -> Any:
    """Show a registered limit."""
    return _shown(ctx, limit)


@operation(
    "PATCH",
    "/registered_limits/{registered_limit_id}",
    policy="identity:update_registered_limit",
    wrap="registered_limit",
    request=RegisteredLimitUpdate,
    response=RegisteredLimit,
    load=_load,
    target=_no_target,
    errors=(Missing, Duplicate, BadRequest, StillLimited),
)
def update_registered_limit(ctx: Context, tx: Tx, limit: Any, new: RegisteredLimitUpdate) -> Any:
    """Change a registered limit; what it counts only while no project has a limit of its own."""
    return _shown(ctx, limits.reregister(tx, limit, new))


@operation(
    "DELETE",
    "/registered_limits/{registered_limit_id}",
    policy="identity:delete_registered_limit",
    load=_load,
    target=_no_target,
    errors=(Missing, StillLimited),
)
def delete_registered_limit(ctx: Context, tx: Tx, limit: Any) -> None:
    """Delete a registered limit that no limit refers to."""
    limits.unregister(tx, limit)
