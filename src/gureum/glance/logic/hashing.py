"""Two digests and a count of a stream of bytes, beside its writing: hashlib works without the GIL."""

from __future__ import annotations

import hashlib
import queue
import threading
from types import TracebackType
from typing import Any

from gureum.glance.model import Digest

_DEPTH = 4
"""Chunks that may wait for a digest: bounds the memory of an upload."""
_SMALL_BYTES = 1 << 18
"""Below this a thread costs more than it saves."""


class _Worker:
    """One digest, in a thread once there is enough to do."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._thread: threading.Thread | None = None

    def feed(self, chunk: bytes) -> None:
        if self._thread is None:
            if len(chunk) < _SMALL_BYTES:
                self._digest.update(chunk)
                return
            self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
            self._thread.start()
        self._waiting.put(chunk)

    def _work(self) -> None:
        while (chunk := self._waiting.get()) is not None:
            self._digest.update(chunk)

    def end(self) -> str:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        return str(self._digest.hexdigest())


class Hasher:
    """md5 (the documented checksum; no security rests on it) and another digest of what is fed, in order.

    A context manager: its threads end with the block.
    """

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self.size = 0
        self._md5 = _Worker(hashlib.md5(usedforsecurity=False))
        self._long = _Worker(hashlib.new(algorithm))

    def feed(self, chunk: bytes) -> None:
        """Add bytes."""
        self.size += len(chunk)
        self._md5.feed(chunk)
        self._long.feed(chunk)

    def result(self) -> Digest:
        """Return size and digests of all that was fed."""
        return Digest(self.size, self._md5.end(), self._algorithm, self._long.end())

    def __enter__(self) -> Hasher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._md5.end()
        self._long.end()
