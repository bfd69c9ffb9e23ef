"""SQL of what belongs to images: tags, properties, locations, the caller's membership; one query for a page.

The statement is made once for a number of images, and numbers are rounded up: a list of names in a query
that grows and shrinks is made and read anew by the library and the database each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.glance.model import HERE, LEAVING, REFUSED, Location
from gureum.glance.store.tables import locations, members, properties, tags

_AT_ONCE = 256
_TAG, _PROPERTY, _MEMBER, _LOCATION = "t", "p", "m", "l"
_NO_TEXT: sa.ColumnElement[Any] = sa.literal_column("''")
_NO_NUMBER: sa.ColumnElement[Any] = sa.literal_column("0")


@dataclass(slots=True)
class Belongings:
    """What belongs to one image."""

    tags: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    locations: list[Location] = field(default_factory=list)
    member_status: str | None = None

    def here(self) -> tuple[Location, ...]:
        """Return where its bytes are."""
        return tuple(place for place in self.locations if place.status == HERE)

    def refused(self) -> tuple[str, ...]:
        """Return the stores that refused a location."""
        return tuple(place.store for place in self.locations if place.status == REFUSED)


def of_images(tx: Tx, ids: Sequence[str], project_id: str | None) -> Mapping[str, Belongings]:
    """Read what belongs to images. project_id: whose membership is told."""
    found = {id: Belongings() for id in ids}
    for start in range(0, len(ids), _AT_ONCE):
        _read(tx, ids[start : start + _AT_ONCE], project_id, found)
    for one in found.values():
        if len(one.tags) > 1:
            one.tags.sort()
        if len(one.locations) > 1:
            one.locations.sort(key=lambda place: (place.position, place.id))
        if len(one.properties) > 1:
            one.properties = dict(sorted(one.properties.items()))
    return found


def _read(
    tx: Tx, ids: Sequence[str], project_id: str | None, found: Mapping[str, Belongings]
) -> None:
    count = 1 << (len(ids) - 1).bit_length()
    params: dict[str, Any] = {f"id{number}": id for number, id in enumerate(ids)}
    for number in range(len(ids), count):
        params[f"id{number}"] = ids[0]
    if project_id is not None:
        params["project"] = project_id
    rows = tx.all(_statement(count, project_id is not None), params)
    row: Any
    for row in rows:
        kind, image_id, name, value, about, status, position, id = row
        one = found[image_id]
        if kind == _PROPERTY:
            one.properties[name] = value
        elif kind == _TAG:
            one.tags.append(name)
        elif kind == _MEMBER:
            one.member_status = name
        else:
            told = msgspec.json.decode(about)
            one.locations.append(Location(id, image_id, name, value, told, status, position))


@lru_cache(maxsize=32)
def _statement(count: int, with_membership: bool) -> sa.CompoundSelect[Any]:
    ids = [sa.bindparam(f"id{number}", type_=sa.String) for number in range(count)]
    mine = members.c.member_id == sa.bindparam("project", type_=sa.String)
    parts = [
        sa.select(
            _word(_LOCATION),
            locations.c.image_id,
            locations.c.store.label("name"),
            locations.c.url.label("value"),
            sa.type_coerce(locations.c.about, sa.Text).label("about"),
            locations.c.status,
            locations.c.position,
            locations.c.id,
        ).where(locations.c.image_id.in_(ids), locations.c.status != LEAVING),
        _plain(_TAG, tags, tags.c.tag, ids),
        _plain(_PROPERTY, properties, properties.c.name, ids, properties.c.value),
    ]
    if with_membership:
        parts.append(_plain(_MEMBER, members, members.c.status, ids).where(mine))
    return sa.union_all(*parts)


def _word(kind: str) -> sa.ColumnElement[Any]:
    return sa.literal_column(f"'{kind}'").label("kind")


def _plain(
    kind: str,
    table: sa.Table,
    name: sa.ColumnElement[Any],
    ids: Sequence[sa.BindParameter[str]],
    value: sa.ColumnElement[Any] = _NO_TEXT,
) -> sa.Select[Any]:
    blank = [_NO_TEXT.label("about"), _NO_TEXT.label("status"), _NO_NUMBER.label("position")]
    shown = [_word(kind), table.c.image_id, name.label("name"), value.label("value"), *blank]
    return sa.select(*shown, _NO_TEXT.label("id")).where(table.c.image_id.in_(ids))
