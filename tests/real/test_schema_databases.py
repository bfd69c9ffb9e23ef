"""Every service's migrations make its tables on MariaDB and PostgreSQL, and nothing else."""

import pytest
from dblab import available, running

from gureum import components
from gureum.core.db import Database
from gureum.core.db.migrate import draft, migrate

SPECS = [spec for service in components.services() for spec in service.databases]

pytestmark = [
    pytest.mark.skipif(not available(), reason="neither MariaDB nor PostgreSQL is installed"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module", params=available() or ["none"])
def make(request):
    with running(request.param) as server:
        yield server.empty


@pytest.mark.parametrize("spec", SPECS, ids=[spec.name for spec in SPECS])
def test_migrations_make_the_tables(make, spec):
    database = Database(make(spec.name))
    try:
        migrate(database, spec.migrations)
        assert draft(database, spec.tables) == ""
        with database.write() as tx:
            spec.tables.drop_all(tx.connection)
            spec.tables.create_all(tx.connection)
        assert migrate(database, spec.migrations) == []
    finally:
        database.close()
