"""What happens to a stream of bytes side by side: two digests, and writing. All work without the GIL."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable

from gureum.glance.model import Digest

_DEPTH = 4
"""Chunks that may wait for a worker: bounds the memory of an upload."""
_SMALL_BYTES = 1 << 18
"""Below this a thread costs more than it saves."""


class Beside:
    """Something that is done with every chunk, in order, in a thread once there is enough to do.

    A context manager: its thread ends with the block. What it raises is raised by a later `feed` or `end`.
    """

    def __init__(self, name: str, act: Callable[[bytes], object]) -> None:
        self._name = name
        self._act = act
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def feed(self, chunk: bytes) -> None:
        """Act on a chunk soon. Raises: what an earlier act raised."""
        if self._thread is None:
            if len(chunk) < _SMALL_BYTES:
                self._act(chunk)
                return
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._raise()
        self._waiting.put(chunk)

    def _work(self) -> None:
        while (chunk := self._waiting.get()) is not None:
            if self._error is not None:
                continue  # the feeder learns of it at its next chunk; nobody must wait for a full queue
            try:
                self._act(chunk)
            except BaseException as error:  # carried over to the feeder's thread
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Wait until everything was done. Raises: what an act raised."""
        self.stop()
        self._raise()

    def stop(self) -> None:
        """End the thread; what was handed over is done first."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class Hasher:
    """md5 (the documented checksum; no security rests on it) and another digest of what is fed, in order.

    A context manager: its threads end with the block.
    """

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._long = hashlib.new(algorithm)
        self._workers = (Beside("md5", self._md5.update), Beside(algorithm, self._long.update))

    def feed(self, chunk: bytes) -> None:
        """Add bytes."""
        self.size += len(chunk)
        for worker in self._workers:
            worker.feed(chunk)

    def result(self) -> Digest:
        """Return size and digests of all that was fed."""
        for worker in self._workers:
            worker.end()
        return Digest(self.size, self._md5.hexdigest(), self._algorithm, self._long.hexdigest())

    def __enter__(self) -> Hasher:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.stop()
