"""The memory store, for tests: bytes that end with the process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

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
        self._store.check_room(len(self._bytes) + len(chunk))
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

    kind = "memory"

    def __init__(
        self, capacity_bytes: int | None = None, name: str = "memory", *, weight: int = 0
    ) -> None:
        self.name = name
        self.weight = weight
        self.contents: dict[str, bytes] = {}
        self.capacity_bytes = capacity_bytes
        self.uploads = 0

    def check_room(self, more: int) -> None:
        """Raises: NoRoom."""
        used = sum(map(len, self.contents.values()))
        if self.capacity_bytes is not None and used + more > self.capacity_bytes:
            raise NoRoom("the memory store is full")

    def begin(self) -> Upload:
        return MemoryUpload(self)

    def put(self, key: str, path: Path) -> None:
        content = path.read_bytes()
        self.check_room(len(content))
        self.contents[key] = content

    def url(self, key: str) -> str:
        return f"memory://{self.name}/{key}"

    def size(self, key: str) -> int | None:
        return len(self.contents[key]) if key in self.contents else None

    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        content = self.contents[key]
        end = len(content) if length is None else min(len(content), offset + length)
        step = 1 << 16
        return (content[at : min(at + step, end)] for at in range(offset, end, step))

    def delete(self, key: str) -> bool:
        return self.contents.pop(key, None) is not None

    def keys(self) -> Iterator[str]:
        return iter(list(self.contents))

    def close(self) -> None:
        self.contents.clear()
