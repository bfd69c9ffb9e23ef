"""Writing allocations: one transaction that checks room, consumer generation and existence together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Stale, Tx
from gureum.core.spec import BadRequest
from gureum.placement.errors import ConcurrentUpdate, NoCapacity
from gureum.placement.logic import names
from gureum.placement.store import providers as store
from gureum.placement.store.tables import allocations, consumers, providers


@dataclass(frozen=True, slots=True)
class NewAllocations:
    """What one consumer shall hold afterwards; nothing means it holds nothing.

    consumer_generation: the one that was read, None for a consumer that must be new, or `...` for an old
    request that does not know about generations.
    """

    consumer_uuid: str
    amounts: Mapping[str, Mapping[str, int]]
    project_id: str
    user_id: str
    consumer_type: str
    consumer_generation: object


def write(tx: Tx, wanted: Sequence[NewAllocations]) -> None:
    """Replace the allocations of consumers, all or nothing.

    Raises: BadRequest (unknown provider or class), ConcurrentUpdate, NoCapacity.
    """
    uuids = {uuid for item in wanted for uuid in item.amounts}
    rows = store.by_uuids(tx, uuids)
    left = store.providers_of(tx, [item.consumer_uuid for item in wanted]) - uuids
    missing = uuids - rows.keys()
    if missing:
        raise BadRequest(f"Allocation for resource provider '{min(missing)}' that does not exist.")
    names.need_classes(tx, {n for item in wanted for mine in item.amounts.values() for n in mine})
    for item in wanted:
        _consumer(tx, item)
        tx.delete_by(allocations.c.consumer_uuid, item.consumer_uuid)
        if not item.amounts:
            tx.delete_by(consumers.c.uuid, item.consumer_uuid)
    _check_room(tx, wanted, uuids)
    tx.insert_many(
        allocations,
        [
            {
                "consumer_uuid": item.consumer_uuid,
                "provider_uuid": uuid,
                "resource_class": name,
                "used": amount,
            }
            for item in wanted
            for uuid, mine in item.amounts.items()
            for name, amount in mine.items()
        ],
    )
    revision = store.next_revision(tx)
    if left:
        store.set_revision(tx, left, revision)
    for uuid, row in sorted(rows.items()):
        try:
            store.touch(tx, uuid, row.generation, revision)
        except Stale:
            raise ConcurrentUpdate(
                kind="resource provider", reason="it changed meanwhile."
            ) from None


def _consumer(tx: Tx, item: NewAllocations) -> None:
    row = tx.by(consumers.c.uuid, item.consumer_uuid)
    expected = item.consumer_generation
    if expected is not ... and expected != (row.generation if row is not None else None):
        have = row.generation if row is not None else None
        raise ConcurrentUpdate(kind="consumer", reason=f"expected {have} but got {expected}.")
    if row is None:
        if not item.amounts:
            return
        try:
            tx.insert(
                consumers,
                uuid=item.consumer_uuid,
                project_id=item.project_id,
                user_id=item.user_id,
                consumer_type=item.consumer_type,
                generation=1,
            )
        except RowConflict:
            raise ConcurrentUpdate(kind="consumer", reason="it was made meanwhile.") from None
        return
    matched = tx.update(
        consumers,
        sa.and_(consumers.c.uuid == row.uuid, consumers.c.generation == row.generation),
        generation=row.generation + 1,
        project_id=item.project_id,
        user_id=item.user_id,
        consumer_type=item.consumer_type,
    )
    if matched != 1:
        raise ConcurrentUpdate(kind="consumer", reason="it changed meanwhile.")


def _check_room(tx: Tx, wanted: Sequence[NewAllocations], uuids: set[str]) -> None:
    inventory = store.inventories_of(tx, uuids)
    used = store.used_of(tx, uuids)
    sums: dict[tuple[str, str], int] = {}
    for item in wanted:
        for uuid, mine in item.amounts.items():
            for name, amount in mine.items():
                row = inventory.get(uuid, {}).get(name)
                if row is None:
                    raise NoCapacity(reason=f"{name} is not in the inventory of {uuid}.")
                if not row.min_unit <= amount <= row.max_unit or amount % row.step_size:
                    raise NoCapacity(
                        reason=f"{amount} of {name} on {uuid} violates min_unit, max_unit or step_size."
                    )
                sums[uuid, name] = sums.get((uuid, name), 0) + amount
    for (uuid, name), amount in sums.items():
        row = inventory[uuid][name]
        capacity = int((row.total - row.reserved) * row.allocation_ratio)
        if used.get(uuid, {}).get(name, 0) + amount > capacity:
            raise NoCapacity(
                reason=f"the requested amount of {name} would exceed the capacity of {uuid}."
            )


def of_consumer(tx: Tx, uuid: str) -> Sequence[sa.Row[tuple[object, ...]]]:
    """Return what a consumer holds, with the generation of each provider."""
    return tx.all(_OF_CONSUMER, {"consumer": uuid})


_OF_CONSUMER = (
    sa.select(
        allocations.c.provider_uuid,
        allocations.c.resource_class,
        allocations.c.used,
        providers.c.generation,
    )
    .join(providers, providers.c.uuid == allocations.c.provider_uuid)
    .where(allocations.c.consumer_uuid == sa.bindparam("consumer"))
)
