"""Fixtures of Keystone's tests."""

from typing import Any

import pytest
from keystone_cloud import Cloud


@pytest.fixture
def cloud(tmp_path: Any) -> Cloud:
    return Cloud(tmp_path)
