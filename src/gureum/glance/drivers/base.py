"""The contract of a store: bytes under the id of an image, whole or absent.

Bytes come in through an `Upload`; they are in the store once it was published, and leave no trace when it
was not. A process that uploads has a name (`holder`) by which others see whether it still lives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from gureum.core.spec import File

STAGED = "staged-"
"""Before the id of an image: bytes that wait for their import."""


class NoRoom(Exception):
    """The store is full."""


class Upload(ABC):
    """Bytes on their way. A context manager: what was not published is dropped at its end."""

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises: NoRoom."""

    @abstractmethod
    def seal(self) -> Path:
        """Bring everything to the disk; returns a file with the bytes, for inspection.

        Raises: NoRoom.
        """

    @abstractmethod
    def publish(self, key: str) -> None:
        """Put the sealed bytes into the store, in place of what may be there. Raises: NoRoom."""

    @abstractmethod
    def drop(self) -> None:
        """Remove what was not published; once more is fine."""

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()


class Store(ABC):
    """Keeps the bytes of images. Keys are ids of images, also with STAGED before them."""

    name: str = ""
    holder: str = ""

    @abstractmethod
    def begin(self) -> Upload:
        """Begin to take bytes. Raises: NoRoom."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return the size in bytes, or None when nothing is kept."""

    @abstractmethod
    def file(self, key: str) -> File | None:
        """Return the file that holds the bytes, if they lie in one."""

    @abstractmethod
    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        """Yield the bytes from an offset. Raises: KeyError."""

    @abstractmethod
    def local(self, key: str) -> AbstractContextManager[Path]:
        """Lend a file with the bytes. Raises: KeyError."""

    @abstractmethod
    def rename(self, key: str, new: str) -> None:
        """Keep the bytes under another key. Raises: KeyError."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove bytes; False when there are none."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield what is kept."""

    @abstractmethod
    def is_alive(self, holder: str) -> bool:
        """Whether the process of this name still runs."""

    @abstractmethod
    def sweep(self) -> int:
        """Remove what dead processes left unpublished; returns how many."""

    @abstractmethod
    def close(self) -> None:
        """End this process's holding."""
