"""The image cache: copies of images on this machine's disk, for downloads of what lies elsewhere.

`ID` is a whole copy, `hits/ID` has one byte for every use of it, `queue/ID` asks for a copy, `filling/…` are
copies that are being made, `invalid/…` those that broke. Files appear by rename, so several processes of
one machine may share the folder. Must not: know a store or a database.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gureum.core.spec import File

_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_FOLDERS = ("hits", "queue", "filling", "invalid")


@dataclass(frozen=True, slots=True)
class Cached:
    """One cached image. size in bytes, times in seconds since 1970."""

    image_id: str
    size: int
    hits: int
    last_accessed: float
    last_modified: float


class ImageCache:
    """The cache in a folder. max_bytes: what pruning leaves."""

    def __init__(self, folder: str | Path, *, max_bytes: int, stall_s: float) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._stall_s = stall_s
        for name in _FOLDERS:
            (self.folder / name).mkdir(mode=0o750, parents=True, exist_ok=True)

    def _path(self, image_id: str, folder: str = "") -> Path:
        if not _ID.fullmatch(image_id):
            raise KeyError(image_id)
        return self.folder / folder / image_id

    def file(self, image_id: str, size: int | None) -> File | None:
        """Return the cached copy and count the use; one of another size is no copy."""
        path = self._path(image_id)
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        if size is not None and found.st_size != size:
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, self._path(image_id, "invalid"))
            return None
        with self._path(image_id, "hits").open("ab", buffering=0) as hits:
            hits.write(b".")
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (time.time(), found.st_mtime))
        return File(str(path))

    def is_cached(self, image_id: str) -> bool:
        """Whether there is a copy."""
        return self._path(image_id).exists()

    def cached(self) -> list[Cached]:
        """Return the copies, the longest unused first."""
        found = []
        for entry in self._entries(""):
            with contextlib.suppress(FileNotFoundError):
                state = entry.stat()
                hits = self._path(entry.name, "hits")
                used = hits.stat().st_size if hits.exists() else 0
                found.append(
                    Cached(entry.name, state.st_size, used, state.st_atime, state.st_mtime)
                )
        return sorted(found, key=lambda one: (one.last_accessed, one.image_id))

    def _entries(self, folder: str) -> Iterator[Path]:
        with os.scandir(self.folder / folder) as found:
            names = [e.name for e in found if e.is_file(follow_symlinks=False)]
        return (self.folder / folder / name for name in names if _ID.fullmatch(name))

    def queue(self, image_id: str) -> None:
        """Ask for a copy; once more is fine."""
        self._path(image_id, "queue").touch()

    def queued(self) -> list[str]:
        """Return the ids that wait, the oldest first."""
        found = []
        for path in self._entries("queue"):
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path.name))
        return [name for _, name in sorted(found)]

    def unqueue(self, image_id: str) -> bool:
        """Ask no longer; False when nobody did."""
        try:
            self._path(image_id, "queue").unlink()
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def fill(self, image_id: str) -> Iterator[Filling]:
        """Make a copy; what was not kept at the end of the block is dropped."""
        filling = Filling(
            self, image_id, self.folder / "filling" / f"{image_id}.{uuid.uuid4().hex}"
        )
        try:
            yield filling
        finally:
            filling.drop()

    def keep(self, image_id: str, made: Path) -> None:
        """Take a finished copy in."""
        os.rename(made, self._path(image_id))
        self.unqueue(image_id)

    def delete(self, image_id: str) -> bool:
        """Remove a copy; False when there is none."""
        self._path(image_id, "hits").unlink(missing_ok=True)
        try:
            self._path(image_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def clear(self) -> int:
        """Remove every copy; returns how many."""
        return sum(self.delete(path.name) for path in self._entries(""))

    def clear_queue(self) -> int:
        """Ask for nothing any more; returns how much was asked for."""
        return sum(self.unqueue(name) for name in self.queued())

    def prune(self) -> tuple[int, int]:
        """Remove the longest unused copies until the rest fits; returns (images, bytes)."""
        copies = self.cached()
        over = sum(copy.size for copy in copies) - self.max_bytes
        images = freed = 0
        for copy in copies:
            if over <= freed:
                break
            if self.delete(copy.image_id):
                images += 1
                freed += copy.size
        return images, freed

    def clean(self, now: float | None = None) -> int:
        """Remove broken copies, and those that nobody has been filling for long; returns how many."""
        moment, removed = time.time() if now is None else now, 0
        for folder, age_s in (("invalid", 0.0), ("filling", self._stall_s)):
            with os.scandir(self.folder / folder) as found:
                for entry in found:
                    with contextlib.suppress(FileNotFoundError):
                        if moment - entry.stat().st_mtime >= age_s:
                            os.unlink(entry.path)
                            removed += 1
        return removed


class Filling:
    """A copy that is being made."""

    def __init__(self, cache: ImageCache, image_id: str, path: Path) -> None:
        self._cache = cache
        self._image_id = image_id
        self._path = path
        self._file = path.open("xb", buffering=0)
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Add bytes."""
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(chunk)

    def keep(self) -> None:
        """The copy is whole."""
        self._file.close()
        self._cache.keep(self._image_id, self._path)

    def drop(self) -> None:
        """End without a copy; after `keep` nothing happens."""
        self._file.close()
        self._path.unlink(missing_ok=True)
