"""What a purge leaves alone: daemons and packages that another cloud of the machine works with."""

import os

import pytest

from gureum.cli import place as places
from gureum.core.runner import Completed, FakeRunner
from gureum.provision import host
from gureum.provision.network import Outside
from gureum.provision.purge import Purge
from gureum.provision.steps import Progress


@pytest.fixture
def purge(tmp_path, monkeypatch):
    """Of the machine's own cloud, which started Open vSwitch and brought packages."""
    stopped: list[str] = []
    monkeypatch.setattr(host, "stop_daemon", lambda runner, name: stopped.append(name))
    monkeypatch.setattr(host.shutil, "which", lambda name: f"/usr/bin/{name}")
    made = Purge(places.under(tmp_path), Outside(), keep_packages=False, simulated=False)
    made.ledger.note("daemons", "openvswitch")
    made.ledger.note("packages", "qemu-utils")
    made.ledger.note("bridges", "br-ex")
    made.stopped = stopped
    return made


def machine(purge, *bridges):
    there = list(bridges)

    def answer(words, _):
        if words[0] == "ovs-vsctl" and "list-br" in words:
            return "\n".join(there)
        if words[0] == "ovs-vsctl" and "del-br" in words:
            there.remove(words[-1]) if words[-1] in there else None
            return ""
        if words[0] == "ovs-vsctl":
            return "[netdev, system]"
        return Completed(words, 0, "", "")

    purge.runner = FakeRunner(answer)
    return there


def progress():
    return Progress("purge", open(os.devnull, "w"))


def test_daemons_and_packages_of_another_cloud_are_kept(purge):
    left = machine(purge, "br-ex", "br-int", "two-br-ex", "two-br-int", "br-tun")
    purge.switch(progress())
    assert left == ["two-br-ex", "two-br-int", "br-tun"]
    assert purge.daemons(progress()) == "kept: two-br-int of another cloud"
    assert purge.packages(progress()) == "1 kept: two-br-int of another cloud"
    assert purge.stopped == []
    assert purge.ledger.entries.daemons == ["openvswitch"]


def test_daemons_that_nobody_else_uses_are_stopped(purge):
    machine(purge, "br-ex", "br-int", "somebodys-bridge")
    purge.switch(progress())
    assert purge.daemons(progress()) == "stopped openvswitch"
    assert purge.stopped == ["openvswitch"]
    assert purge.ledger.entries.daemons == []
