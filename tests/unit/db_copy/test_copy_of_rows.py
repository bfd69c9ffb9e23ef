"""Rows of every service move to another database whole, once, also after a kill."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from gureum import components
from gureum.__main__ import main
from gureum.cli import place as places
from gureum.core.db import Database
from gureum.core.db.migrate import migrate
from gureum.core.db.types import utc_now
from gureum.provision import db_copy
from gureum.provision.databases import names
from gureum.provision.db_copy import CopyFailed
from gureum.testing import Cloud

SPECS = {spec.name: spec for service in components.services() for spec in service.databases}
REGIONS = SPECS["keystone"].tables.tables["regions"]


def regions(database: Database, count: int) -> None:
    """A chain of regions, each the parent of one that sorts before it."""
    with database.write() as tx:
        for number in range(count):
            parent = f"r{1000 - number + 1}" if number else None
            tx.insert(
                REGIONS, **{
                    **{c.name: None for c in REGIONS.columns}, "id": f"r{1000 - number}",
                    **({"description": "d\U0001f600 "} if "description" in REGIONS.c else {}),
                    next(c.name for c in REGIONS.columns if c.foreign_keys): parent,
                    **{c.name: {} for c in REGIONS.columns if "Json" in type(c.type).__name__},
                    **{c.name: utc_now() for c in REGIONS.columns if "Date" in type(c.type).__name__},
                },
            )  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path):
    source, target = (Database(f"sqlite:///{tmp_path}/{name}.sqlite") for name in "st")
    migrate(source, SPECS["keystone"].migrations)
    yield source, target
    source.close()
    target.close()


def rows(database: Database) -> int:
    with database.read() as tx:
        return int(tx.scalar(sa.select(sa.func.count()).select_from(REGIONS)))


def test_rows_arrive_and_agree(pair):
    source, target = pair
    regions(source, 7)
    done = db_copy.copy(SPECS["keystone"], source, target, batch=2)
    assert done.tables["regions"] == db_copy.table_sum(REGIONS, source)
    assert done.tables["regions"].rows == rows(target) == 7
    assert done.rows >= 7


def test_target_with_rows_of_others_is_refused(pair):
    source, target = pair
    migrate(target, SPECS["keystone"].migrations)
    regions(target, 1)
    for resume in (False, True):
        with pytest.raises(CopyFailed, match="rows in regions that are not of a copy"):
            db_copy.copy(SPECS["keystone"], source, target, resume=resume)
    assert rows(target) == 1


class Killed(BaseException):
    pass


def test_stopped_copy_goes_on_where_it_was_with_resume_only(pair, monkeypatch):
    source, target = pair
    table = next(t for t in SPECS["keystone"].tables.sorted_tables if t.name == "revocations")
    with source.write() as tx:
        for number in range(1, 10):
            values = {c.name: None for c in table.columns if c.nullable}
            for c in table.columns:
                if not c.nullable:
                    kind = type(c.type).__name__
                    values[c.name] = (
                        number if kind in ("Integer", "BigInteger") else utc_now()
                        if "Date" in kind else f"v{number}"
                    )  # fmt: skip
            tx.insert(table, **values)
    honest, written = db_copy._write_batch, []

    def killed_at_the_third(table, target, *more):
        if table.name == "revocations":
            written.append(1)
            if len(written) == 3:
                raise Killed
        honest(table, target, *more)

    monkeypatch.setattr(db_copy, "_write_batch", killed_at_the_third)
    with pytest.raises(Killed):
        db_copy.copy(SPECS["keystone"], source, target, batch=2)
    monkeypatch.setattr(db_copy, "_write_batch", honest)
    with pytest.raises(CopyFailed, match="--resume"):
        db_copy.copy(SPECS["keystone"], source, target)
    done = db_copy.copy(SPECS["keystone"], source, target, resume=True, batch=2)
    assert done.resumed_from >= 4 and done.tables["revocations"].rows == 9
    again = db_copy.copy(SPECS["keystone"], source, target, resume=True)
    assert again.rows == again.resumed_from == done.rows


@pytest.mark.parametrize("after", [False, True])
def test_copy_killed_while_it_makes_tables_goes_on(tmp_path, monkeypatch, after):
    # a migration of glance writes rows itself
    spec = SPECS["glance"]
    source, target = (Database(f"sqlite:///{tmp_path}/{name}.sqlite") for name in "st")
    migrate(source, spec.migrations)

    def killed(database: Database, package: str) -> None:
        if after:
            migrate(database, package)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(db_copy, "migrate", killed)
        with pytest.raises(Killed):
            db_copy.copy(spec, source, target)
    with pytest.raises(CopyFailed, match="--resume"):
        db_copy.copy(spec, source, target)
    done = db_copy.copy(spec, source, target, resume=True)
    assert done.rows == sum(table.rows for table in done.tables.values()) > 0
    source.close()
    target.close()


def test_a_difference_is_told_by_table(pair, monkeypatch):
    source, target = pair
    regions(source, 3)
    honest = db_copy._set_sequences

    def spoil(tables, target):
        honest(tables, target)
        with target.write() as tx:
            tx.update(REGIONS, REGIONS.c.id == "r999", description="another")

    monkeypatch.setattr(db_copy, "_set_sequences", spoil)
    with pytest.raises(CopyFailed, match=r"keystone\.regions differs: source 3 rows"):
        db_copy.copy(SPECS["keystone"], source, target)


def test_source_that_is_written_to_or_old_is_refused(pair, tmp_path):
    source, target = pair
    writer = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    quick = Database(f"sqlite:///{tmp_path}/s.sqlite", busy_timeout_s=0.1)
    with pytest.raises((CopyFailed, db_copy.DatabaseError)):
        db_copy.copy(SPECS["keystone"], quick, target)
    quick.close()
    writer.execute("DELETE FROM schema_migrations WHERE number = 1")
    writer.execute("COMMIT")
    writer.close()
    with pytest.raises(CopyFailed, match="gureum db migrate"):
        db_copy.copy(SPECS["keystone"], source, target)


def test_command_moves_a_whole_cloud(tmp_path, capsys):
    state, to = tmp_path / "c", f"sqlite:///{tmp_path}/to/{{service}}.sqlite"
    (tmp_path / "to").mkdir()
    with Cloud(state_dir=tmp_path / "eph") as cloud:
        source = f"sqlite:///{cloud.state_dir}/db/{{service}}.sqlite"
        (state / "etc").mkdir(parents=True)
        text = f'[gureum]\nstate_dir = "{state}"\nrun_dir = "{state}"\n'
        (state / "etc/gureum.toml").write_text(text)
        for name in names():  # a copy of the files as of now: the cloud goes on
            with sqlite3.connect(source.replace("{service}", name).removeprefix("sqlite:///")) as one:
                (tmp_path / "from").mkdir(exist_ok=True)
                one.execute(f"VACUUM INTO '{tmp_path}/from/{name}.sqlite'")
            one.close()
    where = ["--state-dir", str(state), "--to", to]
    assert main(["db", "copy", *where, "--from", str(tmp_path / "from")]) == 0
    said = capsys.readouterr().out
    for name in names():
        assert f"{name} " in said and "counts and checksums agree" in said
    assert f'connection = "{to}"' in said
    assert main(["db", "copy", *where, "--from", str(tmp_path / "from")]) == 1
    assert "are not of a copy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("mysql+pymysql://u@h/one?charset=utf8mb4", "{service}"),
        ("mysql+pymysql://u@h/{service}", "charset=utf8mb4"),
    ],
)
def test_url_that_cannot_work_is_refused(tmp_path, capsys, to, text):
    assert main(["db", "copy", "--to", to, "--state-dir", str(tmp_path)]) == 1
    assert text in capsys.readouterr().err


def test_copy_of_a_running_cloud_is_refused(tmp_path, capsys, monkeypatch):
    place = places.under(tmp_path)
    place.config_dir.mkdir()
    place.config_file.write_text(f'[gureum]\nrun_dir = "{tmp_path}"\n')
    monkeypatch.setattr("gureum.provision.supervisor.running_pid", lambda run_dir: 4711)
    assert main(["db", "copy", "--to", "sqlite:///{service}", "--state-dir", str(tmp_path)]) == 1
    assert "stop it first: gureum down" in capsys.readouterr().err
