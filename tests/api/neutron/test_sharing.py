"""RBAC policies, address groups and scopes, tags, quotas, agents, extensions."""

import pytest
from test_ports import report


def share(cloud, kind, object_id, by="member", status=201, action="access_as_shared", to="b" * 32):
    body = {"object_type": kind, "object_id": object_id, "action": action, "target_tenant": to}
    return cloud.call("POST", "/rbac-policies", {"rbac_policy": body}, by=by, status=status)


def test_network_opened_to_one_project(cloud):
    network, _ = cloud.network()
    assert cloud.get("/networks", by="other") == []
    policy = share(cloud, "network", network["id"])["rbac_policy"]
    seen = cloud.get("/networks", by="other")[0]
    assert seen["id"] == network["id"] and seen["shared"] is True
    assert len(cloud.get("/subnets", by="other")) == 1
    port = cloud.make("/ports", by="other", network_id=network["id"])
    path = f"/rbac-policies/{policy['id']}"
    assert cloud.call("DELETE", path).kind == "RbacPolicyInUse"
    assert cloud.call("DELETE", path, by="other").status == 404
    cloud.delete(f"/ports/{port['id']}", by="other")
    cloud.delete(path)
    assert cloud.get("/networks", by="other") == []


def test_who_may_open_what(cloud):
    network, _ = cloud.network()
    assert share(cloud, "network", network["id"], to="*", status=403)
    assert share(cloud, "network", network["id"], by="other", to="a" * 32, status=404)
    assert share(cloud, "nonsense", network["id"], status=400)
    assert share(cloud, "network", network["id"], action="nonsense", status=400)
    share(cloud, "network", network["id"])
    assert share(cloud, "network", network["id"], status=409).kind == "DuplicateRbacPolicy"


def test_address_group_in_a_rule(cloud):
    group = cloud.make("/address-groups", name="a", addresses=["10.0.0.5/24", "2001:db8::/64"])
    assert group["addresses"] == ["10.0.0.0/24", "2001:db8::/64"]
    path = f"/address-groups/{group['id']}"
    more = {"addresses": ["192.0.2.1/32"]}
    cloud.call("PUT", path + "/add_addresses", more, status=200)
    assert cloud.call("PUT", path + "/add_addresses", more).status == 400
    cloud.call("PUT", path + "/remove_addresses", more, status=200)
    assert cloud.call("PUT", path + "/remove_addresses", more).status == 404
    security = cloud.make("/security-groups", name="g")
    cloud.make(
        "/security-group-rules",
        security_group_id=security["id"],
        direction="ingress",
        remote_address_group_id=group["id"],
    )
    assert cloud.call("DELETE", path).kind == "AddressGroupInUse"


def test_address_scope_with_pools_is_409(cloud):
    scope = cloud.make("/address-scopes", name="s", ip_version=4)
    values = {"prefixes": ["10.0.0.0/8"], "address_scope_id": scope["id"]}
    cloud.make("/subnetpools", name="p", **values)
    overlapping = {"subnetpool": {"name": "q", **values}}
    assert cloud.call("POST", "/subnetpools", overlapping).kind == "AddressScopePrefixConflict"
    path = f"/address-scopes/{scope['id']}"
    assert cloud.call("DELETE", path).kind == "AddressScopeInUse"


def test_tags(cloud):
    network = cloud.make("/networks")
    path = f"/networks/{network['id']}/tags"
    assert cloud.call("PUT", path, {"tags": ["b", "a"]}, status=200)["tags"] == ["a", "b"]
    cloud.call("PUT", path + "/c", status=201)
    assert cloud.call("GET", path + "/c").status == 204
    assert cloud.call("GET", path + "/d").kind == "TagNotFound"
    cloud.call("DELETE", path + "/b", status=204)
    assert cloud.call("GET", path)["tags"] == ["a", "c"]
    assert len(cloud.get("/networks?tags=a")) == 1 and cloud.get("/networks?not-tags=a") == []
    assert len(cloud.get("/networks?tags-any=a,z")) == 1
    cloud.delete(path)
    assert cloud.call("PUT", path, {"tags": ["x" * 256]}).status == 400
    assert cloud.call("PUT", path, {"tags": ["x", "x"]}).status == 400
    assert cloud.call("PUT", path, {"tags": ["x"]}, by="other").status == 404
    shared = cloud.make("/networks", by="admin", shared=True)
    steal = cloud.call("PUT", f"/networks/{shared['id']}/tags", {"tags": ["x"]}, by="other")
    assert steal.status == 404  # abuse 39: a tag is a write
    assert cloud.call("PUT", path + "/x", by="reader").status == 403
    assert cloud.call("GET", f"/nonsense/{network['id']}/tags").status == 404


def test_quotas(cloud):
    mine, other = "a" * 32, "b" * 32
    assert cloud.get(f"/quotas/{mine}")["network"] == 100
    assert cloud.call("GET", f"/quotas/{other}").status == 404
    assert cloud.call("PUT", f"/quotas/{mine}", {"quota": {"network": 5}}).status == 403
    cloud.call("PUT", f"/quotas/{mine}", {"quota": {"network": 5}}, by="admin", status=200)
    cloud.make("/networks")
    details = cloud.get(f"/quotas/{mine}/details.json")
    assert details["network"] == {"limit": 5, "used": 1, "reserved": 0}
    assert cloud.get("/quotas", by="admin")[0]["project_id"] == mine
    assert cloud.get(f"/quotas/{mine}/default")["network"] == 100
    bad = {"quota": {"network": -2}}
    assert cloud.call("PUT", f"/quotas/{mine}", bad, by="admin").status == 400
    low = {"quota": {"network": 0}}
    assert cloud.call("PUT", f"/quotas/{mine}", low, by="admin").status == 400
    cloud.delete(f"/quotas/{mine}", by="admin")
    assert cloud.get(f"/quotas/{mine}")["network"] == 100


def test_agents(cloud):
    report(cloud, tunnel_types=["vxlan"])
    report(cloud, kind="DHCP agent")
    agents = cloud.get("/agents", by="admin")
    assert {a["agent_type"] for a in agents} == {"Open vSwitch agent", "DHCP agent"}
    assert all(a["alive"] for a in agents)
    assert cloud.get("/agents") == []
    path = f"/agents/{agents[0]['id']}"
    assert cloud.call("GET", path).status == 404
    assert cloud.change(path, by="admin", admin_state_up=False)["admin_state_up"] is False
    cloud.delete(path, by="admin")
    assert len(cloud.get("/agents", by="admin")) == 1
    zones = cloud.get("/availability_zones")
    assert zones == [{"name": "nova", "resource": "network", "state": "available"}] or not zones


def test_networks_on_dhcp_agents(cloud):
    report(cloud, kind="DHCP agent")
    network, _ = cloud.network()
    agent = cloud.get("/agents", by="admin")[0]
    path = f"/agents/{agent['id']}/dhcp-networks"
    assert [n["id"] for n in cloud.get(path, by="admin")] == [network["id"]]
    ports = cloud.get(f"/ports?device_owner=network:dhcp&network_id={network['id']}")
    assert len(ports) == 1 and ports[0]["fixed_ips"][0]["ip_address"] == "10.0.0.2"
    body = {"network_id": network["id"]}
    assert cloud.call("POST", path, body, by="admin").kind == "NetworkHostedByDHCPAgent"
    cloud.delete(f"{path}/{network['id']}", by="admin")
    assert cloud.get("/ports?device_owner=network:dhcp") == []
    assert cloud.call("DELETE", f"{path}/{network['id']}", by="admin").status == 409
    cloud.call("POST", path, body, by="admin", status=201)
    assert len(cloud.get(f"/networks/{network['id']}/dhcp-agents", by="admin")) == 1
    cloud.delete(f"/networks/{network['id']}")


def test_routers_on_l3_agents(cloud):
    _, subnet = cloud.network()
    router = cloud.make("/routers")
    body = {"subnet_id": subnet["id"]}
    cloud.call("PUT", f"/routers/{router['id']}/add_router_interface", body, status=200)
    assert cloud.get(f"/routers/{router['id']}/l3-agents", by="admin") == []
    report(cloud, kind="L3 agent", host="n1")  # it adopts what waits
    agent = cloud.get(f"/routers/{router['id']}/l3-agents", by="admin")[0]
    port = cloud.get("/ports?device_owner=network:router_interface", by="admin")[0]
    assert port["binding:host_id"] == "n1"
    path = f"/agents/{agent['id']}/l3-routers"
    assert [r["id"] for r in cloud.get(path, by="admin")] == [router["id"]]
    cloud.delete(f"{path}/{router['id']}", by="admin")
    port = cloud.get("/ports?device_owner=network:router_interface", by="admin")[0]
    assert port["binding:host_id"] == ""
    cloud.call("POST", path, {"router_id": router["id"]}, by="admin", status=201)


def test_extensions_name_operations_that_are_there(cloud):
    aliases = {e["alias"] for e in cloud.get("/extensions")}
    assert {"router", "security-group", "quotas", "agent", "provider"} <= aliases
    assert cloud.get("/extensions/router")["alias"] == "router"
    assert cloud.call("GET", "/extensions/nonsense").status == 404
    for absent in ("dvr", "l3-ha", "qos", "trunk"):
        assert absent not in aliases


def test_versions_need_no_token(cloud):
    answer = cloud.call("GET", "/v2.0", by="stranger", status=200)
    assert "networks" in {r["collection"] for r in answer["resources"]}
    assert cloud.call("GET", "/v2.0/", by="stranger", status=200)


def test_used_addresses(cloud):
    network, _ = cloud.network()
    cloud.make("/ports", network_id=network["id"])
    path = f"/network-ip-availabilities/{network['id']}"
    shown = cloud.get(path, by="admin")
    assert (shown["total_ips"], shown["used_ips"]) == (253, 1)
    assert cloud.call("GET", path).status == 403


@pytest.mark.parametrize("path", ["/nonsense", "/networks/x/y/z"])
def test_unknown_paths_are_404(cloud, path):
    assert cloud.call("GET", path).status == 404
