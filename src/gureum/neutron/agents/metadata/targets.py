"""Which server stands behind an address of a network or router: asked once, remembered shortly.

Owns: the cache. Must not: remember that there was nobody (a guest that boots asks again at once), or
remember long: an address may belong to another server soon.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gureum.neutron.agents.contract import MetadataTarget

_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: an address, and the network or the router (never both) that it was seen on."""

    address: str
    network_id: str | None
    router_id: str | None


class Directory(Protocol):
    """The part of NetworkState that knows servers by address."""

    def metadata_target(
        self, host: str, address: str, network_id: str | None, router_id: str | None
    ) -> MetadataTarget | None:
        """Return the server behind an address."""


class Targets:
    """Finds the server behind an address. Thread-safe."""

    def __init__(
        self,
        host: str,
        directory: Directory,
        cache_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._directory = directory
        self._cache_s = cache_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[Asker, tuple[float, MetadataTarget]] = OrderedDict()

    def find(self, asker: Asker) -> MetadataTarget | None:
        """Return the server, or None. Raises: what the bus raises when neutron-server is away."""
        now = self._clock()
        with self._lock:
            known = self._known.get(asker)
            if known is not None and known[0] > now:
                return known[1]
        target = self._directory.metadata_target(
            self._host, asker.address, asker.network_id, asker.router_id
        )
        with self._lock:
            self._known.pop(asker, None)
            if target is not None:
                self._known[asker] = (now + self._cache_s, target)
                while len(self._known) > _MAX:
                    self._known.popitem(last=False)
        return target
