"""The DHCP agent on a real kernel: dnsmasq in namespaces, real clients."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentlab import Lab, Server, mac_of, needs_host, new_id
from waiting import eventually

from gureum.neutron.agents.book import Problem
from gureum.neutron.agents.contract import (
    DhcpNetwork,
    DhcpOption,
    DhcpPort,
    DhcpState,
    FixedIp,
    Route,
    SubnetInfo,
)
from gureum.neutron.agents.dhcp.agent import DhcpAgent
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.plumbing import netns

pytestmark = [pytest.mark.real, needs_host]

NET = 41
SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
env > {out}
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
[ -n "$mtu" ] && ip link set $interface mtu $mtu
[ -n "$router" ] && ip route add default via $router
exit 0
"""


class World:
    """One network with DHCP."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.server = Server()
        self.network_id, self.subnet_id, self.own_port = new_id(), new_id(), new_id()
        self.revision = 0
        self.agent = self.new_agent()

    @property
    def namespace(self) -> str:
        return self.lab.prefix("d") + self.network_id

    @property
    def folder(self) -> Path:
        return self.lab.folder / "dhcp" / self.network_id

    def new_agent(self) -> DhcpAgent:
        options = DhcpAgentOptions(
            integration_bridge=self.lab.bridge,
            namespace_prefix=self.lab.prefix("d"),
            state_path=str(self.lab.folder / "dhcp"),
            metadata_proxy_socket=str(self.lab.folder / "metadata.sock"),
        )
        return DhcpAgent("host1", options, self.server)

    def subnet(self, **changes: object) -> SubnetInfo:
        values: dict[str, object] = {
            "id": self.subnet_id,
            "cidr": "10.0.5.0/24",
            "ip_version": 4,
            "gateway_ip": "10.0.5.1",
            "dns_nameservers": ("192.0.2.53", "192.0.2.54"),
        }
        return SubnetInfo(**(values | changes))  # type: ignore[arg-type]

    def port(self, last: int, **changes: object) -> DhcpPort:
        port_id = new_id()
        values: dict[str, object] = {
            "id": port_id,
            "mac_address": mac_of(port_id),
            "fixed_ips": (FixedIp(self.subnet_id, f"10.0.5.{last}", 24),),
        }
        return DhcpPort(**(values | changes))  # type: ignore[arg-type]

    def network(self, *ports: DhcpPort, **changes: object) -> DhcpNetwork:
        values: dict[str, object] = {
            "id": self.network_id,
            "mtu": 1442,
            "subnets": (self.subnet(),),
            "ports": ports,
            "dhcp_port_id": self.own_port,
            "dhcp_port_mac": mac_of(self.own_port),
            "dhcp_port_ips": (FixedIp(self.subnet_id, "10.0.5.2", 24),),
        }
        return DhcpNetwork(**(values | changes))  # type: ignore[arg-type]

    def apply(self, *networks: DhcpNetwork) -> list[Problem]:
        self.revision += 1
        answer = DhcpState(self.revision, True, networks)
        problems = self.agent.converge(self.agent.book, self.agent.book.take(answer))
        self.lab.wire({self.own_port: NET})
        return problems

    def ask(self, guest: str, *more: str, seconds: int = 10) -> dict[str, str]:
        """Let a guest ask for a lease; returns what it was told, empty when nobody answered."""
        out = self.lab.folder / f"{guest}.env"
        script = self.lab.folder / f"{guest}.sh"
        script.write_text(SCRIPT.format(out=out))
        script.chmod(0o755)
        out.unlink(missing_ok=True)
        wanted = [part for name in ("mtu", "staticroutes", "121", "hostname", "domain",
                                    "bootfile", "tftp", *more) for part in ("-O", name)]  # fmt: skip
        self.lab.inside(
            guest, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", str(seconds),
            "-T", "1", "-s", str(script), *wanted, check=False,
        )  # fmt: skip
        if not out.exists():
            return {}
        return dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)

    def dnsmasq(self) -> int:
        return int((self.folder / "dnsmasq.pid").read_text())

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


def test_guest_gets_its_own_address_mtu_routes_and_names(world: World) -> None:
    port = world.port(77, hostname="web")
    subnet = world.subnet(host_routes=(Route("198.51.100.0/24", "10.0.5.9"),))
    network = world.network(port, subnets=(subnet,))
    assert world.apply(network) == []
    guest = world.lab.guest("g1", NET, port.mac_address)
    told = world.ask(guest)
    assert told["ip"] == "10.0.5.77" and told["mask"] == "24"
    assert told["router"] == "10.0.5.1" and told["mtu"] == "1442"
    assert told["dns"] == "192.0.2.53 192.0.2.54"
    assert told["staticroutes"] == "198.51.100.0/24 10.0.5.9 0.0.0.0/0 10.0.5.1"
    assert told["hostname"] == "web" and told["domain"] == "openstacklocal"
    assert told["lease"] == "86400"
    assert world.server.ready == [port.id]
    assert world.lab.reaches(guest, "10.0.5.2")


def test_stranger_gets_nothing(world: World) -> None:
    world.apply(world.network(world.port(77)))
    guest = world.lab.guest("g1", NET, mac_of(new_id()))
    assert world.ask(guest, seconds=3) == {}


def test_new_port_is_a_reload_and_not_a_restart(world: World) -> None:
    first, second = world.port(77), world.port(78)
    world.apply(world.network(first))
    pid = world.dnsmasq()
    world.apply(world.network(first, second))
    assert world.dnsmasq() == pid
    told = world.ask(world.lab.guest("g2", NET, second.mac_address))
    assert told["ip"] == "10.0.5.78" and told["hostname"] == "host-10-0-5-78"
    world.apply(world.network(first, second, mtu=1400))
    assert world.dnsmasq() != pid, "other arguments need another process"


def test_leases_and_dnsmasq_survive_an_agent_restart(world: World) -> None:
    network = world.network(world.port(77))
    world.apply(network)
    guest = world.lab.guest("g1", NET, network.ports[0].mac_address)
    world.ask(guest)
    leases = (world.folder / "leases").read_text()
    assert "10.0.5.77" in leases
    pid = world.dnsmasq()
    times = {path.name: path.stat().st_mtime_ns for path in world.folder.iterdir()}
    world.agent.stop()
    world.agent = world.new_agent()
    assert world.apply(network) == []
    assert world.dnsmasq() == pid
    assert {path.name: path.stat().st_mtime_ns for path in world.folder.iterdir()} == times
    os.kill(pid, 9)
    eventually(lambda: not netns.is_alive(pid))
    world.apply(network)
    assert world.dnsmasq() != pid, "a killed one is started again"
    assert "10.0.5.77" in (world.folder / "leases").read_text()


def test_address_of_a_deleted_port_serves_the_next_at_once(world: World) -> None:
    old, new = world.port(77), world.port(77)
    world.apply(world.network(old))
    pid = world.dnsmasq()
    assert world.ask(world.lab.guest("g1", NET, old.mac_address))["ip"] == "10.0.5.77"
    world.apply(world.network(new))
    eventually(lambda: "10.0.5.77" not in (world.folder / "leases").read_text())
    assert world.ask(world.lab.guest("g2", NET, new.mac_address))["ip"] == "10.0.5.77"
    assert world.dnsmasq() == pid


def test_extra_options_reach_only_their_port(world: World) -> None:
    extra = (
        DhcpOption("bootfile-name", "http://192.0.2.1/boot,one.ipxe"),
        DhcpOption("tftp-server", "192.0.2.9"),
        DhcpOption("router", "10.0.5.254"),
    )
    special, plain = world.port(77, extra_dhcp_opts=extra), world.port(78)
    assert world.apply(world.network(special, plain)) == []
    told = world.ask(world.lab.guest("g1", NET, special.mac_address))
    assert told["bootfile"] == "http://192.0.2.1/boot,one.ipxe"
    assert told["tftp"] == "192.0.2.9" and told["router"] == "10.0.5.254"
    other = world.ask(world.lab.guest("g2", NET, plain.mac_address))
    assert "bootfile" not in other and other["router"] == "10.0.5.1"


def test_abuse_36_newline_in_an_extra_option_configures_nothing(world: World) -> None:
    evil = (
        DhcpOption("bootfile-name", "x\ntag:subnet-x,option:router,6.6.6.6"),
        DhcpOption("tftp-server\nrouter", "6.6.6.6"),
        DhcpOption("domain-name", 'a"\\n6'),
    )
    bad, good = world.port(77, extra_dhcp_opts=evil), world.port(78)
    problems = world.apply(world.network(bad, good))
    assert len(problems) == 1 and bad.id in problems[0].text
    assert "6.6.6.6" not in (world.folder / "opts").read_text()
    told = world.ask(world.lab.guest("g1", NET, bad.mac_address))
    assert told["ip"] == "10.0.5.77" and told["router"] == "10.0.5.1"
    assert sorted(world.server.ready) == sorted([bad.id, good.id])


def test_isolated_network_gets_a_metadata_route(world: World) -> None:
    port = world.port(77)
    subnet = world.subnet(gateway_ip=None)
    world.apply(world.network(port, subnets=(subnet,), isolated_metadata=True))
    told = world.ask(world.lab.guest("g1", NET, port.mac_address))
    assert told["staticroutes"] == "169.254.169.254/32 10.0.5.2" and "router" not in told
    assert (world.folder / "haproxy.pid").exists()
    world.apply(world.network(port, subnets=(subnet,)))
    assert not (world.folder / "haproxy.pid").exists()
    assert "169.254" not in world.lab.inside(world.namespace, "ip", "addr")


def test_without_dhcp_nothing_is_left(world: World) -> None:
    world.apply(world.network(world.port(77), isolated_metadata=True))
    pids = netns.processes_in(world.namespace)
    assert len(pids) == 2
    world.apply(world.network(subnets=(world.subnet(enable_dhcp=False),)))
    assert not netns.exists(world.namespace) and not world.folder.exists()
    assert not any(netns.is_alive(pid) for pid in pids)
    assert "tap" not in world.lab.run("ovs-vsctl", "list-ports", world.lab.bridge)


def test_removed_network_leaves_nothing_even_after_a_restart(world: World) -> None:
    world.apply(world.network(world.port(77)))
    world.agent.stop()
    world.agent = world.new_agent()
    world.apply()
    assert not netns.exists(world.namespace) and not world.folder.exists()


def test_one_broken_network_does_not_stop_the_others(world: World) -> None:
    broken = DhcpNetwork(new_id(), subnets=(world.subnet(),))
    problems = world.apply(broken, world.network(world.port(77)))
    assert [problem.id for problem in problems] == [broken.id]
    assert world.dnsmasq()


def test_dhcpv6_stateful_gives_the_address_and_takes_it_back(world: World) -> None:
    six = SubnetInfo(new_id(), "2001:db8:5::/64", 6, "2001:db8:5::1", (),
                     ipv6_ra_mode="dhcpv6-stateful", ipv6_address_mode="dhcpv6-stateful")  # fmt: skip
    port = world.port(77)
    port = DhcpPort(port.id, port.mac_address, (*port.fixed_ips,
                                                FixedIp(six.id, "2001:db8:5::77", 64)))  # fmt: skip
    own = (FixedIp(world.subnet_id, "10.0.5.2", 24), FixedIp(six.id, "2001:db8:5::2", 64))
    network = world.network(port, subnets=(world.subnet(), six), dhcp_port_ips=own)
    assert world.apply(network) == []
    guest = world.lab.guest("g1", NET, port.mac_address)
    client = Dhcp6Client(guest, port.mac_address)
    assert client.lease() == "2001:db8:5::77"
    assert "2001:db8:5::77" in (world.folder / "leases").read_text()
    world.apply(world.network(subnets=(world.subnet(), six), dhcp_port_ips=own))
    eventually(lambda: "2001:db8:5::77" not in (world.folder / "leases").read_text())


class Dhcp6Client:
    """Just enough of RFC 8415 to get one address: Solicit, Advertise, Request, Reply."""

    def __init__(self, namespace: str, mac: str) -> None:
        self.duid = b"\0\3\0\1" + bytes.fromhex(mac.replace(":", ""))
        with netns.entered(namespace):
            self.sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            index = socket.if_nametoindex("eth0")
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            self.sock.bind(("::", 546))
            eventually(self.can_send)
        self.sock.settimeout(1)

    def can_send(self) -> bool:
        """Return whether the link-local address is usable."""
        try:
            self.sock.sendto(self.message(1), ("ff02::1:2", 547))
        except OSError:
            return False
        return True

    def message(self, kind: int, *options: bytes) -> bytes:
        binding = option6(3, struct.pack("!III", 7, 0, 0))
        body = option6(1, self.duid) + option6(8, b"\0\0") + binding + b"".join(options)
        return struct.pack("!I", (kind << 24) | 0x123456) + body

    def exchange(self, expected: int, message: bytes) -> dict[int, bytes]:
        def once() -> dict[int, bytes] | None:
            self.sock.sendto(message, ("ff02::1:2", 547))
            try:
                data = self.sock.recv(4096)
            except TimeoutError:
                return None
            return options6(data[4:]) if data[0] == expected else None

        return eventually(once)  # type: ignore[no-any-return]

    def lease(self) -> str:
        offered = self.exchange(2, self.message(1))
        given = self.exchange(7, self.message(3, option6(2, offered[2])))
        self.sock.close()
        return socket.inet_ntop(socket.AF_INET6, options6(given[3][12:])[5][:16])


def option6(code: int, data: bytes) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def options6(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        code, size = struct.unpack("!HH", data[:4])
        found[code] = data[4 : 4 + size]
        data = data[4 + size :]
    return found
