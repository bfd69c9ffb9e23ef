"""Aggregates of hosts; those with the metadata key `availability_zone` are zones."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.nova.store import revisions
from gureum.nova.store.tables import (
    aggregate_hosts,
    aggregate_metadata,
    aggregates,
    api_revisions,
)

ZONE = "availability_zone"


def list_all(tx: Tx) -> Sequence[sa.Row[Any]]:
    """Return every aggregate, oldest first."""
    return tx.all(sa.select(aggregates).order_by(aggregates.c.number))


def get(tx: Tx, number: int) -> sa.Row[Any] | None:
    """Return an aggregate by its number."""
    return tx.by(aggregates.c.number, number)


def hosts_of(tx: Tx, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Return the hosts of each aggregate."""
    found: dict[int, list[str]] = {number: [] for number in numbers}
    table = aggregate_hosts
    wanted = sa.select(table).where(table.c.aggregate_number.in_(numbers))
    for row in tx.all(wanted.order_by(table.c.host)):
        found[row.aggregate_number].append(row.host)
    return found


def metadata_of(tx: Tx, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the metadata of each aggregate."""
    found: dict[int, dict[str, str]] = {number: {} for number in numbers}
    table = aggregate_metadata
    wanted = sa.select(table).where(table.c.aggregate_number.in_(numbers))
    for row in tx.all(wanted.order_by(table.c.key)):
        found[row.aggregate_number][row.key] = row.value
    return found


_ZONES = (
    sa.select(aggregate_hosts.c.host, aggregate_metadata.c.value)
    .join_from(
        aggregate_hosts,
        aggregate_metadata,
        aggregate_hosts.c.aggregate_number == aggregate_metadata.c.aggregate_number,
    )
    .where(aggregate_metadata.c.key == ZONE)
    .order_by(aggregate_hosts.c.aggregate_number)
)
_ZONES_OF = _ZONES.where(aggregate_hosts.c.host.in_(sa.bindparam("names", expanding=True)))


def zones_of_hosts(tx: Tx, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return the availability zone of each host (of `names` only, if given) that is in one."""
    if names is None:
        rows = tx.all(_ZONES)
    else:
        rows = tx.all(_ZONES_OF, {"names": list(names)})
    return {row.host: row.value for row in rows}


def of_host(tx: Tx, host: str) -> list[tuple[int, dict[str, str]]]:
    """Return (number, metadata) of the aggregates a host is in; for schedulers."""
    table = aggregate_hosts.c
    numbers = [
        row.aggregate_number
        for row in tx.all(sa.select(table.aggregate_number).where(table.host == host))
    ]
    return list(metadata_of(tx, numbers).items())


def insert(tx: Tx, name: str, metadata: Mapping[str, str]) -> int:
    """Insert an aggregate and return its number. Raises: Conflict."""
    identity = str(uuid.uuid4())
    tx.insert(aggregates, id=identity, name=name, created_at=utc_now())
    number = int(tx.scalar(sa.select(aggregates.c.number).where(aggregates.c.id == identity)))
    merge_metadata(tx, number, metadata, ())
    return number


def change(tx: Tx, number: int, **values: Any) -> None:
    """Write columns of an aggregate. Raises: Conflict."""
    tx.update_by(aggregates.c.number, number, updated_at=utc_now(), **values)
    revisions.take(tx, api_revisions)


def merge_metadata(tx: Tx, number: int, values: Mapping[str, str], gone: Iterable[str]) -> None:
    """Write metadata and remove the keys that are `gone`; others stay."""
    table = aggregate_metadata.c
    tx.delete(
        aggregate_metadata,
        sa.and_(table.aggregate_number == number, table.key.in_([*values, *gone])),
    )
    tx.insert_many(
        aggregate_metadata,
        [{"aggregate_number": number, "key": k, "value": v} for k, v in values.items()],
    )
    revisions.take(tx, api_revisions)


def delete(tx: Tx, number: int) -> None:
    """Remove an aggregate and what hangs on it."""
    for table in (aggregate_hosts, aggregate_metadata):
        tx.delete_by(table.c.aggregate_number, number)
    tx.delete_by(aggregates.c.number, number)
    revisions.take(tx, api_revisions)


def add_host(tx: Tx, number: int, host: str) -> None:
    """Put a host into an aggregate. Raises: Conflict."""
    tx.insert(aggregate_hosts, aggregate_number=number, host=host)
    revisions.take(tx, api_revisions)


def remove_host(tx: Tx, number: int, host: str) -> bool:
    """Take a host out of an aggregate; False when it was not in it."""
    table = aggregate_hosts.c
    inside = sa.and_(table.aggregate_number == number, table.host == host)
    if tx.delete(aggregate_hosts, inside) != 1:
        return False
    revisions.take(tx, api_revisions)
    return True
