"""Engines and transactions over SQLite, MariaDB and PostgreSQL.

Owns: connections, the write transaction of SQLite (`BEGIN IMMEDIATE`, one writer a process at a time),
the mapping of driver errors, and the guard that no call leaves the process inside a transaction.
Must not: know any table.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import QueuePool, StaticPool

from gureum.core import guard, reading
from gureum.core.db.errors import CommitUnknown, Conflict, DatabaseError, Stale, Unavailable
from gureum.core.guard import assert_no_transaction, in_transaction

__all__ = ["Database", "Tx", "assert_no_transaction", "in_transaction", "translate"]

T = TypeVar("T")


class Tx:
    """One open transaction. Not thread-safe; ends with its `with` block.

    deps: the object of the service that owns the database (options, clients).
    """

    __slots__ = ("_after", "connection", "deps", "queries", "writable")

    def __init__(self, connection: sa.Connection, writable: bool, deps: Any = None) -> None:
        self.connection = connection
        self.deps = deps
        self.writable = writable
        self.queries = 0
        self._after: list[Callable[[], None]] = []

    def execute(self, statement: sa.Executable, params: Any = None) -> sa.CursorResult[Any]:
        """Run a statement. Raises: Conflict, Unavailable, DatabaseError."""
        self.queries += 1
        try:
            return self.connection.execute(statement, params)
        except exc.IntegrityError as error:
            raise Conflict(str(error.orig)) from error
        except exc.DBAPIError as error:
            raise translate(error) from error

    def one(self, statement: sa.Executable, params: Any = None) -> sa.Row[Any] | None:
        """Return the only row, or None. A second row is a programming error."""
        return self.execute(statement, params).one_or_none()

    def first(self, statement: sa.Executable, params: Any = None) -> sa.Row[Any] | None:
        """Return the first row, or None."""
        return self.execute(statement, params).first()

    def all(self, statement: sa.Executable, params: Any = None) -> Sequence[sa.Row[Any]]:
        """Return every row."""
        return self.execute(statement, params).all()

    def by(self, column: sa.Column[Any], value: Any) -> sa.Row[Any] | None:
        """Return the only row of the column's table that has a value in it, or None.

        The statement is made once for a column: making one costs twice what running it does.
        """
        return self.one(_by(column), {"value": value})

    def among(
        self, column: sa.Column[Any], values: Iterable[Any], *order: sa.Column[Any]
    ) -> Sequence[sa.Row[Any]]:
        """Return the rows of the column's table that have one of these values in it."""
        wanted = list(values)
        if len(wanted) == 1:  # a list of any length is spelled out anew each time
            return self.all(_by(column, order), {"value": wanted[0]})
        return self.all(_among(column, order), {"values": wanted}) if wanted else []

    def scalar(self, statement: sa.Executable, params: Any = None) -> Any:
        """Return the first column of the first row, or None."""
        return self.execute(statement, params).scalar()

    def insert(self, table: sa.Table, **values: Any) -> None:
        """Insert one row. Raises: Conflict."""
        if _plain(values):
            self.execute(_insert(table, frozenset(values)), values)
        else:
            self.execute(sa.insert(table).values(**values))

    def insert_many(self, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows in one statement; nothing to insert is fine. Raises: Conflict."""
        batch = list(rows)
        if len(batch) == 1:
            self.insert(table, **batch[0])
        elif batch:
            self.execute(sa.insert(table), batch)

    def update(self, table: sa.Table, where: sa.ColumnElement[bool], **values: Any) -> int:
        """Update rows and return how many matched."""
        return self.execute(sa.update(table).where(where).values(**values)).rowcount

    def update_by(self, column: sa.Column[Any], value: Any, /, **values: Any) -> int:
        """Update the rows with a value in one column; returns how many. The statement is made once."""
        if not _plain(values):
            return self.execute(
                sa.update(column.table).where(column == value).values(**values)
            ).rowcount
        asked = {**values, "_value": value}
        return self.execute(_update_by(column, frozenset(values)), asked).rowcount

    def update_at(
        self, table: sa.Table, where: sa.ColumnElement[bool], generation: int, **values: Any
    ) -> int:
        """Compare-and-swap one row on its `generation`; returns the new one. Raises: Stale."""
        matched = self.update(
            table,
            sa.and_(where, table.c.generation == generation),
            generation=generation + 1,
            **values,
        )
        if matched != 1:
            raise Stale(f"{table.name} is no longer at generation {generation}")
        return generation + 1

    def delete(self, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
        """Delete rows and return how many."""
        return self.execute(sa.delete(table).where(where)).rowcount

    def delete_by(self, column: sa.Column[Any], value: Any) -> int:
        """Delete the rows with a value in one column; returns how many. The statement is made once."""
        return self.execute(_delete_by(column), {"_value": value}).rowcount

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run an action once the transaction is committed; a hint only, never the intent itself."""
        self._after.append(action)


def _plain(values: Mapping[str, Any]) -> bool:
    """Whether all values are values, not SQL."""
    return not any(isinstance(value, sa.ClauseElement) for value in values.values())


@cache
def _by(column: sa.Column[Any], order: tuple[sa.Column[Any], ...] = ()) -> sa.Select[Any]:
    value = sa.bindparam("value", type_=column.type)
    return sa.select(column.table).where(column == value).order_by(*order)


@cache
def _insert(table: sa.Table, names: frozenset[str]) -> sa.Insert:
    return sa.insert(table).values({name: sa.bindparam(name) for name in sorted(names)})


@cache
def _update_by(column: sa.Column[Any], names: frozenset[str]) -> sa.Update:
    value = sa.bindparam("_value", type_=column.type)
    bound: dict[str, Any] = {name: sa.bindparam(name) for name in sorted(names)}
    return sa.update(column.table).where(column == value).values(bound)


@cache
def _delete_by(column: sa.Column[Any]) -> sa.Delete:
    value = sa.bindparam("_value", type_=column.type)
    return sa.delete(column.table).where(column == value)


@cache
def _among(column: sa.Column[Any], order: tuple[sa.Column[Any], ...]) -> sa.Select[Any]:
    values = sa.bindparam("values", expanding=True, type_=column.type)
    return sa.select(column.table).where(column.in_(values)).order_by(*order)


_UNAVAILABLE_SQLITE = (
    "locked",
    "busy",
    "readonly",
    "full",
    "unable to open",
    "disk i/o",
    "no more",
)
# MariaDB says by number: who may not connect (104x), no node of a Galera cluster (1047), shutdown,
# full disk (3, 1021, 1026, 1114: a table's), network (115x-1161), lock wait (1205), deadlock or failed
# certification (1213), read-only (1290, 1792, 1836), limits (1040, 1203, 1226), interrupted or killed
# (1317, 1927), lost (20xx).
_RETRY_MYSQL = frozenset(
    {3, 1020, 1021, 1026, 1040, 1041, 1042, 1043, 1044, 1045, 1047, 1049, 1053, 1080, 1114, 1152}
    | {1158, 1159, 1160, 1161, 1180, 1184, 1203, 1205, 1213, 1226, 1290, 1317, 1792, 1836}
    | {1927, 1969, 2002, 2003, 2006, 2013, 2014, 2055, 4031}
)
# PostgreSQL by class: 40 serialization and deadlock, 57 operator, 08 connection, 53 resources.
_RETRY_PG = ("40", "57", "08", "53", "25006", "25P03", "25P04", "55P03")
_FULL_MYSQL = "error 28"  # what the storage engine was told (1030): no space left on device
# After these a commit may or may not have happened.
_LOST_MYSQL = frozenset({0, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927})
_LOST_MYSQL |= frozenset({2002, 2003, 2006, 2013, 2014, 2055, 4031})
_LOST_PG = ("57", "08")


def translate(error: exc.DBAPIError) -> DatabaseError:
    """Turn a driver's error into ours."""
    original = error.orig
    text = str(original)
    if error.connection_invalidated:
        return Unavailable(text)
    code = getattr(original, "sqlstate", None)
    if code is not None and str(code).startswith(_RETRY_PG):
        return Unavailable(text)
    number = original.args[0] if original is not None and original.args else None
    if isinstance(number, int):
        away = number in _RETRY_MYSQL or (number == 1030 and _FULL_MYSQL in text)
        return Unavailable(text) if away else DatabaseError(text)
    if isinstance(error, exc.OperationalError) and (
        code is None or any(word in text.lower() for word in _UNAVAILABLE_SQLITE)
    ):
        return Unavailable(text)
    return DatabaseError(text)


def _is_lost(error: exc.DBAPIError) -> bool:
    """Whether the connection failed rather than the statement: the server may have carried it out."""
    original = error.orig
    if error.connection_invalidated:
        return True
    code = getattr(original, "sqlstate", None)
    number = original.args[0] if original is not None and original.args else None
    if isinstance(number, int):
        return number in _LOST_MYSQL
    return isinstance(error, exc.OperationalError) and (
        code is None or str(code).startswith(_LOST_PG)
    )


class Database:
    """One logical database. `read()` and `write()` open a transaction; nesting is refused.

    url: an SQLAlchemy URL; `sqlite://` alone is a private database in memory.
    """

    def __init__(self, url: str, *, pool_size: int = 16, busy_timeout_s: float = 10.0) -> None:
        self.url = sa.make_url(url)
        self.kind = self.url.get_backend_name()
        self.deps: Any = None
        self._writer = threading.RLock()
        self._looker: sqlite3.Connection | None = None  # sees the commits of all others
        self._looking = threading.Lock()
        self._commits = 0
        self._engine = self._make_engine(pool_size, busy_timeout_s)
        self.memory = self.kind == "sqlite" and self.url.database in (None, "", ":memory:")

    def _make_engine(self, pool_size: int, busy_timeout_s: float) -> sa.Engine:
        if self.kind != "sqlite":
            isolation = "READ COMMITTED"
            return sa.create_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_pre_ping=True,
                pool_recycle=1800,
                pool_reset_on_return=None,  # whoever opened a transaction has ended it
                isolation_level=isolation,
            )
        memory = self.url.database in (None, "", ":memory:")
        engine = sa.create_engine(
            self.url,
            poolclass=StaticPool if memory else QueuePool,
            connect_args={
                "check_same_thread": False,
                "timeout": busy_timeout_s,
                "isolation_level": None,
            },
            **({} if memory else {"pool_size": pool_size, "max_overflow": pool_size}),
        )

        @event.listens_for(engine, "connect")
        def _pragmas(connection: Any, record: Any) -> None:
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                "synchronous=NORMAL",
                "foreign_keys=ON",
                "temp_store=MEMORY",
                "cache_size=-4000",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        return engine

    @property
    def engine(self) -> sa.Engine:
        """The engine, for migrations and tests."""
        return self._engine

    def version(self) -> int | None:
        """Return a number that differs once anybody has committed a change.

        None on a server, where a look costs a round trip.
        """
        if self.kind != "sqlite":
            return None
        if self.memory:
            return self._commits
        try:
            with self._looking:
                if self._looker is None:  # not of the pool, and it never waits: a loop may ask
                    self._looker = sqlite3.connect(
                        str(self.url.database), timeout=0, isolation_level=None, check_same_thread=False
                    )
                row = self._looker.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return int(row[0])

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a transaction that sees one consistent state and writes nothing."""
        reading.read(self)
        with self._begin("BEGIN" if self.kind == "sqlite" else None, writable=False) as tx:
            yield tx

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction that commits at the end of the block, or rolls back on an exception.

        Raises: Unavailable (CommitUnknown when the commit may have happened), Conflict (constraints
        that are checked at commit).
        """
        if self.kind != "sqlite":
            with self._begin(None, writable=True) as tx:
                yield tx
            self._run_after(tx)
            return
        with self._writer:
            try:
                with self._begin("BEGIN IMMEDIATE", writable=True) as tx:
                    yield tx
            finally:
                self._commits += 1
        self._run_after(tx)

    @staticmethod
    def _run_after(tx: Tx) -> None:
        for action in tx._after:
            action()

    @contextlib.contextmanager
    def _begin(self, begin: str | None, *, writable: bool) -> Iterator[Tx]:
        assert_no_transaction("a second transaction")
        lock = self._writer if self.memory_shared() else contextlib.nullcontext()
        with lock:
            try:
                connection = self._engine.connect()
            except exc.DBAPIError as error:
                raise translate(error) from error
            except exc.TimeoutError as error:
                raise Unavailable("no free database connection") from error
            guard.entered()
            try:
                tx = Tx(connection, writable, self.deps)
                if begin is not None:
                    self._begin_sqlite(connection, begin)
                yield tx
                try:
                    connection.commit()
                except exc.IntegrityError as error:
                    raise Conflict(str(error.orig)) from error
                except exc.DBAPIError as error:
                    if writable and self.kind != "sqlite" and _is_lost(error):
                        raise CommitUnknown(str(error.orig)) from error
                    raise translate(error) from error
            except BaseException:
                try:
                    connection.rollback()
                except exc.DBAPIError:
                    connection.invalidate()  # nobody may get it with what is open there
                raise
            finally:
                guard.left()
                connection.close()

    @staticmethod
    def _begin_sqlite(connection: sa.Connection, begin: str) -> None:
        """Begin on the driver itself: SQLAlchemy ends what it finds open, at a fifth of the cost."""
        driver: Any = connection.connection.driver_connection
        try:
            driver.execute(begin)
        except sqlite3.Error as error:
            raise Unavailable(str(error)) from error

    def memory_shared(self) -> bool:
        """Whether all threads share one connection (an in-memory SQLite)."""
        return self.kind == "sqlite" and self.url.database in (None, "", ":memory:")

    def retrying(self, work: Callable[[Tx], T], *, attempts: int = 5) -> T:
        """Run `work` in a write transaction, again when the database was busy or the row stale.

        A commit whose answer was lost counts as failed although it may have happened: `work` is then run
        on top of its own result, so it compares generations or inserts under a given id.

        Raises: whatever the last attempt raised; CommitUnknown instead of Unavailable or Stale when any
        attempt may have been committed.
        """
        unknown = False
        for attempt in range(attempts):
            try:
                with self.write() as tx:
                    return work(tx)
            except (Unavailable, Stale) as error:
                unknown = unknown or isinstance(error, CommitUnknown)
                if attempt == attempts - 1:
                    if unknown and not isinstance(error, CommitUnknown):
                        raise CommitUnknown(str(error)) from error
                    raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close every idle connection."""
        with self._looking:
            if self._looker is not None:
                self._looker.close()
                self._looker = None
        self._engine.dispose()
