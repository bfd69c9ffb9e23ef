"""What every test shares. This folder is on the path of all tests (see databases.py)."""

from collections.abc import Iterator

import databases
import pytest


@pytest.fixture(autouse=True, scope="module")
def _drop_databases_of_module() -> Iterator[None]:
    """Leave no database on a server behind."""
    yield
    databases.drop()


@pytest.fixture(autouse=True)
def _drop_databases_of_test(_drop_databases_of_module: None) -> Iterator[None]:
    """Fixtures of the module have made theirs before, and keep them."""
    before = databases.made()
    yield
    databases.drop(keep=before)
