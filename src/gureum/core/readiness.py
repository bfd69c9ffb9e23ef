"""Whether what a process stands on is there: its databases and its bus.

Owns: asking with a limit, remembering the answer for a moment, the words for what is wrong. Must not: mend.
A component that used a database or the bus while it started is not ready while that is gone.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from gureum.core.bus.base import Bus
from gureum.core.db.engine import Database
from gureum.core.db.errors import DatabaseError

FRESH_S = 2.0
"""How long an answer counts."""
LIMIT_S = 2.0
"""How long one may take."""


@dataclass(slots=True)
class Probe:
    """One thing to ask about. `ask` returns what is wrong, "" when nothing is; it may block."""

    name: str
    ask: Callable[[], str]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answer: str = ""
    _asked_at: float = float("-inf")
    _running: threading.Event | None = None

    def trouble(self) -> str:
        """What is wrong now; asks at most every FRESH_S and waits at most LIMIT_S."""
        with self._lock:
            if time.monotonic() - self._asked_at < FRESH_S:
                return self._answer
            if self._running is None:
                self._running = threading.Event()
                name = f"probe-{self.name}"
                threading.Thread(
                    target=self._run, args=(self._running,), name=name, daemon=True
                ).start()
            running = self._running
        if not running.wait(LIMIT_S):
            return f"{self.name} does not answer within {LIMIT_S:g} s"
        return self._answer

    def _run(self, done: threading.Event) -> None:
        answer = self.ask()
        with self._lock:
            self._answer, self._asked_at, self._running = answer, time.monotonic(), None
        done.set()


def database_probe(name: str, database: Database) -> Probe:
    """Ask a database for one row; a file must still be in its place."""

    def ask() -> str:
        path = database.url.database or ""
        if database.kind == "sqlite" and path not in ("", ":memory:") and not os.path.exists(path):
            return f"database {name} is gone: {path} is not there"
        try:
            with database.read() as tx:
                tx.scalar(sa.select(1))
        except DatabaseError as error:
            return f"database {name} is gone: {str(error)[:200]}"
        return ""

    return Probe(f"database {name}", ask)


def bus_probe(bus: Bus) -> Probe:
    """Ask the bus whether it is connected."""
    return Probe("bus", bus.trouble)
