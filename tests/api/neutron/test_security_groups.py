"""Security groups and their rules."""

import pytest

from gureum.neutron.store import tables as t


def rule(group, **values):
    return {
        "security_group_rule": {"security_group_id": group["id"], "direction": "ingress", **values}
    }


def test_new_group_lets_everything_out_and_nothing_in(cloud):
    group = cloud.make("/security-groups", name="g")
    assert {(r["direction"], r["ethertype"]) for r in group["security_group_rules"]} == {
        ("egress", "IPv4"),
        ("egress", "IPv6"),
    }


def test_default_group(cloud):
    default = cloud.get("/security-groups?name=default")[0]
    assert len(default["security_group_rules"]) == 4
    path = f"/security-groups/{default['id']}"
    assert cloud.call("DELETE", path).kind == "SecurityGroupCannotRemoveDefault"
    body = {"security_group": {"name": "other"}}
    assert cloud.call("PUT", path, body).kind == "SecurityGroupCannotUpdateDefault"
    assert cloud.change(path, description="x")["description"] == "x"
    named = {"security_group": {"name": "default"}}
    assert cloud.call("POST", "/security-groups", named).kind == (
        "SecurityGroupDefaultAlreadyExists"
    )


def test_foreign_query_makes_no_groups(cloud):
    """Abuse 39."""
    foreign = "d" * 32
    assert cloud.get(f"/security-groups?project_id={foreign}", by="admin") == []
    assert cloud.get(f"/security-groups?tenant_id={foreign}") == []
    assert cloud.count(t.security_groups) == 1  # the caller's own


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"protocol": "tcp", "port_range_min": 9, "port_range_max": 8}, "PortRange"),
        ({"protocol": "tcp", "port_range_min": 8}, "PortRange"),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536}, "PortValue"),
        ({"protocol": "tcp", "port_range_min": -1, "port_range_max": 5}, "PortValue"),
        ({"protocol": "icmp", "port_range_min": 256}, "IcmpValue"),
        ({"protocol": "icmp", "port_range_max": 1}, "MissingIcmpType"),
        ({"protocol": "vrrp", "port_range_min": 1, "port_range_max": 2}, "ProtocolForPort"),
        ({"port_range_min": 1, "port_range_max": 2}, "ProtocolForPort"),
        ({"protocol": "nonsense"}, "InvalidProtocol"),
        ({"protocol": 256}, "InvalidProtocol"),
        ({"protocol": "ipv6-icmp"}, "EthertypeConflict"),
        ({"remote_ip_prefix": "2001:db8::/32"}, "ParameterConflict"),
        ({"remote_ip_prefix": "10.0.0.0/33"}, "HTTPBadRequest"),
        ({"remote_ip_prefix": "10.0.0.0/8; drop"}, "HTTPBadRequest"),
        ({"ethertype": "IPv5"}, "HTTPBadRequest"),
        ({"direction": "sideways"}, "HTTPBadRequest"),
    ],
)
def test_bad_rules_are_400(cloud, values, kind):
    """Abuse 35."""
    group = cloud.make("/security-groups", name="g")
    answer = cloud.call("POST", "/security-group-rules", rule(group, **values), status=400)
    assert kind in answer.kind


def test_rules(cloud):
    group = cloud.make("/security-groups", name="g")
    body = rule(
        group, protocol="TCP", port_range_min=22, port_range_max=22, remote_ip_prefix="10.0.0.5/24"
    )
    made = cloud.call("POST", "/security-group-rules", body, status=201)["security_group_rule"]
    assert made["protocol"] == "tcp" and made["ethertype"] == "IPv4"
    assert made["remote_ip_prefix"] == "10.0.0.5/24" and made["normalized_cidr"] == "10.0.0.0/24"
    body["security_group_rule"].update(protocol="6", remote_ip_prefix="10.0.0.0/24")
    same = cloud.call("POST", "/security-group-rules", body, status=409)
    assert same.kind == "SecurityGroupRuleExists"
    both = rule(group, remote_ip_prefix="10.0.0.0/8", remote_group_id=group["id"])
    assert cloud.call("POST", "/security-group-rules", both).status == 400
    missing = rule(group, remote_group_id="0" * 36)
    assert cloud.call("POST", "/security-group-rules", missing).status == 404
    cloud.delete(f"/security-group-rules/{made['id']}")
    assert len(cloud.get(f"/security-groups/{group['id']}")["security_group_rules"]) == 2


def test_bulk_rules_are_of_one_group_and_differ(cloud):
    one = cloud.make("/security-groups", name="1")
    two = cloud.make("/security-groups", name="2")
    first = rule(one, protocol="udp")["security_group_rule"]
    body = {"security_group_rules": [first, rule(two)["security_group_rule"]]}
    assert cloud.call("POST", "/security-group-rules", body).status == 400
    body = {"security_group_rules": [first, first]}
    assert cloud.call("POST", "/security-group-rules", body).status == 409
    body = {"security_group_rules": [first, {**first, "protocol": "tcp"}]}
    assert cloud.call("POST", "/security-group-rules", body).status == 201


def test_group_in_use_is_409(cloud):
    network, _ = cloud.network()
    group = cloud.make("/security-groups", name="g")
    port = cloud.make("/ports", network_id=network["id"], security_groups=[group["id"]])
    path = f"/security-groups/{group['id']}"
    assert cloud.call("DELETE", path).kind == "SecurityGroupInUse"
    cloud.change(f"/ports/{port['id']}", security_groups=[])
    cloud.delete(path)


def test_foreign_groups_cannot_be_used(cloud):
    network, _ = cloud.network(by="other")
    group = cloud.make("/security-groups", name="g")
    body = {"port": {"network_id": network["id"], "security_groups": [group["id"]]}}
    assert cloud.call("POST", "/ports", body, by="other").status == 404
    assert cloud.call("POST", "/security-group-rules", rule(group), by="other").status == 404
    values = {"object_type": "security_group", "object_id": group["id"]}
    cloud.make("/rbac-policies", **values, action="access_as_shared", target_tenant="b" * 32)
    made = cloud.call("POST", "/ports", body, by="other", status=201)
    assert made["port"]["security_groups"] == [group["id"]]
    assert cloud.call("POST", "/security-group-rules", rule(group), by="other").status == 404


def test_rules_that_new_groups_start_with(cloud):
    path = "/default-security-group-rules"
    assert len(cloud.get(path)) == 4
    values = {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    body = {"default_security_group_rule": values}
    assert cloud.call("POST", path, body).status == 403
    made = cloud.call("POST", path, body, by="admin", status=201)["default_security_group_rule"]
    assert cloud.call("POST", path, body, by="admin").status == 409
    group = cloud.make("/security-groups", name="g")
    assert 22 in {r["port_range_min"] for r in group["security_group_rules"]}
    default = cloud.get("/security-groups?name=default")[0]
    assert 22 not in {r["port_range_min"] for r in default["security_group_rules"]}
    cloud.delete(f"{path}/{made['id']}", by="admin")
    assert len(cloud.make("/security-groups", name="h")["security_group_rules"]) == 2
