"""The L2 agent on a real Open vSwitch: who reaches whom, and what a restart costs (nothing)."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import l2lab
import pytest
from l2lab import EGRESS, Guest, Lab, arp, arrive, rule, udp
from waiting import eventually

from gureum.neutron.agents.contract import (
    AddressPair,
    FdbEntry,
    L2Network,
    NetworkTunnels,
    SecurityGroup,
    SgMembers,
)

pytestmark = [pytest.mark.real, l2lab.needs_host]

ALL = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with l2lab.host() as made:
        yield made


def outside(lab: Lab, name: str, ip: str, tag: int | None) -> Guest:
    """Plug something into the provider bridge, beyond the agent's reach."""
    made = Guest(name, ip, f"fa:16:3e:ff:00:{len(lab.guests):02x}")
    lab.guests.append(made)
    device = l2lab.PREFIX + name
    lab.device(device, "brl2t-phy", made.mac, [ip], [])
    if tag is not None:
        l2lab.run("ovs-vsctl", "set", "Port", device, f"tag={tag}")
    return made


def marker_of(guest: Guest, text: bytes = b"marker") -> bytes:
    """Return a broadcast that a guest may send and a guest in `open` may get."""
    return udp(guest.mac, ALL, guest.ip, "255.255.255.255", 4000, 4000, text)


def test_ports_reach_their_network_and_no_other(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red", ip6="fd09::1")
    two = lab.guest("2", "10.9.0.2", "red", ip6="fd09::2")
    other = lab.guest("3", "10.9.0.3", "blue")
    assert one.pings(two.ip)
    assert one.pings(two.ip6)
    assert not one.pings(other.ip, count=1)


def test_a_port_without_a_wish_reaches_nobody(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    stranger = Guest("2", "10.9.0.2", "fa:16:3e:00:00:02", "nobody-wants-it")
    lab.guests.append(stranger)
    lab.plug(stranger)
    assert not stranger.pings(one.ip, count=1)


def test_an_audit_names_ports_and_flows_that_differ_and_mends_them(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    agent = lab.agent
    assert agent is not None
    assert agent.inspect().items == ()
    stranger = Guest("9", "10.9.0.9", "fa:16:3e:00:00:09", "nobody-wants-it")
    lab.guests.append(stranger)
    lab.plug(stranger, is_guest=False)
    eventually(lambda: agent.inspect().items != (), 10.0)
    l2lab.run("ovs-ofctl", "-O", "OpenFlow14", "del-flows", lab.bridge, "table=0")
    kinds = {(item.kind, item.fault) for item in agent.inspect().items}
    assert {("switch-port", "extra"), ("flows", "missing")} <= kinds
    assert agent.mend() == []
    eventually(lambda: agent.inspect().items == (), 10.0)
    assert one.pings(two.ip)


def test_vlan_network_meets_its_tag_on_the_provider_bridge(lab: Lab) -> None:
    lab.server.put("networks", L2Network("vlan", "vlan", 1500, "physnet", 101))
    one = lab.guest("1", "10.9.1.1", "vlan")
    same = outside(lab, "o1", "10.9.1.9", 101)
    other = outside(lab, "o2", "10.9.1.8", 102)
    assert one.pings(same.ip)
    assert same.pings(one.ip)
    assert not one.pings(other.ip, count=1)


def test_flat_network_is_untagged_on_the_provider_bridge(lab: Lab) -> None:
    lab.server.put("networks", L2Network("flat", "flat", 1500, "physnet"))
    one = lab.guest("1", "10.9.2.1", "flat")
    beyond = outside(lab, "o1", "10.9.2.9", None)
    assert one.pings(beyond.ip)


def test_tagged_frames_of_a_guest_do_not_reach_a_provider_network(lab: Lab) -> None:
    lab.server.put("networks", L2Network("flat", "flat", 1500, "physnet"))
    one = lab.guest("1", "10.9.2.1", "flat")
    trunk = outside(lab, "o1", "10.9.2.9", None)
    frame = l2lab.tagged(udp(one.mac, ALL, one.ip, "10.9.2.255", 5, 5, b"hop"), 102)
    stripped = udp(one.mac, ALL, one.ip, "10.9.2.255", 5, 5, b"hop")
    assert arrive(one, trunk, [frame, stripped], marker_of(one)) == [stripped]


def test_security_groups_open_and_close_ports(lab: Lab) -> None:
    web = SecurityGroup(
        "web", (rule("ingress", protocol="tcp", port_range_min=80, port_range_max=89),)
    )
    lab.server.put("security_groups", web)
    server = lab.guest("1", "10.9.0.1", "red", ("egress", "web"))
    client = lab.guest("2", "10.9.0.2", "red", ("egress",))
    with server.listen(85), server.listen(90):
        assert client.connects(server.ip, 85)
        assert not client.connects(server.ip, 90)
    with client.listen(85):
        # Replies pass (above); a new connection the other way needs a rule of its own.
        assert not server.connects(client.ip, 85)
    assert not client.pings(server.ip, count=1)
    lab.server.put(
        "security_groups", replace(web, rules=(*web.rules, rule("ingress", protocol="icmp")))
    )
    lab.settled()
    assert client.pings(server.ip)


def test_removed_rule_cuts_the_connection_and_a_new_one_mends_it(lab: Lab) -> None:
    web = SecurityGroup(
        "web", (rule("ingress", protocol="tcp", port_range_min=80, port_range_max=80),)
    )
    lab.server.put("security_groups", web)
    server = lab.guest("1", "10.9.0.1", "red", ("egress", "web"))
    client = lab.guest("2", "10.9.0.2", "red", ("egress",))
    with server.listen(80) as listening, client.open(socket.AF_INET, socket.SOCK_STREAM) as talk:
        talk.settimeout(5.0)
        talk.connect((server.ip, 80))
        answer, _ = listening.accept()
        with answer:
            talk.send(b"a")
            assert answer.recv(1) == b"a"
            lab.server.put("security_groups", replace(web, rules=()))
            lab.settled()
            talk.send(b"b")
            answer.settimeout(1.0)
            with pytest.raises(TimeoutError):
                answer.recv(1)
            lab.server.put("security_groups", web)
            lab.settled()
            answer.settimeout(15.0)
            assert answer.recv(1) == b"b"


def test_ping_under_way_stops_when_its_rule_goes(lab: Lab) -> None:
    ping = SecurityGroup("ping", (rule("ingress", protocol="icmp"),))
    lab.server.put("security_groups", ping)
    one = lab.guest("1", "10.9.0.1", "red", ("egress",))
    two = lab.guest("2", "10.9.0.2", "red", ("egress", "ping"))
    with _pinging(one, two.ip, 4) as counted:
        threading.Event().wait(1.0)
        lab.server.put("security_groups", replace(ping, rules=()))
        lab.settled()
        sent, received = counted()
    assert 0 < received < sent


def test_remote_group_lets_in_its_members_only(lab: Lab) -> None:
    tcp = [rule("ingress", protocol="tcp", port_range_min=p, port_range_max=p, remote_group_id="app")
           for p in (5432, 3306)]  # fmt: skip
    lab.server.put("security_groups", SecurityGroup("db", tuple(tcp)))
    lab.server.put("members", SgMembers("app", ("10.9.0.2", "10.9.0.77", "not an address")))
    database = lab.guest("1", "10.9.0.1", "red", ("egress", "db"))
    member = lab.guest("2", "10.9.0.2", "red", ("egress",))
    other = lab.guest("3", "10.9.0.3", "red", ("egress",))
    with database.listen(5432), database.listen(22):
        assert member.connects(database.ip, 5432)
        assert not member.connects(database.ip, 22)
        assert not other.connects(database.ip, 5432)
        lab.server.put("members", SgMembers("app", ("10.9.0.2", "10.9.0.3")))
        lab.settled()
        assert other.connects(database.ip, 5432)


def test_stateless_group_needs_a_rule_each_way(lab: Lab) -> None:
    oneway = SecurityGroup("oneway", (rule("ingress", protocol="icmp"),), stateful=False)
    lab.server.put("security_groups", oneway)
    one = lab.guest("1", "10.9.0.1", "red", ("oneway",))
    two = lab.guest("2", "10.9.0.2", "red")
    assert not two.pings(one.ip, count=1)
    both = (*oneway.rules, rule("egress", protocol="icmp"))
    lab.server.put("security_groups", replace(oneway, rules=both))
    lab.settled()
    assert two.pings(one.ip)


def test_abuse_34_spoofed_mac_ip_and_arp_are_dropped(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    wrong = "fa:16:3e:66:66:66"
    forbidden = [
        udp(wrong, two.mac, one.ip, two.ip, 1, 2, b"mac"),
        udp(one.mac, two.mac, "10.9.0.9", two.ip, 1, 2, b"ip"),
        arp(one.mac, one.mac, "10.9.0.9", two.ip),
        arp(one.mac, wrong, one.ip, two.ip),
        arp(wrong, one.mac, one.ip, two.ip),
        arp(one.mac, one.mac, "10.9.0.9", two.ip, op=2, dst=two.mac),
    ]
    allowed = [
        udp(one.mac, two.mac, one.ip, two.ip, 1, 2, b"own"),
        arp(one.mac, one.mac, one.ip, two.ip),
    ]
    assert arrive(one, two, [*forbidden, *allowed], marker_of(one)) == allowed


def test_abuse_34_spoofed_neighbour_discovery_and_router_adverts_are_dropped(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red", ip6="fd09::1")
    two = lab.guest("2", "10.9.0.2", "red", ip6="fd09::2")
    nodes = "33:33:00:00:00:01"
    forbidden = [
        l2lab.neighbour_advert(one.mac, "fd09::1", "fd09::9", one.mac),
        l2lab.neighbour_advert(one.mac, "fd09::1", "fd09::1", "fa:16:3e:66:66:66"),
        l2lab.neighbour_advert(one.mac, "fd09::9", "fd09::1", one.mac),
        l2lab.icmp6(one.mac, nodes, "fd09::1", "ff02::1", 134, bytes(12)),
        l2lab.icmp6(one.mac, two.mac, "fd09::9", "fd09::2", 128, bytes(4)),
    ]
    allowed = [l2lab.neighbour_advert(one.mac, "fd09::1", "fd09::1", one.mac)]
    assert arrive(one, two, [*forbidden, *allowed], marker_of(one)) == allowed


def test_guests_ask_for_dhcp_but_do_not_serve_it(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red", groups=())
    two = lab.guest("2", "10.9.0.2", "red", port_security_enabled=False, groups=())
    asking = udp(one.mac, ALL, "0.0.0.0", "255.255.255.255", 68, 67, b"discover")
    serving = udp(one.mac, ALL, one.ip, "255.255.255.255", 67, 68, b"offer")
    marker = arp(one.mac, one.mac, one.ip, two.ip)
    assert arrive(one, two, [serving, asking], marker) == [asking]


def test_address_pair_may_be_used(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    virtual = "00:00:5e:00:01:07"
    frames = [
        udp(one.mac, two.mac, "10.9.0.100", two.ip, 1, 2, b"pair"),
        udp(virtual, two.mac, "10.9.0.101", two.ip, 1, 2, b"pair with mac"),
    ]
    assert arrive(one, two, frames, marker_of(one)) == []
    pairs = (AddressPair("10.9.0.100"), AddressPair("10.9.0.101", virtual))
    lab.change(one, allowed_address_pairs=pairs)
    assert arrive(one, two, frames, marker_of(one)) == frames
    back = udp(two.mac, virtual, two.ip, "10.9.0.101", 2, 1, b"back")
    assert arrive(two, one, [back], marker_of(two)) == [back]


def test_port_without_port_security_may_be_anybody(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red", port_security_enabled=False, groups=())
    two = lab.guest("2", "10.9.0.2", "red")
    nested = udp("fa:16:3e:77:77:77", two.mac, "10.9.0.77", two.ip, 1, 2, b"nested")
    assert arrive(one, two, [nested], marker_of(one)) == [nested]
    back = udp(two.mac, "fa:16:3e:77:77:77", two.ip, "10.9.0.77", 2, 1, b"back")
    assert arrive(two, one, [back], marker_of(two)) == [back]


def test_abuse_41_unknown_mac_is_not_shown_to_other_guests(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    foreign = udp(one.mac, "fa:16:3e:99:99:99", one.ip, "10.9.0.99", 1, 2, b"not yours")
    assert arrive(one, two, [foreign], marker_of(one)) == []


def test_abuse_34_device_owner_alone_does_not_make_a_guest_trusted(lab: Lab) -> None:
    two = lab.guest("2", "10.9.0.2", "red")
    liar = lab.guest("1", "10.9.0.1", "red", device_owner="network:router_interface")
    router = lab.guest(
        "3", "10.9.0.3", "red", device_owner="network:router_interface", is_guest=False
    )
    frame = udp(liar.mac, two.mac, "10.9.0.9", two.ip, 1, 2, b"ip")
    assert arrive(liar, two, [frame], marker_of(liar)) == []
    routed = udp(router.mac, two.mac, "172.16.0.9", two.ip, 1, 2, b"routed")
    assert arrive(router, two, [routed], marker_of(router)) == [routed]


class _Counted:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __enter__(self) -> "_Counted":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def __call__(self) -> tuple[int, int]:
        text = self._process.communicate(timeout=30)[0]
        found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
        assert found, text
        return int(found[1]), int(found[2])


def _pinging(guest: Guest, address: str, seconds: int) -> _Counted:
    count = str(seconds * 20)
    args = ["ip", "netns", "exec", guest.namespace, "ping", "-n", "-i", "0.05", "-c", count,
            "-W", "1", address]  # fmt: skip
    return _Counted(subprocess.Popen(args, stdout=subprocess.PIPE, text=True))


def test_restart_of_the_agent_loses_no_packet_and_changes_no_flow(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    before = lab.flows()
    with _pinging(one, two.ip, 3) as counted:
        for _ in range(2):
            assert lab.agent is not None
            started = time.monotonic()
            lab.agent.stop()
            assert time.monotonic() - started < 1.0
            agent = lab.start()
            eventually(lambda agent=agent: agent.passes > 0)
        sent, received = counted()
    assert (sent, received) == (60, 60)
    assert lab.flows() == before


def test_a_change_while_the_agent_is_down_is_made_at_its_start(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    assert lab.agent is not None
    lab.agent.stop()
    lab.server.put("security_groups", SecurityGroup("open", EGRESS.rules))
    assert one.pings(two.ip)
    lab.start()
    lab.settled()
    assert not one.pings(two.ip, count=1)


def test_an_unreachable_server_leaves_traffic_alone(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    assert lab.agent is not None
    lab.agent.stop()
    lab.server.fail = True
    before = lab.flows()
    lab.start()
    assert one.pings(two.ip)
    assert lab.flows() == before
    lab.server.fail = False
    lab.settled()
    assert lab.flows() == before


def test_flows_lost_with_the_switch_come_back(lab: Lab) -> None:
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    before = lab.flows()
    lab.ofctl("del-flows", lab.bridge)
    eventually(lambda: lab.flows() == before)
    assert one.pings(two.ip)


def test_ports_go_down_with_their_device_and_up_with_a_new_one(lab: Lab) -> None:
    empty = lab.flows()
    one = lab.guest("1", "10.9.0.1", "red")
    two = lab.guest("2", "10.9.0.2", "red")
    lab.unplug(two)
    assert lab.server.wait_status(two.port_id, "DOWN").detail == "no device"
    lab.plug(two)
    lab.server.wait_status(two.port_id, "ACTIVE")
    assert one.pings(two.ip)
    lab.change(two, admin_state_up=False)
    lab.server.wait_status(two.port_id, "DOWN")
    assert not one.pings(two.ip, count=1)
    lab.server.drop("ports", one.port_id, two.port_id)
    lab.settled()
    eventually(lambda: not any("fa:16:3e" in flow for flow in lab.flows()))
    assert len(lab.flows()) <= len(empty) + 10


def test_abuse_35_bad_port_and_bad_rule_hold_up_nobody(lab: Lab) -> None:
    bad_rules = (
        rule("ingress", remote_ip_prefix="10.0.0.0/99"),
        rule("ingress", protocol="tcp", port_range_min=9, port_range_max=1),
        rule("ingress", protocol="112; drop", port_range_min=1, port_range_max=1),
        rule("ingress", protocol="icmp"),
    )
    lab.server.put("security_groups", SecurityGroup("bad", bad_rules))
    lab.guest("bad", "not an address", "red", plug=False)
    broken = lab.guests[-1]
    lab.guests.remove(broken)
    one = lab.guest("1", "10.9.0.1", "red", ("egress", "bad"))
    two = lab.guest("2", "10.9.0.2", "red", ("egress",))
    assert two.pings(one.ip)
    assert lab.agent is not None
    texts = [str(problem) for problem in lab.agent.problems]
    assert len([text for text in texts if text.startswith("security_groups bad")]) == 3


def test_network_without_a_way_out_is_reported_down(lab: Lab) -> None:
    lab.server.put("networks", L2Network("lost", "vlan", 1500, "nowhere", 5))
    one = lab.guest("1", "10.9.0.1", "lost", plug=False)
    lab.plug(one)
    eventually(lambda: "nowhere" in lab.server.statuses.get(one.port_id, lab).__str__())
    assert lab.server.statuses[one.port_id].status == "DOWN"


@pytest.mark.parametrize("kind", ["vxlan", "gre"])
@pytest.mark.parametrize("population", ["flooding", "known addresses", "ARP answered"])
def test_tunnelled_network_spans_hosts(
    kind: str, population: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = str(tmp_path_factory.mktemp("l2"))
    with l2lab.two_hosts(base, arp_responder=population == "ARP answered") as (here, there):
        for lab in (here, there):
            lab.server.put("networks", L2Network("wide", kind, 1450, None, 77))
            lab.server.put("networks", L2Network("other", kind, 1450, None, 78))
        one = here.guest("1", "10.9.7.1", "wide", ip6="fd07::1")
        near = here.guest("3", "10.9.7.3", "wide")
        two = there.guest("2", "10.9.7.2", "wide", ("egress",), ip6="fd07::2")
        stranger = there.guest("4", "10.9.7.4", "other")
        assert not one.pings(two.ip, count=1)
        for lab, remote in ((here, [two]), (there, [one, near])):
            vtep = "172.31.250.2" if lab is here else "172.31.250.1"
            known = tuple(FdbEntry(g.mac, vtep, (g.ip,)) for g in remote)
            known = known if population != "flooding" else ()
            for network in ("wide", "other"):
                lab.server.put("tunnels", NetworkTunnels(network, (vtep,), known))
                known = ()
            lab.settled()
        assert two.pings(one.ip)
        assert two.pings(one.ip6)
        assert two.pings(near.ip)
        assert one.pings(near.ip)
        assert not one.pings(two.ip, count=1)  # only replies: its group has no way in
        assert not one.pings(stranger.ip, count=1)
        with one.listen(80):
            assert two.connects(one.ip, 80)


def test_restarted_switch_gets_its_flows_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = str(tmp_path_factory.mktemp("l2"))
    with l2lab.two_hosts(base) as (here, _there):
        here.server.put("networks", L2Network("red", "local"))
        one = here.guest("1", "10.9.0.1", "red")
        two = here.guest("2", "10.9.0.2", "red")
        assert one.pings(two.ip)
        before = len(here.flows())
        l2lab.stop_daemon(f"{base}/ha/switch.pid")
        l2lab.start_vswitchd(here.namespace, f"{base}/ha")
        eventually(lambda: len(here.flows()) == before, 15.0)
        for guest in (one, two):  # the switch has made their devices anew
            here.plug(guest)
        eventually(lambda: one.pings(two.ip, count=1), 15.0)
