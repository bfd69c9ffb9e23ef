"""What networking agents are told: the whole state, differences, hints, metadata."""

import msgspec
import pytest
from test_ports import OVS, report

from gureum.core.bus.local import LocalBus
from gureum.core.machine import HostNameTaken
from gureum.neutron.agents.book import StateBook
from gureum.neutron.agents.contract import (
    DHCP_AGENT,
    L2_AGENT,
    L3_AGENT,
    AgentReport,
    NetworkState,
    StatusUpdate,
)
from gureum.neutron.logic import heartbeats


def guest(cloud, network, host="h1", **values):
    return cloud.make(
        "/ports",
        by="nova",
        project_id="a" * 32,
        network_id=network["id"],
        device_owner="compute:nova",
        **{"device_id": "srv", "binding:host_id": host, **values},
    )


@pytest.fixture
def hosts(cloud):
    """Two hosts with live L2 agents."""
    report(cloud, **OVS)
    report(cloud, host="h2", **{**OVS, "tunneling_ip": "192.0.2.2"})
    return cloud


def test_l2_state_of_a_host(hosts):
    network, _ = hosts.network()
    port = guest(hosts, network)
    guest(hosts, network, host="h2")
    state = hosts.state.l2_state("h1", 0)
    assert state.full and [p.id for p in state.ports] == [port["id"]]
    (wanted,) = state.ports
    assert wanted.fixed_ips[0].prefix_len == 24 and wanted.mac_address == port["mac_address"]
    (net,) = state.networks
    assert (net.type, net.mtu, net.segmentation_id) == ("vxlan", 1450, 1)
    (group,) = state.security_groups
    assert group.id == port["security_groups"][0] and len(group.rules) == 4
    (members,) = state.members
    assert members.addresses == ("10.0.0.2", "10.0.0.3")
    (tunnels,) = state.tunnels
    assert tunnels.vteps == ("192.0.2.2",) and tunnels.entries[0].ip_addresses == ("10.0.0.3",)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state)) == state


def test_nothing_changed_is_an_empty_difference(hosts):
    network, _ = hosts.network()
    guest(hosts, network)
    state = hosts.state.l2_state("h1", 0)
    again = hosts.state.l2_state("h1", state.revision)
    assert not again.full and not again.ports and not again.removed
    hosts.make("/networks", name="elsewhere")
    assert hosts.state.l2_state("h1", state.revision).networks == ()


def test_differences_lead_where_the_whole_state_is(hosts):
    """Whatever happens, an agent that follows differences knows what a new one would be told."""
    books = {host: StateBook() for host in ("h1", "h2")}

    def check():
        for host, book in books.items():
            book.take(hosts.state.l2_state(host, book.revision))
            fresh = StateBook()
            fresh.take(hosts.state.l2_state(host, 0))
            for kind in ("networks", "ports", "security_groups", "members", "tunnels"):
                assert dict(book.all(kind)) == dict(fresh.all(kind)), (host, kind)

    check()
    network, _ = hosts.network()
    one = guest(hosts, network)
    check()
    two = guest(hosts, network, host="h2")
    check()
    group = hosts.make("/security-groups", name="g")
    rule = hosts.make(
        "/security-group-rules",
        security_group_id=group["id"],
        direction="ingress",
        protocol="tcp",
        remote_group_id=one["security_groups"][0],
    )
    check()
    hosts.change(f"/ports/{two['id']}", security_groups=[group["id"]])
    check()
    assert [m.addresses for m in books["h2"].all("members").values()] == [("10.0.0.2",)]
    hosts.change(f"/ports/{one['id']}", fixed_ips=[{"ip_address": "10.0.0.99"}])
    check()
    assert [m.addresses for m in books["h2"].all("members").values()] == [("10.0.0.99",)]
    hosts.delete(f"/security-group-rules/{rule['id']}")
    check()
    hosts.change(f"/networks/{network['id']}", mtu=1300)
    check()
    hosts.change(f"/ports/{one['id']}", by="nova", **{"binding:host_id": "h2"})
    check()
    assert not books["h1"].all("ports") and not books["h1"].all("networks")
    report(hosts, host="h2", **{**OVS, "tunneling_ip": "192.0.2.99"})
    check()
    hosts.delete(f"/ports/{one['id']}", by="nova")
    hosts.delete(f"/ports/{two['id']}", by="nova")
    check()
    assert not books["h2"].all("ports") and not books["h2"].all("security_groups")


def test_only_affected_hosts_are_hinted(hosts):
    network, _ = hosts.network()
    hosts.pokes.clear()
    guest(hosts, network)
    assert {(binary, host) for binary, host, _, _ in hosts.pokes} == {(L2_AGENT, "h1")}
    revision = max(poke[2] for poke in hosts.pokes)
    assert hosts.state.l2_state("h1", 0).revision == revision
    hosts.pokes.clear()
    hosts.call("POST", "/ports", {"port": {"network_id": "0" * 36}}, status=400)
    assert hosts.pokes == []


def test_change_that_concerns_one_host_is_told_to_that_host(hosts):
    network, _ = hosts.network()
    report(hosts, host="h2", kind="DHCP agent")
    port = guest(hosts, network)
    guest(hosts, network, host="h2")
    path = f"/ports/{port['id']}"
    before = hosts.state.l2_state("h1", 0).revision
    hosts.pokes.clear()
    hosts.change(path, by="admin", admin_state_up=False, name="n", description="d")
    assert {(binary, host) for binary, host, *_ in hosts.pokes} == {(L2_AGENT, "h1")}
    told = hosts.state.l2_state("h1", before)
    assert [(one.id, one.admin_state_up) for one in told.ports] == [(port["id"], False)]
    assert not (told.networks or told.members or told.tunnels or told.security_groups)
    for change in (
        {"fixed_ips": [{"ip_address": "10.0.0.99"}]},
        {"allowed_address_pairs": [{"ip_address": "10.9.9.9"}]},
        {"security_groups": []},
        {"device_id": "other"},
    ):
        hosts.pokes.clear()
        hosts.change(path, by="admin", **change)
        assert (L2_AGENT, "h2") in {(binary, host) for binary, host, *_ in hosts.pokes}, change


def test_heartbeat_tells_when_there_is_news(hosts, monkeypatch):
    monkeypatch.setattr(heartbeats, "TOGETHER_S", 0.0)
    before = report(hosts, **OVS).revision
    network, _ = hosts.network()
    guest(hosts, network)
    assert report(hosts, **OVS).revision > before
    assert report(hosts, host="h2", **{**OVS, "tunneling_ip": "192.0.2.2"}).revision == 0


def test_agent_too_far_behind_gets_everything(hosts):
    network, _ = hosts.network()
    guest(hosts, network)
    known = hosts.state.l2_state("h1", 0).revision
    object.__setattr__(hosts.deps.options, "changes_kept", 1)
    for _ in range(4):
        guest(hosts, network)
    report(hosts, **OVS)
    state = hosts.state.l2_state("h1", known)
    assert state.full and len(state.ports) == 5
    assert hosts.state.l2_state("h1", state.revision + 1000).full


def test_l3_state(cloud):
    report(cloud, kind="L3 agent", host="n1")
    report(cloud, host="n1", **OVS)
    network, subnet = cloud.network()
    external, _ = cloud.external()
    router = cloud.make("/routers", external_gateway_info={"network_id": external["id"]})
    book = StateBook()
    book.take(cloud.state.l3_state("n1", 0))
    assert book.get("routers", router["id"]).gateway.fixed_ips[0].prefix_len == 24
    body = {"subnet_id": subnet["id"]}
    cloud.call("PUT", f"/routers/{router['id']}/add_router_interface", body, status=200)
    port = cloud.make("/ports", network_id=network["id"])
    floating = cloud.make("/floatingips", floating_network_id=external["id"], port_id=port["id"])
    changes = book.take(cloud.state.l3_state("n1", book.revision))
    assert changes.changed == {"routers": {router["id"]}}
    wanted = book.get("routers", router["id"])
    assert wanted.interfaces[0].subnets[0].gateway_ip == "10.0.0.1"
    assert wanted.floating_ips[0].fixed_ip_address == "10.0.0.2"
    assert {p.device_owner for p in cloud.state.l2_state("n1", 0).ports} == {
        "network:router_interface",
        "network:router_gateway",
    }
    cloud.state.router_statuses("n1", [], [StatusUpdate(floating["id"], "ACTIVE")])
    assert cloud.get(f"/floatingips/{floating['id']}")["status"] == "ACTIVE"
    agent = cloud.get(f"/routers/{router['id']}/l3-agents", by="admin")[0]
    path = f"/agents/{agent['id']}/l3-routers"
    cloud.delete(f"{path}/{router['id']}", by="admin")  # it leads nowhere without an agent
    assert cloud.get(f"/floatingips/{floating['id']}")["status"] == "DOWN"
    cloud.call("POST", path, {"router_id": router["id"]}, by="admin", status=201)
    cloud.state.router_statuses("n1", [], [StatusUpdate(floating["id"], "ACTIVE")])
    assert cloud.get(f"/floatingips/{floating['id']}")["status"] == "ACTIVE"
    cloud.delete(f"/floatingips/{floating['id']}")
    cloud.call("PUT", f"/routers/{router['id']}/remove_router_interface", body, status=200)
    cloud.delete(f"/routers/{router['id']}")
    book.take(cloud.state.l3_state("n1", book.revision))
    assert not book.all("routers")
    assert (L3_AGENT, "n1") in {(binary, host) for binary, host, _, _ in cloud.pokes}


def test_dhcp_state(cloud):
    report(cloud, kind="DHCP agent", host="n1")
    network, subnet = cloud.network(dns_nameservers=["9.9.9.9"])
    port = cloud.make("/ports", network_id=network["id"], dns_name="vm1")
    book = StateBook()
    book.take(cloud.state.dhcp_state("n1", 0))
    wanted = book.get("networks", network["id"])
    assert wanted.dhcp_port_ips[0].ip_address == "10.0.0.2" and wanted.isolated_metadata
    assert [(p.id, p.hostname) for p in wanted.ports] == [(port["id"], "vm1")]
    assert wanted.subnets[0].dns_nameservers == ("9.9.9.9",)
    assert wanted.dns_domain == "openstacklocal"
    more = cloud.make("/subnets", network_id=network["id"], cidr="10.1.0.0/24", ip_version=4)
    router = cloud.make("/routers")
    body = {"subnet_id": subnet["id"]}
    cloud.call("PUT", f"/routers/{router['id']}/add_router_interface", body, status=200)
    book.take(cloud.state.dhcp_state("n1", book.revision))
    wanted = book.get("networks", network["id"])
    assert len(wanted.dhcp_port_ips) == 2 and not wanted.isolated_metadata
    cloud.delete(f"/subnets/{more['id']}")
    cloud.change(f"/subnets/{subnet['id']}", enable_dhcp=False)
    book.take(cloud.state.dhcp_state("n1", book.revision))
    assert book.get("networks", network["id"]).dhcp_port_id is None
    assert DHCP_AGENT in {binary for binary, *_ in cloud.pokes}


def test_dhcp_agent_adopts_networks_that_are_there(cloud):
    network, _ = cloud.network()
    assert cloud.state.dhcp_state("n1", 0).networks == ()
    report(cloud, kind="DHCP agent", host="n1")
    assert [n.id for n in cloud.state.dhcp_state("n1", 0).networks] == [network["id"]]


def test_full_subnet_is_no_obstacle_for_dhcp(cloud):
    report(cloud, kind="DHCP agent", host="n1")
    _, subnet = cloud.network(cidr="10.0.0.0/30", gateway_ip="10.0.0.1")
    assert subnet["cidr"] == "10.0.0.0/30"
    network = cloud.make("/networks")
    pools = [{"start": "10.0.0.2", "end": "10.0.0.2"}]
    cloud.make(
        "/subnets",
        network_id=network["id"],
        cidr="10.0.0.0/29",
        ip_version=4,
        enable_dhcp=False,
        allocation_pools=pools,
    )
    cloud.make("/ports", network_id=network["id"])
    path = f"/subnets/{cloud.get('/networks/' + network['id'])['subnets'][0]}"
    assert cloud.change(path, enable_dhcp=True)["enable_dhcp"] is True


def test_metadata_is_found_in_exactly_one_network(hosts):
    """Abuse 37: the same address in another network is another server."""
    one, subnet = hosts.network()
    two, _ = hosts.network(by="other")
    port = guest(hosts, one)
    guest(hosts, two, device_id="foreign")
    find = hosts.state.metadata_target
    target = find("h1", "10.0.0.2", one["id"], None)
    assert (target.port_id, target.instance_id) == (port["id"], "srv")
    assert target.project_id == "a" * 32
    assert find("h1", "10.0.0.2", two["id"], None).instance_id == "foreign"
    assert find("h1", "10.0.0.9", one["id"], None) is None
    assert find("h1", "10.0.0.2", None, None) is None
    router = hosts.make("/routers")
    body = {"subnet_id": subnet["id"]}
    hosts.call("PUT", f"/routers/{router['id']}/add_router_interface", body, status=200)
    assert find("h1", "10.0.0.2", None, router["id"]).instance_id == "srv"


def test_contract_is_served_over_the_bus(hosts):
    network, _ = hosts.network()
    port = guest(hosts, network)
    bus = LocalBus()
    try:
        bus.serve(NetworkState, hosts.state)
        client = bus.client(NetworkState)
        state = client.l2_state("h1", 0)
        assert [p.id for p in state.ports] == [port["id"]]
        client.port_statuses("h1", [StatusUpdate(port["id"], "ACTIVE")])
    finally:
        bus.close()
    assert hosts.get(f"/ports/{port['id']}", by="admin")["status"] == "ACTIVE"


def test_state_of_many_ports_costs_few_queries(hosts):
    """No query for each port."""
    import sqlalchemy as sa

    network, _ = hosts.network(cidr="10.0.0.0/16")
    seen = []

    def note(*args):
        seen.append(args[2])

    def cost():
        seen.clear()
        sa.event.listen(hosts.db.engine, "before_cursor_execute", note)
        hosts.state.l2_state("h1", 0)
        sa.event.remove(hosts.db.engine, "before_cursor_execute", note)
        return len(seen)

    guest(hosts, network)
    guest(hosts, network, host="h2")
    before = cost()
    for _ in range(5):
        guest(hosts, network)
        guest(hosts, network, host="h2")
    assert cost() == before


def test_host_name_belongs_to_the_machine_that_reported_first(cloud):
    def said(machine_id, host="h1"):
        return cloud.state.report(
            AgentReport("neutron-l3-agent", "L3 agent", host, "t", "2026-01-01T00:00:00+00:00",
                        machine_id=machine_id))  # fmt: skip

    said("")  # one that knows no name for its machine claims nothing
    said("one")
    with pytest.raises(HostNameTaken, match="the host name h1 belongs to another machine \\(one"):
        said("two")
    said("one")
    said("two", "h2")
    assert len(cloud.get("/agents", by="admin")) == 2
