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
_SOME: sa.BindParameter[Any] = sa.bindparam("part", expanding=True)


def get(tx: Tx, uuid: str) -> Row | None:
    """Return a provider."""
    return tx.by(providers.c.uuid, uuid)


def by_uuids(tx: Tx, uuids: Iterable[str]) -> dict[str, Row]:
    """Return providers by uuid."""
    return {row.uuid: row for row in _in_parts(tx, _BY_UUIDS, uuids)}


def _in_parts(tx: Tx, statement: sa.Select[Any], values: Iterable[str]) -> list[Row]:
    wanted = list(dict.fromkeys(values))
    rows: list[Row] = []
    for start in range(0, len(wanted), _PART):
        rows.extend(tx.all(statement, {"part": wanted[start : start + _PART]}))
    return rows


# -- statements, made once -------------------------------------------------------------------------

_BY_UUIDS = sa.select(providers).where(providers.c.uuid.in_(_SOME))
_INVENTORIES = sa.select(inventories).where(inventories.c.provider_uuid.in_(_SOME))
_USED = (
    sa.select(
        allocations.c.provider_uuid,
        allocations.c.resource_class,
        sa.func.sum(allocations.c.used).label("used"),
    )
    .where(allocations.c.provider_uuid.in_(_SOME))
    .group_by(allocations.c.provider_uuid, allocations.c.resource_class)
)
_HELD = (
    sa.select(allocations.c.provider_uuid).where(allocations.c.consumer_uuid.in_(_SOME)).distinct()
)
_TRAITS = sa.select(provider_traits).where(provider_traits.c.provider_uuid.in_(_SOME))
_AGGREGATES = sa.select(provider_aggregates).where(provider_aggregates.c.provider_uuid.in_(_SOME))
_REVISION = sa.select(revisions.c.value, revisions.c.floor)
_NEXT = sa.update(revisions).where(revisions.c.id == 1).values(value=revisions.c.value + 1)
_NEXT_FORGETTING = _NEXT.values(floor=revisions.c.value + 1)
_MARK = (
    sa.update(providers).where(providers.c.uuid.in_(_SOME)).values(revision=sa.bindparam("newest"))
)
_TOUCH = (
    sa.update(providers)
    .where(providers.c.uuid == sa.bindparam("one"), providers.c.generation == sa.bindparam("known"))
    .values(
        generation=providers.c.generation + 1,
        updated_at=sa.bindparam("now"),
        revision=sa.bindparam("newest"),
    )
)


# -- revisions -----------------------------------------------------------------------------------


def current_revision(tx: Tx) -> tuple[int, int]:
    """Return the newest revision, and the one that a reader must not be older than."""
    row = tx.one(_REVISION)
    return (row.value, row.floor) if row is not None else (1, 1)


def next_revision(tx: Tx, *, forget: bool = False) -> int:
    """Take the next revision; with `forget`, older readers have to read everything anew.

    Last in a transaction: from here on other writers wait.
    """
    if tx.execute(_NEXT_FORGETTING if forget else _NEXT).rowcount == 0:
        tx.insert(revisions, id=1, value=2, floor=2 if forget else 1)
    return int(tx.scalar(_REVISION))


def mark_changed(tx: Tx, uuids: Iterable[str]) -> None:
    """Note that what providers hold changed, though not their generation."""
    wanted = list(uuids)
    if wanted:
        set_revision(tx, wanted, next_revision(tx))


def set_revision(tx: Tx, uuids: Iterable[str], revision: int) -> None:
    """Note that providers changed at a revision."""
    tx.execute(_MARK, {"part": list(uuids), "newest": revision})


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
    asked = {
        "one": uuid,
        "known": generation,
        "now": utc_now(),
        "newest": next_revision(tx) if revision is None else revision,
    }
    if tx.execute(_TOUCH, asked).rowcount != 1:
        raise Stale(f"provider {uuid} is no longer at generation {generation}")
    return generation + 1


def inventories_of(tx: Tx, uuids: Iterable[str]) -> dict[str, dict[str, Row]]:
    """Return inventories by provider and class."""
    found: dict[str, dict[str, Row]] = {}
    for row in _in_parts(tx, _INVENTORIES, uuids):
        found.setdefault(row.provider_uuid, {})[row.resource_class] = row
    return found


def used_of(tx: Tx, uuids: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the sums of allocations by provider and class."""
    found: dict[str, dict[str, int]] = {}
    for row in _in_parts(tx, _USED, uuids):
        found.setdefault(row.provider_uuid, {})[row.resource_class] = int(row.used)
    return found


def providers_of(tx: Tx, consumer_uuids: Iterable[str]) -> set[str]:
    """Return the providers of which consumers hold something."""
    return {row.provider_uuid for row in _in_parts(tx, _HELD, consumer_uuids)}


def traits_of(tx: Tx, uuids: Iterable[str]) -> dict[str, list[str]]:
    """Return sorted traits by provider."""
    found: dict[str, list[str]] = {}
    for row in _in_parts(tx, _TRAITS, uuids):
        found.setdefault(row.provider_uuid, []).append(row.trait)
    return {uuid: sorted(names) for uuid, names in found.items()}


def aggregates_of(tx: Tx, uuids: Iterable[str]) -> dict[str, list[str]]:
    """Return aggregates by provider."""
    found: dict[str, list[str]] = {}
    for row in _in_parts(tx, _AGGREGATES, uuids):
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
