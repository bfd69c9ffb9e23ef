"""Keyset paging: one page of a sorted list, found by the sort key of the last row seen.

No OFFSET anywhere: page 100 costs what page 1 costs, given an index on the sort columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column to sort by. NULLs count as the smallest value on every database."""

    column: sa.ColumnElement[Any]
    descending: bool = False


ROWS = sa.bindparam("rows", type_=sa.Integer)
"""The limit of a statement that is made once; `rows` is given with each execution."""


def sorted_after(
    statement: sa.Select[Any],
    keys: Sequence[SortKey],
    marker: Sequence[Any] | None,
    limit: int | sa.BindParameter[int] | None,
) -> sa.Select[Any]:
    """Order a select by `keys` (the last one unique) and start after the marker row's values.

    marker: the values of the key columns of the last row of the page before.
    """
    if marker is not None:
        first = keys[0]
        if len(keys) > 1 and marker[0] is not None and not getattr(first.column, "nullable", False):
            # Says nothing new, but is a range that an index can be entered at: the alternatives are not.
            bound = first.column <= marker[0] if first.descending else first.column >= marker[0]
            statement = statement.where(bound)
        statement = statement.where(_after(keys, marker))
    statement = statement.order_by(*_order(tuple(keys)))
    return statement if limit is None else statement.limit(limit)


@lru_cache(maxsize=1024)
def _order(keys: tuple[SortKey, ...]) -> tuple[sa.ColumnElement[Any], ...]:
    """Return the clauses of an order; they are the same for every request and costly to make."""
    clauses: list[sa.ColumnElement[Any]] = []
    for key in keys:
        column = key.column
        if getattr(column, "nullable", False):
            order = sa.case((column.is_(None), 0), else_=1)
            clauses.append(order.desc() if key.descending else order.asc())
        clauses.append(column.desc() if key.descending else column.asc())
    return tuple(clauses)


def _after(keys: Sequence[SortKey], marker: Sequence[Any]) -> sa.ColumnElement[bool]:
    alternatives: list[sa.ColumnElement[bool]] = []
    for index, key in enumerate(keys):
        equal = [_equals(k.column, v) for k, v in zip(keys[:index], marker[:index], strict=True)]
        alternatives.append(sa.and_(*equal, _beyond(key, marker[index])))
    return sa.or_(*alternatives)


def _equals(column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _beyond(key: SortKey, value: Any) -> sa.ColumnElement[bool]:
    column = key.column
    if key.descending:
        if value is None:
            return sa.false()
        lower: sa.ColumnElement[bool] = column < value
        return sa.or_(lower, column.is_(None)) if getattr(column, "nullable", False) else lower
    if value is None:
        return column.is_not(None)
    higher: sa.ColumnElement[bool] = column > value
    return higher


def fetch_page(
    tx: Tx,
    statement: sa.Select[Any],
    keys: Sequence[SortKey],
    marker: Sequence[Any] | None,
    limit: int,
) -> tuple[list[sa.Row[Any]], bool]:
    """Return up to `limit` rows and whether more follow."""
    rows = list(tx.all(sorted_after(statement, keys, marker, limit + 1)))
    return rows[:limit], len(rows) > limit
