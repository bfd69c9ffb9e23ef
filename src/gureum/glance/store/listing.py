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
    hidden: bool = False
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
    params: dict[str, Any] = {"rows": limit + 1}
    if marker is None and not filters and wanted.project_id is not None:
        shape = (wanted.sees_all, wanted.visibility, wanted.member_status)
        statement = _first_page(*shape, keys)
        params |= {"project": wanted.project_id, "hidden": wanted.hidden}
    else:
        after = None if marker is None else [getattr(marker, _column(name)) for name, _ in order]
        statement = _statement(wanted, filters, keys, after)
    rows = list(tx.all(statement, params))
    if isinstance(statement, sa.CompoundSelect):
        rows.sort(key=lambda row: (row.created_at, row.id), reverse=True)
    return complete(tx, rows[:limit], wanted.project_id), len(rows) > limit


@lru_cache(maxsize=256)
def _first_page(
    sees_all: bool, visibility: str | None, member_status: str, keys: tuple[SortKey, ...]
) -> sa.Select[Any] | sa.CompoundSelect[Any]:
    """Return the statement of a list without filters, which is most of them; made once."""
    project: Any = sa.bindparam("project", type_=sa.String)
    hidden: Any = sa.bindparam("hidden", type_=sa.Boolean)
    wanted = Wanted(project, sees_all, visibility, member_status, hidden)
    return _statement(wanted, [], keys, None)


def _statement(
    wanted: Wanted,
    filters: Sequence[sa.ColumnElement[bool]],
    keys: tuple[SortKey, ...],
    after: Sequence[Any] | None,
) -> sa.Select[Any] | sa.CompoundSelect[Any]:
    """Return the statement of a page; its limit is `rows`."""
    hidden = images.c.os_hidden == wanted.hidden
    query = sa.select(images).where(images.c.status != PENDING_DELETE, hidden, *filters)
    by_time = len(keys) == 2 and keys[0].column is images.c.created_at  # the other one is the id
    usual = by_time and all(key.descending for key in keys)
    if not usual or wanted.visibility not in _OPEN or wanted.sees_all:
        return sorted_after(query.where(_visible(wanted)), keys, after, ROWS)
    parts = [sorted_after(part, keys, after, ROWS).subquery() for part in _parts(query, wanted)]
    return sa.union_all(*(sa.select(part) for part in parts))


_OPEN = {None: (PUBLIC,), "all": (PUBLIC, COMMUNITY), SHARED: ()}
"""Which images of others a user sees who asks for a visibility, besides those that are shared with it."""


def _parts(query: sa.Select[Any], wanted: Wanted) -> list[sa.Select[Any]]:
    """Return what a user sees as parts that do not overlap and are read by an index each.

    One condition with OR would make a database read and sort all that is seen for every page.
    """
    # Not by the index of visibilities: nearly every image is shared.
    is_shared = sa.func.coalesce(images.c.visibility, "") == SHARED
    own = query.where(images.c.project_id == wanted.project_id)
    if wanted.visibility == SHARED:
        own = own.where(is_shared)
    kinds = _OPEN[wanted.visibility]
    parts = [own, *(query.where(images.c.visibility == k, _of_others(wanted)) for k in kinds)]
    if wanted.project_id is None:
        return parts
    shared = query.join(members, members.c.image_id == images.c.id).where(
        members.c.member_id == wanted.project_id, is_shared, _of_others(wanted)
    )
    if wanted.member_status != "all":
        shared = shared.where(members.c.status == wanted.member_status)
    return [*parts, shared]


def _of_others(wanted: Wanted) -> sa.ColumnElement[bool]:
    if wanted.project_id is None:
        return images.c.project_id.is_not(None)
    return sa.or_(images.c.project_id.is_(None), images.c.project_id != wanted.project_id)


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
