"""Migrations on a server that commits each change of the schema by itself (MariaDB).

Owns: which statement of an unfinished migration comes next. Must not: be used where a transaction can
hold changes of the schema.

Before each statement its number is written. A change of the schema commits what came before it, so a
number that is found later means: all statements before it are done, and this one perhaps.
"""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import exc

# table, column, key, foreign key there already; no such table, column, key
_DONE_BEFORE = frozenset({1050, 1060, 1061, 1826, 1051, 1054, 1091})

metadata = sa.MetaData()
schema_progress = sa.Table(
    "schema_progress",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("statement", sa.Integer, nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)


class Halfway:
    """A connection for one migration that passes over what an earlier, killed run has done."""

    def __init__(self, connection: sa.Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self._here = schema_progress.c.number == number
        row = connection.execute(
            sa.select(schema_progress.c.statement).where(self._here)
        ).one_or_none()
        self._begun = 0 if row is None else int(row.statement)
        self._at = 0
        if row is None:
            connection.execute(sa.insert(schema_progress).values(number=number, statement=0))

    def execute(self, statement: sa.Executable, params: Any = None) -> Any:
        """Run a statement that was not done before; a query always runs."""
        if isinstance(statement, sa.Select):
            return self._connection.execute(statement, params)
        self._at += 1
        if self._at < self._begun:
            return None
        self._connection.execute(
            sa.update(schema_progress).where(self._here).values(statement=self._at)
        )
        try:
            return self._connection.execute(statement, params)
        except exc.DBAPIError as error:
            original = error.orig
            code = original.args[0] if original is not None and original.args else None
            if self._at == self._begun and code in _DONE_BEFORE:
                return None
            raise

    def finish(self) -> None:
        """Forget the progress, in the transaction that records the migration."""
        self._connection.execute(sa.delete(schema_progress).where(self._here))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @property
    def connection(self) -> sa.Connection:
        """This object, for those who want a connection."""
        return cast(sa.Connection, self)
