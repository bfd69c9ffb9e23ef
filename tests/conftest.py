"""What every test shares. This folder is on the path of all tests (see databases.py)."""

from collections.abc import Iterator

import databases
import long_tests
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare how much of the long tests is run."""
    long_tests.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the long tests that are due."""
    config.pluginmanager.register(long_tests.LongTests(config), "long-tests")


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
