"""Uploads to stores elsewhere: bytes are spooled on this machine, looked into, and sent when published.

So nothing that was refused ever reaches the other store, and a broken upload leaves nothing there.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from gureum.glance.drivers.base import Store, Upload
from gureum.glance.drivers.file import FileStore, FileUpload


class SpooledUpload(Upload):
    """Bytes in a spool, on their way to a store."""

    def __init__(self, store: Store, spooled: FileUpload) -> None:
        self._store = store
        self._spooled = spooled
        self._path: Path | None = None

    def write(self, chunk: bytes) -> None:
        self._spooled.write(chunk)

    def seal(self) -> Path:
        self._path = self._spooled.seal()
        return self._path

    def publish(self, key: str) -> None:
        assert self._path is not None, "seal first"
        self._store.put(key, self._path)

    def drop(self) -> None:
        self._spooled.drop()


class SpooledStore(Store):
    """A store that takes whole files."""

    def __init__(self, spool: FileStore, name: str, description: str, weight: int) -> None:
        self._spool = spool
        self.name, self.description, self.weight = name, description, weight

    def begin(self) -> Upload:
        return SpooledUpload(self, self._spool.begin())

    @abstractmethod
    def put(self, key: str, path: Path) -> None:
        """See `Store.put`."""
