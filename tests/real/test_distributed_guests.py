"""Every component a process of its own, on MariaDB, RabbitMQ and memcached, with real guests: each of these
processes is killed while the guests talk to each other, and nothing of theirs is lost.

The tests build on each other, in this order. The cloud stands beside the machine's own.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodelab
import pytest
from cloudlab import Lab, beside, lines, run, wait_for
from guestlab import Guests

from gureum.cli.test import why_not_real
from gureum.provision import daemons, supervisor

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not_real()), reason=why_not_real() or "runs"),
    pytest.mark.skipif(
        bool(daemons.missing(daemons.MARIADB)),
        reason=f"Debian packages are missing: {' '.join(daemons.missing(daemons.MARIADB))}",
    ),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with beside("manyproc", "--distributed") as made:
        yield made


@pytest.fixture(scope="module")
def guests(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    made = Guests(lab, tmp_path_factory.mktemp("guests"), "pair")
    made.make()
    yield made


def running(lab: Lab) -> dict[str, int]:
    """The processes that run, by name; a process that works once and ends is not among them."""
    status = supervisor.read_status(lab.place.run_dir)
    assert status is not None
    return {one.name: one.pid for one in status.children if one.state == "running"}


def test_every_component_is_a_process_and_all_are_well(lab: Lab):
    names = set(running(lab))
    daemons_of_it = {"mariadb", "rabbitmq", "memcached"}
    agents = {"neutron-openvswitch-agent", "neutron-dhcp-agent", "neutron-l3-agent"}
    assert names >= {"keystone", "nova-conductor", "nova-compute"} | daemons_of_it | agents
    said = json.loads(lab.gureum("status", "--json"))
    assert said["ok"] and said["distributed"] and not said["simulated"], said


def test_guest_has_its_own_metadata(guests: Guests):
    answer = guests.ssh("curl -s -m 20 http://169.254.169.254/openstack/latest/meta_data.json")
    assert json.loads(answer)["uuid"] == guests.server.id
    assert guests.ssh("hostname") == "pair-one"


def test_each_process_is_killed_and_guests_lose_not_one_ping(lab: Lab, guests: Guests):
    boot = guests.boot_id()
    pings = [guests.ping_between(), nodelab.ping(lab.outside.namespace, guests.floating)]
    before = running(lab)
    for name, pid in before.items():
        os.kill(pid, 9)
        wait_for(f"a new {name}", lambda n=name, p=pid: running(lab).get(n, p) != p, 90, 0.1)
    nodelab.comes_back(lab)
    sent, lost = nodelab.lost(pings)
    print(f"\n{len(before)} processes killed one by one, {sent} pings, {lost} lost")
    assert sent > len(before) * 5
    assert lost == 0
    assert guests.boot_id() == boot


def test_guests_are_managed_afterwards(lab: Lab, guests: Guests):
    sdk = guests.sdk
    sdk.compute.stop_server(guests.other)
    guests.becomes(guests.other, "SHUTOFF")
    sdk.compute.start_server(guests.other)
    guests.becomes(guests.other, "ACTIVE")
    nodelab.comes_back(lab)


def test_verbs_under_way_end_while_their_workers_are_killed(lab: Lab, guests: Guests):
    """The worker that has the next step is killed in the middle of each verb."""
    sdk = guests.sdk
    made: list[Any] = []
    for number, name in enumerate(("nova-conductor", "nova-compute", "rabbitmq", "mariadb")):
        made.append(guests.ask_for(f"pair-late-{number}"))
        pid = running(lab)[name]
        os.kill(pid, 9)
        wait_for(f"a new {name}", lambda n=name, p=pid: running(lab).get(n, p) != p, 90, 0.1)
    for server in made:
        guests.becomes(server, "ACTIVE", 240)
    for server in made:
        sdk.compute.delete_server(server)
    for server in made:
        sdk.compute.wait_for_delete(server, interval=0.5, wait=240)
    nodelab.comes_back(lab)


def test_delete_leaves_nothing_behind(lab: Lab, guests: Guests):
    names = [guests.domain(guests.server), guests.domain(guests.other)]
    taps = [guests.tap(guests.server), guests.tap(guests.other)]
    guests.unmake()
    nodelab.comes_back(lab)
    domains = run("virsh", "-c", "qemu:///system", "list", "--all", "--name").stdout.split()
    assert not set(names) & set(domains)
    ports = run("ovs-vsctl", "list-ports", lab.outside.integration_bridge).stdout.split()
    assert not set(taps) & set(ports)
    gone = f"qrouter-{guests.router.id}"
    wait_for("the router goes", lambda: gone not in run("ip", "netns", "list").stdout, 60, 0.5)


def test_down_leaves_no_process_behind(lab: Lab):
    lab.gureum("down")
    mark = str(lab.place.state_dir)
    left = [line for line in lines("ps", "-eo", "pid,args") if mark in line]
    assert left == []
    ports = {f"ERL_EPMD_PORT={daemons.PORTS['epmd'] + lab.options.port_offset}"}
    assert not [pid for pid in nodelab.processes("epmd") if ports & environment(pid)]


def environment(pid: int) -> set[str]:
    """What a process was started with; empty for one that ended."""
    try:
        return set(Path(f"/proc/{pid}/environ").read_text().split("\0"))
    except OSError:
        return set()
