"""Lists and single rows of every noun: visibility, filters by any attribute, sorting, keyset paging.

Owns: the translation of a query string to one SELECT. Must not: know what a noun means; a `Noun` says
what is special about it. Follows: Network API v2.0, "Filtering and column selection", "Pagination",
"Sorting".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.db.page import SortKey, sorted_after
from gureum.core.db.types import JsonText, UtcDateTime
from gureum.core.spec import UNSET, BadRequest, NotFound, Page, Struct
from gureum.neutron.store import tables as t

Where = sa.ColumnElement[bool]
View = dict[str, Any]
Filter = Callable[[Context, list[str]], Where]

TRUE = frozenset({"true", "t", "1", "yes", "on"})
FALSE = frozenset({"false", "f", "0", "no", "off"})


def sees_all(ctx: Context) -> bool:
    """Whether a caller may see the rows of every project: admins and services."""
    return "admin" in ctx.roles or "service" in ctx.roles


@dataclass(frozen=True, slots=True)
class Noun:
    """What the generic code has to know about a kind of resource.

    visible: the rows a caller sees who does not see all. views: rows -> mappings for the answer, with a
    constant number of queries. special: filters that are not a column. wire: API name -> column.
    """

    table: sa.Table
    one: str
    many: str
    not_found: type[NotFound]
    visible: Callable[[Context], Where]
    views: Callable[..., list[View]]
    special: Mapping[str, Filter] = field(default_factory=dict)
    wire: Mapping[str, str] = field(default_factory=dict)
    has_tags: bool = True
    partial: bool = False
    """Whether `views` takes `only`, and leaves out what nobody asked for and what costs a query."""


def asked(only: frozenset[str], *names: str) -> bool:
    """Whether one of these attributes is asked for: all are when `fields` names none."""
    return not only or not only.isdisjoint(names)


def own(table: sa.Table) -> Callable[[Context], Where]:
    """See the rows of the caller's project."""
    return lambda ctx: table.c.project_id == (ctx.project_id or "")


def granted(table: sa.Table, object_type: str, ctx: Context, *actions: str) -> Where:
    """The rows that an RBAC policy opens to the caller's project or to everyone."""
    rbac = t.rbac_policies
    return table.c.id.in_(
        sa.select(rbac.c.object_id).where(
            rbac.c.object_type == object_type,
            rbac.c.action.in_(actions),
            rbac.c.target_tenant.in_(("*", ctx.project_id or "*")),
        )
    )


def own_or_granted(table: sa.Table, object_type: str, *actions: str) -> Callable[[Context], Where]:
    """See the rows of the own project and those that RBAC policies open."""
    return lambda ctx: sa.or_(own(table)(ctx), granted(table, object_type, ctx, *actions))


# --- one row ------------------------------------------------------------------------------------


def load(ctx: Context, tx: Tx, noun: Noun, row_id: str, only: frozenset[str] = frozenset()) -> View:
    """Return the view of a visible row; `only`: what of a partial noun is needed.

    Raises: the noun's not_found.
    """
    rows = [load_row(ctx, tx, noun, row_id)]
    return (noun.views(ctx, tx, rows, only) if only else noun.views(ctx, tx, rows))[0]


def load_row(ctx: Context, tx: Tx, noun: Noun, row_id: str) -> sa.Row[Any]:
    """Return a visible row. Raises: the noun's not_found."""
    if sees_all(ctx):
        row = tx.by(noun.table.c.id, row_id)
    else:
        statement = sa.select(noun.table).where(noun.table.c.id == row_id)
        row = tx.one(statement.where(noun.visible(ctx)))
    if row is None:
        raise noun.not_found(id=row_id)
    return row


def reload(ctx: Context, tx: Tx, noun: Noun, row_id: str) -> View:
    """Return the view of a row just written, whoever asks."""
    row = tx.by(noun.table.c.id, row_id)
    if row is None:
        raise noun.not_found(id=row_id)
    return noun.views(ctx, tx, [row])[0]


def tags_of(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags by resource id, in one query."""
    found: dict[str, list[str]] = {}
    for row in tx.all(_TAGS, {"ids": ids}) if ids else ():
        found.setdefault(row.resource_id, []).append(row.tag)
    return found


_TAGS = (
    sa.select(t.tags.c.resource_id, t.tags.c.tag)
    .where(t.tags.c.resource_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(t.tags.c.tag)
)


def shared_ids(ctx: Context, tx: Tx, object_type: str, ids: Sequence[str]) -> set[str]:
    """Return which objects count as shared for this caller, in one query."""
    if not ids:
        return set()
    asked = {"type": object_type, "ids": list(ids), "project": ctx.project_id or "*"}
    return {row.object_id for row in tx.all(_SHARED, asked)}


_SHARED = sa.select(t.rbac_policies.c.object_id).where(
    t.rbac_policies.c.object_type == sa.bindparam("type"),
    t.rbac_policies.c.object_id.in_(sa.bindparam("ids", expanding=True)),
    t.rbac_policies.c.action == "access_as_shared",
    sa.or_(
        t.rbac_policies.c.target_tenant == "*",
        t.rbac_policies.c.target_tenant == sa.bindparam("project"),
    ),
)


def standard_views(tx: Tx, rows: Sequence[sa.Row[Any]], *, tags: bool = True) -> list[View]:
    """Return rows as mappings with the attributes that every resource has."""
    if not rows:
        return []
    names = rows[0]._fields
    views = [dict(zip(names, row, strict=True)) for row in rows]
    found = tags_of(tx, [view["id"] for view in views]) if tags else {}
    for view in views:
        view["tenant_id"] = view["project_id"]
        if tags:
            view["tags"] = found.get(view["id"], [])
    return views


def grouped(rows: Iterable[sa.Row[Any]], key: str) -> dict[Any, list[sa.Row[Any]]]:
    """Group rows by a column."""
    out: dict[Any, list[sa.Row[Any]]] = {}
    for row in rows:
        out.setdefault(getattr(row, key), []).append(row)
    return out


# --- lists --------------------------------------------------------------------------------------


def list_page(ctx: Context, tx: Tx, noun: Noun, query: Struct, *extra: Where) -> Page:
    """Return one page of the visible rows that pass the filters."""
    limit, limited = limit_of(query, tx.deps.options.api_limit_max)
    reverse = bool(query.get("page_reverse", False))
    if not extra and _is_plain(ctx, noun, query):
        filters: dict[str, list[str]] = query.extra_values
        rows = list(tx.all(_by_columns(noun.table, tuple(filters)), {**filters, "rows": limit}))
    else:
        rows = _rows(ctx, tx, noun, query, extra, limit, reverse)
    only = frozenset(query.get("fields", ()) or ())
    views = noun.views(ctx, tx, rows, only) if noun.partial else noun.views(ctx, tx, rows)
    if not limited and len(rows) < limit:
        return Page(views)
    following = previous = None
    if rows and (len(rows) == limit or reverse):
        following = _link(query, rows[-1].id, limit, reverse=False)
    if rows and (len(rows) == limit or not reverse):
        previous = _link(query, rows[0].id, limit, reverse=True)
    if not rows and query.get("marker"):
        if reverse:
            following = _link(query, None, limit, reverse=False)
        else:
            previous = _link(query, None, limit, reverse=True)
    return Page(views, following, previous)


def _is_plain(ctx: Context, noun: Noun, query: Struct) -> bool:
    """Whether a list is what other services ask for: rows with certain ids, in no special order."""
    if not sees_all(ctx) or any(query.get(name) for name in ("sort_key", "marker", "page_reverse")):
        return False
    return all(
        name not in noun.special
        and isinstance(getattr(noun.table.c.get(name), "type", None), sa.String)
        and values not in (["null"], ["None"])
        for name, values in query.extra_values.items()
    )


@lru_cache(maxsize=256)
def _by_columns(table: sa.Table, names: tuple[str, ...]) -> sa.Select[Any]:
    """Return the statement of such a list, made once; its parameters are the filters and `rows`."""
    having = (table.c[name].in_(sa.bindparam(name, expanding=True)) for name in names)
    rows = sa.bindparam("rows", type_=sa.Integer)
    return sorted_after(sa.select(table).where(*having), [SortKey(table.c.id)], None, rows)


def _rows(
    ctx: Context,
    tx: Tx,
    noun: Noun,
    query: Struct,
    extra: Sequence[Where],
    limit: int,
    reverse: bool,
) -> list[sa.Row[Any]]:
    statement = sa.select(noun.table).where(*extra)
    if not sees_all(ctx):
        statement = statement.where(noun.visible(ctx))
    for name, values in query.extra_values.items():
        statement = statement.where(_filter(ctx, noun, name, values))
    keys = _sort_keys(noun, query)
    marker = _marker(ctx, tx, noun, query, keys)
    if reverse:
        keys = [SortKey(key.column, not key.descending) for key in keys]
    rows = list(tx.all(sorted_after(statement, keys, marker, limit)))
    if reverse:
        rows.reverse()
    return rows


def limit_of(query: Struct, most: int) -> tuple[int, bool]:
    """Return how many items a page may have, and whether the caller asked for pages. Raises: BadRequest."""
    text = str(query.get("limit", "") or "").strip().lower()
    if text in ("", "0", "infinite", "-1"):
        if text == "-1":
            raise BadRequest("Limit must be an integer 0 or greater and not '-1'")
        return most, False
    if not text.isdigit():
        raise BadRequest(f"Limit must be an integer 0 or greater and not {text[:40]!r}")
    return min(int(text[:12]), most), True


def _sort_keys(noun: Noun, query: Struct) -> list[SortKey]:
    names = list(query.get("sort_key", ()))
    directions = list(query.get("sort_dir", ()))
    if directions and len(directions) != len(names):
        raise BadRequest("The number of sort_keys and sort_dirs must be same")
    keys: list[SortKey] = []
    for index, name in enumerate(names):
        column = _column(noun, name)
        if column is None or isinstance(column.type, JsonText):
            raise BadRequest(f"['{name}'] is invalid attribute for sort_keys")
        direction = directions[index] if directions else "asc"
        if direction not in ("asc", "desc"):
            raise BadRequest("The sort_dir values must be 'asc' or 'desc'")
        keys.append(SortKey(column, direction == "desc"))
    if not any(key.column is noun.table.c.id for key in keys):
        keys.append(SortKey(noun.table.c.id))
    return keys


def _marker(
    ctx: Context, tx: Tx, noun: Noun, query: Struct, keys: Sequence[SortKey]
) -> list[Any] | None:
    marker = query.get("marker")
    if not marker:
        return None
    row = load_row(ctx, tx, noun, marker)
    return [getattr(row, str(key.column.key)) for key in keys]


def link_to(query: Struct, marker: str, limit: int) -> str:
    """Return the query of the page after a marker."""
    return _link(query, marker, limit, reverse=False)


def _link(query: Struct, marker: str | None, limit: int, *, reverse: bool) -> str:
    pairs: list[tuple[str, str]] = []
    for name, values in query.extra_values.items():
        pairs.extend((name, value) for value in values)
    for name in ("fields", "sort_key", "sort_dir"):
        pairs.extend((name, value) for value in query.get(name, ()))
    pairs.append(("limit", str(limit)))
    if marker:
        pairs.append(("marker", marker))
    if reverse:
        pairs.append(("page_reverse", "True"))
    return urlencode(pairs)


def _column(noun: Noun, name: str) -> sa.Column[Any] | None:
    if name == "tenant_id":
        name = "project_id"
    return noun.table.c.get(noun.wire.get(name, name))


def _filter(ctx: Context, noun: Noun, name: str, values: list[str]) -> Where:
    special = noun.special.get(name)
    if special is not None:
        return special(ctx, values)
    if name in _TAG_FILTERS and noun.has_tags:
        return _TAG_FILTERS[name](noun.table, _words(values))
    if name == "changed_since" and "updated_at" in noun.table.c:
        return noun.table.c.updated_at >= moment(values[-1])
    column = _column(noun, name)
    if column is None or isinstance(column.type, JsonText):
        raise BadRequest(f"['{name}'] is invalid attribute for filtering")
    return matches(column, values)


def matches(column: sa.ColumnElement[Any], values: Sequence[str]) -> Where:
    """Return "the column has one of these values", read as the column's type says."""
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return column.in_([flag(value) for value in values])
    if isinstance(kind, sa.Integer):
        numbers = [int(v) for v in values if v.lstrip("-").isdigit() and len(v) < 19]
        return column.in_(numbers)
    if isinstance(kind, UtcDateTime):
        return column.in_([moment(value) for value in values])
    if values == ["null"] or values == ["None"]:
        return sa.or_(column.is_(None), column.in_(values))
    return column.in_(list(values))


def flag(text: str) -> bool:
    """Read a boolean of a query. Raises: BadRequest."""
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise BadRequest(f"Invalid input for operation: '{text[:40]}' cannot be converted to boolean.")


def moment(text: str) -> datetime:
    """Read a time of a query. Raises: BadRequest."""
    try:
        found = datetime.fromisoformat(text.strip().replace(" ", "T"))
    except ValueError:
        raise BadRequest(
            f"Invalid input for operation: The input {text[:40]} must be in the following format:"
            " YYYY-MM-DDTHH:MM:SS[.mmmmmm][TZ]."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _words(values: Sequence[str]) -> list[str]:
    return [word for value in values for word in value.split(",") if word]


def _having(table: sa.Table, words: Sequence[str]) -> Where:
    return table.c.id.in_(sa.select(t.tags.c.resource_id).where(t.tags.c.tag.in_(words)))


def _having_all(table: sa.Table, words: Sequence[str]) -> Where:
    return sa.and_(sa.true(), *(_having(table, [word]) for word in words))


_TAG_FILTERS: dict[str, Callable[[sa.Table, Sequence[str]], Where]] = {
    "tags": _having_all,
    "tags-any": _having,
    "not-tags": lambda table, words: sa.not_(_having_all(table, words)),
    "not-tags-any": lambda table, words: sa.not_(_having(table, words)),
}

__all__ = ["UNSET", "Noun", "View", "Where", "list_page", "load", "load_row", "reload"]
