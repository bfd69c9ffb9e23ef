"""What Glance's verbs are handed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gureum.core.db import Database
from gureum.core.policy import Policy
from gureum.core.saga import SagaStore
from gureum.glance.config import GlanceOptions, ImportOptions
from gureum.glance.drivers.base import Store
from gureum.glance.drivers.cache import ImageCache
from gureum.glance.drivers.fetch import Fetcher
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.stores import Stores
from gureum.glance.inspector.check import Inspector
from gureum.glance.inspector.convert import Converter
from gureum.glance.logic.limits import Limits
from gureum.keystone.client import Session


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
    """Options, database, rules, stores, and what looks into, converts and fetches bytes.

    session: how other services are called; None where there are none. cache: None when it is off.
    """

    db: Database
    options: GlanceOptions
    imports: ImportOptions
    policy: Policy
    stores: Stores
    staging: FileStore
    inspector: Inspector
    converter: Converter
    fetcher: Fetcher
    sagas: SagaStore
    limits: Limits
    cache: ImageCache | None = None
    session: Session | None = None
    wake_cacher: Callable[[], None] = lambda: None
    live: LiveUploads = field(default_factory=LiveUploads)

    @property
    def store(self) -> Store:
        """The default store."""
        return self.stores.default
