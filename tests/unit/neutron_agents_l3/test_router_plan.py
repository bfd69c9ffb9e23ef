"""Devices, routes and advertisements of a router, as data."""

from gureum.neutron.agents.contract import (
    FixedIp,
    FloatingIp,
    Route,
    Router,
    RouterPort,
    SubnetInfo,
)
from gureum.neutron.agents.l3.plan import plan, radvd_config
from gureum.neutron.agents.plumbing.links import RouteHop

INSIDE = RouterPort(
    "11111111-2222-3333",
    "n1",
    "fa:16:3e:00:00:01",
    "network:router_interface",
    1450,
    (FixedIp("s1", "10.0.0.1", 24),),
    (SubnetInfo("s1", "10.0.0.0/24", 4, "10.0.0.1"),),
)
OUTSIDE = RouterPort(
    "99999999-2222-3333",
    "ext",
    "fa:16:3e:00:00:02",
    "network:router_gateway",
    1500,
    (FixedIp("x4", "203.0.113.5", 24), FixedIp("x6", "2001:db8::5", 64)),
    (
        SubnetInfo("x4", "203.0.113.0/24", 4, "203.0.113.1"),
        SubnetInfo("x6", "2001:db8::/64", 6, "fe80::1"),
    ),
    extra_subnets=(SubnetInfo("x7", "198.51.100.0/24", 4, "198.51.100.1"),),
)


def test_floating_addresses_stand_on_the_gateway_as_host_addresses() -> None:
    floating = (FloatingIp("f", "203.0.113.20", "10.0.0.5"), FloatingIp("g", "203.0.113.21"))
    made = plan(Router("r", interfaces=(INSIDE,), gateway=OUTSIDE, floating_ips=floating))
    assert made.gateway is not None
    assert made.gateway.device.name == "qg-99999999-22"
    assert made.gateway.device.addresses == (
        "203.0.113.5/24",
        "2001:db8::5/64",
        "203.0.113.20/32",
    )


def test_ipv6_metadata_stands_where_ipv6_is_routed_and_only_when_asked() -> None:
    six = SubnetInfo("s6", "fd00::/64", 6, "fd00::1")
    both = RouterPort(
        "22222222-2222-3333", "n2", "fa:16:3e:00:00:03", "network:router_interface", 1450,
        (FixedIp("s6", "fd00::1", 64),), (six,),
    )  # fmt: skip
    router = Router("r", interfaces=(INSIDE, both))
    made = plan(router, ipv6_metadata=True)
    assert made.ipv6_metadata == ("qr-22222222-22",)
    by_name = {planned.device.name: planned.device.addresses for planned in made.ports}
    assert "fe80::a9fe:a9fe/64" in by_name["qr-22222222-22"]
    assert "fe80::a9fe:a9fe/64" not in by_name["qr-11111111-22"]
    assert plan(router).ipv6_metadata == ()


def test_default_routes_by_version_and_on_link_subnets() -> None:
    made = plan(Router("r", gateway=OUTSIDE))
    device = "qg-99999999-22"
    assert made.routes == (
        RouteHop("0.0.0.0/0", "203.0.113.1", device),
        RouteHop("::/0", "fe80::1", device),
        RouteHop("198.51.100.0/24", None, device),
    )


def test_extra_default_route_takes_the_place_of_the_gateway() -> None:
    routes = (Route("0.0.0.0/0", "10.0.0.9"),)
    made = plan(Router("r", interfaces=(INSIDE,), gateway=OUTSIDE, routes=routes))
    assert [hop.via for hop in made.routes if hop.destination == "0.0.0.0/0"] == ["10.0.0.9"]


def test_next_hop_on_no_subnet_is_refused_and_the_rest_stands() -> None:
    routes = (Route("192.0.2.0/24", "172.16.0.1"), Route("192.0.3.0/24", "10.0.0.9"))
    made = plan(Router("r", interfaces=(INSIDE,), routes=routes))
    assert [hop.destination for hop in made.routes] == ["192.0.3.0/24"]
    assert len(made.refused) == 1 and "172.16.0.1" in made.refused[0]


def test_gateway_outside_of_its_subnet_is_reached_on_the_link() -> None:
    port = RouterPort(
        "9" * 36, "x", "fa:16:3e:00:00:02", "network:router_gateway", 1500,
        (FixedIp("x4", "203.0.113.5", 32),), (SubnetInfo("x4", "203.0.113.5/32", 4, "192.0.2.1"),),
    )  # fmt: skip
    assert plan(Router("r", gateway=port)).routes[0].onlink


def advertise(mode: str | None) -> str:
    subnet = SubnetInfo("s6", "2001:db8:1::/64", 6, "2001:db8:1::1", ("2001:db8::53",),
                        ipv6_ra_mode=mode, ipv6_address_mode=mode)  # fmt: skip
    port = RouterPort("1" * 36, "n", "fa:16:3e:00:00:01", "network:router_interface", 1442,
                      (FixedIp("s6", "2001:db8:1::1", 64),), (subnet,))  # fmt: skip
    return radvd_config(Router("r", interfaces=(port,)), 30, 100)


def test_each_ra_mode_says_what_guests_must_do() -> None:
    assert advertise(None) == ""
    slaac, stateless, stateful = map(advertise, ("slaac", "dhcpv6-stateless", "dhcpv6-stateful"))
    assert "AdvAutonomous on" in slaac and "RDNSS 2001:db8::53" in slaac
    assert "AdvLinkMTU 1442" in slaac and "Flag" not in slaac
    assert "AdvOtherConfigFlag on" in stateless and "AdvAutonomous on" in stateless
    assert "AdvManagedFlag on" in stateful and "AdvAutonomous off" in stateful
    assert "RDNSS" not in stateful
