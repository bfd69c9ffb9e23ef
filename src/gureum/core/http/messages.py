"""Requests and responses between the edge, the dispatcher and in-process callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gureum.core.spec.operations import File


class BodyStream:
    """The bytes of an upload as they come in; read by one blocking consumer.

    length: the announced size in bytes, or None when the client sends chunks.
    """

    def __init__(self, next_chunk: Callable[[], bytes], length: int | None) -> None:
        self._next = next_chunk
        self.length = length
        self._ended = False

    def chunks(self) -> Iterator[bytes]:
        """Yield pieces until the end. Raises: ConnectionError when the client went away early."""
        while not self._ended:
            chunk = self._next()
            if not chunk:
                self._ended = True
                return
            yield chunk


@dataclass(slots=True)
class Request:
    """One HTTP request. Header names are lower case; `base` is scheme://host[:port]."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = b""
    stream: BodyStream | None = None
    base: str = ""
    peer: str = ""
    route: Any = None
    """What the dispatcher found for the path when it was asked where the request belongs."""
    kept: Any = None
    """An answer from before that still holds, found when the dispatcher was asked the same."""
    operation: str = "unmatched"
    """The declared name of what is asked for, once it is known; metrics and traces name it."""


@dataclass(slots=True)
class Response:
    """One HTTP response; at most one of body, stream and file is used."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    stream: Iterator[bytes] | None = None
    file: File | None = None
