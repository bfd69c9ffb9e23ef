"""The file store: a folder with one file an image, named as its id.

A file is whole or absent: bytes come into `.uploads/HOLDER/`, are synced, and are renamed. Every process
holds a lock on a file in its folder there as long as it lives, so that another one can tell a dead
process's leftovers. Needs a file system with flock and rename; processes on several machines may share it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from gureum.core.spec import File
from gureum.glance.drivers.base import NoRoom, Staging, Upload

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)
_NO_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""Two file systems of different kinds, or one that cannot share blocks."""
CHUNK_BYTES = 1 << 20
_COPY_BYTES = 1 << 30
_SYNC_BYTES = 64 << 20
"""So many bytes are brought to the disk while the next ones come."""


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoRoom(str(error)) from error
        raise


def _sync_folder(path: Path) -> None:
    _sync_file(path, os.O_DIRECTORY)


def _sync_file(path: Path, flags: int = 0) -> None:
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FileUpload(Upload):
    """Bytes in a file of this process's folder."""

    def __init__(self, store: FileStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._unsynced_bytes = 0
        self._syncing: threading.Thread | None = None
        self._fault: OSError | None = None
        with _room():
            self._file = path.open("xb", buffering=0)

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        with _room():
            while view:
                view = view[self._file.write(view) :]
        self._unsynced_bytes += len(chunk)
        if self._unsynced_bytes >= _SYNC_BYTES and not self._is_syncing():
            self._unsynced_bytes = 0
            self._begin_sync(os.fdatasync)

    def _begin_sync(self, sync: Callable[[int], None]) -> None:
        self._syncing = threading.Thread(
            target=self._sync, args=(sync,), name="image-sync", daemon=True
        )
        self._syncing.start()

    def _is_syncing(self) -> bool:
        return self._syncing is not None and self._syncing.is_alive()

    def _sync(self, sync: Callable[[int], None]) -> None:
        """Bring bytes to the disk beside other work. The kernel tells of an error once only."""
        try:
            sync(self._file.fileno())
        except OSError as error:
            self._fault = error

    def _wait(self) -> None:
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def _settle(self) -> None:
        """Wait for what is brought to the disk. Raises: NoRoom, OSError."""
        self._wait()
        if self._fault is not None:
            with _room():
                raise self._fault

    def copy(self, source: Path) -> None:
        """Add the bytes of a file, in the kernel."""
        with source.open("rb", buffering=0) as taken, _room():
            read, write = taken.fileno(), self._file.fileno()
            try:
                while os.copy_file_range(read, write, _COPY_BYTES):
                    pass
            except OSError as error:
                if error.errno not in _NO_RANGE:
                    raise
                while os.sendfile(write, read, None, _COPY_BYTES):
                    pass

    def seal(self) -> Path:
        self._settle()
        self._begin_sync(os.fsync)  # while the bytes are looked into
        return self._path

    def publish(self, key: str) -> None:
        self._settle()
        self._file.close()
        with _room():
            os.rename(self._path, self._store.path(key))
            _sync_folder(self._store.folder)

    def drop(self) -> None:
        self._wait()
        self._file.close()
        self._path.unlink(missing_ok=True)


class FileStore(Staging):
    """Bytes of images in a folder."""

    kind = "file"

    def __init__(
        self,
        folder: str | Path,
        name: str = "file",
        *,
        description: str = "",
        weight: int = 0,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.folder = Path(folder)
        self.name, self.description, self.weight = name, description, weight
        self._chunk_bytes = chunk_bytes
        self._uploads = self.folder / ".uploads"
        self._uploads.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._machine = socket.gethostname().split(".")[0][:24]
        self.holder = f"{self._machine}.{uuid.uuid4().hex}"
        self._own = self._uploads / self.holder
        self._lock = self._hold()

    def _hold(self) -> int:
        lock = self._uploads / f"{self.holder}.lock"
        while True:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Between open and flock another process may have swept the file as a dead one's.
            if lock.exists() and lock.stat().st_ino == os.fstat(handle).st_ino:
                self._own.mkdir(mode=0o750)
                return handle
            os.close(handle)

    def identity(self) -> str:
        """Return the name of this folder, which all processes that share it agree on."""
        path = self.folder / ".identity"
        try:
            return path.read_text()
        except FileNotFoundError:
            fresh = self._own / uuid.uuid4().hex
            fresh.write_text(f"folder.{uuid.uuid4().hex}")
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(fresh, path)
            fresh.unlink()
            return path.read_text()

    def path(self, key: str) -> Path:
        """Return where the bytes of a key lie. Raises: KeyError for a name that is no key."""
        if not key.replace("-", "").isalnum():
            raise KeyError(key)
        return self.folder / key

    def url(self, key: str) -> str:
        return f"file://{self.path(key)}"

    def begin(self) -> FileUpload:
        return FileUpload(self, self._own / uuid.uuid4().hex)

    def put(self, key: str, path: Path) -> None:
        try:
            fresh = self._own / uuid.uuid4().hex
            _sync_file(path)  # another program may have written it, such as a conversion
            os.link(path, fresh)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        else:  # on one file system: no byte is copied
            os.rename(fresh, self.path(key))
            fresh.unlink(missing_ok=True)  # rename leaves both when they are one file already
            _sync_folder(self.folder)
            return
        with self.begin() as upload:
            upload.copy(path)
            upload.seal()
            upload.publish(key)

    def size(self, key: str) -> int | None:
        try:
            return self.path(key).stat().st_size
        except (FileNotFoundError, KeyError):
            return None

    def file(self, key: str) -> File | None:
        path = self.path(key)
        return File(str(path)) if path.exists() else None

    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        try:
            source = self.path(key).open("rb", buffering=0)
        except FileNotFoundError:
            raise KeyError(key) from None
        return self._read(source, offset, length)

    def _read(self, source: io.FileIO, offset: int, length: int | None) -> Iterator[bytes]:
        with source:
            source.seek(offset)
            left = length
            while left is None or left > 0:
                chunk = source.read(
                    self._chunk_bytes if left is None else min(left, self._chunk_bytes)
                )
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self.path(key)
        if not path.exists():
            raise KeyError(key)
        yield path

    def delete(self, key: str) -> bool:
        try:
            self.path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[str]:
        with os.scandir(self.folder) as found:
            for entry in found:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    yield entry.name

    def is_alive(self, holder: str) -> bool:
        if holder == self.holder:
            return True
        try:
            handle = os.open(self._uploads / f"{holder}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            machine = holder.rpartition(".")[0]
            # A folder that another machine does not share tells nothing of its processes.
            return machine not in ("", self._machine)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def sweep(self) -> int:
        swept = 0
        for lock in self._uploads.glob("*.lock"):
            holder = lock.name.removesuffix(".lock")
            if self.is_alive(holder):
                continue
            left = self._uploads / holder
            if left.exists():
                swept += sum(1 for _ in left.iterdir())
                shutil.rmtree(left, ignore_errors=True)
            lock.unlink(missing_ok=True)
        return swept

    def close(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)
        (self._uploads / f"{self.holder}.lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)

    def properties(self) -> dict[str, str]:
        return {"data_dir": str(self.folder), "chunk_size": str(self._chunk_bytes)}
