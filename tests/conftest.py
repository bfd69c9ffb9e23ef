"""What every test shares. This folder is on the path of all tests (see databases.py)."""

import sys
from collections.abc import Iterator
from typing import Any

import databases
import long_tests
import pytest

pytest_plugins = ["pytester"]


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


@pytest.fixture(autouse=True, scope="module")
def _audit_whole_clouds() -> Iterator[None]:
    """A cloud of `gureum.testing` is audited when it stops: what stands on one side only is a bug."""
    clouds = sys.modules.get("gureum.testing.cloud")
    if clouds is None:
        yield
        return
    from gureum.audit.open import open_world
    from gureum.audit.run import audit

    found: list[Any] = []
    end = clouds.Cloud._end

    def audited(cloud: Any) -> None:
        try:
            if cloud._process is not None and cloud.cloud is not None:
                world = open_world(cloud._process.runtime, grace_s=0.0)
                found.extend(audit(world, settle_s=1.0).findings)
        finally:
            end(cloud)

    clouds.Cloud._end = audited
    yield
    clouds.Cloud._end = end
    assert not found, found
