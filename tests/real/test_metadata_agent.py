"""Metadata from a guest's namespace through router or DHCP namespace to a stand-in for Nova."""

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from agentlab import Lab, Server, mac_of, needs_host, new_id
from waiting import eventually

from gureum.neutron.agents.contract import (
    DhcpNetwork,
    DhcpState,
    FixedIp,
    L3State,
    MetadataTarget,
    Router,
    RouterPort,
    SubnetInfo,
)
from gureum.neutron.agents.dhcp.agent import DhcpAgent
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.l3.agent import L3Agent
from gureum.neutron.agents.l3.config import L3AgentOptions
from gureum.neutron.agents.metadata.agent import MetadataAgent
from gureum.neutron.agents.metadata.config import MetadataAgentOptions

pytestmark = [pytest.mark.real, needs_host]

NET, OUTSIDE, SECRET = 51, 52, "a-secret-of-the-lab"
GUEST_MAC, LINK_LOCAL = "fa:16:3e:00:00:05", "fe80::f816:3eff:fe00:5"


class Nova:
    """Echoes what it is sent, on the loopback."""

    def __init__(self) -> None:
        seen: list[dict[str, Any]] = []
        self.seen = seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                heard = {
                    "method": self.command,
                    "path": self.path,
                    "headers": [[key.lower(), value] for key, value in self.headers.items()],
                    "body": self.rfile.read(length).decode(),
                }
                seen.append(heard)
                body = json.dumps(heard).encode()
                self.send_response(200 if "missing" not in self.path else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class World:
    """A guest on a network, a router, an isolated network, the three agents and a Nova."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.server = Server()
        self.nova = Nova()
        self.router_id, self.network_id = new_id(), new_id()
        self.instance, self.project = new_id(), new_id().replace("-", "")
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.server.target = self.target
        socket_path = str(self.lab.folder / "metadata.sock")
        self.metadata = MetadataAgent(
            "host1",
            MetadataAgentOptions(
                metadata_proxy_socket=socket_path, metadata_proxy_shared_secret=SECRET
            ),
            self.server,
            nova_host="127.0.0.1",
            nova_port=self.nova.port,
        )
        self.metadata.start()
        eventually((self.lab.folder / "metadata.sock").exists)
        self.socket_path = socket_path

    def target(self, address: str, network: str | None, router: str | None) -> Any:
        self.asked.append((address, network, router))
        if address not in ("10.0.7.5", LINK_LOCAL) or (network, router) not in (
            (None, self.router_id),
            (self.network_id, None),
        ):
            return None
        return MetadataTarget(new_id(), self.instance, self.project)

    def with_router(self, ipv6: bool = False) -> str:
        """Bring the router up and return the guest's namespace."""
        port_id, out_id = new_id(), new_id()
        options = L3AgentOptions(
            integration_bridge=self.lab.bridge,
            namespace_prefix=self.lab.prefix("r"),
            state_path=str(self.lab.folder / "l3"),
            metadata_proxy_socket=self.socket_path,
        )
        agent = L3Agent("host1", options, self.server)
        subnet = SubnetInfo(new_id(), "10.0.7.0/24", 4, "10.0.7.1")
        six = SubnetInfo(new_id(), "fd07::/64", 6, "fd07::1")
        addresses, subnets = (FixedIp(subnet.id, "10.0.7.1", 24),), (subnet,)
        if ipv6:
            addresses, subnets = (*addresses, FixedIp(six.id, "fd07::1", 64)), (subnet, six)
        inside = RouterPort(port_id, self.network_id, mac_of(port_id), "network:router_interface",
                            1450, addresses, subnets)  # fmt: skip
        outer = SubnetInfo(new_id(), "203.0.113.0/24", 4, "203.0.113.1")
        gateway = RouterPort(out_id, new_id(), mac_of(out_id), "network:router_gateway",
                             1450, (FixedIp(outer.id, "203.0.113.10", 24),), (outer,))  # fmt: skip
        router = Router(self.router_id, interfaces=(inside,), gateway=gateway)
        assert agent.converge(agent.book, agent.book.take(L3State(1, True, (router,)))) == []
        self.lab.wire({port_id: NET, out_id: OUTSIDE})
        guest = self.lab.guest("g", NET, GUEST_MAC, "10.0.7.5/24", "10.0.7.1")
        assert self.lab.reaches(guest, "10.0.7.1")
        return guest

    def with_dhcp(self, ipv6: bool = False) -> str:
        """Bring the isolated network's DHCP up and return the guest's namespace."""
        own = new_id()
        options = DhcpAgentOptions(
            integration_bridge=self.lab.bridge,
            namespace_prefix=self.lab.prefix("d"),
            state_path=str(self.lab.folder / "dhcp"),
            metadata_proxy_socket=self.socket_path,
        )
        agent = DhcpAgent("host1", options, self.server)
        subnet = SubnetInfo(new_id(), "10.0.7.0/24", 4)
        six = SubnetInfo(new_id(), "fd07::/64", 6, ipv6_address_mode="slaac")
        network = DhcpNetwork(
            self.network_id, subnets=(subnet, six) if ipv6 else (subnet,),
            dhcp_port_id=own, dhcp_port_mac=mac_of(own),
            dhcp_port_ips=(FixedIp(subnet.id, "10.0.7.2", 24),), isolated_metadata=True,
        )  # fmt: skip
        assert agent.converge(agent.book, agent.book.take(DhcpState(1, True, (network,)))) == []
        self.lab.wire({own: NET})
        guest = self.lab.guest("g", NET, GUEST_MAC, "10.0.7.5/24")
        self.lab.inside(guest, "ip", "route", "add", "169.254.169.254/32", "via", "10.0.7.2")
        assert self.lab.reaches(guest, "10.0.7.2")
        return guest

    def close(self) -> None:
        self.metadata.stop()
        self.nova.close()
        self.lab.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


URL = "http://169.254.169.254"


def check_signed(world: World, heard: dict[str, Any]) -> None:
    headers = heard["headers"]
    proof = hmac.new(SECRET.encode(), world.instance.encode(), hashlib.sha256).hexdigest()
    for name, value in {
        "x-instance-id": world.instance,
        "x-tenant-id": world.project,
        "x-forwarded-for": "10.0.7.5",
        "x-instance-id-signature": proof,
    }.items():
        assert [found for key, found in headers if key == name] == [value]


def test_guest_behind_a_router_gets_its_metadata(world: World) -> None:
    guest = world.with_router()
    heard = json.loads(world.lab.http(guest, f"{URL}/openstack/latest/meta_data.json?x=1"))
    check_signed(world, heard)
    assert heard["path"] == "/openstack/latest/meta_data.json?x=1"
    assert world.asked == [("10.0.7.5", None, world.router_id)]
    posted = json.loads(
        world.lab.inside(
            guest, "curl", "-sS", "-m", "5", "-d", "pw", f"{URL}/openstack/latest/password"
        )
    )
    assert posted["method"] == "POST" and posted["body"] == "pw"
    code = world.lab.inside(
        guest, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{URL}/missing"
    )
    assert code == "404"


def test_guest_on_an_isolated_network_gets_its_metadata(world: World) -> None:
    guest = world.with_dhcp()
    check_signed(world, json.loads(world.lab.http(guest, f"{URL}/latest/meta-data/")))
    assert world.asked == [("10.0.7.5", world.network_id, None)]


@pytest.mark.parametrize("kind", ["router", "dhcp"])
def test_metadata_is_served_over_ipv6(world: World, kind: str) -> None:
    guest = world.with_router(ipv6=True) if kind == "router" else world.with_dhcp(ipv6=True)
    url = "http://[fe80::a9fe:a9fe%25eth0]/openstack"
    words = ("curl", "-s", "-g", "-m", "2", url)
    text = eventually(lambda: world.lab.inside(guest, *words, check=False), 20)
    assert json.loads(text)["path"] == "/openstack"
    place = (None, world.router_id) if kind == "router" else (world.network_id, None)
    assert world.asked[-1] == (LINK_LOCAL, *place)
    check_signed(world, json.loads(world.lab.http(guest, f"{URL}/openstack")))


def test_abuse_37_headers_of_the_guest_do_not_count(world: World) -> None:
    guest = world.with_router()
    heard = json.loads(
        world.lab.http(
            guest,
            f"{URL}/latest/meta-data/",
            f"X-Instance-ID: {new_id()}",
            "X-Tenant-ID: other",
            "X-Forwarded-For: 10.0.7.99",
            "X-Instance-ID-Signature: 00",
            f"X-Neutron-Router-ID: {new_id()}",
            f"X-Neutron-Network-ID: {new_id()}",
            "X-Metadata-Provider: me",
            "X-Own: kept",
        )
    )
    check_signed(world, heard)
    names = [key for key, _ in heard["headers"]]
    assert "x-own" in names and "x-metadata-provider" not in names
    assert not any(name.startswith("x-neutron") for name in names)
    assert {router for _, _, router in world.asked} == {world.router_id}


def test_abuse_37_unknown_address_is_refused(world: World) -> None:
    guest = world.with_router()
    world.lab.inside(guest, "ip", "addr", "add", "10.0.7.66/24", "dev", "eth0")
    args = (
        "curl",
        "-s",
        "--interface",
        "10.0.7.66",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        URL + "/",
    )
    assert world.lab.inside(guest, *args) == "404"
    assert world.nova.seen == []


def test_proxy_is_not_reachable_past_the_redirect(world: World) -> None:
    guest = world.with_router()
    outside = world.lab.guest("o", OUTSIDE, mac_of(new_id()), "203.0.113.1/24")
    for source, url in ((guest, "http://10.0.7.1:9697/"), (outside, "http://203.0.113.10:9697/")):
        out = world.lab.inside(
            source,
            "curl",
            "-s",
            "-m",
            "2",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            url,
            check=False,
        )
        assert out == "000"


def test_proxy_outlives_a_restart_of_the_metadata_agent(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    guest = world.with_router()
    caplog.set_level(logging.DEBUG)
    world.metadata.stop()
    code = world.lab.inside(guest, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", URL + "/")
    assert code == "503"
    world.metadata = MetadataAgent(
        "host1", world.metadata._options, world.server,
        nova_host="127.0.0.1", nova_port=world.nova.port,
    )  # fmt: skip
    world.metadata.start()
    eventually(lambda: '"method"' in world.lab.http(guest, URL + "/latest/"))
    assert SECRET not in caplog.text and SECRET not in repr(world.metadata._options)
