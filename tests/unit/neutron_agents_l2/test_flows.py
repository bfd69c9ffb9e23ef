"""What the flows of ports, networks and groups say, without a switch."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gureum.neutron.agents.contract import (
    AddressPair,
    FdbEntry,
    FixedIp,
    L2Network,
    L2Port,
    NetworkTunnels,
    SecurityGroup,
    SgMembers,
    SgRule,
)
from gureum.neutron.agents.l2.networks import (
    BadNetwork,
    NetworkView,
    Uplinks,
    local_flows,
    uplink_flows,
    vtep_flows,
)
from gureum.neutron.agents.l2.pipeline import (
    CLASSIFY,
    EGRESS_RULES,
    INGRESS_RULES,
    SENT,
    SOURCE,
    static_flows,
)
from gureum.neutron.agents.l2.ports import BadPort, WiredPort, learns, link_local, port_flows
from gureum.neutron.agents.l2.rules import group_flows, port_masks, read_members
from gureum.neutron.agents.ovs.flows import Flow

MAC = "fa:16:3e:00:00:01"


def port(**settings: object) -> L2Port:
    base: dict[str, object] = {
        "id": "port", "network_id": "net", "mac_address": MAC,
        "fixed_ips": (FixedIp("s", "10.0.0.5"),), "device_owner": "compute:nova",
        **settings,
    }  # fmt: skip
    return L2Port(**base)  # type: ignore[arg-type]


def rules(*made: SgRule, members: dict[str, tuple[str, ...]] | None = None) -> list[Flow]:
    known = {name: read_members(SgMembers(name, ips)) for name, ips in (members or {}).items()}
    flows, problems = group_flows(SecurityGroup("g", made), known)
    assert problems == []
    return flows


def matches(flows: list[Flow], table: int) -> set[str]:
    """Return the matches of a table without the group's key."""
    return {flow.match.split(",", 1)[1] for flow in flows if flow.table == table}


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_port_masks_match_exactly_the_range(one: int, other: int) -> None:
    first, last = sorted((one, other))
    covered = 0
    for text in port_masks(first, last):
        value, _, mask = text.partition("/")
        low = int(value, 0)
        size = 1 if not mask else 0x10000 - int(mask, 16)
        assert first <= low and low + size - 1 <= last
        covered += size
    assert covered == last - first + 1
    assert len(port_masks(first, last)) <= 30


def test_rules_become_matches_of_their_direction() -> None:
    flows = rules(
        SgRule("1", "ingress", "IPv4", "tcp", 22, 22, "10.1.0.0/16"),
        SgRule("2", "egress", "IPv6", "udp", 4000, 4003, "2001:db8::/32"),
        SgRule("3", "ingress", "IPv4", "icmp", 8, 0),
        SgRule("4", "ingress", "IPv6", "icmp"),
        SgRule("5", "egress", "IPv4", "vrrp"),
        SgRule("6", "egress", "IPv4", "47", remote_ip_prefix="0.0.0.0/0"),
        SgRule("7", "ingress", "IPv6"),
    )
    assert matches(flows, INGRESS_RULES) == {
        "tcp,tp_dst=22,nw_src=10.1.0.0/16", "icmp,icmp_type=8,icmp_code=0", "icmp6", "ipv6",
    }  # fmt: skip
    assert matches(flows, EGRESS_RULES) == {
        "udp6,tp_dst=0xfa0/0xfffc,ipv6_dst=2001:db8::/32", "ip,nw_proto=112", "ip,nw_proto=47",
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        SgRule("x", "ingress", "IPv4", remote_ip_prefix="10.0.0.0/99"),
        SgRule("x", "ingress", "IPv4", remote_ip_prefix="2001:db8::/32"),
        SgRule("x", "ingress", "IPv4", remote_ip_prefix="10.0.0.1,actions=drop"),
        SgRule("x", "ingress", "IPv4", "tcp", 90, 80),
        SgRule("x", "ingress", "IPv4", "tcp", 80, 70000),
        SgRule("x", "ingress", "IPv4", "vrrp", 1, 1),
        SgRule("x", "ingress", "IPv4", "256"),
        SgRule("x", "ingress", "IPv4", "tcp\nadd table=0"),
        SgRule("x", "ingress", "IPv4", "icmp", None, 3),
        SgRule("x", "ingress", "IPv4", None, 80, 80),
        SgRule("x", "sideways", "IPv4"),
        SgRule("x", "ingress", "IPX"),
        SgRule("x", "ingress", "IPv4", remote_ip_prefix="10.0.0.0/8", remote_group_id="h"),
    ],
)
def test_abuse_35_bad_rule_is_skipped_alone(bad: SgRule) -> None:
    good = SgRule("good", "ingress", "IPv4", "tcp", 22, 22)
    flows, problems = group_flows(SecurityGroup("g", (bad, good)), {})
    assert matches(flows, INGRESS_RULES) == {"tcp,tp_dst=22"}
    assert len(problems) == 1 and problems[0].startswith("rule x:")


def test_overlapping_rules_make_each_flow_once() -> None:
    same = [SgRule(str(n), "ingress", "IPv4", "tcp", 80, 80) for n in range(3)]
    assert len(rules(*same)) == 1


def test_remote_group_without_protocol_is_one_flow_a_member() -> None:
    members = {"h": ("10.0.0.1", "10.0.0.2", "fd00::1")}
    flows = rules(
        SgRule("1", "ingress", "IPv4", remote_group_id="h"),
        SgRule("2", "ingress", "IPv4", "tcp", 80, 80, remote_group_id="h"),
        members=members,
    )
    assert matches(flows, INGRESS_RULES) == {"ip,nw_src=10.0.0.1", "ip,nw_src=10.0.0.2"}


def test_members_and_ports_of_a_remote_group_add_up() -> None:
    members = {"h": tuple(f"10.0.{n // 250}.{n % 250}" for n in range(1000))}
    made = [
        SgRule(str(n), "ingress", "IPv4", "tcp", n, n, remote_group_id="h") for n in range(1, 9)
    ]
    flows = rules(*made, members=members)
    assert len(flows) == 1000 + 8 + 1
    numbers = {
        re.findall(r"conj(?:unction\(|_id=)(\d+)", f"{f.match} {f.actions}")[0] for f in flows
    }
    assert len(numbers) == 1


def test_one_member_of_two_remote_groups_serves_both() -> None:
    flows = rules(
        SgRule("1", "ingress", "IPv4", "tcp", 80, 80, remote_group_id="h"),
        SgRule("2", "ingress", "IPv4", "tcp", 81, 81, remote_group_id="i"),
        members={"h": ("10.0.0.1",), "i": ("10.0.0.1",)},
    )
    shared = [flow for flow in flows if "nw_src=10.0.0.1" in flow.match]
    assert len(shared) == 1
    assert shared[0].actions.count("conjunction(") == 2


def test_empty_remote_group_allows_nothing() -> None:
    assert rules(SgRule("1", "ingress", "IPv4", remote_group_id="h")) == []


def test_members_do_not_change_other_flows() -> None:
    rule = SgRule("1", "ingress", "IPv4", "tcp", 80, 80, remote_group_id="h")
    before = set(rules(rule, members={"h": ("10.0.0.1",)}))
    after = set(rules(rule, members={"h": ("10.0.0.1", "10.0.0.2")}))
    assert len(after - before) == 1 and before <= after


def test_port_may_use_its_addresses_pairs_and_link_local() -> None:
    pairs = (AddressPair("10.0.9.0/24"), AddressPair("fd00::9", "00:00:5E:00:01:01"))
    flows = port_flows(WiredPort(port(allowed_address_pairs=pairs), 7, 3), 300)
    text = "\n".join(flow.match for flow in flows if flow.table == SOURCE)
    assert f"ip,in_port=7,dl_src={MAC},nw_src=10.0.0.5\n" in text + "\n"
    assert f"arp,in_port=7,dl_src={MAC},arp_sha={MAC},arp_spa=10.0.9.0/24" in text
    assert "ipv6,in_port=7,dl_src=00:00:5e:00:01:01,ipv6_src=fd00::9" in text
    assert f"ipv6,in_port=7,dl_src={MAC},ipv6_src={link_local(MAC)}" in text
    assert "nw_src=10.0.0.5" not in "\n".join(
        flow.match for flow in flows if "00:00:5e" in flow.match
    )
    adverts = [f.match for f in flows if f.table == SENT and "icmp_type=136" in f.match]
    assert adverts and all("nd_target=" in match and "nd_tll=" in match for match in adverts)


def test_unfiltered_and_trusted_ports_have_no_source_checks() -> None:
    for wired in (
        WiredPort(port(port_security_enabled=False), 7),
        WiredPort(port(device_owner="network:dhcp"), 7, trusted=True),
    ):
        assert {flow.table for flow in port_flows(wired, 300)}.isdisjoint({SOURCE, SENT})


@pytest.mark.parametrize("mac", ["", "fa:16:3e:00:00", "01:00:5e:00:00:01", "fa:16:3e:00:00:01 "])
def test_port_with_a_bad_mac_is_refused(mac: str) -> None:
    with pytest.raises(BadPort):
        port_flows(WiredPort(port(mac_address=mac), 7, 1), 300)


def test_only_ports_with_other_macs_learn() -> None:
    pair = (AddressPair("10.0.0.9", "00:00:5e:00:01:01"),)
    assert not learns(port(), trusted=False)
    assert not learns(port(allowed_address_pairs=(AddressPair("10.0.0.9"),)), trusted=False)
    assert learns(port(allowed_address_pairs=pair), trusted=False)
    assert learns(port(port_security_enabled=False), trusted=False)
    assert not learns(port(port_security_enabled=False), trusted=True)


def test_flood_list_holds_every_port_once() -> None:
    here = tuple(WiredPort(port(id=str(n)), n) for n in (9, 3, 5))
    (flow,) = local_flows(NetworkView(L2Network("net", "local"), here))
    assert re.findall(r"set_field:(\d+)->reg2", flow.actions) == ["3", "5", "9"]


def test_uplinks_of_each_type() -> None:
    uplinks = Uplinks({"phys": 1}, {"vxlan": 2})
    here = (WiredPort(port(), 7),)
    vlan = NetworkView(L2Network("net", "vlan", 1500, "phys", 101), here)
    text = "\n".join(map(str, uplink_flows(vlan, uplinks, 300)))
    assert "in_port=1,dl_vlan=101" in text and "set_field:4197->vlan_vid" in text
    far = NetworkTunnels("net", ("192.0.2.9",), (FdbEntry("fa:16:3e:00:00:09", "192.0.2.9"),))
    wide = NetworkView(L2Network("net", "vxlan", 1450, None, 77), here, far)
    text = "\n".join(map(str, uplink_flows(wide, uplinks, 300)))
    assert "tun_id=77" in text and "set_field:192.0.2.9->tun_dst" in text
    (known,) = vtep_flows([far], uplinks)
    assert known.table == CLASSIFY and "tun_src=192.0.2.9" in known.match


@pytest.mark.parametrize(
    "network",
    [
        L2Network("net", "vlan", 1500, "nowhere", 101),
        L2Network("net", "vlan", 1500, "phys", 4095),
        L2Network("net", "vlan", 1500, "phys", None),
        L2Network("net", "gre", 1450, None, 5),
        L2Network("net", "vxlan", 1450, None, 1 << 24),
        L2Network("net", "carrier-pigeon"),
    ],
)
def test_network_this_host_cannot_join_is_refused(network: L2Network) -> None:
    with pytest.raises(BadNetwork):
        uplink_flows(NetworkView(network), Uplinks({"phys": 1}, {"vxlan": 2}), 300)


def test_no_two_static_flows_exclude_each_other() -> None:
    flows = static_flows()
    assert len({flow.key for flow in flows}) == len(flows)
    assert len({flow.cookie for flow in flows}) == len(flows)
