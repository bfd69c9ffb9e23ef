"""What the chaos tests share."""

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import pytest
from bursts import Gate


@pytest.fixture
def gate(monkeypatch):
    """Spawns wait until the test opens it."""
    made = Gate(monkeypatch)
    yield made
    made.open.set()
