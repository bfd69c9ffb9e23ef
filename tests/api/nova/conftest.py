"""The fixtures of the compute API; what they are made of is in nova_cloud.py."""

from collections.abc import Callable

import pytest
from nova_cloud import Cloud, make_cloud


@pytest.fixture
def empty() -> Cloud:
    """A service without flavors or hosts."""
    return make_cloud()


@pytest.fixture
def cloud() -> Cloud:
    """A service with a flavor and a host."""
    made = make_cloud()
    flavor = {"name": "small", "id": "1", "ram": 512, "vcpus": 1, "disk": 5}
    answer = made("POST", "/flavors", {"flavor": flavor}, token="admin")
    assert answer.status == 200, answer.body
    made.host()
    return made


@pytest.fixture
def make() -> Callable[..., Cloud]:
    """Build services with other options."""
    return make_cloud
