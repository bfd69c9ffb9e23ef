"""The L3 agent on a real kernel: namespaces, nftables, Open vSwitch in user space."""

import re
import subprocess
import threading
from collections.abc import Iterator

import pytest
from agentlab import Lab, Server, mac_of, needs_host, new_id
from waiting import eventually

from gureum.neutron.agents.book import Problem
from gureum.neutron.agents.contract import (
    FixedIp,
    FloatingIp,
    L3State,
    Route,
    Router,
    RouterPort,
    SubnetInfo,
)
from gureum.neutron.agents.l3.agent import L3Agent
from gureum.neutron.agents.l3.config import L3AgentOptions
from gureum.neutron.agents.plumbing import netns

pytestmark = [pytest.mark.real, needs_host]

OUTSIDE, NET_A, NET_B = 20, 31, 32


class World:
    """An outside, two internal networks, one router."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.server = Server()
        self.router_id = new_id()
        self.port_out, self.port_a, self.port_b = new_id(), new_id(), new_id()
        self.outside = self.lab.guest("out", OUTSIDE, mac_of(new_id()), "203.0.113.1/24")
        self.a1 = self.lab.guest("a1", NET_A, mac_of(new_id()), "10.0.1.5/24", "10.0.1.1")
        self.a2 = self.lab.guest("a2", NET_A, mac_of(new_id()), "10.0.1.6/24", "10.0.1.1")
        self.b1 = self.lab.guest("b1", NET_B, mac_of(new_id()), "10.0.2.5/24", "10.0.2.1")
        self.revision = 0
        self.agent = self.new_agent()

    @property
    def namespace(self) -> str:
        return self.lab.prefix("r") + self.router_id

    def new_agent(self) -> L3Agent:
        options = L3AgentOptions(
            integration_bridge=self.lab.bridge,
            namespace_prefix=self.lab.prefix("r"),
            state_path=str(self.lab.folder / "l3"),
            metadata_proxy_socket=str(self.lab.folder / "metadata.sock"),
            poll_interval_s=0.5,
        )
        return L3Agent("host1", options, self.server)

    def port(self, port_id: str, owner: str, address: str, gateway: str | None) -> RouterPort:
        subnet = new_id()
        network = address.rpartition(".")[0] + ".0/24"
        return RouterPort(
            id=port_id,
            network_id=new_id(),
            mac_address=mac_of(port_id),
            device_owner=owner,
            mtu=1450,
            fixed_ips=(FixedIp(subnet, address, 24),),
            subnets=(SubnetInfo(subnet, network, 4, gateway),),
        )

    def router(self, *floating: FloatingIp, **changes: object) -> Router:
        values: dict[str, object] = {
            "id": self.router_id,
            "interfaces": (
                self.port(self.port_a, "network:router_interface", "10.0.1.1", "10.0.1.1"),
                self.port(self.port_b, "network:router_interface", "10.0.2.1", "10.0.2.1"),
            ),
            "gateway": self.port(
                self.port_out, "network:router_gateway", "203.0.113.10", "203.0.113.1"
            ),
            "floating_ips": floating,
        }
        return Router(**(values | changes))  # type: ignore[arg-type]

    def apply(self, *routers: Router) -> list[Problem]:
        """Let the agent make these routers true, as one pass of its loop does."""
        self.revision += 1
        answer = L3State(self.revision, True, routers)
        problems = self.agent.converge(self.agent.book, self.agent.book.take(answer))
        self.lab.wire({self.port_out: OUTSIDE, self.port_a: NET_A, self.port_b: NET_B})
        return problems

    def close(self) -> None:
        self.agent.stop()
        self.lab.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def floating(fixed: str | None, address: str = "203.0.113.20") -> FloatingIp:
    return FloatingIp(new_id(), address, fixed, new_id())


def test_router_forwards_hides_and_answers(world: World) -> None:
    assert world.apply(world.router()) == []
    lab = world.lab
    assert lab.reaches(world.a1, "10.0.1.1")
    assert lab.reaches(world.a1, "10.0.2.5"), "between internal networks"
    assert lab.reaches(world.a1, "203.0.113.1"), "hidden behind the gateway's address"
    with lab.listener(world.outside, 8080) as peers:
        body = lab.http(world.a1, "http://203.0.113.1:8080/")
    assert peers[0][0] == "203.0.113.10" and len(body) > 200_000
    with lab.listener(world.b1, 8080) as peers:
        lab.http(world.a1, "http://10.0.2.5:8080/")
    assert peers[0][0] == "10.0.1.5", "not hidden inside"
    assert world.server.routers == {world.router_id: "ACTIVE"}


def test_without_snat_the_inside_keeps_its_addresses(world: World) -> None:
    world.apply(world.router(enable_snat=False))
    world.lab.inside(world.outside, "ip", "route", "add", "10.0.0.0/16", "via", "203.0.113.10")
    with world.lab.listener(world.outside, 8080) as peers:
        eventually(lambda: world.lab.reaches(world.a1, "203.0.113.1"))
        world.lab.http(world.a1, "http://203.0.113.1:8080/")
    assert peers[0][0] == "10.0.1.5"


def test_floating_ip_reaches_the_guest_and_back(world: World) -> None:
    lab = world.lab
    one, two = floating("10.0.1.5"), floating("10.0.1.6", "203.0.113.21")
    world.apply(world.router(one, two))
    assert lab.reaches(world.outside, "203.0.113.20")
    with lab.listener(world.a1, 8080) as peers:
        lab.http(world.outside, "http://203.0.113.20:8080/")
    assert peers[0][0] == "203.0.113.1"
    with lab.listener(world.outside, 8080) as peers:
        lab.http(world.a1, "http://203.0.113.1:8080/")
    assert peers[0][0] == "203.0.113.20", "leaves with its floating address"
    with lab.listener(world.a2, 8080) as peers:
        lab.http(world.a1, "http://203.0.113.21:8080/")
        lab.http(world.b1, "http://203.0.113.21:8080/")
    assert [peer[0] for peer in peers] == ["203.0.113.20", "203.0.113.10"], "hairpin"
    assert world.server.floating_ips == {one.id: "ACTIVE", two.id: "ACTIVE"}


def test_removed_floating_ip_ends_its_connections(world: World) -> None:
    lab = world.lab
    world.apply(world.router(floating("10.0.1.5")))
    assert lab.reaches(world.outside, "203.0.113.20")
    assert "203.0.113.20" in lab.inside(world.namespace, "conntrack", "-L")
    world.apply(world.router())
    assert "203.0.113.20" not in lab.inside(world.namespace, "conntrack", "-L")
    assert "203.0.113.20" not in lab.inside(world.namespace, "ip", "addr")
    assert not lab.reaches(world.outside, "203.0.113.20", 2)
    assert lab.reaches(world.a1, "203.0.113.1"), "the others stay"


def test_moved_floating_ip_leads_to_the_new_guest(world: World) -> None:
    lab = world.lab
    world.apply(world.router(floating("10.0.1.5")))
    assert lab.reaches(world.outside, "203.0.113.20")
    world.apply(world.router(floating("10.0.2.5")))
    with lab.listener(world.b1, 8080) as peers:
        lab.http(world.outside, "http://203.0.113.20:8080/")
    assert peers


def test_agent_restart_loses_no_packet_and_changes_nothing(world: World) -> None:
    lab = world.lab
    router = world.router(floating("10.0.1.5"))
    world.apply(router)
    assert lab.reaches(world.outside, "203.0.113.20")
    lab.inside(world.namespace, "ip", "addr", "show")
    before = _snapshot(world)
    args = netns.inside(
        world.outside, ["busybox", "ping", "-i", "0.05", "-c", "60", "203.0.113.20"]
    )
    ping = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        world.agent.stop()
        world.agent = world.new_agent()
        assert world.apply(router) == []
    out, _ = ping.communicate(timeout=30)
    assert re.search(r"60 packets transmitted, 60 packets received", out), out
    assert _snapshot(world) == before


def _snapshot(world: World) -> str:
    lab, name = world.lab, world.namespace
    shown = lab.inside(name, "ip", "-o", "link") + lab.inside(name, "ip", "-o", "addr")
    shown += lab.inside(name, "ip", "route") + lab.inside(name, "nft", "-a", "list", "ruleset")
    return shown + str(sorted(netns.processes_in(name)))


def test_second_pass_runs_no_changing_command(world: World) -> None:
    router = world.router(floating("10.0.1.5"))
    world.apply(router)
    monitor = subprocess.Popen(
        netns.inside(world.namespace, ["nft", "monitor"]), stdout=subprocess.PIPE, text=True
    )
    events: list[str] = []
    reader = threading.Thread(target=lambda: events.extend(monitor.stdout or ()), daemon=True)
    reader.start()
    world.agent.doubt()
    assert world.agent.converge(world.agent.book, type(world.agent._pending)()) == []
    monitor.terminate()
    reader.join(5)
    assert [line for line in events if not line.startswith("# new generation")] == []


def test_one_broken_router_does_not_stop_the_others(world: World) -> None:
    bad = world.router(id=new_id(), gateway=None, floating_ips=(), interfaces=(
        world.port(new_id(), "network:router_interface", "10.0.9.1", None),
    ))  # fmt: skip
    broken = RouterPort("x" * 36, new_id(), "not a mac", "network:router_interface", 1450)
    bad = Router(bad.id, interfaces=(broken,))
    problems = world.apply(bad, world.router())
    assert [problem.id for problem in problems] == [bad.id]
    assert world.server.routers == {bad.id: "ERROR", world.router_id: "ACTIVE"}
    assert world.lab.reaches(world.a1, "203.0.113.1")


def test_extra_routes_come_and_go(world: World) -> None:
    def routes() -> str:
        return world.lab.inside(world.namespace, "ip", "route")

    world.apply(world.router(routes=(Route("192.0.2.0/24", "10.0.1.6"),)))
    assert "192.0.2.0/24 via 10.0.1.6" in routes()
    assert "default via 203.0.113.1" in routes()
    two = (Route("192.0.2.0/24", "10.0.1.6"), Route("192.0.2.0/24", "10.0.2.5"))
    assert world.apply(world.router(routes=two)) == []
    assert "nexthop via 10.0.2.5" in routes()
    problems = world.apply(world.router(routes=(Route("192.0.2.0/24", "10.99.0.1"),)))
    assert "no connected subnet" in problems[0].text
    assert "192.0.2.0/24" not in routes() and "default via 203.0.113.1" in routes()


def test_gateway_can_be_cleared_and_interface_removed(world: World) -> None:
    lab = world.lab
    world.apply(world.router(floating("10.0.1.5")))
    assert lab.reaches(world.a1, "203.0.113.1")
    world.apply(world.router(gateway=None, interfaces=world.router().interfaces[:1]))
    assert not lab.reaches(world.a1, "203.0.113.1", 2)
    assert not lab.reaches(world.a1, "10.0.2.1", 2)
    assert lab.reaches(world.a1, "10.0.1.1")
    assert "default" not in lab.inside(world.namespace, "ip", "route")
    devices = lab.run("ovs-vsctl", "list-ports", lab.bridge)
    assert "qg-" not in devices and devices.count("qr-") == 1


def test_removed_router_leaves_nothing(world: World) -> None:
    world.apply(world.router(floating("10.0.1.5")))
    pids = netns.processes_in(world.namespace)
    assert pids, "the metadata proxy"
    world.agent.stop()
    world.agent = world.new_agent()  # also what a former agent made
    assert world.apply() == []
    assert not netns.exists(world.namespace)
    assert "qr-" not in world.lab.run("ovs-vsctl", "list-ports", world.lab.bridge)
    assert not any(netns.is_alive(pid) for pid in pids)
    assert list((world.lab.folder / "l3").iterdir()) == []


def test_router_that_is_down_forwards_nothing(world: World) -> None:
    world.apply(world.router())
    assert world.lab.reaches(world.a1, "203.0.113.1")
    world.apply(world.router(admin_state_up=False))
    assert not world.lab.reaches(world.a1, "203.0.113.1", 2)
    assert world.server.routers == {world.router_id: "DOWN"}
    world.apply(world.router())
    assert world.lab.reaches(world.a1, "203.0.113.1")


def test_device_that_strayed_is_brought_back(world: World) -> None:
    router = world.router()
    world.apply(router)
    device = f"qr-{world.port_a[:11]}"
    world.lab.inside(world.namespace, "ip", "link", "set", device, "netns", "1")
    assert not world.lab.reaches(world.a1, "10.0.1.1", 1)
    assert world.agent.converge(world.agent.book, type(world.agent._pending)()) == []
    assert world.lab.reaches(world.a1, "10.0.1.1")


def test_dead_device_after_a_switch_restart_is_replaced(world: World) -> None:
    world.apply(world.router(floating("10.0.1.5")))
    device = f"qr-{world.port_a[:11]}"
    world.lab.inside(world.namespace, "ip", "link", "set", device, "netns", "1")
    world.lab.inside(world.namespace, "ip", "tuntap", "add", device, "mode", "tap")
    assert world.agent.converge(world.agent.book, type(world.agent._pending)()) == []
    assert world.lab.reaches(world.a1, "10.0.1.1")
    assert world.lab.reaches(world.outside, "203.0.113.20")


def test_ipv6_is_routed_to_the_outside(world: World) -> None:
    def with6(port: RouterPort, address: str, gateway: str) -> RouterPort:
        subnet = SubnetInfo(new_id(), address.rpartition(":")[0] + ":/64", 6, gateway)
        return RouterPort(
            port.id, port.network_id, port.mac_address, port.device_owner, port.mtu,
            (*port.fixed_ips, FixedIp(subnet.id, address, 64)), (*port.subnets, subnet),
        )  # fmt: skip

    lab, base = world.lab, world.router()
    assert base.gateway is not None
    inside = with6(base.interfaces[0], "2001:db8:a::1", "2001:db8:a::1")
    gateway = with6(base.gateway, "2001:db8:f::10", "2001:db8:f::1")
    assert world.apply(world.router(interfaces=(inside,), gateway=gateway)) == []
    for name, address, route, via in (
        (world.a1, "2001:db8:a::5/64", "default", "2001:db8:a::1"),
        (world.outside, "2001:db8:f::1/64", "2001:db8:a::/64", "2001:db8:f::10"),
    ):
        lab.inside(name, "ip", "addr", "add", address, "dev", "eth0", "nodad")
        lab.inside(name, "ip", "route", "add", route, "via", via)
    assert lab.reaches(world.a1, "2001:db8:f::1")
    assert lab.reaches(world.outside, "2001:db8:a::5"), "not hidden"


def test_router_advertises_ipv6_prefixes(world: World) -> None:
    port = world.port(world.port_a, "network:router_interface", "10.0.1.1", "10.0.1.1")
    six = SubnetInfo(new_id(), "2001:db8:1::/64", 6, "2001:db8:1::1", ("2001:db8::53",),
                     ipv6_ra_mode="slaac", ipv6_address_mode="slaac")  # fmt: skip
    port = RouterPort(
        port.id, port.network_id, port.mac_address, port.device_owner, 1450,
        (*port.fixed_ips, FixedIp(six.id, "2001:db8:1::1", 64)), (*port.subnets, six),
    )  # fmt: skip
    assert world.apply(world.router(interfaces=(port,))) == []
    lab = world.lab
    lab.inside(world.a1, "ip", "link", "set", "eth0", "down")
    lab.inside(world.a1, "ip", "link", "set", "eth0", "up")
    eventually(lambda: "2001:db8:1:" in lab.inside(world.a1, "ip", "-6", "addr"), 30)
    assert lab.reaches(world.a1, "2001:db8:1::1")
    assert "default via fe80:" in lab.inside(world.a1, "ip", "-6", "route")
