"""What all tokens of one epoch share: the catalogue, which roles imply which, the names of roles.

Every change of these raises the epoch, so whatever was read in an epoch holds in all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 1000


class Known:
    """Facts of one epoch by name; with `keep` false it keeps nothing."""

    __slots__ = ("_facts", "_keep", "number")

    def __init__(self, number: int, keep: bool = True) -> None:
        self.number = number
        self._keep = keep
        self._facts: dict[Hashable, Any] = {}

    def get(self, name: Hashable, read: Callable[[], T]) -> T:
        """Return a fact, reading it the first time. Nobody may change what this returns."""
        if not self._keep:
            return read()
        if name not in self._facts:
            if len(self._facts) >= _MOST:
                self._facts.clear()
            self._facts[name] = found = read()
            return found
        found = self._facts.get(name, self)  # another thread may have cleared it meanwhile
        return read() if found is self else found


NOTHING = Known(0, keep=False)
"""For those who do not know the epoch: reads every time."""


class KnownNow:
    """The facts of the newest epoch that was seen. Thread-safe."""

    def __init__(self) -> None:
        self._newest = Known(-1)

    def at(self, number: int) -> Known:
        """Return the facts of an epoch; `number` was read before, in the same transaction."""
        newest = self._newest
        if newest.number == number:
            return newest
        known = Known(number)
        if number > newest.number:
            self._newest = known
        return known
