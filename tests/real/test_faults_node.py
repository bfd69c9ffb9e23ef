"""What a node loses, it gets back: daemons killed, guests destroyed underneath, taps, flows and namespaces
deleted by hand, every process of Gureum restarted under traffic. After each the audit finds nothing.

The tests share one cloud with two guests; each leaves it as it was. Nothing is repaired by the audit here:
what comes back comes back by itself.
"""

import contextlib
import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import nodelab
import pytest
from cloudlab import Lab, lines, run, wait_for
from guestlab import Guests

from gureum.cli.test import why_not_real

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(why_not_real()), reason=why_not_real() or "runs"),
]

PORTS = 100
TOOK: dict[str, float] = {}


class Faulty(Guests):
    """The cloud under test: two guests on a routed network, one with a floating address."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(lab, folder, "faults")

    def came_back(self, what: str, begun: float | None = None) -> None:
        """Wait for a clean audit, and note how long it took."""
        since = time.monotonic() if begun is None else begun
        nodelab.comes_back(self.lab)
        TOOK[what] = round(time.monotonic() - since, 1)

    @contextlib.contextmanager
    def no_ping_lost(self) -> Iterator[None]:
        """Between the guests, and from the outside to the first, while something is broken."""
        pings = [self.ping_between(), nodelab.ping(self.lab.outside.namespace, self.floating)]
        yield
        sent, lost = nodelab.lost(pings)
        assert sent and lost == 0

    @property
    def mark(self) -> str:
        return f"{self.lab.place.state_dir}/"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    lab = Lab(shlex.split(os.environ.get("GUREUM_REAL_ARGS", "")))
    found = lab.place.exists()
    if found and os.environ.get("CI"):
        lab.gureum("down", "--purge", "--yes", "--keep-packages")
        found = False
    lab.gureum("up")
    lab.load_environment()
    folder = tmp_path_factory.mktemp("faults")
    made = Faulty(lab, folder)
    try:
        made.unmake()
        made.make()
        yield made
        made.unmake()
        nodelab.comes_back(lab)
        print("\nseconds until the audit was clean again:", json.dumps(TOOK, indent=1))
    finally:
        if not found and not os.environ.get("GUREUM_REAL_KEEP"):
            lab.gureum("down", "--purge", "--yes", "--keep-packages")


@pytest.fixture(autouse=True)
def clean(cloud: Faulty) -> Iterator[None]:
    """Every test begins and ends with a clean audit."""
    nodelab.comes_back(cloud.lab)
    yield
    nodelab.comes_back(cloud.lab)


# --- daemons --------------------------------------------------------------------------------------


def test_killed_libvirtd_costs_no_guest(cloud: Faulty):
    boot = cloud.boot_id()
    with cloud.no_ping_lost():
        nodelab.kill(*nodelab.processes("libvirtd"))
        said = nodelab.findings(cloud.lab)
        assert any("nova-compute" in text for text in said["could_not_look"]), said
        begun = time.monotonic()
        nodelab.start_daemons(cloud.lab, cloud.folder)
        cloud.came_back("libvirtd killed", begun)
    assert cloud.boot_id() == boot
    assert cloud.status(cloud.server) == "ACTIVE"


def test_killed_switch_gets_its_ports_and_flows_back(cloud: Faulty):
    nodelab.kill(*nodelab.processes("ovs-vswitchd"))
    begun = time.monotonic()
    nodelab.start_daemons(cloud.lab, cloud.folder)
    bridge = cloud.lab.outside.integration_bridge

    def flows() -> bool:
        return len(lines("ovs-ofctl", "-O", "OpenFlow14", "dump-flows", bridge)) > 20

    TOOK["ovs-vswitchd killed: flows"] = round(nodelab.until("flows", flows, 30), 1)
    assert TOOK["ovs-vswitchd killed: flows"] < 8, "it waited for the poll"
    cloud.came_back("ovs-vswitchd killed", begun)
    cloud.ssh_works(60)


@pytest.mark.parametrize("program", ["dnsmasq", "haproxy"])
def test_killed_daemon_of_a_namespace_is_started_again(cloud: Faulty, program: str):
    with cloud.no_ping_lost():
        nodelab.kill(*nodelab.processes(program, cloud.mark))
        begun = time.monotonic()
        wait_for(program, lambda: nodelab.processes(program, cloud.mark), 40, 0.2)
        cloud.came_back(f"{program} killed", begun)


@pytest.mark.parametrize("name", ["node", "control"])
def test_killed_process_of_gureum_is_started_again(cloud: Faulty, name: str):
    boot = cloud.boot_id()
    pid = nodelab.child(cloud.lab, name)
    with cloud.no_ping_lost():
        nodelab.kill(pid)
        begun = time.monotonic()
        wait_for(f"a new {name}", lambda: nodelab.child(cloud.lab, name) != pid, 60, 0.2)
        cloud.came_back(f"process {name} killed", begun)
    assert cloud.boot_id() == boot


def test_metadata_socket_that_was_deleted_is_made_anew(cloud: Faulty):
    path = cloud.lab.place.run_dir / "metadata_proxy.sock"
    path.unlink()
    begun = time.monotonic()
    cloud.came_back("metadata socket deleted", begun)
    answer = cloud.ssh("curl -s -m 20 http://169.254.169.254/openstack/latest/meta_data.json")
    assert json.loads(answer)["uuid"] == cloud.server.id


# --- guests ---------------------------------------------------------------------------------------


def test_guest_that_is_destroyed_underneath_is_shut_off_and_starts_again(cloud: Faulty):
    begun = time.monotonic()
    run("virsh", "-c", "qemu:///system", "destroy", cloud.domain(cloud.other))
    wait_for("SHUTOFF", lambda: cloud.status(cloud.other) == "SHUTOFF", 90, 0.5)
    cloud.came_back("guest destroyed underneath", begun)
    cloud.sdk.compute.start_server(cloud.other)
    wait_for("ACTIVE", lambda: cloud.status(cloud.other) == "ACTIVE", 90, 0.5)


def test_domain_of_somebody_else_is_left_alone(cloud: Faulty):
    xml = cloud.folder / "stranger.xml"
    xml.write_text(
        "<domain type='qemu'><name>stranger</name><memory unit='MiB'>32</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    run("virsh", "-c", "qemu:///system", "define", str(xml))
    try:
        said = nodelab.findings(cloud.lab, "--repair")
        assert said["clean"] and said["mended"] == [], said
        assert "stranger" in run("virsh", "-c", "qemu:///system", "list", "--all", "--name").stdout
    finally:
        run("virsh", "-c", "qemu:///system", "undefine", "stranger")


def test_tap_that_was_taken_off_its_bridge_is_put_back(cloud: Faulty):
    tap = cloud.tap(cloud.server)
    run("ovs-vsctl", "del-port", tap)
    begun = time.monotonic()
    bridge = cloud.lab.outside.integration_bridge
    wait_for("the tap", lambda: tap in lines("ovs-vsctl", "list-ports", bridge), 40, 0.2)
    cloud.came_back("tap taken off its bridge", begun)
    cloud.ssh_works(60)


def test_deleted_tap_comes_back_with_its_card(cloud: Faulty):
    tap = cloud.tap(cloud.other)
    run("ip", "link", "delete", tap)
    begun = time.monotonic()
    wait_for("the tap", lambda: Path(f"/sys/class/net/{tap}").exists(), 90, 0.2)
    cloud.came_back("tap deleted", begun)
    assert cloud.status(cloud.other) == "ACTIVE"


# --- what agents made -----------------------------------------------------------------------------


def test_deleted_flows_come_back(cloud: Faulty):
    bridge = cloud.lab.outside.integration_bridge
    run("ovs-ofctl", "-O", "OpenFlow14", "del-flows", bridge, "table=0")
    cloud.came_back("flows deleted", time.monotonic())
    cloud.ssh_works(60)


@pytest.mark.parametrize("kind", ["qrouter", "qdhcp"])
def test_deleted_namespace_comes_back(cloud: Faulty, kind: str):
    owner = cloud.router.id if kind == "qrouter" else cloud.network.id
    name = f"{kind}-{owner}"
    run("ip", "netns", "delete", name)
    begun = time.monotonic()
    wait_for("the namespace", lambda: name in run("ip", "netns", "list").stdout, 90, 0.2)
    cloud.came_back(f"namespace {kind} deleted", begun)
    cloud.ssh_works(60)


def test_address_and_rules_that_were_deleted_in_a_router_come_back(cloud: Faulty):
    name = f"qrouter-{cloud.router.id}"
    inside = ("ip", "netns", "exec", name)
    run(*inside, "nft", "flush", "ruleset")
    device = next(
        line.split(":")[1].split("@")[0].strip()
        for line in lines(*inside, "ip", "-o", "link")
        if " qr-" in line
    )
    run(*inside, "ip", "address", "flush", "dev", device)
    nodelab.comes_back(cloud.lab, 150)  # no event tells of it: the agent looks every minute
    cloud.ssh_works(60)


def test_repair_mends_at_once_what_an_agent_would_see_later(cloud: Faulty):
    run("ip", "netns", "exec", f"qrouter-{cloud.router.id}", "nft", "flush", "ruleset")
    said = nodelab.findings(cloud.lab, "--repair")
    assert said["clean"], said
    assert cloud.ssh("hostname") == "faults-one"


def test_stray_dnsmasq_is_named_and_ended(cloud: Faulty):
    folder = f"{cloud.mark}dhcp/{cloud.network.id}"
    name = f"qdhcp-{cloud.network.id}"
    words = ["dnsmasq", "--conf-file=/dev/null", "--port=0", f"--dhcp-leasefile={folder}/stray"]
    run("ip", "netns", "exec", name, *words, f"--pid-file={folder}/stray.pid")
    said = nodelab.findings(cloud.lab, "--repair")
    assert said["clean"], said
    assert "dnsmasq" in {one["kind"] for one in said["mended"]}
    assert not nodelab.processes("dnsmasq", "/stray")


# --- traffic --------------------------------------------------------------------------------------


def test_restart_of_everything_loses_not_one_ping_between_100_ports(cloud: Faulty):
    lab = cloud.lab
    host_name = cloud.sdk.compute.get_server(cloud.server.id).hypervisor_hostname
    with nodelab.standins(lab, cloud.sdk, cloud.network.id, host_name, PORTS) as ports:
        warm = ports.ring()
        time.sleep(2)
        nodelab.lost(warm)  # neighbours are resolved
        pings = ports.ring()
        pings.append(nodelab.ping(lab.outside.namespace, cloud.floating))
        for name in ("node", "control"):
            pid = nodelab.child(lab, name)
            os.kill(pid, signal.SIGKILL)
            wait_for(f"a new {name}", lambda name=name, pid=pid: nodelab.child(lab, name) != pid)
        nodelab.comes_back(lab)
        lab.gureum("down")
        lab.gureum("up")
        nodelab.comes_back(lab)
        sent, lost = nodelab.lost(pings)
        print(f"\n{sent} pings between {PORTS} ports and a guest, {lost} lost")
        assert sent > PORTS * 50
        assert lost == 0
