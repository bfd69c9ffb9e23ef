"""The contract of a store: bytes under a key, whole or absent.

Bytes come in through an `Upload` or from a local file; they are in the store once they were published, and
leave no trace when they were not. Keys are ids of images; in a store that only reads, keys are URLs.
Must not: know an image, or a database.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from gureum.core.spec import File


class NoRoom(Exception):
    """The store is full."""


class StoreFault(Exception):
    """The store cannot be reached or refused; trying again may help."""

    retryable = True


class ReadOnly(Exception):
    """The store takes no bytes."""


class Upload(ABC):
    """Bytes on their way. A context manager: what was not published is dropped at its end."""

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises: NoRoom."""

    @abstractmethod
    def seal(self) -> Path:
        """Begin to bring everything to the disk; returns a file with the bytes, for inspection.

        Raises: NoRoom.
        """

    @abstractmethod
    def publish(self, key: str) -> None:
        """Put the sealed bytes into the store, in place of what may be there, once they are on the disk.

        Raises: NoRoom, StoreFault.
        """

    @abstractmethod
    def drop(self) -> None:
        """Remove what was not published; once more is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()


class Store(ABC):
    """Keeps the bytes of images.

    name: the identifier that the operator chose. kind: the driver. external: its keys are URLs that others
    wrote, and deleting a key leaves the bytes alone.
    """

    name: str = ""
    kind: str = ""
    description: str = ""
    weight: int = 0
    read_only: bool = False
    external: bool = False

    @abstractmethod
    def begin(self) -> Upload:
        """Begin to take bytes. Raises: NoRoom, ReadOnly."""

    @abstractmethod
    def put(self, key: str, path: Path) -> None:
        """Keep the bytes of a local file, which does not change later; once more is fine.

        Raises: NoRoom, ReadOnly, StoreFault.
        """

    @abstractmethod
    def url(self, key: str) -> str:
        """Return the location that is shown to those who may see it; it holds no secret."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return the size in bytes, or None when nothing is kept. Raises: StoreFault."""

    def file(self, key: str) -> File | None:
        """Return the file that holds the bytes, if they lie in one."""
        return None

    @abstractmethod
    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        """Yield the bytes from an offset. Raises, before the first byte: KeyError, StoreFault."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove bytes; False when there are none. Raises: StoreFault."""

    def keys(self) -> Iterator[str]:
        """Yield what is kept, where that can be asked cheaply."""
        return iter(())

    def sweep(self) -> int:
        """Remove what dead processes left unpublished; returns how many."""
        return 0

    def close(self) -> None:
        """End this process's use of the store."""
        return None

    def properties(self) -> dict[str, str]:
        """Return the settings that an administrator is shown; no secrets."""
        return {}


class Staging(Store):
    """A store on this machine's disk, with a name for every process that uses it."""

    holder: str = ""

    @abstractmethod
    def local(self, key: str) -> AbstractContextManager[Path]:
        """Lend the file with the bytes. Raises: KeyError."""

    @abstractmethod
    def identity(self) -> str:
        """Return the name of this place, which all processes that share it agree on."""

    @abstractmethod
    def is_alive(self, holder: str) -> bool:
        """Whether the process of this name still runs, as far as can be told from here."""
