"""Glance's rows against the files of its stores.

Owns: that comparison. Must not: bring bytes back, which nobody can.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa

from gureum.audit.finding import Finding
from gureum.audit.image_files import FileStore
from gureum.audit.world import World
from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.glance.model import ACTIVE, DEACTIVATED, IMPORTING, SAVING, UPLOADING
from gureum.glance.store.tables import images, metadata

STAGED = "staged-"
"""Before an image's id: bytes that wait for their import."""
LOCATIONS = "image_locations"
_HAS_BYTES = (ACTIVE, DEACTIVATED)
_IN_WORK = (SAVING, IMPORTING, UPLOADING)


def compare(world: World) -> Iterator[Finding]:
    """Find images without bytes, and bytes without an image."""
    if not world.stores:
        return
    # Before the rows: what is published later has a row by then.
    keys = {store.name: sorted(store.keys()) for store in world.stores}
    with world.glance.read() as tx:
        rows = {row.id: row for row in tx.all(sa.select(images))}
        places = _places(tx, rows, world.stores[0].name)
    for store in world.stores:
        yield from _lost(world, store, rows, places)
        for key in keys[store.name]:
            yield from _orphan(world, store, key, rows, places)


def _places(tx: Tx, rows: Mapping[str, Any], first: str) -> dict[str, dict[str, str]]:
    """Return by image the stores that should have its bytes, with the state of each."""
    table = metadata.tables.get(LOCATIONS)
    found: dict[str, dict[str, str]] = {}
    if table is None:
        return {id: {first: ACTIVE} for id, row in rows.items() if row.status in _HAS_BYTES}
    for row in tx.all(sa.select(table).where(table.c.url.is_(None))):
        found.setdefault(row.image_id, {})[row.store] = row.status
    return found


def _lost(
    world: World,
    store: FileStore,
    rows: Mapping[str, Any],
    places: Mapping[str, Mapping[str, str]],
) -> Iterator[Finding]:
    for row in rows.values():
        if row.status not in _HAS_BYTES or world.is_young(row.updated_at):
            continue
        if places.get(row.id, {}).get(store.name) != ACTIVE:
            continue
        size = store.size(row.id)
        if size == row.size:
            continue
        why = "its bytes are gone" if size is None else f"{size} bytes are kept, not {row.size}"
        mend = partial(_deactivate, world, row.id) if row.status == ACTIVE else None
        repair = "deactivate it, so that nobody boots from it" if mend else "nothing"
        yield Finding(
            "image", row.id, _where(store), why, f"{repair}; upload it again or delete it", mend
        )


def _orphan(
    world: World,
    store: FileStore,
    key: str,
    rows: Mapping[str, Any],
    places: Mapping[str, Mapping[str, str]],
) -> Iterator[Finding]:
    image = rows.get(key.removeprefix(STAGED))
    if image is None:
        why = "no image has this id"
    elif (
        image.status in _IN_WORK
        or world.is_young(image.updated_at)
        or (not key.startswith(STAGED) and store.name in places.get(image.id, {}))
    ):
        return
    else:
        why = f"its image is {image.status}, and needs no such bytes here"
    yield Finding("image-bytes", key, _where(store), why, "remove them", partial(store.delete, key))


def _where(store: FileStore) -> str:
    return f"image store {store.name}"


def _deactivate(world: World, image_id: str) -> None:
    with world.glance.write() as tx:
        tx.update(
            images,
            sa.and_(images.c.id == image_id, images.c.status == ACTIVE),
            status=DEACTIVATED,
            updated_at=utc_now(),
            generation=images.c.generation + 1,
        )
