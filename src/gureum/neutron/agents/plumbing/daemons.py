"""Daemons that outlive an agent: found again by pid file, command line and namespace.

Owns: start, adopt, reload, stop of dnsmasq, haproxy, radvd in a namespace. Must not: keep a table of
processes; /proc is the truth, so a restarted agent finds what the former one started.
"""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gureum.core import log as logs
from gureum.core.runner import Runner
from gureum.neutron.agents.plumbing import netns

log = logs.get(__name__)

_START_S = 15.0
_PID_S = 5.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """One wanted process. Its argument list is its identity: another list means a restart."""

    name: str
    namespace: str
    args: tuple[str, ...]
    pid_file: Path


@dataclass(frozen=True, slots=True)
class Stray:
    """A process on files of ours that is not the one the pid file names; `owner_id` is the folder."""

    pid: int
    program: str
    owner_id: str


class Daemons:
    """Keeps wanted daemons running."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ensure(self, daemon: Daemon) -> bool:
        """Keep, start or restart a daemon; return whether a new process was started.

        Raises: CommandError when it does not start.
        """
        pid = running(daemon)
        if pid is not None:
            if _command_line(pid) == daemon.args and netns.is_in(pid, daemon.namespace):
                return False
            netns.end_processes([pid])
        with contextlib.suppress(FileNotFoundError):
            daemon.pid_file.unlink()
        self._runner.run(netns.inside(daemon.namespace, list(daemon.args)), timeout_s=_START_S)
        self._wait_for_pid(daemon)
        log.info("daemon started", daemon=daemon.name, namespace=daemon.namespace)
        return True

    def reload(self, daemon: Daemon) -> None:
        """Make a daemon read its files again."""
        pid = running(daemon)
        if pid is not None:
            os.kill(pid, signal.SIGHUP)

    def stop(self, name: str, pid_file: Path) -> None:
        """End a daemon that is no longer wanted; nothing happens when it does not run."""
        pid = _pid_from(pid_file)
        if pid is not None and _is_program(pid, name, pid_file.parent):
            netns.end_processes([pid])
            log.info("daemon stopped", daemon=name, pid=pid)
        with contextlib.suppress(FileNotFoundError):
            pid_file.unlink()

    def _wait_for_pid(self, daemon: Daemon) -> None:
        deadline = time.monotonic() + _PID_S
        while running(daemon) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{daemon.name} in {daemon.namespace} wrote no pid file")
            time.sleep(0.01)


def strays(state: Path, programs: Sequence[str]) -> list[Stray]:
    """Return processes of our folders that no pid file names: duplicates, or of a removed folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        line = _command_line(pid)
        if not line or os.path.basename(line[0]) not in programs or not netns.is_alive(pid):
            continue
        program = os.path.basename(line[0])
        owner = next((o for part in line if (o := _owner_in(part, state))), "")
        named = _pid_from(state / owner / f"{program}.pid") if owner else None
        # radvd keeps a child beside it, of the same command line
        if owner and pid != named and (named is None or _parent_of(pid) != named):
            found.append(Stray(pid, program, owner))
    return found


def _parent_of(pid: int) -> int | None:
    """Return the process that started one; None when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _owner_in(argument: str, state: Path) -> str:
    """Return the folder below `state` that an argument names a file of."""
    _, mark, rest = argument.partition(f"{state}/")
    return rest.partition("/")[0] if mark and "/" in rest else ""


def end_strays(state: Path, programs: Sequence[str]) -> int:
    """End the processes that `strays` finds; returns how many."""
    found = strays(state, programs)
    for stray in found:
        log.warning("stray daemon is ended", daemon=stray.program, pid=stray.pid)
    netns.end_processes([stray.pid for stray in found])
    return len(found)


def fault_of(daemon: Daemon) -> str:
    """Say what is wrong with a daemon that should run; "" when nothing is."""
    pid = running(daemon)
    if pid is None:
        return "it does not run"
    if _command_line(pid) != daemon.args:
        return "it runs with other arguments"
    return "" if netns.is_in(pid, daemon.namespace) else "it runs in another namespace"


def has_dead(folder: Path) -> bool:
    """Return whether a pid file of the folder names a process that no longer runs."""
    return any(
        (pid := _pid_from(pid_file)) is None or not _is_program(pid, pid_file.stem, folder)
        for pid_file in folder.glob("*.pid")
    )


def running(daemon: Daemon) -> int | None:
    """Return the process id of a daemon, or None; a reused process id is not mistaken for it."""
    pid = _pid_from(daemon.pid_file)
    if pid is None or not _is_program(pid, daemon.args[0], daemon.pid_file.parent):
        return None
    return pid


def _pid_from(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _command_line(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode(errors="replace") for part in raw.split(b"\0")[:-1])


def _is_program(pid: int, program: str, folder: Path) -> bool:
    """Whether a process is this program working on files of this folder."""
    if not netns.is_alive(pid):
        return False
    line = _command_line(pid)
    return _same_program(line, program) and any(str(folder) in part for part in line)


def _same_program(line: Sequence[str], program: str) -> bool:
    return bool(line) and os.path.basename(line[0]) == os.path.basename(program)
