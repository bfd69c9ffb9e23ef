"""Reading and writing rows that all nouns share: by id, by filter, with the cache epoch."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.page import SortKey, sorted_after
from gureum.keystone.store import tables

Row = sa.Row[Any]


def bump(tx: Tx) -> None:
    """Tell every cache that the meaning of tokens may have changed."""
    if tx.update_by(tables.epochs.c.kind, "identity", number=tables.epochs.c.number + 1) == 0:
        tx.insert(tables.epochs, kind="identity", number=1)
    if tx.deps is not None:
        tx.after_commit(tx.deps.epoch.forget)


def epoch(tx: Tx) -> int:
    """Return the number that `bump` raises."""
    return int(tx.scalar(_EPOCH) or 0)


_EPOCH = sa.select(tables.epochs.c.number).where(tables.epochs.c.kind == "identity")


@functools.cache
def _by_id(table: sa.Table) -> sa.Select[Any]:
    """Return the select of a row; building it costs as much as running it."""
    return sa.select(table).where(table.c.id == sa.bindparam("wanted"))


def get(tx: Tx, table: sa.Table, id: str) -> Row | None:
    """Return a row by its id."""
    return tx.one(_by_id(table), {"wanted": id})


@functools.cache
def _with(table: sa.Table, names: tuple[tuple[str, bool], ...]) -> sa.Select[Any]:
    """Return the select of rows with values; names: columns, and whether they hold nothing."""
    columns = table.c
    return sa.select(table).where(
        *(
            columns[name].is_(None)
            if empty
            else columns[name] == sa.bindparam(name, type_=columns[name].type)
            for name, empty in names
        )
    )


def find(tx: Tx, table: sa.Table, **equal: Any) -> Row | None:
    """Return the row with these values."""
    names = tuple((name, value is None) for name, value in equal.items())
    given = {name: value for name, value in equal.items() if value is not None}
    return tx.first(_with(table, names), given)


def by_ids(tx: Tx, table: sa.Table, ids: Sequence[str]) -> dict[str, Row]:
    """Return rows by id in one query a thousand."""
    found: dict[str, Row] = {}
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        found.update({row.id: row for row in tx.among(table.c.id, part)})
    return found


def matching(table: sa.Table, filters: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    """Turn query filters into conditions: `name=x`, `name__contains=x`, and the other comparisons."""
    conditions: list[sa.ColumnElement[bool]] = []
    for key, value in filters.items():
        name, _, comparison = key.partition("__")
        column = table.c[name]
        text = str(value)
        match comparison:
            case "":
                conditions.append(column == value)
            case "contains":
                conditions.append(column.contains(text, autoescape=True))
            case "icontains":
                conditions.append(sa.func.lower(column).contains(text.lower(), autoescape=True))
            case "startswith":
                conditions.append(column.startswith(text, autoescape=True))
            case "istartswith":
                conditions.append(sa.func.lower(column).startswith(text.lower(), autoescape=True))
            case "endswith":
                conditions.append(column.endswith(text, autoescape=True))
            case "iendswith":
                conditions.append(sa.func.lower(column).endswith(text.lower(), autoescape=True))
            case "iexact":
                conditions.append(sa.func.lower(column) == text.lower())
            case _:
                continue
    return conditions


def listed(
    tx: Tx,
    table: sa.Table,
    conditions: Sequence[sa.ColumnElement[bool]] = (),
    *,
    marker: str | None = None,
    limit: int | None = None,
) -> Sequence[Row]:
    """Return rows in order of their ids, after the marker."""
    statement = sa.select(table).where(*conditions)
    keys = [SortKey(table.c.id)]
    return tx.all(sorted_after(statement, keys, None if marker is None else [marker], limit))


def rows_of(tx: Tx, table: sa.Table, where: sa.ColumnElement[bool]) -> Sequence[Row]:
    """Return the rows of a table without an id, such as a table of ties."""
    return tx.all(sa.select(table).where(where))
