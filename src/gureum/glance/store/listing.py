"""SQL of the list of images: who sees what, filters, order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.page import ROWS, SortKey, sorted_after
from gureum.glance.model import (
    ACCEPTED,
    COMMUNITY,
    PENDING_DELETE,
    PRIVATE,
    PUBLIC,
    SHARED,
    Image,
)
from gureum.glance.store.images import complete
from gureum.glance.store.tables import images, members, properties, tags

SORTABLE = (
    "id",
    "name",
    "status",
    "container_format",
    "disk_format",
    "size",
    "virtual_size",
    "created_at",
    "updated_at",
    "min_disk",
    "min_ram",
    "visibility",
    "owner",
    "checksum",
    "protected",
    "os_hash_algo",
    "os_hash_value",
)


OWN = "own"
_FEW = 500
"""Up to so many images that are shared with a project are named in a query."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list shall hold.

    equal: column -> value. among: column -> values. sizes: (least, most) bytes. times: (column, from
    included, to excluded, negated), either end None. properties: additional ones by name. order: (column,
    descending). sees_all: an administrator; only other projects' community images stay out by default.
    """

    project_id: str | None
    sees_all: bool = False
    visibility: str | None = None
    member_status: str = ACCEPTED
    equal: Mapping[str, Any] = field(default_factory=dict)
    among: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tags: Sequence[str] = ()
    sizes: tuple[int | None, int | None] = (None, None)
    times: Sequence[tuple[str, datetime | None, datetime | None, bool]] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[tuple[str, bool]] = ()


def page(tx: Tx, wanted: Wanted, marker: Image | None, limit: int) -> tuple[list[Image], bool]:
    """Return up to `limit` images after the marker, and whether more follow."""
    order = [*wanted.order]
    for name in ("created_at", "id"):
        if all(name != known for known, _ in order):
            order.append((name, True))
    keys = tuple(SortKey(images.c[_column(name)], descending) for name, descending in order)
    filters = _filters(wanted)
    plain = marker is None and not filters and wanted.project_id is not None
    given = {"project": wanted.project_id, "rows": limit + 1}
    usual = order == [("created_at", True), ("id", True)]
    in_parts = usual and wanted.visibility is None and not wanted.sees_all
    query = sa.select(images).where(images.c.status != PENDING_DELETE, *filters)
    after = None if marker is None else [getattr(marker, _column(name)) for name, _ in order]
    rows: list[Any] = []
    if in_parts:
        if plain:
            rows += tx.all(_first_part(OWN, keys), given)
            rows += tx.all(_first_part(PUBLIC, keys), given)
        parts = _shared_part(tx, wanted)
        for part in parts if plain else (*_parts(wanted), *parts):
            rows += tx.all(sorted_after(query.where(part), keys, after, limit + 1))
        rows.sort(key=lambda row: (row.created_at, row.id), reverse=True)
    elif plain:
        first = _first_page(wanted.sees_all, wanted.visibility, wanted.member_status, keys)
        rows += tx.all(first, given)
    else:
        rows += tx.all(sorted_after(query.where(_visible(wanted)), keys, after, limit + 1))
    return complete(tx, rows[:limit], wanted.project_id), len(rows) > limit


@lru_cache(maxsize=256)
def _first_page(
    sees_all: bool, visibility: str | None, member_status: str, keys: tuple[SortKey, ...]
) -> sa.Select[Any]:
    """Return the statement of a list without filters, which is most of them; made once."""
    project: Any = sa.bindparam("project", type_=sa.String)
    wanted = Wanted(project, sees_all=sees_all, visibility=visibility, member_status=member_status)
    query = sa.select(images).where(images.c.status != PENDING_DELETE, _visible(wanted))
    return sorted_after(query, keys, None, ROWS)


@lru_cache(maxsize=16)
def _first_part(which: str, keys: tuple[SortKey, ...]) -> sa.Select[Any]:
    """Return the statement of the project's own images, or of public ones of others; made once."""
    own, public = _parts(Wanted(sa.bindparam("project", type_=sa.String)))  # type: ignore[arg-type]
    query = sa.select(images).where(
        images.c.status != PENDING_DELETE, own if which == OWN else public
    )
    return sorted_after(query, keys, None, ROWS)


def _parts(wanted: Wanted) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Return what a user sees by default as parts that do not overlap and are read by an index each.

    One condition with OR would make a database read and sort all that is seen for every page.
    """
    own = images.c.project_id == wanted.project_id
    return own, sa.and_(images.c.visibility == PUBLIC, _of_others(wanted))


def _of_others(wanted: Wanted) -> sa.ColumnElement[bool]:
    if wanted.project_id is None:
        return images.c.project_id.is_not(None)
    return sa.or_(images.c.project_id.is_(None), images.c.project_id != wanted.project_id)


def _shared_part(tx: Tx, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    """Return the part of images that others share with the project; none when there are none."""
    if wanted.project_id is None:
        return []
    mine = sa.select(members.c.image_id).where(members.c.member_id == wanted.project_id)
    if wanted.member_status != "all":
        mine = mine.where(members.c.status == wanted.member_status)
    ids = [row.image_id for row in tx.all(mine.limit(_FEW + 1))]
    if not ids:
        return []
    among = images.c.id.in_(ids if len(ids) <= _FEW else mine)
    # Not by the index of visibilities: nearly every image is shared.
    shared = sa.func.coalesce(images.c.visibility, "") == SHARED
    return [sa.and_(among, shared, _of_others(wanted))]


def _column(name: str) -> str:
    return "project_id" if name == "owner" else name


def _visible(wanted: Wanted) -> sa.ColumnElement[bool]:
    own = images.c.project_id == wanted.project_id
    status = wanted.member_status
    mine = sa.select(members.c.image_id).where(members.c.member_id == wanted.project_id)
    if status != "all":
        mine = mine.where(members.c.status == status)
    shared_with_me = sa.and_(images.c.visibility == SHARED, images.c.id.in_(mine))
    if wanted.visibility is None:
        if wanted.sees_all:
            return sa.or_(images.c.visibility != COMMUNITY, own)
        return sa.or_(own, images.c.visibility == PUBLIC, shared_with_me)
    if wanted.visibility == "all":
        if wanted.sees_all:
            return sa.true()
        open_to_all = images.c.visibility.in_((PUBLIC, COMMUNITY))
        return sa.or_(own, open_to_all, shared_with_me)
    of_kind = images.c.visibility == wanted.visibility
    if wanted.sees_all or wanted.visibility in (PUBLIC, COMMUNITY):
        return of_kind
    if wanted.visibility == PRIVATE:
        return sa.and_(of_kind, own)
    return sa.and_(of_kind, sa.or_(own, shared_with_me))


def _filters(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    for name, value in wanted.equal.items():
        found.append(images.c[_column(name)] == value)
    for name, values in wanted.among.items():
        found.append(images.c[_column(name)].in_(list(values)))
    for tag in wanted.tags:
        found.append(images.c.id.in_(sa.select(tags.c.image_id).where(tags.c.tag == tag)))
    least, most = wanted.sizes
    if least is not None:
        found.append(images.c.size >= least)
    if most is not None:
        found.append(images.c.size <= most)
    for name, start, end, negated in wanted.times:
        parts = []
        if start is not None:
            parts.append(images.c[name] >= start)
        if end is not None:
            parts.append(images.c[name] < end)
        both = sa.and_(*parts)
        found.append(sa.not_(both) if negated else both)
    for name, value in wanted.properties.items():
        have = sa.select(properties.c.image_id).where(
            properties.c.name == name, properties.c.value == value
        )
        found.append(images.c.id.in_(have))
    return found
