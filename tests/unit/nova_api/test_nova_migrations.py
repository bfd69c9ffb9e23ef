"""Migrating an empty database gives the tables that the stores use."""

import pytest

from gureum.core.db import Database
from gureum.core.db.migrate import draft, migrate
from gureum.nova.service import SERVICE


@pytest.mark.parametrize("spec", SERVICE.databases, ids=lambda spec: spec.name)
def test_migrations_give_the_declared_tables(spec):
    database = Database("sqlite://")
    assert migrate(database, spec.migrations)
    assert draft(database, spec.tables) == ""
    assert migrate(database, spec.migrations) == []
