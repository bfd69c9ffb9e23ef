"""SQL of images with their tags and properties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.glance.model import (
    IMPORTING,
    PENDING_DELETE,
    SAVING,
    UPLOADING,
    Image,
)
from gureum.glance.store import belongings
from gureum.glance.store.tables import deleted_images, images, locations, members, properties, tags


def get(tx: Tx, id: str, project_id: str | None) -> Image | None:
    """Return an image, also one that is to be deleted. project_id: whose membership is told."""
    row = tx.by(images.c.id, id)
    return None if row is None else complete(tx, [row], project_id)[0]


def complete(tx: Tx, rows: Sequence[Any], project_id: str | None) -> list[Image]:
    """Read what belongs to rows of images, in one query."""
    if not rows:
        return []
    found = belongings.of_images(tx, [row[0] for row in rows], project_id)
    return [_whole(row, found[row[0]]) for row in rows]


def _whole(row: Any, one: belongings.Belongings) -> Image:
    # By position: the columns of the table are the first fields, in their order (a test says so).
    rest = (tuple(one.tags), one.properties, one.member_status, one.here(), one.refused())
    values: tuple[Any, ...] = (*row, *rest)
    return Image(*values)


def is_taken(tx: Tx, id: str) -> bool:
    """Whether an image has or had this id."""
    return (
        tx.first(sa.select(images.c.id).where(images.c.id == id)) is not None
        or tx.first(sa.select(deleted_images.c.id).where(deleted_images.c.id == id)) is not None
    )


def deleted_among(tx: Tx, ids: Sequence[str]) -> set[str]:
    """Return those ids whose images were deleted for good."""
    query = sa.select(deleted_images.c.id).where(deleted_images.c.id.in_(ids))
    return {row.id for row in tx.all(query)}


def insert(
    tx: Tx, values: Mapping[str, Any], tag_list: Iterable[str], property_map: Mapping[str, str]
) -> None:
    """Add an image. Raises: Conflict."""
    tx.insert(images, **values)
    set_tags(tx, values["id"], (), tag_list)
    set_properties(tx, values["id"], {}, property_map)


def update(tx: Tx, image: Image, **values: Any) -> int:
    """Change an image's row at the generation that was read. Raises: Stale."""
    values.setdefault("updated_at", utc_now())
    return tx.update_at(images, images.c.id == image.id, image.generation, **values)


def set_tags(tx: Tx, id: str, old: Iterable[str], new: Iterable[str]) -> None:
    """Bring the tags to what is wanted."""
    have, want = set(old), set(new)
    if have - want:
        tx.delete(tags, sa.and_(tags.c.image_id == id, tags.c.tag.in_(have - want)))
    tx.insert_many(tags, [{"image_id": id, "tag": tag} for tag in sorted(want - have)])


def set_properties(tx: Tx, id: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Bring the additional properties to what is wanted."""
    gone = [name for name in old if old[name] != new.get(name)]
    if gone:
        tx.delete(properties, sa.and_(properties.c.image_id == id, properties.c.name.in_(gone)))
    fresh = [name for name in new if new[name] != old.get(name)]
    tx.insert_many(
        properties, [{"image_id": id, "name": name, "value": new[name]} for name in fresh]
    )


def set_property(tx: Tx, image: Image, name: str, value: str | None) -> None:
    """Set one property, or remove it; the service's own ones are kept like this."""
    wanted = {key: kept for key, kept in image.properties.items() if key != name}
    if value is not None:
        wanted[name] = value
    set_properties(tx, image.id, image.properties, wanted)


def forget(tx: Tx, id: str) -> bool:
    """Remove an image whose bytes are gone; its id stays taken. False when it was done already."""
    for table in (tags, properties, members, locations):
        tx.delete_by(table.c.image_id, id)
    where = sa.and_(images.c.id == id, images.c.status == PENDING_DELETE)
    if not tx.delete(images, where):
        return False
    tx.insert(deleted_images, id=id, deleted_at=utc_now())
    return True


def in_status(tx: Tx, *statuses: str) -> list[Image]:
    """Return the images of some statuses, without what belongs to them."""
    rows: Sequence[Any] = tx.all(sa.select(images).where(images.c.status.in_(statuses)).limit(1000))
    return [Image(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the images of a project take: bytes in stores and in staging, numbers of images."""

    stored_bytes: int
    staged_bytes: int
    images: int
    uploading: int


def usage(tx: Tx, project_id: str | None, *, without: str = "") -> Usage:
    """Count a project's images. without: an image that does not count.

    An image counts once for every store that holds it; bytes elsewhere do not count.
    """
    mine = sa.and_(
        images.c.project_id == project_id,
        images.c.status != PENDING_DELETE,
        images.c.id != without,
    )
    size = sa.func.coalesce(images.c.size, 0)
    unfinished = images.c.status.in_((UPLOADING, IMPORTING))
    row = tx.execute(
        sa.select(
            sa.func.count().label("number"),
            sa.func.coalesce(sa.func.sum(sa.case((unfinished, size), else_=0)), 0).label("staged"),
            sa.func.coalesce(
                sa.func.sum(sa.case((sa.or_(unfinished, images.c.status == SAVING), 1), else_=0)),
                0,
            ).label("uploading"),
        ).where(mine)
    ).one()
    held = tx.scalar(
        sa.select(sa.func.sum(size))
        .select_from(images.join(locations, locations.c.image_id == images.c.id))
        .where(mine, locations.c.url.is_(None))
    )
    return Usage(int(held or 0), int(row.staged), int(row.number), int(row.uploading))
