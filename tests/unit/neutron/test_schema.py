"""The migrations make the tables that the code declares."""

from gureum.core.db import Database
from gureum.core.db.migrate import draft, migrate
from gureum.neutron.store import tables


def test_migrations_make_the_declared_tables():
    database = Database("sqlite://")
    migrate(database, "gureum.neutron.store.migrations")
    assert draft(database, tables.metadata) == ""
