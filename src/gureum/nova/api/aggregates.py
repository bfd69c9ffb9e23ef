"""Aggregates of hosts. API reference: "Host aggregates (os-aggregates)"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.spec import Boolean, Integer, Json, MapOf, Reply, String, Struct, Time, operation
from gureum.nova.errors import (
    AggregateHostNotFound,
    AggregateNotFound,
    Bad,
    ComputeHostNotFound,
    Exists,
    InUse,
)
from gureum.nova.logic import aggregates
from gureum.nova.logic.aggregates import Aggregate
from gureum.nova.policy import PREFIX

_ONE = "/os-aggregates/{aggregate_id}"
_ACTION = _ONE + "/action"


class AggregateMade(Struct):
    """A new aggregate."""

    id = Integer("Number.")
    uuid = String("Id.", since="2.41")
    name = String("Name.")
    availability_zone = String("Zone of its hosts.")
    created_at = Time("When it was made.", form="us")
    updated_at = Time("When it was changed.", form="us")
    deleted = Boolean("Always false.")
    deleted_at = Time("Always null.", form="us")


class AggregateShown(AggregateMade):
    """An aggregate."""

    hosts = Json("Its hosts.")
    metadata = Json("Its metadata.")


def _zone() -> String:
    return String("Zone of its hosts.", min=1, pattern=r"[^:]+", null=True)


class AggregateCreate(Struct):
    """A new aggregate."""

    name = String("Name.", required=True, min=1, printable=True, no_outer_space=True)
    availability_zone = _zone()


class AggregateUpdate(Struct):
    """What of an aggregate changes."""

    name = String("Name.", min=1, printable=True, no_outer_space=True)
    availability_zone = _zone()


class HostName(Struct):
    """Which host."""

    host = String("Host.", required=True, min=1)


class AggregateMetadata(Struct):
    """Metadata to write; a null removes its key."""

    metadata = MapOf(
        String("", null=True), "Metadata.", key_pattern=r"[a-zA-Z0-9-_:. ]{1,255}", required=True
    )


@operation(
    "GET",
    "/os-aggregates",
    policy=PREFIX + "os-aggregates:index",
    items=AggregateShown,
    response_wrap="aggregates",
)
def list_aggregates(ctx: Context, tx: Tx) -> Any:
    """List aggregates."""
    return aggregates.find(tx)


@operation(
    "POST",
    "/os-aggregates",
    policy=PREFIX + "os-aggregates:create",
    wrap="aggregate",
    status=200,
    request=AggregateCreate,
    response=AggregateMade,
    errors=(Exists,),
)
def create_aggregate(ctx: Context, tx: Tx, new: AggregateCreate) -> Any:
    """Create an aggregate."""
    return aggregates.create(ctx, tx, new.name, new.get("availability_zone"))


@operation(
    "GET",
    _ONE,
    policy=PREFIX + "os-aggregates:show",
    load=aggregates.load,
    response=AggregateShown,
    response_wrap="aggregate",
    errors=(AggregateNotFound,),
)
def show_aggregate(ctx: Context, tx: Tx, aggregate: Aggregate) -> Any:
    """Show an aggregate."""
    return aggregate


@operation(
    "PUT",
    _ONE,
    policy=PREFIX + "os-aggregates:update",
    load=aggregates.load,
    wrap="aggregate",
    request=AggregateUpdate,
    response=AggregateShown,
    errors=(AggregateNotFound, Exists, InUse, Bad),
)
def update_aggregate(ctx: Context, tx: Tx, aggregate: Aggregate, new: AggregateUpdate) -> Any:
    """Rename an aggregate or give it another zone."""
    return aggregates.update(ctx, tx, aggregate, new)


@operation(
    "DELETE",
    _ONE,
    policy=PREFIX + "os-aggregates:delete",
    load=aggregates.load,
    status=200,
    errors=(AggregateNotFound, Bad),
)
def delete_aggregate(ctx: Context, tx: Tx, aggregate: Aggregate) -> Reply:
    """Delete an empty aggregate."""
    aggregates.delete(tx, aggregate)
    return Reply(None)


@operation(
    "POST",
    _ACTION,
    action="add_host",
    policy=PREFIX + "os-aggregates:add_host",
    load=aggregates.load,
    status=200,
    request=HostName,
    response=AggregateShown,
    response_wrap="aggregate",
    errors=(AggregateNotFound, ComputeHostNotFound, Exists, InUse),
)
def add_aggregate_host(ctx: Context, tx: Tx, aggregate: Aggregate, new: HostName) -> Any:
    """Put a compute host into an aggregate."""
    return aggregates.add_host(ctx, tx, aggregate, new.host)


@operation(
    "POST",
    _ACTION,
    action="remove_host",
    policy=PREFIX + "os-aggregates:remove_host",
    load=aggregates.load,
    status=200,
    request=HostName,
    response=AggregateShown,
    response_wrap="aggregate",
    errors=(AggregateNotFound, AggregateHostNotFound),
)
def remove_aggregate_host(ctx: Context, tx: Tx, aggregate: Aggregate, new: HostName) -> Any:
    """Take a host out of an aggregate."""
    return aggregates.remove_host(ctx, tx, aggregate, new.host)


@operation(
    "POST",
    _ACTION,
    action="set_metadata",
    policy=PREFIX + "os-aggregates:set_metadata",
    load=aggregates.load,
    status=200,
    request=AggregateMetadata,
    response=AggregateShown,
    response_wrap="aggregate",
    errors=(AggregateNotFound, InUse),
)
def set_aggregate_metadata(
    ctx: Context, tx: Tx, aggregate: Aggregate, new: AggregateMetadata
) -> Any:
    """Write metadata of an aggregate."""
    return aggregates.set_metadata(ctx, tx, aggregate, new.metadata)
