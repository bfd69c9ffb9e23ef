"""The supervisor with real children."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from waiting import eventually

from gureum.provision import supervisor
from gureum.provision.supervisor import Child, Plan, Status

CHILD = """
import pathlib, signal, sys, time
ready, journal = map(pathlib.Path, sys.argv[1:3])
with journal.open("a") as file: file.write("start\\n")
def stop(*_):
    with journal.open("a") as file: file.write("stop\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
ready.write_text("")
while True: signal.pause()
"""


def child(run_dir: Path, name: str) -> Child:
    ready = str(run_dir / f"{name}.ready")
    argv = [sys.executable, "-c", CHILD, ready, str(run_dir / f"{name}.journal")]
    return Child(name, argv, str(run_dir / f"{name}.log"), ready)


def status(run_dir: Path) -> Status:
    found = supervisor.read_status(run_dir)
    assert found is not None
    return found


def states(run_dir: Path) -> dict[str, str]:
    found = supervisor.read_status(run_dir)
    return {c.name: c.state for c in found.children} if found else {}


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    supervisor.stop(tmp_path)


def begin(run_dir: Path, *children: Child) -> int:
    return supervisor.start(Plan(str(run_dir), list(children)), run_dir / "supervisor.log")


def test_children_run_until_stop_and_are_told_to(run_dir):
    begin(run_dir, child(run_dir, "a"), child(run_dir, "b"))
    eventually(lambda: states(run_dir) == {"a": "running", "b": "running"})
    assert supervisor.stop(run_dir)
    assert supervisor.running_pid(run_dir) is None
    assert (run_dir / "a.journal").read_text() == "start\nstop\n"
    assert not supervisor.stop(run_dir)


def test_killed_child_is_started_again(run_dir):
    begin(run_dir, child(run_dir, "a"))
    eventually(lambda: states(run_dir) == {"a": "running"})
    first = status(run_dir).children[0]
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: status(run_dir).children[0].pid not in (None, first.pid))
    again = status(run_dir).children[0]
    assert (again.restarts, again.last_exit) == (1, "ended with signal 9")


def test_child_that_cannot_start_waits_longer_each_time(run_dir):
    missing = Child("a", ["/nonexistent"], str(run_dir / "a.log"), str(run_dir / "a.ready"))
    begin(run_dir, missing)
    eventually(lambda: bool(states(run_dir)))
    eventually(lambda: status(run_dir).children[0].restarts >= 2)
    assert status(run_dir).children[0].state == "waiting"
    assert "could not be started" in status(run_dir).children[0].last_exit


def test_second_supervisor_of_a_run_directory_is_refused(run_dir):
    begin(run_dir, child(run_dir, "a"))
    with pytest.raises(RuntimeError, match="did not start"):
        begin(run_dir, child(run_dir, "a"))
    assert "another supervisor" in (run_dir / "supervisor.log").read_text()


def test_hangup_reads_the_plan_again(run_dir):
    pid = begin(run_dir, child(run_dir, "a"))
    eventually(lambda: states(run_dir) == {"a": "running"})
    supervisor.write_plan(Plan(str(run_dir), [child(run_dir, "b")]))
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: states(run_dir) == {"b": "running"})


def test_no_status_without_a_supervisor(tmp_path):
    assert supervisor.read_status(tmp_path) is None


def test_child_waits_for_those_it_needs_and_a_task_is_done_once(run_dir: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = (
        f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    )
    database = Child(
        "database",
        [sys.executable, "-c", server],
        str(run_dir / "d.log"),
        str(run_dir / "d.ready"),
        port=port,
        stage=0,
        own=False,
    )
    noted = run_dir / "task.journal"
    task = Child(
        "task",
        [sys.executable, "-c", f"open({str(noted)!r}, 'a').write('ran ')"],
        str(run_dir / "t.log"),
        str(run_dir / "task.ready"),
        after=["database"],
        own=False,
        once=True,
    )
    api = msgspec.structs.replace(child(run_dir, "api"), after=["task"])
    begin(run_dir, api, task, database)
    eventually(lambda: states(run_dir).get("api") == "running")
    assert states(run_dir) == {"api": "running", "task": "done", "database": "running"}
    pid = next(c.pid for c in status(run_dir).children if c.name == "api")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (run_dir / "api.journal").read_text().count("start") == 2)
    assert noted.read_text() == "ran "
    eventually(lambda: states(run_dir).get("api") == "running")
    assert supervisor.stop(run_dir)
    assert (run_dir / "api.journal").read_text().endswith("stop\n")


def test_what_a_killed_daemon_left_behind_is_ended_before_its_next_start(run_dir: Path):
    """As under RabbitMQ's shell: the broker itself would live on, with the ports of the next one."""
    script = f"sleep 600 & echo $! >>{run_dir}/rest; touch {run_dir}/d.ready; wait"
    argv = ["sh", "-c", script]
    daemon = Child("d", argv, str(run_dir / "d.log"), str(run_dir / "d.ready"), own=False)
    begin(run_dir, daemon)
    eventually(lambda: states(run_dir) == {"d": "running"})
    first = status(run_dir).children[0].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: status(run_dir).children[0].pid not in (None, first))
    eventually(lambda: len((run_dir / "rest").read_text().split()) == 2)
    supervisor.stop(run_dir)
    for pid in (run_dir / "rest").read_text().split():
        eventually(lambda pid=pid: not lives(int(pid)))


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
