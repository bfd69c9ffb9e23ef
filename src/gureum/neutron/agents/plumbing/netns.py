"""Named network namespaces: make, remove, enter.

Owns: the calls around /run/netns. Must not: know routers or networks, or leave a thread in a foreign
namespace. A thread that enters a namespace changes only itself; sockets it opens there stay there.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from gureum.core.runner import Runner

_CLONE_NEWNET = 0x40000000
_FOLDER = Path("/run/netns")
_TIMEOUT_S = 10.0
_TERM_S = 2.0
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "setns")


def exists(name: str) -> bool:
    """Return whether the name stands for a live namespace, not for a file that a crash left."""
    try:
        return os.stat(_FOLDER / name).st_dev != os.stat(_FOLDER).st_dev
    except OSError:
        return False


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Run the block, in this thread only, inside a namespace. Raises: FileNotFoundError."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def inside(name: str, args: list[str]) -> list[str]:
    """Return the command line that runs `args` in a namespace."""
    return ["ip", "netns", "exec", name, *args]


def write_sysctl(key: str, value: str) -> None:
    """Set `net/…` of the namespace that this thread is in, when it differs."""
    path = Path("/proc/sys/net") / key
    if path.read_text().strip() != value:
        path.write_text(value)


class Namespaces:
    """Makes and removes namespaces."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ensure(self, name: str) -> bool:
        """Make a namespace with its loopback up, unless it is there; return whether it was made."""
        if exists(name):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_FOLDER / name)  # a plain file, left by a crash between create and mount
        self._runner.run(["ip", "netns", "add", name], timeout_s=_TIMEOUT_S)
        self._runner.run(["ip", "-n", name, "link", "set", "lo", "up"], timeout_s=_TIMEOUT_S)
        return True

    def remove(self, name: str) -> None:
        """End what runs in a namespace and remove it; nothing happens when it is gone."""
        if not exists(name):
            return
        end_processes(processes_in(name))
        self._runner.run(["ip", "netns", "delete", name], timeout_s=_TIMEOUT_S)


def processes_in(name: str) -> list[int]:
    """Return the processes that live in a namespace."""
    try:
        wanted = os.stat(_FOLDER / name).st_ino
    except OSError:
        return []
    return [pid for pid in _all_pids() if _net_inode(pid) == wanted]


def is_in(pid: int, name: str) -> bool:
    """Return whether a process lives in a namespace."""
    try:
        return _net_inode(pid) == os.stat(_FOLDER / name).st_ino
    except OSError:
        return False


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _net_inode(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def end_processes(pids: list[int], *, grace_s: float = _TERM_S) -> None:
    """Ask processes to end, wait, and kill those that stay."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while pids and time.monotonic() < deadline:
        pids = [pid for pid in pids if is_alive(pid)]
        if pids:
            time.sleep(0.01)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
