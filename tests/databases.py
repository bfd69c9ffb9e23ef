"""A fresh database for a test, on the server that GUREUM_TEST_DATABASE_URL names, or else on SQLite.

The variable is a template such as `mysql+pymysql://root@127.0.0.1:3306/{service}_{unique}`. Databases are
made here and dropped after the test by `tests/conftest.py`.
"""

import contextlib
import os
import uuid

import sqlalchemy as sa

from gureum.core.db import Database

VARIABLE = "GUREUM_TEST_DATABASE_URL"
_made: list[Database] = []
_names: dict[str, str] = {}


def on_server() -> bool:
    """Whether tests run on a database server instead of SQLite."""
    return bool(os.environ.get(VARIABLE))


def fresh(service: str, sqlite_url: str = "sqlite://") -> Database:
    """Return an empty database. sqlite_url: where it is unless the variable names a server.

    Within a test the same SQLite file asked for again is the same database, as after a restart.
    """
    template = os.environ.get(VARIABLE, "")
    if not template:
        return Database(sqlite_url)
    again = _names.get(sqlite_url)
    unique = again or uuid.uuid4().hex[:12]
    if sqlite_url != "sqlite://":
        _names[sqlite_url] = unique
    url = sa.make_url(template.replace("{service}", service).replace("{unique}", unique))
    assert url.database is not None and unique in url.database, f"{VARIABLE} lacks {{unique}}"
    if again:
        pass
    elif url.get_backend_name() == "postgresql":
        _admin(url, f'CREATE DATABASE "{url.database}"')
    else:
        _admin(url, f"CREATE DATABASE `{url.database}`")
    database = Database(url.render_as_string(hide_password=False))
    _made.append(database)
    return database


def made() -> int:
    """How many databases there are on a server."""
    return len(_made)


def drop(keep: int = 0) -> None:
    """Drop what `fresh` made on a server, but for the first `keep`."""
    _names.clear()
    while len(_made) > keep:
        database = _made.pop()
        database.close()
        name = database.url.database
        with contextlib.suppress(sa.exc.DBAPIError):
            if database.kind == "postgresql":
                _admin(database.url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            else:
                _admin(database.url, f"DROP DATABASE IF EXISTS `{name}`")


def _admin(url: sa.URL, statement: str) -> None:
    own = "postgres" if url.get_backend_name() == "postgresql" else "mysql"
    engine = sa.create_engine(url.set(database=own), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
