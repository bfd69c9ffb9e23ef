"""Waiting for a fact, with a deadline."""

import threading
import time
from collections.abc import Callable
from typing import Any


def eventually(
    fact: Callable[[], Any], seconds: float = 30.0, *, what: str = "it did not happen in time"
) -> Any:
    """Wait until a fact holds and return it; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)
    return found
