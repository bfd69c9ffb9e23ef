"""MariaDB and PostgreSQL hold every service as SQLite does: schemas, races, lost connections, suites.

The suites run in a subprocess on the same servers through GUREUM_TEST_DATABASE_URL (see tests/databases.py).
"""

import importlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dblab
import pytest
import sqlalchemy as sa
from databases import VARIABLE

from gureum.components import SERVICES
from gureum.core.db import Conflict, Database, Stale, Unavailable
from gureum.core.db.halfway import schema_progress
from gureum.core.db.migrate import OWN_TABLES, draft, migrate
from gureum.core.service import DatabaseSpec

TESTS = Path(__file__).resolve().parents[1]
KINDS = ("mariadb", "postgresql")
WAIT_S = 60.0
NAME_LIMIT = 63  # PostgreSQL's; MariaDB allows 64
KEY_LIMIT_BYTES = 3072
SUITES = (
    "api/placement",
    "api/glance/test_leftovers.py",
    "api/keystone/test_tokens.py",
    "api/neutron/test_ports.py",
    "api/nova/test_nova_lists.py",
    "unit/core_saga/test_saga_engine.py",
)
SLOW = "not thousand_ports and not stopping_engine"

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

META = sa.MetaData()
THINGS = sa.Table(
    "things",
    META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(60), unique=True),
    sa.Column("value", sa.Integer, nullable=False, default=0),
    sa.Column("generation", sa.Integer, nullable=False, default=0),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
_numbers = itertools.count(1)


def _specs() -> list[DatabaseSpec]:
    modules = [importlib.import_module(name) for name in SERVICES]
    return [spec for module in modules for spec in module.SERVICE.databases]


def _server(kind: str) -> Iterator[dblab.Server]:
    if reason := dblab.missing(kind):
        pytest.skip(reason)
    with dblab.running(kind) as server:
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[dblab.Server]:
    yield from _server("mariadb")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[dblab.Server]:
    yield from _server("postgresql")


@pytest.fixture(params=KINDS)
def server(request: Any) -> dblab.Server:
    found: dblab.Server = request.getfixturevalue(request.param)
    return found


def _empty(server: dblab.Server, **options: Any) -> Database:
    name = f"made_{next(_numbers)}"
    server.admin(f"CREATE DATABASE {name}")
    return Database(server.url(name), **options)


@pytest.fixture
def database(server: dblab.Server) -> Iterator[Database]:
    made = _empty(server)
    META.create_all(made.engine)
    yield made
    made.close()


# -- schemas -------------------------------------------------------------------------------------


def _shape(database: Database) -> set[tuple[Any, ...]]:
    """Everything that the database says about its tables, but for generated names."""
    found: set[tuple[Any, ...]] = set()
    with database.read() as tx:
        look = sa.inspect(tx.connection)
        for table in look.get_table_names():
            for column in look.get_columns(table):
                kind = column["type"].compile(database.engine.dialect)
                default = str(column["default"])
                found.add((table, column["name"], kind, column["nullable"], default))
            found.add((table, "primary", *look.get_pk_constraint(table)["constrained_columns"]))
            for item in look.get_unique_constraints(table):
                found.add((table, "unique", item["name"], *item["column_names"]))
            for index in look.get_indexes(table):
                found.add((table, index["name"], index["unique"], *index["column_names"]))
            for key in look.get_foreign_keys(table):
                to = (key["referred_table"], *key["referred_columns"])
                rule = key["options"].get("ondelete")
                found.add((table, "foreign", *key["constrained_columns"], *to, rule))
    return {item for item in found if item[0] not in OWN_TABLES}


def _both_ways(migrated: Database, declared: Database, spec: DatabaseSpec) -> None:
    assert migrate(migrated, spec.migrations)
    assert migrate(migrated, spec.migrations) == []
    spec.tables.create_all(declared.engine)
    assert draft(migrated, spec.tables) == ""
    assert draft(declared, spec.tables) == ""
    assert _shape(migrated) == _shape(declared)


@pytest.mark.parametrize("spec", _specs(), ids=lambda spec: spec.name)
def test_migrations_make_the_declared_tables_on_sqlite(spec):
    _both_ways(Database("sqlite://"), Database("sqlite://"), spec)


@pytest.mark.parametrize("spec", _specs(), ids=lambda spec: spec.name)
def test_migrations_make_the_declared_tables(server, spec):
    migrated, declared = _empty(server), _empty(server)
    try:
        _both_ways(migrated, declared, spec)
        if server.kind == "mariadb":
            _check_mariadb_columns(migrated)
    finally:
        migrated.close()
        declared.close()


def _check_mariadb_columns(database: Database) -> None:
    """Texts compare by code point and times keep microseconds, whatever the server's defaults."""
    odd = sa.text(
        "SELECT table_name, column_name, collation_name, column_type FROM information_schema.columns"
        " WHERE table_schema = database() AND (collation_name <> 'utf8mb4_bin'"
        " OR (data_type IN ('datetime', 'timestamp') AND datetime_precision <> 6)"
        " OR data_type = 'float')"
    )
    with database.read() as tx:
        assert tx.all(odd) == []


class _KilledError(Exception):
    """Stands for a SIGKILL: whatever is open is rolled back by the server."""


def _kill_at_next_change(database: Database, *, after: bool) -> Callable[[], None]:
    """Die at the next statement that changes the schema; returns what ends that."""

    def die(*arguments: Any) -> None:
        statement = arguments[2].lstrip().upper()
        own = any(name.upper() in statement for name in OWN_TABLES)
        if statement.startswith(("CREATE", "ALTER", "DROP")) and not own:
            raise _KilledError

    when = "after_cursor_execute" if after else "before_cursor_execute"
    sa.event.listen(database.engine, when, die)
    return lambda: sa.event.remove(database.engine, when, die)


@pytest.mark.parametrize("spec", _specs(), ids=lambda spec: spec.name)
def test_migration_killed_at_each_change_of_the_schema_goes_on(mariadb, spec):
    migrated, declared = _empty(mariadb), _empty(mariadb)
    kills = 0
    try:
        for after in itertools.cycle((False, True)):
            alive = _kill_at_next_change(migrated, after=after)
            try:
                migrate(migrated, spec.migrations)
                break
            except _KilledError:
                kills += 1
            finally:
                alive()
        spec.tables.create_all(declared.engine)
        assert kills > len(spec.tables.tables)
        assert _shape(migrated) == _shape(declared)
        with migrated.read() as tx:
            assert tx.all(sa.select(schema_progress)) == []
    finally:
        migrated.close()
        declared.close()


def test_processes_that_migrate_at_once_wait_for_each_other(server):
    spec = next(spec for spec in _specs() if spec.name == "placement")
    url = _empty(server).url
    done: list[int] = []

    def run() -> None:
        database = Database(url.render_as_string(hide_password=False))
        try:
            done.append(len(migrate(database, spec.migrations)))
        finally:
            database.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(done)[:3] == [0, 0, 0] and max(done) > 0


def _names(table: sa.Table) -> Iterator[str]:
    yield table.name
    yield from (column.name for column in table.columns)
    yield from (str(index.name) for index in table.indexes)
    yield from (str(item.name) for item in table.constraints if item.name)


def _key_bytes(columns: Any) -> int:
    return sum(
        4 * column.type.length if isinstance(column.type, sa.String) and column.type.length else 8
        for column in columns
    )


@pytest.mark.parametrize("spec", _specs(), ids=lambda spec: spec.name)
def test_names_and_keys_fit_every_database(spec):
    for table in spec.tables.sorted_tables:
        assert [name for name in _names(table) if len(name) > NAME_LIMIT] == []
        keys = [index.columns for index in table.indexes]
        keys += [c.columns for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
        for columns in [*keys, table.primary_key.columns]:
            assert _key_bytes(columns) <= KEY_LIMIT_BYTES, (table.name, [c.name for c in columns])
            assert not any(isinstance(c.type, sa.Text) for c in columns), table.name


# -- the engine ----------------------------------------------------------------------------------


def _together(*works: Callable[[], Any]) -> list[Any]:
    """Run works at once; returns each one's result or exception."""
    results: list[Any] = [None] * len(works)

    def run(place: int) -> None:
        try:
            results[place] = works[place]()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads), "a transaction hangs"
    return results


def _value(database: Database, id: int) -> Any:
    with database.read() as tx:
        return tx.scalar(sa.select(THINGS.c.value).where(THINGS.c.id == id))


def test_texts_compare_with_case_and_accents(database):
    with database.write() as tx:
        for number, name in enumerate(("web", "Web", "wéb", "🦉")):
            tx.insert(THINGS, id=number, name=name)
    with database.read() as tx:
        found = tx.all(sa.select(THINGS.c.id).where(THINGS.c.name == "WEB"))
        assert found == []
        assert tx.scalar(sa.select(THINGS.c.name).where(THINGS.c.id == 3)) == "🦉"
    with pytest.raises(Conflict), database.write() as tx:
        tx.insert(THINGS, id=9, name="web")


def test_update_counts_rows_that_already_had_the_value(database):
    with database.write() as tx:
        tx.insert(THINGS, id=1, value=5)
    with database.write() as tx:
        assert tx.update(THINGS, THINGS.c.id == 1, value=5) == 1


def test_deadlock_is_unavailable_and_a_retry_gets_through(database):
    with database.write() as tx:
        tx.insert_many(THINGS, [{"id": 1, "value": 0}, {"id": 2, "value": 0}])
    meet = threading.Barrier(2)

    def work(first: int, second: int, again: bool) -> None:
        met = False

        def body(tx: Any) -> None:
            nonlocal met
            tx.update(THINGS, THINGS.c.id == first, value=THINGS.c.value + 1)
            if not met:
                met = True
                meet.wait(WAIT_S)
            tx.update(THINGS, THINGS.c.id == second, value=THINGS.c.value + 1)

        database.retrying(body, attempts=5 if again else 1)

    results = _together(lambda: work(1, 2, False), lambda: work(2, 1, False))
    assert sorted(type(result) for result in results if result is not None) == [Unavailable]
    assert _value(database, 1) == _value(database, 2) == 1
    assert _together(lambda: work(1, 2, True), lambda: work(2, 1, True)) == [None, None]
    assert _value(database, 1) == _value(database, 2) == 3


def test_compare_and_swap_lets_one_of_two_through(database):
    with database.write() as tx:
        tx.insert(THINGS, id=1)
    meet = threading.Barrier(2)

    def work() -> None:
        with database.write() as tx:
            row = tx.one(sa.select(THINGS).where(THINGS.c.id == 1))
            assert row is not None
            meet.wait(WAIT_S)
            tx.update_at(THINGS, THINGS.c.id == 1, row.generation, value=row.value + 1)

    results = _together(work, work)
    assert sorted(str(type(r).__name__) for r in results) == ["NoneType", "Stale"]
    assert isinstance(next(r for r in results if r), Stale)
    assert _value(database, 1) == 1


def test_connection_lost_inside_a_transaction_is_unavailable(server, database):
    with database.write() as tx:
        tx.insert(THINGS, id=1)
    with pytest.raises(Unavailable), database.write() as tx:
        tx.update(THINGS, THINGS.c.id == 1, value=7)
        assert server.cut_connections(database.url.database) >= 1
        tx.update(THINGS, THINGS.c.id == 1, value=8)
    assert _value(database, 1) == 0
    cut = [True]

    def body(tx: Any) -> None:
        tx.update(THINGS, THINGS.c.id == 1, value=THINGS.c.value + 1)
        if cut:
            cut.pop()
            server.cut_connections(database.url.database)
            tx.scalar(sa.select(THINGS.c.value))

    database.retrying(body)
    assert _value(database, 1) == 1


def test_lost_answer_to_a_commit_is_unavailable(server, database):
    with pytest.raises(Unavailable), database.write() as tx:
        tx.insert(THINGS, id=1)
        server.cut_connections(database.url.database)
    assert _value(database, 1) is None


def test_repeat_after_a_lost_answer_does_the_work_once(server, database):
    wire = dblab.Cut(server.port)
    through = Database(
        database.url.set(port=wire.port).render_as_string(hide_password=False), pool_size=2
    )
    tries: list[int] = []

    def add(tx: Any) -> None:
        tries.append(1)
        if tx.one(sa.select(THINGS).where(THINGS.c.id == 1)) is None:
            tx.insert(THINGS, id=1, value=1)

    try:
        assert _value(through, 1) is None  # MariaDB's driver commits once at the start
        wire.break_at_commit()
        through.retrying(add)
        assert len(tries) == 2
        wire.break_at_commit()
        with pytest.raises(Unavailable), through.write() as tx:
            tx.update(THINGS, THINGS.c.id == 1, value=2)
        assert _value(database, 1) == 2
    finally:
        through.close()
        wire.close()


def test_idle_connections_that_were_cut_are_not_noticed(server, database):
    for number in range(3):
        with database.write() as tx:
            tx.insert(THINGS, id=number)
        server.cut_connections(database.url.database)
    assert _value(database, 2) == 0


def test_refused_connection_is_unavailable(server):
    url = sa.make_url(server.url("made_0")).set(port=dblab.free_port())
    gone = Database(url.render_as_string(hide_password=False))
    with pytest.raises(Unavailable), gone.read():
        pass


@pytest.mark.parametrize("how", [None, signal.SIGKILL], ids=["orderly", "killed"])
def test_writers_outlive_a_restart_of_the_server(server, database, how):
    writers, wanted = 4, 12
    for number in range(writers):
        with database.write() as tx:
            tx.insert(THINGS, id=number)
    begun, failures = threading.Semaphore(0), []
    go_on = threading.Event()

    def bump(tx: Any, number: int, step: int) -> None:
        # The generation makes a repeat after a lost answer harmless.
        row = tx.one(sa.select(THINGS).where(THINGS.c.id == number))
        if row.value == step:
            tx.update_at(THINGS, THINGS.c.id == number, row.generation, value=step + 1)

    def work(number: int) -> None:
        for step in range(wanted):
            if step == 2:
                begun.release()
            if step == wanted - 2:
                go_on.wait(WAIT_S)
            for attempt in range(600):
                try:
                    database.retrying(lambda tx, step=step: bump(tx, number, step), attempts=1)
                    break
                except Unavailable as error:
                    failures.append(error)
                    threading.Event().wait(min(0.05 * (attempt + 1), 0.5))

    def restart() -> None:
        for _ in range(writers):
            assert begun.acquire(timeout=WAIT_S)
        server.stop(how)
        with pytest.raises(Unavailable), database.write():
            pass
        go_on.set()
        server.start()

    results = _together(*(lambda n=n: work(n) for n in range(writers)), restart)
    assert [result for result in results if result is not None] == []
    assert [_value(database, number) for number in range(writers)] == [wanted] * writers
    assert failures


# -- the suites ----------------------------------------------------------------------------------


def test_suites_of_the_services_pass(server, tmp_path):
    name = "{service}_{unique}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
         "--timeout=100", "-k", SLOW, f"--basetemp={tmp_path / 'suites'}",
         *(str(TESTS / suite) for suite in SUITES)],
        env={**os.environ, VARIABLE: server.url("NAME").replace("NAME", name)},
        cwd=TESTS.parent, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
