"""`by` and `among`: rows by one column, with a statement that is made once."""

import pytest
import sqlalchemy as sa

from gureum.core.db import Database
from gureum.core.db.engine import _among, _by

TABLE = sa.Table(
    "t",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(10)),
)


@pytest.fixture
def database():
    database = Database("sqlite://")
    TABLE.create(database.engine)
    with database.write() as tx:
        tx.insert_many(TABLE, [{"id": n, "kind": "odd" if n % 2 else "even"} for n in range(6)])
    yield database
    database.close()


def test_by_returns_the_row_or_none(database):
    with database.read() as tx:
        assert tx.by(TABLE.c.id, 3).kind == "odd"
        assert tx.by(TABLE.c.id, 99) is None


def test_by_refuses_two_rows(database):
    with database.read() as tx, pytest.raises(sa.exc.MultipleResultsFound):
        tx.by(TABLE.c.kind, "odd")


def test_among_returns_the_rows_in_order_and_asks_nothing_for_nothing(database):
    with database.read() as tx:
        assert [row.id for row in tx.among(TABLE.c.id, {5, 1, 77}, TABLE.c.id)] == [1, 5]
        before = tx.queries
        assert list(tx.among(TABLE.c.id, [])) == []
        assert tx.queries == before


def test_statements_are_made_once_for_a_column():
    assert _by(TABLE.c.id) is _by(TABLE.c.id)
    assert _by(TABLE.c.id) is not _by(TABLE.c.kind)
    assert _among(TABLE.c.id, (TABLE.c.kind,)) is not _among(TABLE.c.id, ())


def test_update_by_and_delete_by_tell_how_many(database):
    with database.write() as tx:
        assert tx.update_by(TABLE.c.kind, "odd", kind="strange") == 3
        assert tx.update_by(TABLE.c.id, 99, kind="strange") == 0
        assert tx.delete_by(TABLE.c.kind, "strange") == 3
        assert [row.id for row in tx.all(sa.select(TABLE))] == [0, 2, 4]


def test_a_value_may_be_sql(database):
    with database.write() as tx:
        tx.update_by(TABLE.c.id, 1, kind=TABLE.c.kind + "!")
        tx.insert(TABLE, id=sa.select(sa.func.max(TABLE.c.id) + 1).scalar_subquery(), kind="new")
        assert tx.by(TABLE.c.id, 1).kind == "odd!"
        assert tx.by(TABLE.c.id, 6).kind == "new"


def test_the_column_that_is_asked_for_may_change(database):
    with database.write() as tx:
        assert tx.update_by(TABLE.c.id, 1, id=100) == 1
        assert tx.by(TABLE.c.id, 100).kind == "odd"
