"""Aggregates of hosts. One with a zone puts its hosts into that zone; a host is in one zone only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.db.errors import Conflict as RowConflict
from gureum.nova.errors import (
    AggregateHostNotFound,
    AggregateNotFound,
    Bad,
    ComputeHostNotFound,
    Exists,
    InUse,
)
from gureum.nova.store import aggregates as store
from gureum.nova.store import mappings
from gureum.nova.store.aggregates import ZONE


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate with its hosts and metadata."""

    id: int
    uuid: str
    name: str
    created_at: datetime
    updated_at: datetime | None
    hosts: list[str]
    metadata: dict[str, str]
    deleted: bool = False
    deleted_at: None = None

    @property
    def availability_zone(self) -> str | None:
        """The zone that its hosts are in."""
        return self.metadata.get(ZONE)


def find(tx: Tx) -> list[Aggregate]:
    """Return every aggregate."""
    rows = store.list_all(tx)
    numbers = [row.number for row in rows]
    hosts, metadata = store.hosts_of(tx, numbers), store.metadata_of(tx, numbers)
    return [_aggregate(row, hosts[row.number], metadata[row.number]) for row in rows]


def _aggregate(row: Any, hosts: list[str], metadata: dict[str, str]) -> Aggregate:
    return Aggregate(row.number, row.id, row.name, row.created_at, row.updated_at, hosts, metadata)


def load(ctx: Context, tx: Tx, aggregate_id: str) -> Aggregate:
    """Return an aggregate by its number. Raises: AggregateNotFound."""
    number = int(aggregate_id) if aggregate_id.isascii() and aggregate_id.isdigit() else -1
    row = store.get(tx, number) if 0 <= number < 2**31 else None
    if row is None:
        raise AggregateNotFound(aggregate_id=aggregate_id)
    return _aggregate(
        row, store.hosts_of(tx, [number])[number], store.metadata_of(tx, [number])[number]
    )


def _again(ctx: Context, tx: Tx, aggregate: Aggregate) -> Aggregate:
    return load(ctx, tx, str(aggregate.id))


def create(ctx: Context, tx: Tx, name: str, zone: str | None) -> Aggregate:
    """Create an aggregate. Raises: Exists."""
    if any(row.name == name for row in store.list_all(tx)):
        raise Exists(f"Aggregate {name} already exists.")
    try:
        number = store.insert(tx, name, {ZONE: zone} if zone else {})
    except RowConflict as error:
        raise Exists(f"Aggregate {name} already exists.") from error
    return load(ctx, tx, str(number))


def update(ctx: Context, tx: Tx, aggregate: Aggregate, new: Any) -> Aggregate:
    """Rename an aggregate or give it another zone. Raises: Exists, InUse."""
    if not new.given:
        raise Bad(
            "Invalid input for field/attribute aggregate. It does not have enough properties."
        )
    values: dict[str, Any] = {}
    if new.has("name"):
        if any(r.name == new.name and r.number != aggregate.id for r in store.list_all(tx)):
            raise Exists(f"Aggregate {new.name} already exists.")
        values["name"] = new.name
    store.change(tx, aggregate.id, **values)
    if new.has("availability_zone"):
        _write_metadata(tx, aggregate, {ZONE: new.get("availability_zone")})
    return _again(ctx, tx, aggregate)


def set_metadata(
    ctx: Context, tx: Tx, aggregate: Aggregate, values: Mapping[str, str | None]
) -> Aggregate:
    """Write metadata; a null removes its key. Raises: InUse."""
    store.change(tx, aggregate.id)
    _write_metadata(tx, aggregate, values)
    return _again(ctx, tx, aggregate)


def _write_metadata(tx: Tx, aggregate: Aggregate, values: Mapping[str, str | None]) -> None:
    zone = values.get(ZONE)
    if zone is not None and zone != aggregate.availability_zone:
        for host in aggregate.hosts:
            _refuse_second_zone(tx, host, zone, aggregate.id)
    kept = {key: value for key, value in values.items() if value is not None}
    store.merge_metadata(tx, aggregate.id, kept, [k for k, v in values.items() if v is None])


def _refuse_second_zone(tx: Tx, host: str, zone: str, number: int) -> None:
    for other, metadata in store.of_host(tx, host):
        if other != number and metadata.get(ZONE) not in (None, zone):
            raise InUse(
                "Cannot add host to aggregate, or change its zone: host"
                f" {host} is already in availability zone {metadata[ZONE]}."
            )


def delete(tx: Tx, aggregate: Aggregate) -> None:
    """Delete an empty aggregate. Raises: Bad."""
    if aggregate.hosts:
        raise Bad(f"Cannot delete aggregate {aggregate.id}. Reason: Host aggregate is not empty.")
    store.delete(tx, aggregate.id)


def add_host(ctx: Context, tx: Tx, aggregate: Aggregate, host: str) -> Aggregate:
    """Put a compute host into an aggregate. Raises: ComputeHostNotFound, Exists, InUse."""
    if mappings.cell_of_host(tx, host) is None:
        raise ComputeHostNotFound(host=host)
    if host in aggregate.hosts:
        raise Exists(f"Aggregate {aggregate.id} already has host {host}.")
    if aggregate.availability_zone is not None:
        _refuse_second_zone(tx, host, aggregate.availability_zone, aggregate.id)
    store.add_host(tx, aggregate.id, host)
    return _again(ctx, tx, aggregate)


def remove_host(ctx: Context, tx: Tx, aggregate: Aggregate, host: str) -> Aggregate:
    """Take a host out of an aggregate. Raises: AggregateHostNotFound."""
    if not store.remove_host(tx, aggregate.id, host):
        raise AggregateHostNotFound(aggregate_id=aggregate.id, host=host)
    return _again(ctx, tx, aggregate)
