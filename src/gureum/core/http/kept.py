"""Answers that are given again while nothing that they were read from has changed.

Owns: one bounded store of a dispatcher. Must not: know an operation; the dispatcher says what may be kept
and what an answer depends on besides the databases (the caller, the version, the URL).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from gureum.core import reading
from gureum.core.http.messages import Response
from gureum.core.reading import Reading, Versioned

KEPT_S = 5.0
"""What depends on the time of day, or on the operator's policy, is this old at most."""

_STORE_BYTES = 8 << 20
_ANSWER_BYTES = 2 << 20
_OVERHEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer, and the versions of its sources from before they were read."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sources: Mapping[Versioned, int]
    until: float

    def again(self) -> Response:
        """Give the answer once more."""
        reading.again(self.sources)
        return Response(self.status, list(self.headers), self.body)


class KeptAnswers:
    """The answers of one dispatcher, the least recently given dropped first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Hashable, Kept] = {}
        self._bytes = 0

    def find(self, key: Hashable) -> Kept | None:
        """Return an answer that would come out the same now."""
        found = self._answers.get(key)
        if found is None:
            return None
        good = found.until > time.monotonic() and reading.unchanged(found.sources)
        with self._lock:
            if self._answers.get(key) is found:
                self._take(key)
                if good:
                    self._put(key, found)
        return found if good else None

    def keep(self, key: Hashable, response: Response, read: Reading) -> None:
        """Remember an answer, if all that it was read from has versions."""
        plain = response.stream is None and response.file is None and response.status == 200
        if not (plain and read.whole) or len(response.body) > _ANSWER_BYTES:
            return
        kept = Kept(
            response.status,
            tuple(response.headers),
            response.body,
            dict(read.sources),
            time.monotonic() + KEPT_S,
        )
        with self._lock:
            self._take(key)
            self._put(key, kept)
            while self._bytes > _STORE_BYTES:
                self._take(next(iter(self._answers)))

    def _put(self, key: Hashable, kept: Kept) -> None:
        self._answers[key] = kept
        self._bytes += len(kept.body) + _OVERHEAD_BYTES

    def _take(self, key: Hashable) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self._bytes -= len(found.body) + _OVERHEAD_BYTES
