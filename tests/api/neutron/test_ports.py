"""Ports: addresses, groups, security, binding, parallel creation."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from databases import fresh

from gureum.neutron.agents.contract import AgentReport, StatusUpdate

OVS = {"bridge_mappings": {}, "tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.1"}


def report(cloud, host="h1", kind="Open vSwitch agent", **configurations):
    binary = {"Open vSwitch agent": "neutron-openvswitch-agent"}.get(kind, "agent")
    return cloud.state.report(
        AgentReport(
            binary, kind, host, "t", "2026-01-01T00:00:00+00:00", configurations=configurations
        )
    )


def test_defaults(cloud):
    network, subnet = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    assert port["mac_address"].startswith("fa:16:3e:") and port["status"] == "DOWN"
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.2"}]
    group = cloud.get("/security-groups")[0]
    assert port["security_groups"] == [group["id"]] and group["name"] == "default"
    assert port["port_security_enabled"] is True
    assert "binding:host_id" not in port
    seen = cloud.get(f"/ports/{port['id']}", by="admin")
    assert (seen["binding:vif_type"], seen["binding:host_id"]) == ("unbound", "")


def test_wished_addresses(cloud):
    network, subnet = cloud.network()
    other = cloud.make("/subnets", network_id=network["id"], cidr="10.1.0.0/24", ip_version=4)
    port = cloud.make(
        "/ports",
        network_id=network["id"],
        fixed_ips=[{"ip_address": "10.0.0.77"}, {"subnet_id": other["id"]}],
    )
    assert [f["ip_address"] for f in port["fixed_ips"]] == ["10.0.0.77", "10.1.0.2"]
    taken = {"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.0.0.77"}]}}
    assert cloud.call("POST", "/ports", taken).kind == "IpAddressAlreadyAllocated"
    wrong = {"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.7.0.1"}]}}
    assert cloud.call("POST", "/ports", wrong).kind == "InvalidIpForNetwork"
    wrong["port"]["fixed_ips"] = [{"ip_address": "10.1.0.9", "subnet_id": subnet["id"]}]
    assert cloud.call("POST", "/ports", wrong).kind == "InvalidIpForSubnet"
    assert cloud.make("/ports", network_id=network["id"], fixed_ips=[])["fixed_ips"] == []
    path = f"/ports?fixed_ips=ip_address%3D10.0.0.77&network_id={network['id']}"
    assert [p["id"] for p in cloud.get(path)] == [port["id"]]


def test_freed_addresses_are_used_again_when_the_pool_is_full(cloud):
    network, _ = cloud.network(cidr="10.0.0.0/29")
    made = [cloud.make("/ports", network_id=network["id"]) for _ in range(5)]
    body = {"port": {"network_id": network["id"]}}
    assert cloud.call("POST", "/ports", body, status=409).kind == "IpAddressGenerationFailure"
    cloud.delete(f"/ports/{made[2]['id']}")
    again = cloud.make("/ports", network_id=network["id"])
    assert again["fixed_ips"] == made[2]["fixed_ips"]
    cloud.delete(f"/ports/{made[0]['id']}")
    assert cloud.make("/ports", network_id=network["id"])["fixed_ips"] == made[0]["fixed_ips"]


def test_update_keeps_what_stays(cloud):
    network, subnet = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    path = f"/ports/{port['id']}"
    more = [*port["fixed_ips"], {"subnet_id": subnet["id"]}]
    changed = cloud.change(path, fixed_ips=more)
    assert [f["ip_address"] for f in changed["fixed_ips"]] == ["10.0.0.2", "10.0.0.3"]
    fewer = cloud.change(path, fixed_ips=[{"ip_address": "10.0.0.3"}])
    assert [f["ip_address"] for f in fewer["fixed_ips"]] == ["10.0.0.3"]


def test_two_hundred_parallel_creations_get_two_hundred_addresses(cloud, tmp_path):
    cloud = type(cloud)(fresh("neutron", f"sqlite:///{tmp_path}/n.sqlite"))
    network, _ = cloud.network(cidr="10.0.0.0/24")

    def make(_):
        body = {"port": {"network_id": network["id"]}}
        return cloud.call("POST", "/ports", body)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(make, range(200)))
    assert {a.status for a in answers} == {201}
    assert len({a["port"]["fixed_ips"][0]["ip_address"] for a in answers}) == 200
    assert len({a["port"]["mac_address"] for a in answers}) == 200
    assert len([g for g in cloud.get("/security-groups") if g["name"] == "default"]) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"mac_address": "01:00:00:00:00:01"},
        {"mac_address": "x"},
        {"allowed_address_pairs": [{"ip_address": "10.0.0.1/33"}]},
        {"allowed_address_pairs": [{"ip_address": "10.0.0.9"}] * 2},
        {"allowed_address_pairs": [{"ip_address": f"10.0.0.{i}"} for i in range(1, 13)]},
        {"extra_dhcp_opts": [{"opt_name": "a", "opt_value": "x\ny"}]},
        {"extra_dhcp_opts": [{"opt_name": "a\nb", "opt_value": "x"}]},
        {"extra_dhcp_opts": [{"opt_name": "a", "opt_value": "x", "ip_version": 5}]},
        {"extra_dhcp_opts": [{"opt_name": "a"}]},
        {"dns_name": "-x"},
        {"fixed_ips": [{}]},
        {"fixed_ips": [{"ip_address": "10.0.0.9"}] * 2},
        {"security_groups": ["a", "a"]},
        {"binding:vnic_type": "magic"},
        {"port_security_enabled": False, "security_groups": ["a"]},
    ],
)
def test_bad_values_are_400(cloud, values):
    network, _ = cloud.network()
    body = {"port": {"network_id": network["id"], **values}}
    assert cloud.call("POST", "/ports", body, by="admin").status == 400
    assert cloud.get("/ports") == []


def test_extra_dhcp_options_are_merged(cloud):
    network, _ = cloud.network()
    options = [
        {"opt_name": "bootfile-name", "opt_value": "a"},
        {"opt_name": "mtu", "opt_value": "9"},
    ]
    port = cloud.make("/ports", network_id=network["id"], extra_dhcp_opts=options)
    assert len(port["extra_dhcp_opts"]) == 2
    change = [
        {"opt_name": "mtu", "opt_value": None},
        {"opt_name": "bootfile-name", "opt_value": "b"},
    ]
    changed = cloud.change(f"/ports/{port['id']}", extra_dhcp_opts=change)
    assert changed["extra_dhcp_opts"] == [
        {"opt_name": "bootfile-name", "opt_value": "b", "ip_version": 4}
    ]


def test_pairs_need_port_security(cloud):
    network, _ = cloud.network()
    pairs = [{"ip_address": "10.0.0.0/28"}]
    port = cloud.make("/ports", network_id=network["id"], allowed_address_pairs=pairs)
    assert port["allowed_address_pairs"][0]["mac_address"] == port["mac_address"]
    path = f"/ports/{port['id']}"
    off = {"port": {"port_security_enabled": False, "security_groups": []}}
    assert cloud.call("PUT", path, off).kind == "AddressPairAndPortSecurityRequired"
    off["port"]["allowed_address_pairs"] = []
    assert cloud.call("PUT", path, off, status=200)["port"]["port_security_enabled"] is False


def test_disabling_port_security_with_groups_is_409(cloud):
    network, _ = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    body = {"port": {"port_security_enabled": False}}
    answer = cloud.call("PUT", f"/ports/{port['id']}", body)
    assert answer.kind == "PortSecurityPortHasSecurityGroup"


def test_binding_follows_the_live_agents(cloud):
    network, _ = cloud.network()
    report(cloud, **OVS)
    for host, kind in (("h1", "ovs"), ("nowhere", "binding_failed")):
        values = {"network_id": network["id"], "binding:host_id": host}
        port = cloud.make("/ports", by="nova", project_id="a" * 32, **values)
        assert port["binding:vif_type"] == kind
    assert port["binding:vif_details"] == {}
    report(cloud, host="nowhere", **OVS)  # an agent that comes gets what waited
    assert cloud.get(f"/ports/{port['id']}", by="admin")["binding:vif_type"] == "ovs"


def test_vlan_needs_a_mapping_on_the_host(cloud):
    values = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    network = cloud.make("/networks", by="admin", **values)
    report(cloud, **OVS)
    report(cloud, host="h2", bridge_mappings={"physnet1": "br-ex"})
    for host, kind in (("h1", "binding_failed"), ("h2", "ovs")):
        port = cloud.make(
            "/ports", by="admin", network_id=network["id"], **{"binding:host_id": host}
        )
        assert port["binding:vif_type"] == kind


def test_member_may_not_bind_or_take_a_mac_or_spoof_a_device(cloud):
    shared = cloud.make("/networks", by="admin", shared=True)
    for values in (
        {"binding:host_id": "h1"},
        {"binding:profile": {"a": 1}},
        {"mac_address": "fa:16:3e:00:00:01"},
        {"device_owner": "network:dhcp"},
        {"port_security_enabled": False},
        {"allowed_address_pairs": [{"ip_address": "10.0.0.1"}]},
    ):
        body = {"port": {"network_id": shared["id"], **values}}
        assert cloud.call("POST", "/ports", body, by="other").status == 403, values
    port = cloud.make("/ports", by="other", network_id=shared["id"])
    change = {"port": {"device_owner": "network:router_interface"}}
    assert cloud.call("PUT", f"/ports/{port['id']}", change, by="other").status == 403


def test_router_port_of_somebody_elses_router_is_409(cloud):
    """Abuse 38."""
    router = cloud.make("/routers", by="other")
    network, _ = cloud.network()
    values = {"device_owner": "network:router_interface", "device_id": router["id"]}
    body = {"port": {"network_id": network["id"], **values}}
    assert cloud.call("POST", "/ports", body).kind == "DeviceIDNotOwnedByTenant"
    port = cloud.make("/ports", network_id=network["id"])
    path = f"/ports/{port['id']}"
    assert cloud.call("PUT", path, {"port": values}).kind == "DeviceIDNotOwnedByTenant"


def test_port_becomes_active_when_its_agent_says_so_and_nova_is_told(cloud):
    network, _ = cloud.network()
    report(cloud, **OVS)
    values = {"device_id": "srv", "device_owner": "compute:nova", "binding:host_id": "h1"}
    port = cloud.make("/ports", by="nova", network_id=network["id"], **values)
    cloud.state.port_statuses("h2", [StatusUpdate(port["id"], "ACTIVE")])
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "DOWN"
    cloud.state.port_statuses("h1", [StatusUpdate(port["id"], "ACTIVE")])
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "ACTIVE"
    assert cloud.events == [("network-vif-plugged", "srv", port["id"])]
    cloud.change(f"/ports/{port['id']}", by="nova", **{"binding:host_id": "h2"})
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "DOWN"
    cloud.delete(f"/ports/{port['id']}", by="nova")
    assert cloud.events[-1][0] == "network-vif-deleted"


def test_nova_is_told_when_what_it_shows_of_a_guests_port_changes(cloud):
    network, _ = cloud.network()
    group = cloud.make("/security-groups", name="web")
    values = {"device_id": "srv", "device_owner": "compute:nova"}
    port = cloud.make("/ports", by="nova", network_id=network["id"], **values)
    other = cloud.make("/ports", by="nova", network_id=network["id"])
    changed = ("network-changed", "srv", port["id"])
    path = f"/ports/{port['id']}"
    cloud.change(path, by="nova", name="new", security_groups=port["security_groups"])
    assert cloud.events == []
    cloud.change(path, by="nova", security_groups=[group["id"]])
    cloud.change(path, by="nova", fixed_ips=[{"ip_address": "10.0.0.77"}])
    cloud.change(f"/security-groups/{group['id']}", name="db")
    assert cloud.events == [changed] * 3
    cloud.change(f"/security-groups/{group['id']}", description="Text.")
    cloud.change(f"/ports/{other['id']}", by="nova", security_groups=[group["id"]])
    assert cloud.events == [changed] * 3


def test_port_waits_for_dhcp_where_an_agent_serves_it(cloud):
    report(cloud, **OVS)
    report(cloud, kind="DHCP agent")
    network, _ = cloud.network()
    values = {"device_id": "srv", "device_owner": "compute:nova", "binding:host_id": "h1"}
    port = cloud.make("/ports", by="nova", network_id=network["id"], **values)
    cloud.state.port_statuses("h1", [StatusUpdate(port["id"], "ACTIVE")])
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "DOWN"
    cloud.state.dhcp_ready("h1", [port["id"]])
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "ACTIVE"


def test_mac_of_a_bound_port_stays(cloud):
    network, _ = cloud.network()
    report(cloud, **OVS)
    port = cloud.make("/ports", by="admin", network_id=network["id"], **{"binding:host_id": "h1"})
    path = f"/ports/{port['id']}"
    change = {"port": {"mac_address": "fa:16:3e:99:99:99"}}
    assert cloud.call("PUT", path, change, by="admin").kind == "PortBound"
    free = cloud.make("/ports", by="admin", network_id=network["id"])
    made = cloud.change(f"/ports/{free['id']}", by="admin", mac_address="fa:16:3e:99:99:99")
    assert made["mac_address"] == "fa:16:3e:99:99:99"
    twin = cloud.make("/ports", by="admin", network_id=network["id"])
    assert cloud.call("PUT", f"/ports/{twin['id']}", change, by="admin").kind == "MacAddressInUse"


def test_ports_of_routers_are_not_deleted_directly(cloud):
    _, subnet = cloud.network()
    router = cloud.make("/routers")
    body = {"subnet_id": subnet["id"]}
    made = cloud.call("PUT", f"/routers/{router['id']}/add_router_interface", body)
    assert cloud.call("DELETE", f"/ports/{made['port_id']}").kind == "ServicePortInUse"


def test_other_projects_port_is_404(cloud):
    network, _ = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    for method, body in (("GET", None), ("PUT", {"port": {"name": "x"}}), ("DELETE", None)):
        assert cloud.call(method, f"/ports/{port['id']}", body, by="other").status == 404
    body = {"port": {"network_id": network["id"]}}
    assert cloud.call("POST", "/ports", body, by="other").status == 404


def test_bulk_with_tags(cloud):
    network, _ = cloud.network()
    body = {
        "ports": [
            {"network_id": network["id"], "tags": ["a", "b"]},
            {"port": {"network_id": network["id"]}},
        ]
    }
    made = cloud.call("POST", "/ports", body, status=201)["ports"]
    assert [p["tags"] for p in made] == [["a", "b"], []]
    assert [p["id"] for p in cloud.get("/ports?tags=a,b")] == [made[0]["id"]]


def test_port_that_dhcp_knew_before_it_was_bound_does_not_wait(cloud):
    report(cloud, **OVS)
    report(cloud, kind="DHCP agent")
    network, _ = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    cloud.state.dhcp_ready("h1", [port["id"]])
    values = {"device_id": "srv", "device_owner": "compute:nova", "binding:host_id": "h1"}
    cloud.change(f"/ports/{port['id']}", by="nova", **values)
    cloud.state.port_statuses("h1", [StatusUpdate(port["id"], "ACTIVE")])
    assert cloud.get(f"/ports/{port['id']}")["status"] == "ACTIVE"


def test_dead_dhcp_agent_does_not_hold_a_port_back(cloud):
    report(cloud, **OVS)
    report(cloud, kind="DHCP agent")
    network, _ = cloud.network()
    values = {"device_id": "srv", "device_owner": "compute:nova", "binding:host_id": "h1"}
    port = cloud.make("/ports", by="nova", network_id=network["id"], **values)
    cloud.state.port_statuses("h1", [StatusUpdate(port["id"], "ACTIVE")])
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "DOWN"
    agents = cloud.get("/agents?agent_type=DHCP agent", by="admin")
    cloud.delete(f"/agents/{agents[0]['id']}", by="admin")
    report(cloud, **OVS)
    assert cloud.get(f"/ports/{port['id']}", by="admin")["status"] == "ACTIVE"
