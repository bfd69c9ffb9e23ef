"""Small deeds with files that must be whole or absent.

Owns: atomic writes, locks between processes, removal of a folder. Must not: know what is in them.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gureum.nova.agent.contract import HostDiskFull, HypervisorFailed

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, body: bytes, mode: int = 0o600) -> None:
    """Write a file so that a reader sees the old or the new whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file against every thread and process; yields whether it is held.

    The lock ends with the process, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


@contextmanager
def disk_trouble(what: str) -> Iterator[None]:
    """Turn a full disk, and other trouble of the file system, into the contract's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise HostDiskFull(f"no room on the host for {what}") from error
        raise HypervisorFailed(f"{what}: {error.strerror or error}") from error


def need_room(folder: Path, size_bytes: int, what: str) -> None:
    """Raises: HostDiskFull when the file system has less room than asked."""
    room = shutil.disk_usage(folder).free
    if room < size_bytes:
        raise HostDiskFull(f"no room on the host for {what}: {size_bytes} bytes, {room} are free")


def remove_tree(folder: Path) -> None:
    """Remove a folder whole; gone already is fine. Raises: HypervisorFailed."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        if folder.exists():  # somebody else removed a part of it meanwhile
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise HypervisorFailed(f"{folder.name}: {error.strerror or error}") from error
