"""What an answer was read from, so that it can be given again until one of its sources changes.

Owns: the notes of this thread. Must not: decide what is kept. Whoever asks anything but a database (a
service over the network, an agent, a directory) says so with `elsewhere`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

_here = threading.local()


class Versioned(Protocol):
    """A source whose version differs once anybody has changed it; None when that cannot be told."""

    def version(self) -> int | None:
        """Return the version now."""
        ...


class Reading:
    """The sources that were read and their versions from before; `whole` unless something else was asked."""

    __slots__ = ("sources", "whole")

    def __init__(self) -> None:
        self.sources: dict[Versioned, int] = {}
        self.whole = True

    def add(self, source: Versioned, version: int | None) -> None:
        """Note a source at a version from before the first look at it."""
        if version is None:
            self.whole = False
        else:
            self.sources.setdefault(source, version)


def unchanged(sources: Mapping[Versioned, int]) -> bool:
    """Whether every source still has its version."""
    return all(source.version() == version for source, version in sources.items())


@contextlib.contextmanager
def noted() -> Iterator[Reading]:
    """Note what this thread reads inside the block; an outer block learns it too."""
    outer: Reading | None = getattr(_here, "reading", None)
    reading = _here.reading = Reading()
    try:
        yield reading
    finally:
        _here.reading = outer
        if outer is not None:
            outer.whole = outer.whole and reading.whole
            again(reading.sources)


def again(sources: Mapping[Versioned, int]) -> None:
    """Note sources whose answer is given again."""
    reading: Reading | None = getattr(_here, "reading", None)
    if reading is not None:
        for source, version in sources.items():
            reading.add(source, version)


def read(source: Versioned) -> None:
    """Note a source that is about to be looked at."""
    reading: Reading | None = getattr(_here, "reading", None)
    if reading is not None and source not in reading.sources:
        reading.add(source, source.version())


def elsewhere() -> None:
    """Note that something is asked that has no version."""
    reading: Reading | None = getattr(_here, "reading", None)
    if reading is not None:
        reading.whole = False
