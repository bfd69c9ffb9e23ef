"""Counters of changes: what a process keeps in memory asks them whether it is still true.

Owns: `api_revisions` and `cell_revisions`, one row each. The lock on the row makes the order of revisions the
order of commits. Must not: know what changed.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx


def current(tx: Tx, table: sa.Table) -> tuple[int, int]:
    """Return the newest revision, and the one that a reader must not be older than."""
    row = tx.one(sa.select(table.c.value, table.c.floor))
    return (row.value, row.floor) if row is not None else (1, 1)


def take(tx: Tx, table: sa.Table, *, forget: bool = False) -> int:
    """Take the next revision; with `forget`, older readers have to read everything anew."""
    values: dict[str, Any] = {"value": table.c.value + 1}
    if forget:
        values["floor"] = table.c.value + 1
    if tx.update_by(table.c.id, 1, **values) == 0:
        tx.insert(table, id=1, value=2, floor=2 if forget else 1)
    return int(tx.scalar(sa.select(table.c.value)))
