"""Moves every service's rows from one kind of database to another.

Owns: the order, the batches, what is remembered of a copy in the target, the comparison afterwards. Must
not: change the source, or touch a target that holds rows of others.

Each batch and the key that it ends with are written in one transaction of the target, so that a copy that
was killed goes on where it was. Rows are compared by what the services see (times, truth values, JSON),
not by how a database keeps them; the checksum does not depend on an order, which databases sort differently.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.db.engine import Database
from gureum.core.db.errors import DatabaseError
from gureum.core.db.migrate import applied, discover, migrate
from gureum.core.db.types import UtcDateTime
from gureum.core.service import DatabaseSpec

BATCH = 500

_metadata = sa.MetaData()
_progress = sa.Table(
    "gureum_copy",
    _metadata,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("last_key", sa.Text),
    sa.Column("copied", sa.BigInteger, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)

Row = Mapping[str, Any]
Key = tuple[Any, ...]


class CopyFailed(Exception):
    """A copy cannot begin, go on, or be trusted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class TableSum:
    """What a table holds: rows, and a checksum over all of them."""

    rows: int = 0
    checksum: int = 0

    def __str__(self) -> str:
        return f"{self.rows} rows, checksum {self.checksum:032x}"


@dataclass(slots=True)
class Copied:
    """How one database went."""

    name: str
    rows: int = 0
    resumed_from: int = 0
    seconds: float = 0.0
    tables: dict[str, TableSum] = field(default_factory=dict)


def copy(
    spec: DatabaseSpec,
    source: Database,
    target: Database,
    *,
    resume: bool = False,
    batch: int = BATCH,
    at: Callable[[str], None] = lambda text: None,
) -> Copied:
    """Copy one database and compare. Raises: CopyFailed, DatabaseError."""
    begun = time.monotonic()
    _check_source(spec, source)
    _prepare(spec, target, resume=resume)
    result = Copied(spec.name)
    with _held(source):
        tables = list(spec.tables.sorted_tables)
        for table in tables:
            at(f"{spec.name}: {table.name}")
            new, before = _copy_table(table, source, target, batch)
            result.rows += new + before
            result.resumed_from += before
        _set_sequences(tables, target)
        for table in tables:
            at(f"{spec.name}: comparing {table.name}")
            result.tables[table.name] = _compare(spec, table, source, target, batch)
    result.seconds = time.monotonic() - begun
    return result


def forget(target: Database) -> None:
    """Drop what is remembered of a copy, once every database is whole."""
    with target.write() as tx:
        _metadata.drop_all(tx.connection)


class _held:
    """Keep writers away from an SQLite source; readers go on."""

    def __init__(self, source: Database) -> None:
        self._source = source
        self._connection: sa.Connection | None = None

    def __enter__(self) -> None:
        if self._source.kind != "sqlite" or self._source.memory:
            return
        self._connection = self._source.engine.connect()
        try:
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            self._connection.close()
            raise CopyFailed(
                f"{self._source.url.database} is being written to: {error.orig}\n"
                "Stop the cloud first: gureum down"
            ) from error

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.rollback()
            self._connection.close()


def _check_source(spec: DatabaseSpec, source: Database) -> None:
    known = {step.number for step in discover(spec.migrations)}
    with source.read() as tx:
        there = sa.inspect(tx.connection).has_table("schema_migrations")
    if not there:
        raise CopyFailed(f"the source has no database {spec.name}; is it the right one?")
    with source.write() as tx:
        have = applied(tx)
    if have != known:
        raise CopyFailed(
            f"the source of {spec.name} has migrations {sorted(have)}, this program {sorted(known)}.\n"
            "Bring it up to date first: gureum db migrate"
        )


def _prepare(spec: DatabaseSpec, target: Database, *, resume: bool) -> None:
    """Tables in the target, without rows but for those of an earlier run of this copy."""
    try:
        with target.read() as tx:
            inspector = sa.inspect(tx.connection)
            begun = inspector.has_table(_progress.name)
            migrated = inspector.has_table("schema_migrations")
    except DatabaseError as error:
        raise CopyFailed(f"the target of {spec.name} does not answer: {error}{_how(target)}") from error
    if begun and not resume:
        raise CopyFailed(f"the target of {spec.name} holds an unfinished copy; go on with --resume")
    if not begun and migrated:
        for table in spec.tables.sorted_tables:
            if _holds_rows(target, table):
                raise CopyFailed(
                    f"the target of {spec.name} has rows in {table.name} that are not of a copy.\n"
                    "Copy into an empty database: drop and create it, or name another one"
                )
    with target.write() as tx:
        _metadata.create_all(tx.connection)  # from here on it is a copy, and goes on with --resume
    migrate(target, spec.migrations)
    with target.write() as tx:
        if tx.first(sa.select(_progress).limit(1)) is None:
            for table in reversed(spec.tables.sorted_tables):
                tx.execute(sa.delete(table))  # what migrations themselves wrote comes with the source


def _how(target: Database) -> str:
    name = target.url.database
    if target.kind in ("mysql", "mariadb"):
        return f"\nIs it made? CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"
    if target.kind == "postgresql":
        return f"\nIs it made? CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0;"
    return ""


def _holds_rows(database: Database, table: sa.Table) -> bool:
    with database.read() as tx:
        if not sa.inspect(tx.connection).has_table(table.name):
            return False
        return tx.first(sa.select(sa.literal(1)).select_from(table).limit(1)) is not None


# --- copying -------------------------------------------------------------------------------------


def _copy_table(table: sa.Table, source: Database, target: Database, batch: int) -> tuple[int, int]:
    """Copy what is missing; returns how many rows now, and how many by earlier runs."""
    with target.read() as tx:
        row = tx.one(sa.select(_progress).where(_progress.c.table_name == table.name))
    before = int(row.copied) if row is not None else 0
    if row is not None and row.done:
        return 0, before
    last: Key | None = None
    if row is not None and row.last_key:
        last = tuple(
            datetime.fromisoformat(value) if isinstance(column.type, UtcDateTime) else value
            for column, value in zip(
                table.primary_key, msgspec.json.decode(row.last_key), strict=True
            )
        )
    new = 0
    batches = _parents_first(table, source) if _of_itself(table) else None
    for rows in batches if batches is not None else _batches(table, source, batch, last):
        new += len(rows)
        key = [rows[-1][column.name] for column in table.primary_key]
        _write_batch(table, target, rows, before + new, key)
    _mark(table, target, copied=before + new, done=True)
    return new, before


def _write_batch(
    table: sa.Table, target: Database, rows: Sequence[Row], copied: int, key: list[Any]
) -> None:
    with target.write() as tx:
        tx.insert_many(table, rows)
        _set_progress(tx, table, copied, msgspec.json.encode(key).decode(), done=False)


def _mark(table: sa.Table, target: Database, *, copied: int, done: bool) -> None:
    with target.write() as tx:
        _set_progress(tx, table, copied, None, done=done)


def _set_progress(tx: Any, table: sa.Table, copied: int, key: str | None, *, done: bool) -> None:
    here = _progress.c.table_name == table.name
    there = tx.one(sa.select(_progress.c.table_name).where(here)) is not None
    values = {"last_key": key, "copied": copied, "done": done}
    if there:
        tx.update(_progress, here, **values)
    else:
        tx.insert(_progress, table_name=table.name, **values)


def _batches(
    table: sa.Table, database: Database, batch: int, last: Key | None = None
) -> Iterator[list[Row]]:
    """Rows in the order of their key, from the one after `last` on."""
    keys = list(table.primary_key)
    if not keys:
        raise CopyFailed(f"the table {table.name} has no primary key and cannot be copied in order")
    while True:
        query = sa.select(table).order_by(*keys).limit(batch)
        if last is not None:
            query = query.where(_after(keys, last))
        with database.read() as tx:
            rows: list[Row] = [dict(row._mapping) for row in tx.all(query)]
        if rows:
            yield rows
        if len(rows) < batch:
            return
        last = tuple(rows[-1][key.name] for key in keys)


def _after(keys: Sequence[sa.Column[Any]], last: Key) -> sa.ColumnElement[bool]:
    """Rows whose key is greater, column by column."""
    choices = []
    for at, column in enumerate(keys):
        equal = [one == value for one, value in zip(keys[:at], last[:at], strict=True)]
        choices.append(sa.and_(*equal, column > sa.literal(last[at], column.type)))
    return sa.or_(*choices)


def _of_itself(table: sa.Table) -> bool:
    return any(key.column.table is table for column in table.columns for key in column.foreign_keys)


def _parents_first(table: sa.Table, database: Database) -> Iterator[list[Row]]:
    """All rows of a table whose rows point at each other, in one batch; such tables are small."""
    pairs = [
        (column.name, key.column.name)
        for column in table.columns
        for key in column.foreign_keys
        if key.column.table is table
    ]
    waiting = [row for rows in _batches(table, database, BATCH) for row in rows]
    ordered: list[Row] = []
    while waiting:
        known = {(name, row[name]) for row in ordered for _, name in pairs}
        ready = [
            row
            for row in waiting
            if all(row[own] is None or (name, row[own]) in known for own, name in pairs)
        ]
        if not ready:
            raise CopyFailed(f"rows of {table.name} point at each other in a circle")
        ordered += ready
        waiting = [row for row in waiting if row not in ready]
    if ordered:
        yield ordered


def _set_sequences(tables: Sequence[sa.Table], target: Database) -> None:
    """PostgreSQL counts on from what its sequences say, not from the rows; the others do so themselves."""
    if target.kind != "postgresql":
        return
    with target.write() as tx:
        for table in tables:
            column = table.autoincrement_column
            if column is None:
                continue
            highest = tx.scalar(sa.select(sa.func.max(column)))
            sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
            if highest is not None and tx.scalar(sa.select(sequence)) is not None:
                tx.execute(sa.select(sa.func.setval(sequence, highest)))


# --- comparing -----------------------------------------------------------------------------------


def table_sum(table: sa.Table, database: Database, batch: int = BATCH) -> TableSum:
    """Count and checksum of a table's rows, as the services read them."""
    count = total = 0
    for rows in _batches(table, database, batch):
        for row in rows:
            values = [row[column.name] for column in table.columns]
            digest = hashlib.sha256(msgspec.json.encode(values)).digest()
            total = (total + int.from_bytes(digest[:16], "big")) % (1 << 128)
        count += len(rows)
    return TableSum(count, total)


def _compare(
    spec: DatabaseSpec, table: sa.Table, source: Database, target: Database, batch: int
) -> TableSum:
    ours, theirs = table_sum(table, source, max(batch, BATCH)), table_sum(
        table, target, max(batch, BATCH)
    )
    if ours != theirs:
        raise CopyFailed(
            f"{spec.name}.{table.name} differs: source {ours}; target {theirs}.\n"
            "Drop and create the target's database and copy again"
        )
    return ours
