"""The migrations make the tables that the code declares, and what a new cloud starts with."""

from databases import fresh

from gureum.core.db.migrate import draft, migrate
from gureum.neutron.store import tables
from gureum.neutron.store.default_rules import for_group


def test_migrations_make_the_declared_tables():
    database = fresh("neutron")
    migrate(database, "gureum.neutron.store.migrations")
    assert draft(database, tables.metadata) == ""


def test_new_cloud_has_the_usual_rules_for_new_groups():
    database = fresh("neutron")
    migrate(database, "gureum.neutron.store.migrations")
    with database.read() as tx:
        assert len(for_group(tx, is_default=True)) == 4
        assert len(for_group(tx, is_default=False)) == 2
