"""Transactions, paging and migrations on SQLite, in a file and in memory."""

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gureum.core.db import Conflict, Database, Stale, Unavailable
from gureum.core.db.engine import assert_no_transaction, in_transaction
from gureum.core.db.migrate import discover, draft, migrate
from gureum.core.db.page import SortKey, fetch_page
from gureum.core.db.types import JsonText, UtcDateTime

META = sa.MetaData()
THINGS = sa.Table(
    "things",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20)),
    sa.Column("generation", sa.Integer, nullable=False, default=0),
    sa.Column("made_at", UtcDateTime),
    sa.Column("extra", JsonText),
)


@pytest.fixture(params=["file", "memory"])
def database(request: Any, tmp_path: Path) -> Database:
    url = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/x.sqlite"
    made = Database(url)
    with made.write() as tx:
        META.create_all(tx.connection)
    return made


def _ids(database: Database) -> list[int]:
    with database.read() as tx:
        return [row.id for row in tx.all(sa.select(THINGS.c.id).order_by(THINGS.c.id))]


def test_exception_rolls_everything_back(database):
    with pytest.raises(RuntimeError), database.write() as tx:
        tx.insert(THINGS, id=1)
        raise RuntimeError
    with pytest.raises(Conflict), database.write() as tx:
        tx.insert(THINGS, id=1)
        tx.insert(THINGS, id=1)
    assert _ids(database) == []


def test_values_come_back_as_they_went(database):
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    with database.write() as tx:
        tx.insert(THINGS, id=1, made_at=moment, extra={"a": [1, None]})
    with database.read() as tx:
        row = tx.one(sa.select(THINGS))
    assert row is not None and (row.made_at, row.extra) == (moment, {"a": [1, None]})
    with pytest.raises(sa.exc.StatementError), database.write() as tx:
        tx.insert(THINGS, id=2, made_at=datetime(2026, 1, 1))


def test_compare_and_swap_refuses_the_second_writer(database):
    with database.write() as tx:
        tx.insert(THINGS, id=1, generation=0)
    with database.write() as tx:
        assert tx.update_at(THINGS, THINGS.c.id == 1, 0, name="first") == 1
    with pytest.raises(Stale), database.write() as tx:
        tx.update_at(THINGS, THINGS.c.id == 1, 0, name="second")


def test_parallel_writers_lose_nothing(database):
    def work(number: int) -> None:
        for step in range(20):
            database.retrying(lambda tx, id=number * 100 + step: tx.insert(THINGS, id=id))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_ids(database)) == 160


def test_a_transaction_inside_another_is_refused(database):
    with database.read():
        assert in_transaction()
        with pytest.raises(RuntimeError), database.write():
            pass
        with pytest.raises(RuntimeError):
            assert_no_transaction("a call")
    assert not in_transaction()


def test_after_commit_runs_only_after_a_commit(database):
    ran: list[str] = []
    with database.write() as tx:
        tx.after_commit(lambda: ran.append("yes"))
        assert ran == []
    with pytest.raises(RuntimeError), database.write() as tx:
        tx.after_commit(lambda: ran.append("no"))
        raise RuntimeError
    assert ran == ["yes"]


def test_locked_and_read_only_files_are_unavailable(tmp_path):
    path = tmp_path / "x.sqlite"
    one = Database(f"sqlite:///{path}", busy_timeout_s=0.05)
    two = Database(f"sqlite:///{path}", busy_timeout_s=0.05)
    with one.write() as tx:
        META.create_all(tx.connection)
        done = threading.Event()
        seen: list[Exception] = []

        def other() -> None:
            try:
                with two.write():
                    pass
            except Unavailable as error:
                seen.append(error)
            done.set()

        threading.Thread(target=other).start()
        assert done.wait(5)
    assert seen
    with pytest.raises(Unavailable), Database("sqlite:////nowhere/at/all.sqlite").read():
        pass


@pytest.mark.parametrize("descending", [False, True])
def test_pages_cover_every_row_once_also_with_nulls(database, descending):
    names = [None, "b", "a", None, "b", "c"]
    with database.write() as tx:
        tx.insert_many(THINGS, [{"id": i, "name": n, "generation": 0} for i, n in enumerate(names)])
    keys = [SortKey(THINGS.c.name, descending), SortKey(THINGS.c.id, descending)]
    seen: list[tuple[Any, int]] = []
    marker: list[Any] | None = None
    more = True
    while more:
        with database.read() as tx:
            rows, more = fetch_page(tx, sa.select(THINGS), keys, marker, 2)
        seen += [(row.name, row.id) for row in rows]
        marker = [rows[-1].name, rows[-1].id]
    expected = sorted(
        ((n, i) for i, n in enumerate(names)), key=lambda p: (p[0] is not None, p[0] or "", p[1])
    )
    assert seen == (expected[::-1] if descending else expected)


_ONE = "import sqlalchemy as sa\ndef upgrade(op):\n    op.create_table('a', sa.Column('x', sa.Integer))\n"
_TWO = "import sqlalchemy as sa\ndef upgrade(op):\n    op.add_column('a', sa.Column('y', sa.Integer))\n"


def test_migrations_run_once_and_in_order(tmp_path):
    folder = tmp_path / "steps_ok"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "0001_one.py").write_text(_ONE)
    (folder / "0002_two.py").write_text(_TWO)
    sys.path.insert(0, str(tmp_path))
    database = Database(f"sqlite:///{tmp_path}/m.sqlite")
    assert [step.number for step in migrate(database, "steps_ok")] == [1, 2]
    assert migrate(database, "steps_ok") == []
    with database.read() as tx:
        assert tx.all(sa.text("SELECT x, y FROM a")) == []
    (folder / "0002_two.py").unlink()
    with pytest.raises(RuntimeError, match="newer"):
        migrate(database, "steps_ok")
    (folder / "0003_three.py").write_text(_TWO)
    with pytest.raises(ValueError, match="1, 2, 3"):
        discover("steps_ok")


def test_draft_writes_what_is_missing(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/m.sqlite")
    assert "create_table" in draft(database, META)
    with database.write() as tx:
        META.create_all(tx.connection)
    assert draft(database, META) == ""
