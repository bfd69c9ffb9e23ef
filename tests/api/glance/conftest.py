"""Fixtures of the Image API."""

import pytest
from glance_cloud import build


@pytest.fixture
def cloud(tmp_path):
    """A cloud that believes what is uploaded."""
    return build(tmp_path)


@pytest.fixture
def strict(tmp_path):
    """A cloud that looks into what is uploaded."""
    return build(tmp_path, inspect=True)
