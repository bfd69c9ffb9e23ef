"""Reading and writing providers with their inventories, traits and aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Stale, Tx
from gureum.core.db.types import utc_now
from gureum.placement.store.tables import (
    allocations,
    inventories,
    provider_aggregates,
    provider_traits,
    providers,
    revisions,
)

Row = sa.Row[Any]
_PART = 500


def get(tx: Tx, uuid: str) -> Row | None:
    """Return a provider."""
    return tx.by(providers.c.uuid, uuid)


def by_uuids(tx: Tx, uuids: Iterable[str]) -> dict[str, Row]:
    """Return providers by uuid."""
    return {row.uuid: row for row in _in_parts(tx, sa.select(providers), providers.c.uuid, uuids)}


def _in_parts(
    tx: Tx, statement: sa.Select[Any], column: sa.ColumnElement[Any], values: Iterable[str]
) -> list[Row]:
    wanted = list(dict.fromkeys(values))
    rows: list[Row] = []
    for start in range(0, len(wanted), _PART):
        rows.extend(tx.all(statement.where(column.in_(wanted[start : start + _PART]))))
    return rows


# -- revisions -----------------------------------------------------------------------------------


def current_revision(tx: Tx) -> tuple[int, int]:
    """Return the newest revision, and the one that a reader must not be older than."""
    row = tx.one(sa.select(revisions.c.value, revisions.c.floor))
    return (row.value, row.floor) if row is not None else (1, 1)


def next_revision(tx: Tx, *, forget: bool = False) -> int:
    """Take the next revision; with `forget`, older readers have to read everything anew.

    Last in a transaction: from here on other writers wait.
    """
    r = revisions
    values: dict[str, Any] = {"value": r.c.value + 1}
    if forget:
        values["floor"] = r.c.value + 1
    if tx.update_by(r.c.id, 1, **values) == 0:
        tx.insert(r, id=1, value=2, floor=2 if forget else 1)
    return int(tx.scalar(sa.select(r.c.value)))


def mark_changed(tx: Tx, uuids: Iterable[str]) -> None:
    """Note that what providers hold changed, though not their generation."""
    wanted = list(uuids)
    if wanted:
        tx.update(providers, providers.c.uuid.in_(wanted), revision=next_revision(tx))


def changed_since(tx: Tx, revision: int) -> Sequence[Row]:
    """Return the providers that changed after a revision."""
    return tx.all(sa.select(providers).where(providers.c.revision > revision))


def everything(tx: Tx) -> Sequence[Row]:
    """Return every provider."""
    return tx.all(sa.select(providers))


def touch(tx: Tx, uuid: str, generation: int, revision: int | None = None) -> int:
    """Raise a provider's generation from the one that was read. Raises: Stale.

    revision: the one that this transaction has taken already.
    """
    matched = tx.update(
        providers,
        sa.and_(providers.c.uuid == uuid, providers.c.generation == generation),
        generation=generation + 1,
        updated_at=utc_now(),
        revision=next_revision(tx) if revision is None else revision,
    )
    if matched != 1:
        raise Stale(f"provider {uuid} is no longer at generation {generation}")
    return generation + 1


def inventories_of(tx: Tx, uuids: Iterable[str]) -> dict[str, dict[str, Row]]:
    """Return inventories by provider and class."""
    found: dict[str, dict[str, Row]] = {}
    for row in _in_parts(tx, sa.select(inventories), inventories.c.provider_uuid, uuids):
        found.setdefault(row.provider_uuid, {})[row.resource_class] = row
    return found


def used_of(tx: Tx, uuids: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the sums of allocations by provider and class."""
    a = allocations.c
    total = sa.func.sum(a.used).label("used")
    statement = sa.select(a.provider_uuid, a.resource_class, total).group_by(
        a.provider_uuid, a.resource_class
    )
    found: dict[str, dict[str, int]] = {}
    for row in _in_parts(tx, statement, a.provider_uuid, uuids):
        found.setdefault(row.provider_uuid, {})[row.resource_class] = int(row.used)
    return found


def providers_of(tx: Tx, consumer_uuids: Iterable[str]) -> set[str]:
    """Return the providers of which consumers hold something."""
    a = allocations.c
    statement = sa.select(a.provider_uuid).distinct()
    return {row.provider_uuid for row in _in_parts(tx, statement, a.consumer_uuid, consumer_uuids)}


def traits_of(tx: Tx, uuids: Iterable[str]) -> dict[str, list[str]]:
    """Return sorted traits by provider."""
    found: dict[str, list[str]] = {}
    for row in _in_parts(tx, sa.select(provider_traits), provider_traits.c.provider_uuid, uuids):
        found.setdefault(row.provider_uuid, []).append(row.trait)
    return {uuid: sorted(names) for uuid, names in found.items()}


def aggregates_of(tx: Tx, uuids: Iterable[str]) -> dict[str, list[str]]:
    """Return aggregates by provider."""
    found: dict[str, list[str]] = {}
    statement = sa.select(provider_aggregates)
    for row in _in_parts(tx, statement, provider_aggregates.c.provider_uuid, uuids):
        found.setdefault(row.provider_uuid, []).append(row.aggregate_uuid)
    return found


def replace_inventories(tx: Tx, uuid: str, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the inventories of a provider: change, add, remove."""
    have = inventories_of(tx, [uuid]).get(uuid, {})
    i = inventories
    for name in have.keys() - wanted.keys():
        tx.delete(i, sa.and_(i.c.provider_uuid == uuid, i.c.resource_class == name))
    for name, values in wanted.items():
        if name in have:
            where = sa.and_(i.c.provider_uuid == uuid, i.c.resource_class == name)
            tx.update(i, where, **values)
        else:
            tx.insert(i, provider_uuid=uuid, resource_class=name, **values)


def replace_traits(tx: Tx, uuid: str, wanted: Sequence[str]) -> None:
    """Write the traits of a provider."""
    tx.delete_by(provider_traits.c.provider_uuid, uuid)
    rows = [{"provider_uuid": uuid, "trait": name} for name in sorted(set(wanted))]
    tx.insert_many(provider_traits, rows)


def replace_aggregates(tx: Tx, uuid: str, wanted: Sequence[str]) -> None:
    """Write the aggregates of a provider."""
    tx.delete_by(provider_aggregates.c.provider_uuid, uuid)
    rows = [{"provider_uuid": uuid, "aggregate_uuid": id} for id in sorted(set(wanted))]
    tx.insert_many(provider_aggregates, rows)


def descendants(tx: Tx, uuid: str, root_uuid: str) -> list[str]:
    """Return every provider below one."""
    rows = tx.all(
        sa.select(providers.c.uuid, providers.c.parent_uuid).where(
            providers.c.root_uuid == root_uuid
        )
    )
    below: list[str] = []
    level = {uuid}
    while level:
        level = {row.uuid for row in rows if row.parent_uuid in level}
        below.extend(level)
    return below
