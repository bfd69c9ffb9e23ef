"""All four networking agents of one host together, as a node process runs them."""

from collections.abc import Iterator
from typing import Any

import pytest
from agentlab import Lab, Server, mac_of, needs_host, new_id
from waiting import eventually

from gureum.neutron.agents.contract import (
    AgentAck,
    AgentReport,
    DhcpNetwork,
    DhcpPort,
    DhcpState,
    FixedIp,
    FloatingIp,
    L2Network,
    L2Port,
    L2State,
    L3State,
    MetadataTarget,
    Router,
    RouterPort,
    SecurityGroup,
    SgRule,
    StatusUpdate,
    SubnetInfo,
)
from gureum.neutron.agents.dhcp.agent import DhcpAgent
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.l2.agent import OvsAgent
from gureum.neutron.agents.l2.config import OvsAgentOptions
from gureum.neutron.agents.l3.agent import L3Agent
from gureum.neutron.agents.l3.config import L3AgentOptions

pytestmark = [pytest.mark.real, needs_host]


class NodeServer(Server):
    """The wanted state of all agents; statuses as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.l2 = L2State(0)
        self.l3 = L3State(0)
        self.dhcp = DhcpState(0)
        self.ports: dict[str, str] = {}

    def l2_state(self, host: str, since: int) -> L2State:
        return self.l2

    def l3_state(self, host: str, since: int) -> L3State:
        return self.l3

    def dhcp_state(self, host: str, since: int) -> DhcpState:
        return self.dhcp

    def report(self, report: AgentReport) -> AgentAck:
        self.reports.append(report)
        return AgentAck(0)

    def port_statuses(self, host: str, updates: list[StatusUpdate]) -> None:
        self.ports.update({update.id: update.status for update in updates})


class Node:
    """One host with its agents, one tenant network, a router, a flat outside."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.server = NodeServer()
        lab, tag = self.lab, self.lab.tag
        lab.run("ovs-vsctl", "del-br", lab.bridge)  # the L2 agent makes it
        self.outer = f"brl3t-x{tag}"
        shared: dict[str, Any] = {"integration_bridge": lab.bridge, "poll_interval_s": 0.5}
        l2 = OvsAgentOptions(**shared, bridge_mappings={"physnet1": self.outer},
                             datapath_type="netdev")  # fmt: skip
        l3 = L3AgentOptions(**shared, namespace_prefix=lab.prefix("r"),
                            state_path=str(lab.folder / "l3"),
                            metadata_proxy_socket=str(lab.folder / "m.sock"))  # fmt: skip
        dhcp = DhcpAgentOptions(**shared, namespace_prefix=lab.prefix("d"),
                                state_path=str(lab.folder / "dhcp"),
                                metadata_proxy_socket=str(lab.folder / "m.sock"))  # fmt: skip
        server: Any = self.server
        self.l2 = OvsAgent("host1", l2, server)
        self.agents = [self.l2, L3Agent("host1", l3, server), DhcpAgent("host1", dhcp, server)]
        self.want()

    def want(self) -> None:
        self.net, self.ext, self.subnet = new_id(), new_id(), new_id()
        self.router_id = new_id()
        guest, qr, qg, own = (new_id() for _ in range(4))
        self.guest_port, self.port_ids = guest, [guest, qr, qg, own]
        sub4 = SubnetInfo(self.subnet, "10.0.8.0/24", 4, "10.0.8.1", ("192.0.2.53",))
        sub_x = SubnetInfo(new_id(), "203.0.113.0/24", 4, "203.0.113.1")
        self.fip = FloatingIp(new_id(), "203.0.113.20", "10.0.8.5", guest)
        rules = tuple(SgRule(new_id(), direction, "IPv4") for direction in ("egress", "ingress"))
        ip = {
            guest: FixedIp(self.subnet, "10.0.8.5", 24),
            qr: FixedIp(self.subnet, "10.0.8.1", 24),
            own: FixedIp(self.subnet, "10.0.8.2", 24),
            qg: FixedIp(sub_x.id, "203.0.113.10", 24),
        }

        def l2_port(port_id: str, network: str, owner: str, **more: Any) -> L2Port:
            return L2Port(port_id, network, mac_of(port_id), (ip[port_id],), device_owner=owner,
                          **more)  # fmt: skip

        self.server.l2 = L2State(
            1,
            networks=(L2Network(self.net, "local", 1450),
                      L2Network(self.ext, "flat", 1500, "physnet1")),
            ports=(
                l2_port(guest, self.net, "compute:nova", security_group_ids=("open",)),
                l2_port(qr, self.net, "network:router_interface", port_security_enabled=False),
                l2_port(qg, self.ext, "network:router_gateway", port_security_enabled=False),
                l2_port(own, self.net, "network:dhcp", port_security_enabled=False),
            ),
            security_groups=(SecurityGroup("open", rules),),
        )  # fmt: skip
        router = Router(
            self.router_id,
            interfaces=(RouterPort(qr, self.net, mac_of(qr), "network:router_interface", 1450,
                                   (ip[qr],), (sub4,)),),
            gateway=RouterPort(qg, self.ext, mac_of(qg), "network:router_gateway", 1500,
                               (ip[qg],), (sub_x,)),
            floating_ips=(self.fip,),
        )  # fmt: skip
        self.server.l3 = L3State(1, routers=(router,))
        network = DhcpNetwork(
            self.net, mtu=1450, subnets=(sub4,), dhcp_port_id=own, dhcp_port_mac=mac_of(own),
            ports=(DhcpPort(guest, mac_of(guest), (ip[guest],), "one"),), dhcp_port_ips=(ip[own],),
        )  # fmt: skip
        self.server.dhcp = DhcpState(1, networks=(network,))
        self.server.target = lambda *args: MetadataTarget(guest, new_id(), new_id())

    def start(self) -> None:
        for agent in self.agents:
            agent.start()

    def plug_guest(self) -> str:
        """Make the guest's device as libvirt would; return its namespace."""
        name = self.lab.guest("vm", 0, mac_of(self.guest_port))
        device = f"g{self.lab.tag}vm"
        self.lab.run("ovs-vsctl", "clear", "port", device, "tag", "--", "set", "Interface", device,
                     f"external_ids:iface-id={self.guest_port}",
                     f"external_ids:attached-mac=\"{mac_of(self.guest_port)}\"",
                     "external_ids:iface-status=active", "external_ids:vm-id=x")  # fmt: skip
        return name

    def outside(self) -> str:
        """Make the outside: a namespace on the provider bridge."""
        inner = self.lab.bridge
        self.lab.bridge = self.outer
        name = self.lab.guest("out", 0, mac_of(new_id()), "203.0.113.1/24", mtu=1500)
        self.lab.bridge = inner
        self.lab.run("ovs-vsctl", "clear", "port", f"g{self.lab.tag}out", "tag")
        return name

    def close(self) -> None:
        for agent in self.agents:
            agent.stop()
        self.lab.close()
        self.lab.run("ovs-vsctl", "--if-exists", "del-br", self.outer)


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    try:
        yield made
    finally:
        made.close()


def test_guest_boots_with_dhcp_and_is_reached_through_its_floating_ip(node: Node) -> None:
    lab, server = node.lab, node.server
    node.start()
    eventually(lambda: lab.run("ovs-vsctl", "list-br").count(lab.tag) >= 2, 20)
    outside = node.outside()
    guest = node.plug_guest()
    eventually(lambda: set(server.ports.items()) >= {(p, "ACTIVE") for p in node.port_ids}, 20)
    eventually(lambda: server.routers.get(node.router_id) == "ACTIVE")
    assert server.floating_ips == {node.fip.id: "ACTIVE"}
    assert server.ready == [node.guest_port]
    script = lab.folder / "lease.sh"
    script.write_text(
        "#!/bin/sh\n[ $1 = bound ] || exit 0\n"
        "ip addr add $ip/$mask dev $interface\nip route add default via $router\n"
    )
    script.chmod(0o755)
    lab.inside(guest, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", str(script))
    assert "10.0.8.5/24" in lab.inside(guest, "ip", "addr")
    assert lab.reaches(guest, "203.0.113.1")
    assert lab.reaches(outside, "203.0.113.20")
    with lab.listener(guest, 8080):
        assert len(lab.http(outside, "http://203.0.113.20:8080/")) > 200_000
    with lab.listener(outside, 8080) as peers:
        lab.http(guest, "http://203.0.113.1:8080/")
    assert peers[0][0] == "203.0.113.20"
