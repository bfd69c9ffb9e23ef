"""Which steps wait until the network says that the ports of a server are plugged.

Owns: waking them. Must not: know whether it is so; who is woken asks the network. A hint that is lost, or
that another conductor got, costs the time until the next look.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Plugs:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Event] = {}

    @contextmanager
    def waiting(self, server_id: str) -> Iterator[threading.Event]:
        """Wait for hints about a server; each sets the event."""
        told = threading.Event()
        with self._lock:
            self._waiting[server_id] = told
        try:
            yield told
        finally:
            with self._lock:
                self._waiting.pop(server_id, None)

    def told(self, server_ids: Iterable[str]) -> None:
        """Wake who waits for these servers."""
        with self._lock:
            for server_id in server_ids:
                event = self._waiting.get(server_id)
                if event is not None:
                    event.set()
