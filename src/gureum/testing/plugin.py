"""Fixtures for pytest: a simulated cloud in the test's own process.

    pytest_plugins = ["gureum.testing.plugin"]      # not needed where Gureum is installed by pip

    def test_mine(gureum_connection): ...

Owns: the fixtures and their settings (`gureum_preset` in pytest's ini file, or `--gureum-preset`).
Must not: cost anything while no test asks for a cloud.
"""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from openstack.connection import Connection

    from gureum.core.faults import FaultBook
    from gureum.testing.cloud import Cloud


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which preset the cloud of the session holds."""
    text = "preset of the simulated cloud (a YAML file)"
    parser.addini("gureum_preset", text, default="")
    parser.addoption("--gureum-preset", metavar="FILE", default=None, help=text)


@pytest.fixture(scope="session")
def gureum_options() -> dict[str, dict[str, Any]]:
    """Settings of the session's cloud by section; override it in a conftest."""
    return {}


@pytest.fixture(scope="session")
def gureum_cloud(
    pytestconfig: pytest.Config, gureum_options: dict[str, dict[str, Any]]
) -> Iterator["Cloud"]:
    """One simulated cloud for all tests of the session."""
    from gureum.testing.cloud import Cloud

    named = pytestconfig.getoption("--gureum-preset") or pytestconfig.getini("gureum_preset")
    preset = pytestconfig.rootpath / named if named else None
    with Cloud(preset=preset, options=gureum_options) as cloud:
        yield cloud


@pytest.fixture
def gureum_connection(gureum_cloud: "Cloud") -> Iterator["Connection"]:
    """An openstacksdk Connection of the administrator."""
    with gureum_cloud.connect() as connection:
        yield connection


@pytest.fixture
def gureum_project(gureum_cloud: "Cloud") -> Iterator["Connection"]:
    """A Connection of a fresh member of a fresh project, so that tests do not see each other's things."""
    name, password = f"test-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    with gureum_cloud.connect() as admin:
        identity: Any = admin.identity
        project = identity.create_project(name=name, domain_id="default")
        user = identity.create_user(name=name, password=password, domain_id="default")
        member = identity.find_role("member", ignore_missing=False)
        identity.assign_project_role_to_user(project, user, member)
        with gureum_cloud.connect(name, password, name) as connection:
            yield connection
        identity.delete_user(user)
        identity.delete_project(project)


@pytest.fixture
def gureum_faults(gureum_cloud: "Cloud") -> Iterator["FaultBook"]:
    """What is to go wrong in this test; nothing of it is left afterwards."""
    faults = gureum_cloud.faults
    faults.clear()
    yield faults
    faults.clear()
