"""Who works on which guest now: one job a guest at a time, and a destroy that hurries a spawn.

Owns: the locks and the wish to stop. Must not: know what the work is.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gureum.core.bus.contract import AgentError


class Interrupted(AgentError):
    """The guest is being destroyed; the work on it stopped at the next safe point."""

    code = "interrupted"


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    unwanted: int = 0


class Orders:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    @contextmanager
    def working_on(self, guest_id: str) -> Iterator[None]:
        """Hold the guest; waits for whoever holds it."""
        entry = self._enter(guest_id)
        try:
            with entry.lock:
                yield
        finally:
            self._leave(guest_id)

    @contextmanager
    def ending(self, guest_id: str) -> Iterator[None]:
        """Wish the guest away: `checkpoint` raises for whoever works on it. Holds nothing."""
        entry = self._enter(guest_id)
        with self._lock:
            entry.unwanted += 1
        try:
            yield
        finally:
            with self._lock:
                entry.unwanted -= 1
            self._leave(guest_id)

    def checkpoint(self, guest_id: str) -> None:
        """Raises: Interrupted when somebody waits to destroy the guest."""
        with self._lock:
            entry = self._entries.get(guest_id)
            unwanted = entry is not None and entry.unwanted > 0
        if unwanted:
            raise Interrupted(f"guest {guest_id} is being destroyed")

    def busy(self, guest_id: str) -> bool:
        """Whether a job works on the guest now."""
        with self._lock:
            return guest_id in self._entries

    def _enter(self, guest_id: str) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(guest_id, _Entry())
            entry.users += 1
            return entry

    def _leave(self, guest_id: str) -> None:
        with self._lock:
            entry = self._entries[guest_id]
            entry.users -= 1
            if entry.users == 0:
                del self._entries[guest_id]
