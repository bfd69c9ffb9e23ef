"""SQL of where the bytes of images are."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.glance.model import HERE, LEAVING, REFUSED, Location
from gureum.glance.store.tables import locations


def every(tx: Tx, image_id: str) -> list[Location]:
    """Return all locations of an image."""
    query = sa.select(locations).where(locations.c.image_id == image_id)
    return [_location(row) for row in tx.all(query.order_by(locations.c.position))]


def leaving(tx: Tx, limit: int = 500) -> list[Location]:
    """Return the locations whose bytes are to be removed."""
    query = sa.select(locations).where(locations.c.status == LEAVING).limit(limit)
    return [_location(row) for row in tx.all(query)]


def add(
    tx: Tx,
    image_id: str,
    store: str,
    *,
    url: str | None = None,
    about: Mapping[str, Any] | None = None,
    position: int | None = None,
) -> None:
    """Add a location at the end, or at a position; one that was refused before is forgotten."""
    refused = sa.and_(locations.c.image_id == image_id, locations.c.status == REFUSED)
    tx.delete(locations, refused)
    if position is None:
        last = sa.select(sa.func.max(locations.c.position)).where(locations.c.image_id == image_id)
        found = tx.scalar(last)
        position = 0 if found is None else int(found) + 1
    tx.insert(
        locations,
        id=str(uuid.uuid4()),
        image_id=image_id,
        store=store,
        url=url,
        about=dict(about or {}),
        status=HERE,
        position=position,
    )


def change(tx: Tx, id: str, **values: Any) -> int:
    """Change a location; returns how many were."""
    return tx.update_by(locations.c.id, id, **values)


def remove(tx: Tx, id: str) -> int:
    """Forget a location; returns how many were."""
    return tx.delete_by(locations.c.id, id)


def remove_of_store(tx: Tx, image_id: str, store: str) -> int:
    """Forget an image's own bytes in a store."""
    where = sa.and_(
        locations.c.image_id == image_id, locations.c.store == store, locations.c.url.is_(None)
    )
    return tx.delete(locations, where)


def _location(row: Any) -> Location:
    return Location(row.id, row.image_id, row.store, row.url, row.about, row.status, row.position)
