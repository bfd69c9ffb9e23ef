"""Daemons that no pid file names are found and ended; others are left alone."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gureum.neutron.agents.plumbing.daemons import Daemon, end_strays, fault_of, strays

PROGRAMS = ("dnsmasq",)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is called dnsmasq and works on files of a network's folder."""
    folder = tmp_path / "state" / "net1"
    folder.mkdir(parents=True)
    sleep = shutil.which("sleep")
    assert sleep
    (folder / "dnsmasq").symlink_to(sleep)
    process = subprocess.Popen([str(folder / "dnsmasq"), "60"])
    deadline = time.monotonic() + 10.0
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # empty for a moment after exec
        assert time.monotonic() < deadline
        time.sleep(0.005)
    yield process
    process.kill()
    process.wait()


def test_daemon_without_a_pid_file_is_a_stray_and_is_ended(
    tmp_path: Path, running: subprocess.Popen[bytes]
) -> None:
    state = tmp_path / "state"
    (found,) = strays(state, PROGRAMS)
    assert (found.pid, found.program, found.owner_id) == (running.pid, "dnsmasq", "net1")
    assert strays(tmp_path / "other", PROGRAMS) == []
    assert strays(state, ("haproxy",)) == []
    assert end_strays(state, PROGRAMS) == 1
    assert running.wait(5) != 0


def test_daemon_that_its_pid_file_names_is_none(
    tmp_path: Path, running: subprocess.Popen[bytes]
) -> None:
    folder = tmp_path / "state" / "net1"
    (folder / "dnsmasq.pid").write_text(str(running.pid))
    assert strays(tmp_path / "state", PROGRAMS) == []
    args = (str(folder / "dnsmasq"), "60")
    here = Daemon("dnsmasq", "no-such-namespace", args, folder / "dnsmasq.pid")
    assert fault_of(here) == "it runs in another namespace"
    other = Daemon("dnsmasq", "", (*args, "more"), folder / "dnsmasq.pid")
    assert fault_of(other) == "it runs with other arguments"
    (folder / "dnsmasq.pid").unlink()
    assert fault_of(here) == "it does not run"


def test_child_of_a_daemon_is_none_as_radvds(
    tmp_path: Path, running: subprocess.Popen[bytes]
) -> None:
    folder = tmp_path / "state" / "net1"
    (folder / "dnsmasq.pid").write_text(str(os.getpid()))  # who started it
    assert strays(tmp_path / "state", PROGRAMS) == []
    (folder / "dnsmasq.pid").write_text(str(os.getppid()))
    assert [one.pid for one in strays(tmp_path / "state", PROGRAMS)] == [running.pid]
