"""The contract between neutron-server and agents crosses the bus unharmed."""

from gureum.core.bus.local import LocalBus
from gureum.neutron.agents.contract import (
    AddressPair,
    AgentReport,
    FdbEntry,
    FixedIp,
    L2Network,
    L2Port,
    NetworkState,
    NetworkTunnels,
    SecurityGroup,
    SgMembers,
    SgRule,
    StatusUpdate,
)
from gureum.neutron.agents.l2.testing import FakeServer


def test_l2_state_reports_and_statuses_cross_the_bus() -> None:
    bus, server = LocalBus(), FakeServer()
    port = L2Port(
        "p", "n", "fa:16:3e:00:00:01", (FixedIp("s", "10.0.0.1", 24),),
        (AddressPair("10.0.0.9"),), binding_profile={"os_vif": {"deep": [1, 2]}},
    )  # fmt: skip
    server.put("networks", L2Network("n", "vxlan", 1450, None, 5))
    server.put("ports", port)
    server.put(
        "security_groups", SecurityGroup("g", (SgRule("r", "ingress", "IPv4", "tcp", 1, 2),))
    )
    server.put("members", SgMembers("g", ("10.0.0.1",)))
    server.put("tunnels", NetworkTunnels("n", ("192.0.2.1",), (FdbEntry("m", "192.0.2.1"),)))
    bus.serve(NetworkState, server)
    client = bus.client(NetworkState)
    full = client.l2_state("host", 0)
    assert full == server.answers[-1]
    assert full.ports == (port,) and full.ports[0].tap == "tapp"
    server.drop("ports", "p")
    delta = client.l2_state("host", full.revision)
    assert not delta.full and delta.removed["ports"] == ["p"] and delta.networks == ()
    report = AgentReport("b", "t", "host", "topic", "2030-01-01T00:00:00+00:00", problems=("x",))
    assert client.report(report).revision == server.revision
    assert server.reports == [report]
    client.port_statuses("host", [StatusUpdate("p", "ACTIVE")])
    assert server.statuses["p"].status == "ACTIVE"
    bus.close()
