"""Routers and floating IPs."""

import pytest


@pytest.fixture
def routed(cloud):
    """A network behind a router with a gateway."""
    network, subnet = cloud.network()
    external, _ = cloud.external()
    router = cloud.make("/routers", external_gateway_info={"network_id": external["id"]})
    made = join(cloud, router, subnet_id=subnet["id"])
    return {
        "network": network,
        "subnet": subnet,
        "external": external,
        "router": router,
        "port_id": made["port_id"],
    }


def join(cloud, router, status=200, by="member", **what):
    path = f"/routers/{router['id']}/add_router_interface"
    return cloud.call("PUT", path, what, status=status, by=by)


def part(cloud, router, status=200, **what):
    path = f"/routers/{router['id']}/remove_router_interface"
    return cloud.call("PUT", path, what, status=status)


def test_interface_by_subnet_takes_the_gateway_address(cloud, routed):
    port = cloud.get(f"/ports/{routed['port_id']}")
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.1"
    assert (port["device_owner"], port["device_id"]) == (
        "network:router_interface",
        routed["router"]["id"],
    )
    again = join(cloud, routed["router"], 400, subnet_id=routed["subnet"]["id"])
    assert "already has a port" in again["NeutronError"]["message"]
    part(cloud, routed["router"], subnet_id=routed["subnet"]["id"])
    assert cloud.call("GET", f"/ports/{routed['port_id']}").status == 404


def test_interface_by_port(cloud):
    network, subnet = cloud.network()
    router = cloud.make("/routers")
    port = cloud.make("/ports", network_id=network["id"])
    made = join(cloud, router, port_id=port["id"])
    assert made["subnet_ids"] == [subnet["id"]]
    assert join(cloud, router, 409, port_id=port["id"]).kind == "PortInUse"
    bare = cloud.make("/ports", network_id=network["id"], fixed_ips=[])
    join(cloud, router, 400, port_id=bare["id"])
    part(cloud, router, port_id=port["id"])


@pytest.mark.parametrize("what", [{}, {"subnet_id": "x"}, {"wrong": 1}])
def test_bad_interfaces_are_400(cloud, what):
    join(cloud, cloud.make("/routers"), 400, **what)


def test_overlapping_subnets_on_a_router_are_400(cloud, routed):
    _, overlapping = cloud.network(cidr="10.0.0.0/25")
    answer = join(cloud, routed["router"], 400, subnet_id=overlapping["id"])
    assert "overlaps" in answer["NeutronError"]["message"]


def test_subnet_without_gateway_is_400(cloud):
    _, subnet = cloud.network(gateway_ip=None)
    join(cloud, cloud.make("/routers"), 400, subnet_id=subnet["id"])


def test_gateway(cloud, routed):
    path = f"/routers/{routed['router']['id']}"
    info = cloud.get(path)["external_gateway_info"]
    assert info["enable_snat"] is True and len(info["external_fixed_ips"]) == 1
    refused = {"router": {"external_gateway_info": {**info, "enable_snat": False}}}
    assert cloud.call("PUT", path, refused).status == 403
    changed = cloud.change(path, by="admin", external_gateway_info={**info, "enable_snat": False})
    assert changed["external_gateway_info"]["enable_snat"] is False
    assert cloud.change(path, external_gateway_info=None)["external_gateway_info"] is None
    inner = {"router": {"external_gateway_info": {"network_id": routed["network"]["id"]}}}
    answer = cloud.call("PUT", path, inner, status=400)
    assert "is not an external network" in answer["NeutronError"]["message"]


def test_router_with_interfaces_is_409(cloud, routed):
    path = f"/routers/{routed['router']['id']}"
    assert cloud.call("DELETE", path).kind == "RouterInUse"
    part(cloud, routed["router"], subnet_id=routed["subnet"]["id"])
    cloud.delete(path)
    assert cloud.get("/ports", by="admin") == []


def test_static_routes(cloud, routed):
    path = f"/routers/{routed['router']['id']}"
    route = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}
    assert cloud.change(path, routes=[route])["routes"] == [route]
    for bad in ("172.16.0.1", "10.0.0.1"):
        body = {"router": {"routes": [{**route, "nexthop": bad}]}}
        assert cloud.call("PUT", path, body).kind == "InvalidRoutes"
    used = part(cloud, routed["router"], 409, subnet_id=routed["subnet"]["id"])
    assert used.kind == "RouterInterfaceInUseByRoute"
    more = {"router": {"routes": [{"destination": "192.0.3.0/24", "nexthop": "10.0.0.9"}]}}
    added = cloud.call("PUT", path + "/add_extraroutes", more, status=200)
    assert len(added["router"]["routes"]) == 2
    fewer = cloud.call("PUT", path + "/remove_extraroutes", {"router": {"routes": [route]}})
    assert fewer["router"]["routes"] == more["router"]["routes"]
    many = [{"destination": f"192.1.{i}.0/24", "nexthop": "10.0.0.9"} for i in range(31)]
    assert cloud.call("PUT", path, {"router": {"routes": many}}).kind == "RoutesExhausted"


def test_other_projects_subnet_and_router_are_404(cloud, routed):
    mine = cloud.make("/routers", by="other")
    join(cloud, mine, 404, by="other", subnet_id=routed["subnet"]["id"])
    join(cloud, routed["router"], 404, by="other", subnet_id=routed["subnet"]["id"])


def test_kinds_of_routers_that_are_not_there_are_refused(cloud):
    assert cloud.call("POST", "/routers", {"router": {"ha": True}}, by="admin").status == 400
    assert cloud.call("POST", "/routers", {"router": {"distributed": True}}).status == 403
    assert cloud.make("/routers", by="admin", ha=False, distributed=False)["ha"] is False


# --- floating IPs -------------------------------------------------------------------------------


def test_floating_ip_life(cloud, routed):
    port = cloud.make("/ports", network_id=routed["network"]["id"])
    floating = cloud.make("/floatingips", floating_network_id=routed["external"]["id"])
    assert (floating["status"], floating["router_id"]) == ("DOWN", None)
    path = f"/floatingips/{floating['id']}"
    joined = cloud.change(path, port_id=port["id"])
    assert joined["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert joined["router_id"] == routed["router"]["id"]
    assert joined["port_details"]["mac_address"] == port["mac_address"]
    twin = {"floatingip": {"floating_network_id": routed["external"]["id"], "port_id": port["id"]}}
    assert cloud.call("POST", "/floatingips", twin).kind == "FloatingIPPortAlreadyAssociated"
    used = part(cloud, routed["router"], 409, subnet_id=routed["subnet"]["id"])
    assert used.kind == "RouterInterfaceInUseByFloatingIP"
    clear = {"router": {"external_gateway_info": {}}}
    gateway = cloud.call("PUT", f"/routers/{routed['router']['id']}", clear)
    assert gateway.kind == "RouterExternalGatewayInUseByFloatingIp"
    parted = cloud.change(path, port_id=None)
    assert (parted["port_id"], parted["fixed_ip_address"]) == (None, None)
    cloud.change(path, port_id=port["id"])
    cloud.delete(f"/ports/{port['id']}")
    assert cloud.get(path)["port_id"] is None
    cloud.delete(path)
    owners = {p["device_owner"] for p in cloud.get("/ports", by="admin")}
    assert "network:floatingip" not in owners


def test_floating_ip_needs_a_way_there(cloud, routed):
    network, _ = cloud.network(cidr="10.5.0.0/24")
    port = cloud.make("/ports", network_id=network["id"])
    body = {"floatingip": {"floating_network_id": routed["external"]["id"], "port_id": port["id"]}}
    answer = cloud.call("POST", "/floatingips", body, status=404)
    assert answer.kind == "ExternalGatewayForFloatingIPNotFound"
    assert cloud.get("/floatingips") == []


def test_floating_ip_of_an_inner_network_is_400(cloud, routed):
    body = {"floatingip": {"floating_network_id": routed["network"]["id"]}}
    assert cloud.call("POST", "/floatingips", body).status == 400


def test_wished_floating_address_needs_an_admin(cloud, routed):
    values = {
        "floating_network_id": routed["external"]["id"],
        "floating_ip_address": "203.0.113.50",
    }
    assert cloud.call("POST", "/floatingips", {"floatingip": values}).status == 403
    made = cloud.make("/floatingips", by="admin", **values)
    assert made["floating_ip_address"] == "203.0.113.50"
    assert cloud.call("POST", "/floatingips", {"floatingip": values}, by="admin").status == 409


def test_other_projects_floating_ip_and_port(cloud, routed):
    floating = cloud.make("/floatingips", floating_network_id=routed["external"]["id"])
    assert cloud.call("GET", f"/floatingips/{floating['id']}", by="other").status == 404
    port = cloud.make("/ports", network_id=routed["network"]["id"])
    mine = cloud.make("/floatingips", by="other", floating_network_id=routed["external"]["id"])
    steal = {"floatingip": {"port_id": port["id"]}}
    assert cloud.call("PUT", f"/floatingips/{mine['id']}", steal, by="other").status == 404


def test_external_network_with_free_floating_ips_can_go(cloud):
    external, _ = cloud.external()
    cloud.make("/floatingips", floating_network_id=external["id"])
    cloud.delete(f"/networks/{external['id']}", by="admin")
    assert cloud.get("/floatingips") == []


# --- port forwardings ---------------------------------------------------------------------------


def test_port_forwarding_life(cloud, routed):
    port = cloud.make("/ports", network_id=routed["network"]["id"])
    floating = cloud.make("/floatingips", floating_network_id=routed["external"]["id"])
    path = f"/floatingips/{floating['id']}/port_forwardings"
    body = {
        "internal_port_id": port["id"],
        "internal_port": 22,
        "external_port": 2222,
        "protocol": "tcp",
    }
    made = cloud.call("POST", path, {"port_forwarding": body}, status=201)["port_forwarding"]
    assert made["internal_ip_address"] == "10.0.0.2"
    shown = cloud.get(f"/floatingips/{floating['id']}")
    assert shown["router_id"] == routed["router"]["id"]
    assert shown["port_forwardings"][0]["external_port"] == 2222
    assert cloud.call("POST", path, {"port_forwarding": body}, status=400).kind == (
        "PortForwardingAlreadyExists"
    )
    join_it = {"floatingip": {"port_id": port["id"]}}
    assert cloud.call("PUT", f"/floatingips/{floating['id']}", join_it).kind == (
        "FipInUseByPortForwarding"
    )
    assert cloud.call("DELETE", f"/floatingips/{floating['id']}").status == 409
    used = part(cloud, routed["router"], 409, subnet_id=routed["subnet"]["id"])
    assert used.kind == "RouterInterfaceInUseByFloatingIP"
    one = f"{path}/{made['id']}"
    change = {"port_forwarding": {"internal_port": 23}}
    assert cloud.call("PUT", one, change)["port_forwarding"]["internal_port"] == 23
    assert cloud.call("GET", one, by="other").status == 404
    other = cloud.make("/floatingips", floating_network_id=routed["external"]["id"])
    swapped = f"/floatingips/{other['id']}/port_forwardings/{made['id']}"
    assert cloud.call("GET", swapped).status == 404  # abuse 39: another parent
    cloud.delete(f"/ports/{port['id']}")
    assert cloud.get(path) == []
    assert cloud.get(f"/floatingips/{floating['id']}")["router_id"] is None


# --- just a network -----------------------------------------------------------------------------


def test_just_a_network(cloud):
    path = f"/auto-allocated-topology/{'a' * 32}"
    assert cloud.call("GET", path, status=409).kind == "AutoAllocationFailure"
    external, _ = cloud.external()
    cloud.change(f"/networks/{external['id']}", by="admin", is_default=True)
    for prefix in ("10.9.0.0/16", "fd00:9::/56"):
        cloud.make(
            "/subnetpools",
            by="admin",
            name="p",
            prefixes=[prefix],
            is_default=True,
            default_prefixlen=26 if "." in prefix else 64,
        )
    assert "dry-run" in cloud.call("GET", path + "?fields=dry-run")["auto_allocated_topology"]["id"]
    made = cloud.get(path)
    assert cloud.get(path) == made
    network = cloud.get(f"/networks/{made['id']}")
    assert len(network["subnets"]) == 2
    assert cloud.call("GET", path, by="other").status == 404
    cloud.delete(path)
    assert cloud.call("GET", f"/networks/{made['id']}").status == 404
    assert cloud.get("/routers") == []
