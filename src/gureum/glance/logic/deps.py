"""What Glance's verbs are handed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from gureum.core.db import Database
from gureum.core.policy import Policy
from gureum.glance.config import GlanceOptions
from gureum.glance.drivers.base import Store
from gureum.glance.inspector.check import Inspector


class LiveUploads:
    """The uploads that this process works on. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()

    def add(self, id: str) -> None:
        """Count an upload as running."""
        with self._lock:
            self._ids.add(id)

    def discard(self, id: str) -> None:
        """Count it as ended."""
        with self._lock:
            self._ids.discard(id)

    def __contains__(self, id: str | None) -> bool:
        with self._lock:
            return id in self._ids


@dataclass(frozen=True, slots=True)
class Deps:
    """Options, database, rules, the store, and what looks into uploads."""

    db: Database
    options: GlanceOptions
    policy: Policy
    store: Store
    inspector: Inspector
    live: LiveUploads = field(default_factory=LiveUploads)
