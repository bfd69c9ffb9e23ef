"""`gureum saga` finds, shows and moves sagas, in whichever database they are."""

import pytest
import sqlalchemy as sa

from gureum import components
from gureum.__main__ import main
from gureum.core.context import Context
from gureum.core.db import Database
from gureum.core.saga import Engine, Saga, SagaAbort, SagaStore, Step
from gureum.nova.logic.saga_params import ServerDeleteParams
from gureum.nova.store.tables import CELL

SERVER = "5e000000-0000-4000-8000-000000000001"


def fail(step):
    raise SagaAbort("nope", "It cannot be.", detail="the reason for operators")


def stuck_undo(step):
    raise ValueError("never")


SAGA = Saga(
    "nova.server.delete",
    Step("dig", do=fail, undo=stuck_undo, undo_tries=1),
    params=ServerDeleteParams,
)


@pytest.fixture
def cloud(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "gureum.toml").write_text(
        f'[database]\nconnection = "sqlite:///{tmp_path}/{{service}}.sqlite"\n'
    )
    for service in components.services():
        for spec in service.databases:
            if "sagas" in spec.tables.tables:
                database = Database(f"sqlite:///{tmp_path}/{spec.name}.sqlite")
                spec.tables.create_all(database.engine)
    database, store = Database(f"sqlite:///{tmp_path}/nova_cell1.sqlite"), SagaStore(CELL)
    with database.write() as tx:
        saga_id = store.submit(
            tx,
            SAGA,
            resource_id=SERVER,
            params=ServerDeleteParams(SERVER),
            ctx=Context(request_id="req-1"),
        )

    def run(*words):
        return main(["saga", *words, "--state-dir", str(tmp_path)])

    run.saga_id = saga_id
    run.engine = Engine(database, store, [SAGA], deps=None, name="test")
    run.state = lambda: _state(database)
    return run


def _state(database):
    with database.read() as tx:
        return tx.scalar(sa.select(CELL.tables["sagas"].c.state))


def test_sagas_are_listed_and_shown(cloud, capsys):
    assert cloud("list") == 0
    assert SERVER in capsys.readouterr().out
    cloud("list", "--stuck")
    assert "no saga is stuck" in capsys.readouterr().out
    cloud.engine.run_due()
    cloud("list", "--stuck")
    assert cloud.saga_id in capsys.readouterr().out
    for wanted in (cloud.saga_id, SERVER):
        assert cloud("show", wanted) == 0
        shown = capsys.readouterr().out
        assert "the reason for operators" in shown and "undoing" in shown and "req-1" in shown


def test_stuck_saga_is_retried_and_skipped(cloud, capsys):
    cloud.engine.run_due()
    assert cloud("retry", cloud.saga_id) == 0
    assert cloud.engine.run_due() == 1
    assert cloud.state() == "stuck"
    assert cloud("skip", SERVER) == 0
    assert "the undo of dig is skipped" in capsys.readouterr().out
    cloud.engine.run_due()
    assert cloud.state() == "failed"
    assert cloud("skip", SERVER) == 1
    cloud("list")
    assert "no saga is under way" in capsys.readouterr().out


def test_saga_is_cancelled(cloud, capsys):
    assert cloud("cancel", cloud.saga_id) == 0
    cloud.engine.run_due()
    assert cloud.state() == "cancelled"


def test_what_is_not_there_is_said(cloud, capsys):
    assert cloud("show", "nonsense") == 1
    assert cloud("show") == 1
    assert "needs the id" in capsys.readouterr().err
