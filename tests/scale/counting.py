"""What a piece of work asks of SQLite: statements, rows fetched, steps of its virtual machine, full scans.

Owns: hooks on the engines of `Database` objects. Must not: know what is asked. The steps are what reading
rows costs, whether they come back or not: a count over a table, a filter without an index.
"""

import contextlib
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from gureum.core.db import Database

STEPS_AT_ONCE = 20


@dataclass(slots=True)
class Work:
    """What was asked. `scans`: (statement, line of the query plan) of every full scan."""

    statements: list[tuple[str, str, Any]] = field(default_factory=list)
    rows: int = 0
    steps: int = 0

    @property
    def queries(self) -> int:
        """How many statements there were."""
        return len(self.statements)


class Meter:
    """Counts what goes through some databases, one piece of work at a time."""

    def __init__(self, databases: Iterable[Database]) -> None:
        self._databases = {str(database.url): database for database in databases}
        self._counted: Work | None = None
        self._thread = 0
        self._lock = threading.Lock()
        for name, database in self._databases.items():
            self._hook(name, database)

    @property
    def _work(self) -> Work | None:
        """What is counted now; what other threads do beside is not."""
        return self._counted if threading.get_ident() == self._thread else None

    def _hook(self, name: str, database: Database) -> None:
        engine = database.engine

        @event.listens_for(engine, "checkout")
        def checkout(connection: Any, record: Any, proxy: Any) -> None:
            connection.row_factory = self._row
            connection.set_progress_handler(self._progress, STEPS_AT_ONCE)

        @event.listens_for(engine, "before_cursor_execute")
        def before(conn: Any, cursor: Any, text: str, values: Any, ctx: Any, many: bool) -> None:
            if self._work is not None:
                self._work.statements.append((name, text, values[0] if many else values))

    def _row(self, cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._work is not None:
            self._work.rows += 1
        return row

    def _progress(self) -> int:
        if self._work is not None:
            self._work.steps += STEPS_AT_ONCE
        return 0

    @contextlib.contextmanager
    def counting(self) -> Iterator[Work]:
        """Count the work of the block; calls of this process's APIs are in the same thread."""
        with self._lock:
            self._thread = threading.get_ident()
            self._counted = work = Work()
            try:
                yield work
            finally:
                self._counted = None

    def scans(self, work: Work) -> list[tuple[str, str]]:
        """Return the full scans among the statements: (table, statement)."""
        found: list[tuple[str, str]] = []
        for name, text in Counter((name, text) for name, text, _ in work.statements):
            if not text.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            values = next(v for n, t, v in work.statements if (n, t) == (name, text))
            with self._databases[name].engine.connect() as connection:
                cursor = connection.connection.driver_connection.execute(  # type: ignore[union-attr]
                    "EXPLAIN QUERY PLAN " + text, values
                )
                plan = [str(row[3]) for row in cursor.fetchall()]
            found += [(table, text) for table in _scanned(plan, text)]
        return found


def _scanned(plan: list[str], text: str) -> list[str]:
    """Name the tables that a plan reads from one end to the other.

    A walk along an index in the asked order that ends at a LIMIT is no scan.
    """
    words = " ".join(text.upper().split())
    ordered = " ORDER BY " in words and " LIMIT " in words
    ordered = ordered and not any("TEMP B-TREE" in line for line in plan)
    names: list[str] = []
    for line in plan:
        match = re.match(r"SCAN (\w+)(.*)", line)
        if match is None or match.group(1) in ("CONSTANT",):
            continue
        if ordered:
            continue
        names.append(match.group(1))
    return names
