"""What every test shares. This folder is on the path of all tests (see databases.py)."""

from collections.abc import Iterator

import databases
import pytest


@pytest.fixture(autouse=True)
def _drop_databases() -> Iterator[None]:
    """Leave no database on a server behind."""
    yield
    databases.drop_all()
