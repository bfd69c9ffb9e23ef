"""dnsmasq's arguments and files of a network, as data."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gureum.neutron.agents.contract import (
    DhcpNetwork,
    DhcpOption,
    DhcpPort,
    FixedIp,
    Route,
    SubnetInfo,
)
from gureum.neutron.agents.dhcp import leases
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.dhcp.options import BadOption, typed
from gureum.neutron.agents.dhcp.plan import Plan, dnsmasq_args, plan

FOUR = SubnetInfo("s4", "10.0.0.0/24", 4, "10.0.0.1")
OPTIONS = DhcpAgentOptions()


def made(*ports: DhcpPort, options: DhcpAgentOptions = OPTIONS, **changes: object) -> Plan:
    values: dict[str, object] = {
        "id": "net",
        "mtu": 1442,
        "subnets": (FOUR,),
        "ports": ports,
        "dhcp_port_id": "abcdefgh-ijk-lmn",
        "dhcp_port_mac": "fa:16:3e:00:00:02",
        "dhcp_port_ips": (FixedIp("s4", "10.0.0.2", 24), FixedIp("s6", "2001:db8::2", 64)),
    }
    result = plan(DhcpNetwork(**(values | changes)), options)  # type: ignore[arg-type]
    assert result is not None
    return result


PORT = DhcpPort("p1", "fa:16:3e:00:00:09", (FixedIp("s4", "10.0.0.5", 24),))


def test_metadata_over_ipv6_is_served_on_isolated_networks_with_ipv6() -> None:
    six = SubnetInfo("s6", "2001:db8::/64", 6, None, ipv6_address_mode="slaac")
    isolated = made(subnets=(FOUR, six), isolated_metadata=True)
    assert isolated.metadata_ipv4 and isolated.metadata_ipv6
    assert "fe80::a9fe:a9fe/64" in isolated.device.addresses
    assert not made(isolated_metadata=True).metadata_ipv6
    assert not made(subnets=(FOUR, six)).metadata


def test_host_line_names_mac_name_and_address() -> None:
    files = made(PORT).files
    assert files.hosts == "fa:16:3e:00:00:09,host-10-0-0-5.openstacklocal,10.0.0.5\n"
    assert files.addn_hosts == "10.0.0.5 host-10-0-0-5.openstacklocal host-10-0-0-5\n"


def test_dns_name_and_domain_of_the_network_are_used() -> None:
    port = DhcpPort(PORT.id, PORT.mac_address, PORT.fixed_ips, "web")
    assert ",web.example.org,10.0.0.5" in made(port, dns_domain="example.org.").files.hosts


@pytest.mark.parametrize("name", ["a b", "x\ny", "a,b", "", "-" * 300])
def test_hostname_that_is_none_gives_way_to_the_address(name: str) -> None:
    port = DhcpPort(PORT.id, PORT.mac_address, PORT.fixed_ips, name)
    assert ",host-10-0-0-5.openstacklocal,10.0.0.5\n" in made(port).files.hosts


def test_subnet_without_servers_names_dnsmasq_and_zero_names_nobody() -> None:
    assert "tag:subnet-s4,option:dns-server,10.0.0.2\n" in made().files.opts
    silent = SubnetInfo("s4", "10.0.0.0/24", 4, "10.0.0.1", ("0.0.0.0",))
    assert "tag:subnet-s4,option:dns-server\n" in made(subnets=(silent,)).files.opts


def test_classless_routes_repeat_the_default_route() -> None:
    subnet = SubnetInfo(
        "s4", "10.0.0.0/24", 4, "10.0.0.1", (), (Route("192.0.2.0/24", "10.0.0.9"),)
    )
    routes = "192.0.2.0/24,10.0.0.9,0.0.0.0/0,10.0.0.1"
    opts = made(subnets=(subnet,)).files.opts
    assert f"option:classless-static-route,{routes}\n" in opts and f",249,{routes}\n" in opts
    assert "classless" not in made().files.opts


def test_metadata_route_follows_isolation_and_the_agents_options() -> None:
    line = "169.254.169.254/32,10.0.0.2"
    assert line in made(isolated_metadata=True).files.opts
    assert not made().metadata and line not in made().files.opts
    never = DhcpAgentOptions(enable_isolated_metadata=False)
    assert not made(isolated_metadata=True, options=never).metadata
    assert made(options=DhcpAgentOptions(force_metadata=True)).metadata


def test_network_without_dhcp_wants_nothing() -> None:
    off = SubnetInfo("s4", "10.0.0.0/24", 4, enable_dhcp=False)
    slaac = SubnetInfo("s6", "2001:db8::/64", 6, ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    for network in (
        DhcpNetwork("n", subnets=(off,)),
        DhcpNetwork("n", subnets=(slaac,)),
        DhcpNetwork("n", subnets=(FOUR,), admin_state_up=False),
        DhcpNetwork("n"),
    ):
        assert plan(network, OPTIONS) is None


def test_network_without_its_port_is_an_error_and_not_nothing() -> None:
    with pytest.raises(ValueError, match="no DHCP port"):
        plan(DhcpNetwork("n", subnets=(FOUR,)), OPTIONS)


def test_stateful_ipv6_has_a_host_line_and_stateless_has_none() -> None:
    port = DhcpPort("p1", "fa:16:3e:00:00:09", (FixedIp("s6", "2001:db8::5", 64),))
    for mode, lines in (("dhcpv6-stateful", 1), ("dhcpv6-stateless", 0)):
        six = SubnetInfo("s6", "2001:db8::/64", 6, ipv6_ra_mode=mode, ipv6_address_mode=mode)
        result = made(port, subnets=(six,))
        assert result.files.hosts.count("[2001:db8::5]") == lines
        args = dnsmasq_args(result, Path("/x"), OPTIONS)
        assert "--dhcp-range=set:subnet-s6,2001:db8::,static,64,86400s" in args


def test_new_port_changes_no_argument() -> None:
    assert dnsmasq_args(made(PORT), Path("/x"), OPTIONS) == dnsmasq_args(
        made(), Path("/x"), OPTIONS
    )


@given(st.text(), st.text(), st.sampled_from([4, 6]))
def test_abuse_36_no_option_ends_its_line(name: str, value: str, version: int) -> None:
    try:
        line = typed(DhcpOption(name, value, version)).line("port-x")
    except BadOption:
        return
    assert line.isprintable() and line.startswith("tag:port-x,")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("bootfile-name", "pxelinux.0", 'tag:port-x,67,"pxelinux.0"'),
        ("67", "a,b", 'tag:port-x,67,"a,b"'),
        ("tag:!ipxe,67", "undionly.kpxe", 'tag:port-x,tag:!ipxe,67,"undionly.kpxe"'),
        ("router", "10.0.0.1", "tag:port-x,3,10.0.0.1"),
        ("ntp-server", "10.0.0.1, 10.0.0.2", "tag:port-x,42,10.0.0.1,10.0.0.2"),
        ("mtu", "1400", "tag:port-x,26,1400"),
        ("server-ip-address", "10.0.0.1", "tag:port-x,255,10.0.0.1"),
        ("classless-static-route", "10.1.0.0/16,10.0.0.9", "tag:port-x,121,10.1.0.0/16,10.0.0.9"),
    ],
)
def test_typed_option_lines(name: str, value: str, line: str) -> None:
    assert typed(DhcpOption(name, value)).line("port-x") == line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no-such-option", "x"),
        ("router", "not-an-address"),
        ("mtu", "many"),
        ("bootfile-name", 'a"b'),
        ("bootfile-name", "a\\nb"),
        ("0", "x"),
        ("300", "x"),
        ("domain-search", "a b"),
        ("bootfile-name", "x" * 256),
    ],
)
def test_wrong_options_are_refused(name: str, value: str) -> None:
    with pytest.raises(BadOption):
        typed(DhcpOption(name, value))


LEASES = """\
1795392000 fa:16:3e:00:00:09 10.0.0.5 host-10-0-0-5 01:fa:16:3e:00:00:09
1795392000 fa:16:3e:00:00:0a 10.0.0.6 * *
duid 00:01:00:01:30:00:00:00:02:00:00:00:00:01
1795392000 7 2001:db8::5 host 00:03:00:01:fa:16:3e:00:00:09
1795392000 7 2001:db8::6
"""


def test_lease_file_is_read_and_stale_leases_are_found() -> None:
    held = leases.parse(LEASES)
    assert [lease.address for lease in held.leases] == ["10.0.0.5", "10.0.0.6", "2001:db8::5"]
    assert held.server_duid == "00:01:00:01:30:00:00:00:02:00:00:00:00:01"
    bindings = {"10.0.0.5": "fa:16:3e:00:00:09", "10.0.0.6": "fa:16:3e:00:00:ff"}
    stale = leases.stale(held.leases, bindings)
    assert [lease.address for lease in stale] == ["10.0.0.6", "2001:db8::5"]
    bindings["2001:db8::5"] = "fa:16:3e:00:00:09"
    assert [lease.address for lease in leases.stale(held.leases, bindings)] == ["10.0.0.6"]
