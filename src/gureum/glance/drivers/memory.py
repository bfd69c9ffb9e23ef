"""The memory store, for tests: bytes that end with the process."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from gureum.core.spec import File
from gureum.glance.drivers.base import NoRoom, Store, Upload


class MemoryUpload(Upload):
    """Bytes in a buffer, and in a file for as long as they are inspected."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._bytes = bytearray()
        self._copy: Path | None = None
        store.uploads += 1
        self._open = True

    def write(self, chunk: bytes) -> None:
        limit = self._store.capacity_bytes
        if limit is not None and self._store.used() + len(self._bytes) + len(chunk) > limit:
            raise NoRoom("the memory store is full")
        self._bytes += chunk

    def seal(self) -> Path:
        with tempfile.NamedTemporaryFile(delete=False) as copy:
            copy.write(self._bytes)
        self._copy = Path(copy.name)
        return self._copy

    def publish(self, key: str) -> None:
        self._store.contents[key] = bytes(self._bytes)

    def drop(self) -> None:
        if self._copy is not None:
            self._copy.unlink(missing_ok=True)
        if self._open:
            self._open = False
            self._store.uploads -= 1


class MemoryStore(Store):
    """Bytes of images in a dictionary. capacity_bytes: None for no limit."""

    name = "memory"

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.contents: dict[str, bytes] = {}
        self.capacity_bytes = capacity_bytes
        self.uploads = 0
        self.holder = uuid.uuid4().hex

    def used(self) -> int:
        """Return the bytes that are kept."""
        return sum(map(len, self.contents.values()))

    def begin(self) -> Upload:
        return MemoryUpload(self)

    def size(self, key: str) -> int | None:
        return len(self.contents[key]) if key in self.contents else None

    def file(self, key: str) -> File | None:
        return None

    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        content = self.contents[key]
        end = len(content) if length is None else min(len(content), offset + length)
        step = 1 << 16
        return (content[at : min(at + step, end)] for at in range(offset, end, step))

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(self.contents[key])
            copy.flush()
            yield Path(copy.name)

    def rename(self, key: str, new: str) -> None:
        self.contents[new] = self.contents.pop(key)

    def delete(self, key: str) -> bool:
        return self.contents.pop(key, None) is not None

    def keys(self) -> Iterator[str]:
        return iter(list(self.contents))

    def is_alive(self, holder: str) -> bool:
        return holder == self.holder

    def sweep(self) -> int:
        return 0

    def close(self) -> None:
        self.contents.clear()
