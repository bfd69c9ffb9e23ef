"""Subnets: pools, gateways, IPv6 modes, overlaps, deletion."""

import pytest


def refuse(cloud, network, status=400, **values):
    body = {"subnet": {"network_id": network["id"], "ip_version": 4, **values}}
    return cloud.call("POST", "/subnets", body, status=status)


def test_defaults(cloud):
    _, subnet = cloud.network(cidr="10.1.2.3/24")
    assert subnet["cidr"] == "10.1.2.0/24" and subnet["gateway_ip"] == "10.1.2.1"
    assert subnet["allocation_pools"] == [{"start": "10.1.2.2", "end": "10.1.2.254"}]
    assert subnet["enable_dhcp"] is True and subnet["dns_nameservers"] == []


def test_pools_leave_the_gateway_out(cloud):
    _, subnet = cloud.network(cidr="10.0.0.0/29", gateway_ip="10.0.0.4")
    assert subnet["allocation_pools"] == [
        {"start": "10.0.0.1", "end": "10.0.0.3"},
        {"start": "10.0.0.5", "end": "10.0.0.6"},
    ]
    _, subnet = cloud.network(cidr="10.0.0.0/30", gateway_ip=None)
    assert subnet["gateway_ip"] is None
    assert subnet["allocation_pools"] == [{"start": "10.0.0.1", "end": "10.0.0.2"}]


def test_ipv6(cloud):
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    network, subnet = cloud.network(cidr="2001:db8::/64", **modes)
    assert subnet["gateway_ip"] == "2001:db8::1"
    port = cloud.make(
        "/ports", by="admin", network_id=network["id"], mac_address="fa:16:3e:01:02:03"
    )
    assert port["fixed_ips"][0]["ip_address"] == "2001:db8::f816:3eff:fe01:203"


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (400, {"cidr": "10.0.0.0/24", "ip_version": 6}),
        (400, {"cidr": "10.0.0.0/24", "ip_version": 5}),
        (400, {"cidr": "0.0.0.0/0"}),
        (400, {"cidr": "224.0.0.0/24"}),
        (400, {"cidr": "nonsense"}),
        (400, {}),
        (400, {"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.0"}),
        (400, {"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.255"}),
        (400, {"cidr": "10.0.0.0/24", "gateway_ip": "fe80::1"}),
        (400, {"cidr": "10.0.0.0/24", "ipv6_ra_mode": "slaac"}),
        (400, {"cidr": "2001:db8::/63", "ip_version": 6, "ipv6_address_mode": "slaac"}),
        (
            400,
            {
                "cidr": "2001:db8::/64",
                "ip_version": 6,
                "ipv6_address_mode": "slaac",
                "ipv6_ra_mode": "dhcpv6-stateful",
            },
        ),
        (400, {"cidr": "10.0.0.0/24", "dns_nameservers": ["1.1.1.1"] * 2}),
        (400, {"cidr": "10.0.0.0/24", "dns_nameservers": [f"1.1.1.{i}" for i in range(6)]}),
        (400, {"cidr": "10.0.0.0/24", "host_routes": [{"destination": "x", "nexthop": "y"}]}),
        (400, {"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.9"}]}),
        (
            400,
            {
                "cidr": "10.0.0.0/24",
                "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.2"}],
            },
        ),
        (
            400,
            {
                "cidr": "10.0.0.0/24",
                "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.1.2"}],
            },
        ),
        (
            409,
            {
                "cidr": "10.0.0.0/24",
                "allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.2"}],
            },
        ),
        (
            409,
            {
                "cidr": "10.0.0.0/24",
                "allocation_pools": [
                    {"start": "10.0.0.5", "end": "10.0.0.9"},
                    {"start": "10.0.0.8", "end": "10.0.0.12"},
                ],
            },
        ),
    ],
)
def test_bad_subnets_leave_nothing(cloud, status, values):
    network = cloud.make("/networks")
    refuse(cloud, network, status, **values)
    assert cloud.get("/subnets") == []


def test_overlap_in_a_network_is_400(cloud):
    network, _ = cloud.network(cidr="10.0.0.0/24")
    answer = refuse(cloud, network, cidr="10.0.0.128/25")
    assert "overlaps with another subnet" in answer["NeutronError"]["message"]
    cloud.network(cidr="10.0.0.0/24")  # another network may


def test_update(cloud):
    _, subnet = cloud.network(cidr="10.0.0.0/24")
    path = f"/subnets/{subnet['id']}"
    routes = [{"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}]
    changed = cloud.change(
        path, name="s", dns_nameservers=["9.9.9.9"], host_routes=routes, enable_dhcp=False
    )
    assert changed["host_routes"] == routes and changed["dns_nameservers"] == ["9.9.9.9"]
    assert cloud.change(path, gateway_ip=None)["gateway_ip"] is None
    inside = cloud.call("PUT", path, {"subnet": {"gateway_ip": "10.0.0.77"}}, status=409)
    assert inside.kind == "GatewayConflictWithAllocationPools"
    assert cloud.call("PUT", path, {"subnet": {"cidr": "10.9.0.0/24"}}).status == 400


def test_gateway_that_a_router_has_stays(cloud):
    _, subnet = cloud.network()
    router = cloud.make("/routers")
    body = {"subnet_id": subnet["id"]}
    cloud.call("PUT", f"/routers/{router['id']}/add_router_interface", body, status=200)
    change = {"subnet": {"gateway_ip": None}}
    assert cloud.call("PUT", f"/subnets/{subnet['id']}", change).kind == "GatewayIpInUse"


def test_subnet_in_use_is_409(cloud):
    network, subnet = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    assert cloud.call("DELETE", f"/subnets/{subnet['id']}").kind == "SubnetInUse"
    cloud.delete(f"/ports/{port['id']}")
    cloud.delete(f"/subnets/{subnet['id']}")


def test_slaac_subnet_goes_with_the_addresses_of_its_ports(cloud):
    network, subnet = cloud.network(cidr="2001:db8::/64", ipv6_address_mode="slaac")
    port = cloud.make("/ports", network_id=network["id"])
    cloud.delete(f"/subnets/{subnet['id']}")
    assert cloud.get(f"/ports/{port['id']}")["fixed_ips"] == []


def test_new_slaac_subnet_gives_addresses_to_ports_that_are_there(cloud):
    network = cloud.make("/networks")
    port = cloud.make("/ports", network_id=network["id"])
    cloud.make(
        "/subnets",
        network_id=network["id"],
        ip_version=6,
        cidr="2001:db8::/64",
        ipv6_address_mode="slaac",
    )
    assert len(cloud.get(f"/ports/{port['id']}")["fixed_ips"]) == 1


def test_only_the_owner_of_a_network_adds_subnets(cloud):
    shared = cloud.make("/networks", by="admin", shared=True)
    body = {"subnet": {"network_id": shared["id"], "cidr": "10.0.0.0/24", "ip_version": 4}}
    assert cloud.call("POST", "/subnets", body, by="other").status == 403
    private = cloud.make("/networks")
    body["subnet"]["network_id"] = private["id"]
    assert cloud.call("POST", "/subnets", body, by="other").status == 404


def test_pool_gives_prefixes_until_it_is_empty(cloud):
    pool = cloud.make(
        "/subnetpools", name="p", prefixes=["10.8.0.0/23"], default_prefixlen=24, min_prefixlen=23
    )
    cidrs = []
    for _ in range(2):
        network = cloud.make("/networks")
        subnet = cloud.make(
            "/subnets", network_id=network["id"], ip_version=4, subnetpool_id=pool["id"]
        )
        cidrs.append(subnet["cidr"])
    assert cidrs == ["10.8.0.0/24", "10.8.1.0/24"]
    network = cloud.make("/networks")
    full = refuse(cloud, network, subnetpool_id=pool["id"])
    assert full.kind == "SubnetAllocationError"
    assert cloud.call("DELETE", f"/subnetpools/{pool['id']}").kind == "SubnetPoolInUse"
    cloud.call(
        "PUT", f"/subnetpools/{pool['id']}/add_prefixes", {"prefixes": ["10.9.0.0/24"]}, status=200
    )
    cloud.make("/subnets", network_id=network["id"], ip_version=4, subnetpool_id=pool["id"])
    busy = cloud.call(
        "PUT", f"/subnetpools/{pool['id']}/remove_prefixes", {"prefixes": ["10.9.0.0/24"]}
    )
    assert busy.status == 400
