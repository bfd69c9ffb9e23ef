"""The supervisor: one small daemon that keeps a cloud's processes running.

Owns: starting children, restarting one that ended (with backoff), stopping them in reverse order,
the status file that `gureum status` reads.
Must not: import the cloud (it stays at a few MiB), talk to a network, or end a guest: a guest,
dnsmasq or haproxy is never its child. Follows: docs/architecture.md, decision 11.

It is the one place besides `core.runner` that starts programs: these run as long as the cloud does.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

PLAN_FILE = "supervisor.plan.json"
STATUS_FILE = "supervisor.status.json"
LOCK_FILE = "supervisor.lock"

BACKOFF_S = (0.5, 30.0)
STEADY_AFTER_S = 60.0
STOP_S = 25.0


class Child(msgspec.Struct, frozen=True):
    """A process to keep running. `user` None means the supervisor's own.

    It is ready once `ready_file` is there, or with `port` once something accepts there. after: children
    that must be ready before it starts. stage: later ones are stopped first, those of one together.
    own: whether it takes our words, such as --die-with; a daemon of others does not. once: it ends, and
    is ready when it ended well.
    """

    name: str
    argv: list[str]
    log_file: str
    ready_file: str
    user: str | None = None
    env: dict[str, str] = {}
    port: int = 0
    after: list[str] = []
    stage: int = 1
    own: bool = True
    once: bool = False
    stop_signal: int = signal.SIGTERM


class Plan(msgspec.Struct, frozen=True):
    """What the supervisor of one cloud runs, in starting order.

    stamp: which program and settings the children were started with.
    """

    run_dir: str
    children: list[Child]
    stamp: str = ""


class ChildStatus(msgspec.Struct, frozen=True):
    """How a child is. `state` is starting, running, waiting (for its next start, or for others), stopped
    or done."""

    name: str
    state: str
    pid: int | None
    since: float
    restarts: int
    last_exit: str = ""


class Status(msgspec.Struct, frozen=True):
    """What the status file holds."""

    pid: int
    children: list[ChildStatus]


@dataclass(slots=True)
class _Slot:
    """One child with its process and its backoff."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    since: float = field(default_factory=time.time)
    restarts: int = 0
    backoff_s: float = BACKOFF_S[0]
    start_at: float | None = 0.0
    last_exit: str = ""
    answered: bool = False
    done: bool = False

    def ready(self) -> bool:
        """Whether it does its work, or has done it."""
        if self.child.once:
            return self.done
        if self.process is None:
            return False
        if not self.child.port:
            return os.path.exists(self.child.ready_file)
        if not self.answered:
            with socket.socket() as probe:
                probe.settimeout(0.2)
                self.answered = probe.connect_ex(("127.0.0.1", self.child.port)) == 0
        return self.answered

    def status(self) -> ChildStatus:
        pid = self.process.pid if self.process else None
        if self.process is not None:
            state = "running" if self.ready() else "starting"
        elif self.done:
            state = "done"
        else:
            state = "stopped" if self.start_at is None else "waiting"
        return ChildStatus(self.child.name, state, pid, self.since, self.restarts, self.last_exit)


class Supervisor:
    """Runs a plan until SIGTERM. SIGHUP reads the plan again and restarts every child."""

    def __init__(self, plan_path: Path) -> None:
        self._plan_path = plan_path
        self._plan = read_plan(plan_path)
        self._slots = [_Slot(child) for child in self._plan.children]
        self._run_dir = Path(self._plan.run_dir)
        self._stop = False
        self._reload = False
        self._shown = b""

    def run(self) -> int:
        """Supervise until told to stop; returns the exit code."""
        lock = _take_lock(self._run_dir)
        if lock is None:
            print("another supervisor runs already", file=sys.stderr)
            return 1
        awake, wake = os.pipe()
        for end in (awake, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            while not self._stop:
                if self._reload:
                    self._restart_all()
                self._reap()
                self._start_due()
                self._publish()
                select.select([awake], [], [], self._pause_s())
                with contextlib.suppress(BlockingIOError):
                    os.read(awake, 4096)
        finally:
            self._stop_all()
            self._publish()
        return 0

    def _on_stop(self, *_: object) -> None:
        self._stop = True

    def _on_reload(self, *_: object) -> None:
        self._reload = True

    def _pause_s(self) -> float:
        now = time.monotonic()
        due = [
            max(0.1, s.start_at - now) if s.child.after else s.start_at - now
            for s in self._slots
            if s.process is None and s.start_at is not None
        ]
        starting = any(slot.process is not None and not slot.ready() for slot in self._slots)
        return max(0.02, min([0.2 if starting else 10.0, *due]))

    def _start_due(self) -> None:
        for slot in self._slots:
            due = slot.start_at is not None and time.monotonic() >= slot.start_at
            if slot.process is None and due and self._may_start(slot.child):
                self._start(slot)

    def _may_start(self, child: Child) -> bool:
        return all(slot.ready() for slot in self._slots if slot.child.name in child.after)

    def _start(self, slot: _Slot) -> None:
        child = slot.child
        Path(child.ready_file).unlink(missing_ok=True)
        argv = [*child.argv, "--die-with", str(os.getpid())] if child.own else child.argv
        say("starts", name=child.name)
        with open(child.log_file, "ab") as log_file:
            if child.user is not None:
                _give(child.log_file, child.user)
            try:
                slot.process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    env={**os.environ, **child.env},
                    user=child.user,
                    group=child.user,
                    extra_groups=[] if child.user is not None else None,
                    start_new_session=True,
                    umask=0o027,
                    cwd="/",
                )
            except OSError as error:
                self._ended(slot, f"could not be started: {error}")
                return
        slot.since = time.time()
        slot.answered = False

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                _end_rest(slot)
                code = slot.process.returncode
                what = f"signal {-code}" if code < 0 else f"code {code}"
                if slot.child.once and code == 0:
                    slot.process, slot.start_at, slot.done = None, None, True
                    say("done", name=slot.child.name)
                    continue
                self._ended(slot, f"ended with {what}")

    def _ended(self, slot: _Slot, text: str) -> None:
        lived_s = time.time() - slot.since
        slot.process = None
        if lived_s > STEADY_AFTER_S:
            slot.backoff_s = BACKOFF_S[0]
        slot.start_at = time.monotonic() + slot.backoff_s
        slot.backoff_s = min(slot.backoff_s * 2, BACKOFF_S[1])
        slot.restarts += 1
        slot.since = time.time()
        slot.last_exit = text
        say("ended", name=slot.child.name, text=text, lived_s=f"{lived_s:.1f}")

    def _restart_all(self) -> None:
        self._reload = False
        self._stop_all()
        self._plan = read_plan(self._plan_path)
        self._slots = [_Slot(child) for child in self._plan.children]

    def _stop_all(self) -> None:
        """The latest stage first; those of one stage are told at once and awaited together."""
        for stage in sorted({slot.child.stage for slot in self._slots}, reverse=True):
            slots = [slot for slot in self._slots if slot.child.stage == stage]
            deadline = time.monotonic() + STOP_S
            for slot in slots:
                slot.start_at = None
                if slot.process is not None:
                    slot.process.send_signal(slot.child.stop_signal)
            for slot in reversed(slots):
                self._await_end(slot, deadline)

    def _await_end(self, slot: _Slot, deadline: float) -> None:
        process = slot.process
        if process is None:
            return
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            say("killed, it did not stop in time", name=slot.child.name)
            process.kill()
            process.wait()
        _end_rest(slot)
        slot.process = None
        Path(slot.child.ready_file).unlink(missing_ok=True)
        say("stopped", name=slot.child.name)

    def _publish(self) -> None:
        status = Status(os.getpid(), [slot.status() for slot in self._slots])
        data = msgspec.json.encode(status)
        if data == self._shown:
            return
        path = self._run_dir / STATUS_FILE
        temporary = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):  # the folder is purged at the very end
            temporary.write_bytes(data)
            os.replace(temporary, path)
            self._shown = data


def _end_rest(slot: _Slot) -> None:
    """Kill what a daemon's first process left behind, such as the broker under a shell that was killed.

    It would hold the ports and the data of the next one. What our own components start (dnsmasq,
    haproxy, guests) goes on without them.
    """
    if slot.process is not None and not slot.child.own:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(slot.process.pid, signal.SIGKILL)


def say(what: str, **fields: str) -> None:
    """One log line of the supervisor."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    tail = " ".join(f'{key}="{value}"' for key, value in fields.items())
    print(f"{now} INFO supervisor {what} {tail}", flush=True)


def read_plan(path: Path) -> Plan:
    """The plan of a cloud. Raises: OSError, msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def write_plan(plan: Plan) -> Path:
    """Store a plan where the supervisor of its run directory finds it."""
    path = Path(plan.run_dir) / PLAN_FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2))
    return path


def read_status(run_dir: Path) -> Status | None:
    """What the running supervisor last wrote; None when none runs."""
    if running_pid(run_dir) is None:
        return None
    try:
        return msgspec.json.decode((run_dir / STATUS_FILE).read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return None


def running_pid(run_dir: Path) -> int | None:
    """The process id of the supervisor that holds this run directory, or None."""
    try:
        with open(run_dir / LOCK_FILE, "rb") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                    return int(held.read().strip() or b"0") or None
                raise
    except FileNotFoundError:
        return None
    return None


def start(plan: Plan, log_file: Path) -> int:
    """Start the supervisor of a plan as a daemon; returns its process id."""
    path = write_plan(plan)
    with open(log_file, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gureum.provision.supervisor", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + 20
    while running_pid(Path(plan.run_dir)) != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the supervisor did not start; see {log_file}")
        time.sleep(0.02)
    return process.pid


def stop(run_dir: Path, *, timeout_s: float = 90.0) -> bool:
    """Stop the supervisor and its children; False when none ran. Raises: TimeoutError."""
    pid = running_pid(run_dir)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while running_pid(run_dir) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the supervisor (process {pid}) still runs after {timeout_s:.0f} s")
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)
    return True


def _take_lock(run_dir: Path) -> int | None:
    held = os.open(run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    os.ftruncate(held, 0)
    os.write(held, f"{os.getpid()}\n".encode())
    return held


def _give(path: str, user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


if __name__ == "__main__":
    sys.exit(Supervisor(Path(sys.argv[1])).run())
