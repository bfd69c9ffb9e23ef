"""The HTTP store: images that stay where a URL says. It only reads, and only what the filters allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gureum.glance.drivers.base import ReadOnly, Store, StoreFault, Upload
from gureum.glance.drivers.fetch import Fetcher, Opened, Refused


class HttpStore(Store):
    """Bytes behind URLs."""

    kind = "http"
    read_only = True
    external = True

    def __init__(
        self, fetcher: Fetcher, name: str = "http", *, description: str = "", weight: int = 0
    ) -> None:
        self._fetcher = fetcher
        self.name, self.description, self.weight = name, description, weight

    def begin(self) -> Upload:
        raise ReadOnly(f"the store {self.name} only reads")

    def put(self, key: str, path: Path) -> None:
        raise ReadOnly(f"the store {self.name} only reads")

    def url(self, key: str) -> str:
        return key

    def size(self, key: str) -> int | None:
        try:
            return self._fetcher.size(key)
        except Refused as error:
            raise StoreFault(str(error)) from error

    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        if length == 0:
            return iter(())
        headers = {}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["range"] = f"bytes={offset}-{last}"
        try:
            opened = self._fetcher.open(key, headers)
        except Refused as error:
            raise StoreFault(str(error)) from error
        if opened.status in (404, 410):
            opened.close()
            raise KeyError(key)
        try:
            opened.expect(200, 206)
        except StoreFault:
            opened.close()
            raise
        return _cut(opened, 0 if opened.status == 206 else offset, length)

    def delete(self, key: str) -> bool:
        return False  # the bytes are somebody else's


def _cut(opened: Opened, skip: int, length: int | None) -> Iterator[bytes]:
    left = length
    with opened:
        for chunk in opened.chunks():
            piece = chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                yield piece
            if left == 0:
                return
