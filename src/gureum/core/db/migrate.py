"""Numbered, forward-only migrations.

A service's `store/migrations/` holds modules named `NNNN_title.py`, each with `upgrade(op)` where `op` is
Alembic's Operations. Applied numbers are recorded in `schema_migrations`. Expand first, contract in a
later release. `draft` writes the next module from the difference between tables and database.

A process that is killed in the middle leaves nothing behind on SQLite and PostgreSQL; on MariaDB the next
one goes on at the statement where it stopped (`halfway`). So a migration makes the same changes in the same
order each time it runs.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType

import sqlalchemy as sa
from sqlalchemy import exc

from gureum.core.db import halfway
from gureum.core.db.engine import Database, Tx
from gureum.core.db.errors import Unavailable

_NAME = re.compile(r"^(\d{4})_(\w+)$")
_LOCK = 0x67757265756D  # "gureum"; advisory locks of PostgreSQL have numbers, each database its own
_LOCK_WAIT_S = 300

metadata = sa.MetaData()
schema_migrations = sa.Table(
    "schema_migrations",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("applied_at", sa.String(32), nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
OWN_TABLES = frozenset({schema_migrations.name, halfway.schema_progress.name})
"""What stands in a database beside the tables of its service."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of a schema."""

    number: int
    name: str
    module: str


def discover(package: str) -> list[Migration]:
    """Return the migrations of a package in order. Raises: ValueError on a gap or a twin number."""
    found: list[Migration] = []
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        match = _NAME.match(info.name)
        if match is None:
            raise ValueError(f"{package}.{info.name} is not named NNNN_title")
        found.append(Migration(int(match[1]), match[2], f"{package}.{info.name}"))
    found.sort(key=lambda step: step.number)
    if [step.number for step in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"{package}: numbers are not 1, 2, 3, …: {[s.number for s in found]}")
    return found


def applied(tx: Tx) -> set[int]:
    """Return the numbers that this database already has."""
    metadata.create_all(tx.connection)
    if _commits_by_itself(tx):
        halfway.metadata.create_all(tx.connection)
    return {row.number for row in tx.all(sa.select(schema_migrations.c.number))}


def migrate(database: Database, package: str) -> list[Migration]:
    """Apply what is missing, each step in a transaction of its own; return what was applied.

    Raises: RuntimeError when the database is newer than this program.
    """
    steps = discover(package)
    with _alone(database):
        return _migrate(database, steps)


def _migrate(database: Database, steps: Sequence[Migration]) -> list[Migration]:
    with database.write() as tx:
        have = applied(tx)
    unknown = have - {step.number for step in steps}
    if unknown:
        raise RuntimeError(
            f"{database.url!r} has migrations {sorted(unknown)} that this version does not know;"
            " run the newer version of the program"
        )
    done: list[Migration] = []
    for step in steps:
        if step.number not in have and _apply(database, step):
            done.append(step)
    return done


def _apply(database: Database, step: Migration) -> bool:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    module: ModuleType = importlib.import_module(step.module)
    with database.write() as tx:
        if step.number in applied(tx):  # another process was faster
            return False
        if _commits_by_itself(tx):
            resumed = halfway.Halfway(tx.connection, step.number)
            module.upgrade(Operations(MigrationContext.configure(resumed.connection)))
            resumed.finish()
        else:
            module.upgrade(Operations(MigrationContext.configure(tx.connection)))
        tx.insert(
            schema_migrations,
            number=step.number,
            name=step.name,
            applied_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    return True


def _commits_by_itself(tx: Tx) -> bool:
    """Whether the server ends the transaction at each change of the schema."""
    return tx.connection.dialect.name in ("mysql", "mariadb")


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Keep other processes from migrating; a killed one's lock ends with its connection.

    SQLite's write transactions are alone in any case. Raises: Unavailable.
    """
    if database.kind == "sqlite":
        yield
        return
    with database.engine.connect() as connection:
        lock, unlock = _locks(database)
        try:
            if connection.scalar(sa.select(lock)) in (0, None):
                raise Unavailable("another process is migrating this database")
            yield
        finally:
            with contextlib.suppress(exc.DBAPIError):
                connection.execute(sa.select(unlock))


def _locks(database: Database) -> tuple[sa.Function[int], sa.Function[int]]:
    if database.kind == "postgresql":  # locks belong to the database
        return sa.func.pg_advisory_lock(_LOCK), sa.func.pg_advisory_unlock(_LOCK)
    name = sa.func.concat("gureum-", sa.func.md5(sa.func.database()))  # they belong to the server
    return sa.func.get_lock(name, _LOCK_WAIT_S), sa.func.release_lock(name)


def _differs(
    context: object, found_column: object, column: object, found: object, wanted: object
) -> bool | None:
    """Let Alembic decide on types, but for MariaDB's name of a double."""
    both = isinstance(found, sa.Double) and isinstance(wanted, sa.Float)
    return False if both and getattr(wanted, "precision", None) == 53 else None


def draft(database: Database, tables: sa.MetaData) -> str:
    """Return the source of a migration that brings `database` to `tables` ("" when nothing differs)."""
    from alembic.autogenerate import produce_migrations, render_python_code
    from alembic.migration import MigrationContext

    with database.read() as tx:
        context = MigrationContext.configure(
            tx.connection,
            opts={
                "include_name": lambda name, kind, parents: name not in OWN_TABLES,
                "compare_type": _differs,
            },
        )
        script = produce_migrations(context, tables)
    if script.upgrade_ops is None or script.upgrade_ops.is_empty():
        return ""
    body = render_python_code(script.upgrade_ops)
    return (
        '"""TITLE."""\n\nimport sqlalchemy as sa\nfrom alembic.operations import Operations\n\n\n'
        f"def upgrade(op: Operations) -> None:\n    {body}\n"
    )
