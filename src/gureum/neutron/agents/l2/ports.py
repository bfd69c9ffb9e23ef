"""The flows of one port: who it is, what it may claim to be, and which groups decide for it.

Owns: anti-spoofing of MAC, ARP, IPv4, IPv6 and neighbour discovery. Must not: do I/O, or read rules.
Follows docs/adr/0010-l2-pipeline.md; RFC 826, 5227 (ARP), 4861, 4862 (neighbour discovery).
"""

import ipaddress
import re
from dataclasses import dataclass

from gureum.neutron.agents.contract import L2Port
from gureum.neutron.agents.l2.pipeline import (
    ALLOWED,
    CLASSIFY,
    DROP,
    EGRESS_GROUPS,
    EGRESS_RULES,
    EGRESS_VERDICT,
    FILTERED,
    FROM_PORT,
    GROUP,
    INGRESS_GROUPS,
    INGRESS_RULES,
    INGRESS_VERDICT,
    LEARN,
    LEARNED,
    LOCAL,
    MLD1_DONE,
    MLD1_REPORT,
    MLD2_REPORT,
    NEIGHBOUR_ADVERT,
    NEIGHBOUR_SOLICIT,
    RECEIVE,
    ROUTER_SOLICIT,
    SENT,
    SOURCE,
    TO,
    TO_PORT,
    UNTAGGED,
    ZONE,
    goto,
    group_key,
    network_key,
)
from gureum.neutron.agents.ovs.flows import LEARNED_MARK, Flow, hash_bits

_MAC = re.compile(r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")
_NO_MAC = "00:00:00:00:00:00"
_LEARNED_LIMIT = 1000
# A guest that does not yet have an address may look for routers and check that nobody has its own.
_UNSPECIFIED_MAY_SEND = (ROUTER_SOLICIT, MLD1_REPORT, MLD1_DONE, MLD2_REPORT)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadPort(ValueError):
    """A port's addresses make no sense; the port stays unwired."""


@dataclass(frozen=True, slots=True)
class WiredPort:
    """A wanted port together with the device that is there for it.

    `zone` is 0 when nothing is tracked: an unfiltered port, or one with stateless groups only.
    `learns`: see the function of this name.
    """

    port: L2Port
    ofport: int
    zone: int = 0
    trusted: bool = False
    learns: bool = False

    @property
    def filtered(self) -> bool:
        """Return whether spoofing is stopped and security groups decide."""
        return self.port.port_security_enabled and not self.trusted


def mac_of(text: str) -> str:
    """Return a MAC in ovs-ofctl's form. Raises: BadPort."""
    mac = text.lower().replace("-", ":")
    if not _MAC.match(mac) or int(mac[:2], 16) & 1:
        raise BadPort(f"{text!r} is no unicast MAC address")
    return mac


def sources(port: L2Port) -> list[tuple[str, Network]]:
    """Return the pairs of MAC and addresses that a port may send from. Raises: BadPort."""
    own = mac_of(port.mac_address)
    pairs = [(own, ip.ip_address) for ip in port.fixed_ips]
    pairs += [
        (mac_of(pair.mac_address or own), pair.ip_address) for pair in port.allowed_address_pairs
    ]
    found: dict[tuple[str, Network], None] = {}
    for mac, address in pairs:
        try:
            found[mac, ipaddress.ip_network(address, strict=False)] = None
        except ValueError as error:
            raise BadPort(str(error)) from error
    for mac in dict.fromkeys([own, *(mac for mac, _ in pairs)]):
        found[mac, ipaddress.ip_network(link_local(mac))] = None
    return list(found)


def learns(port: L2Port, *, trusted: bool) -> bool:
    """Return whether frames with other MACs than the port's own come from it. Raises: BadPort."""
    pairs = sources(port)
    if trusted:
        return False
    own = mac_of(port.mac_address)
    return not port.port_security_enabled or any(mac != own for mac, _ in pairs)


def link_local(mac: str) -> str:
    """Return the link-local address that belongs to a MAC (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    identifier = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def port_flows(wired: WiredPort, learned_timeout_s: int) -> list[Flow]:
    """Return the flows of a port. Raises: BadPort."""
    flows = [*_classify(wired), *_deliver(wired), *_learn(wired, learned_timeout_s)]
    if wired.filtered:
        flows += [*_source(wired), *_neighbours(wired), *_groups(wired)]
    return flows


def _classify(wired: WiredPort) -> list[Flow]:
    first = SOURCE if wired.filtered else LEARN
    who = (
        f"set_field:{network_key(wired.port.network_id)}->metadata,"
        f"set_field:{wired.ofport}->{FROM_PORT},set_field:{wired.zone}->{ZONE}"
    )
    # Tagged frames would leave on a provider network as somebody else's.
    match = f"in_port={wired.ofport},{UNTAGGED}"
    return [Flow(CLASSIFY, 100, match, f"{who},{goto(first)}")]


def _deliver(wired: WiredPort) -> list[Flow]:
    network = network_key(wired.port.network_id)
    mac = mac_of(wired.port.mac_address)
    me = wired.ofport
    receiver = f"set_field:{wired.zone}->{ZONE},set_field:{int(wired.filtered)}->{FILTERED}"
    return [
        Flow(LOCAL, 20, f"metadata={network},dl_dst={mac}", deliver_to(me)),
        Flow(TO_PORT, 20, f"{FROM_PORT}={me},{TO}={me}", DROP),
        Flow(TO_PORT, 10, f"{TO}={me}", f"{receiver},{goto(RECEIVE)}"),
    ]


def deliver_to(ofport: int) -> str:
    """Return the actions that hand a frame to a local port."""
    return f"set_field:{ofport}->{TO},{goto(TO_PORT)}"


def learned_cookie(*what: object) -> str:
    """Return the cookie of what one learning flow learns; its mark keeps it out of differences."""
    return f"{LEARNED_MARK << 56 | hash_bits(' '.join(map(str, what)), 56):#x}"


def learn_action(cookie: str, timeout_s: int, load: str) -> str:
    """Return the action that remembers where a frame's source MAC is."""
    return (
        f"learn(table={LEARNED},priority=1,idle_timeout={timeout_s},cookie={cookie},"
        f"limit={_LEARNED_LIMIT},delete_learned,OXM_OF_METADATA[],"
        f"NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],{load})"
    )


def _learn(wired: WiredPort, timeout_s: int) -> list[Flow]:
    if not wired.learns:
        return []
    me, mac = wired.ofport, mac_of(wired.port.mac_address)
    cookie = learned_cookie("port", wired.port.id, me)
    remember = learn_action(cookie, timeout_s, f"load:{me:#x}->NXM_NX_REG2[]")
    return [
        Flow(LEARN, 20, f"in_port={me},dl_src={mac}", goto(LOCAL)),
        Flow(LEARN, 10, f"in_port={me}", f"{remember},{goto(LOCAL)}"),
    ]


def _source(wired: WiredPort) -> list[Flow]:
    flows: list[Flow] = []
    pairs = sources(wired.port)
    for mac in dict.fromkeys(mac for mac, _ in pairs):
        frm = f"in_port={wired.ofport},dl_src={mac}"
        probe = f"arp,{frm},arp_sha={mac},arp_spa=0.0.0.0,arp_op=1"
        discover = f"udp,{frm},nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67"
        no_address = f"icmp6,{frm},ipv6_src=::"
        flows += [
            Flow(SOURCE, 100, probe, goto(LEARN)),
            Flow(SOURCE, 100, f"dl_type=0x8035,{frm}", goto(LEARN)),
            Flow(SOURCE, 100, discover, goto(LEARN)),
            Flow(
                SOURCE,
                100,
                f"{no_address},icmp_type={NEIGHBOUR_SOLICIT},icmp_code=0,nd_sll={_NO_MAC}",
                goto(LEARN),
            ),
        ]
        for kind in _UNSPECIFIED_MAY_SEND:
            flows.append(Flow(SOURCE, 100, f"{no_address},icmp_type={kind}", goto(LEARN)))
    for mac, net in pairs:
        frm = f"in_port={wired.ofport},dl_src={mac}"
        if net.version == 4:
            arp = f"arp,{frm},arp_sha={mac}{_is(',arp_spa', net)}"
            flows.append(Flow(SOURCE, 90, arp, goto(LEARN)))
            flows.append(Flow(SOURCE, 90, f"ip,{frm}{_is(',nw_src', net)}", goto(SENT)))
        else:
            flows.append(Flow(SOURCE, 90, f"ipv6,{frm}{_is(',ipv6_src', net)}", goto(SENT)))
    return flows


def _is(field: str, net: Network) -> str:
    """Return the match of a field on addresses; nothing when they are all addresses."""
    if net.prefixlen == 0:
        return ""
    if net.prefixlen == net.max_prefixlen:
        return f"{field}={net.network_address}"
    return f"{field}={net}"


def _neighbours(wired: WiredPort) -> list[Flow]:
    """Neighbour discovery may only tell what is true of this port."""
    flows: dict[Flow, None] = {}
    icmp6 = f"icmp6,in_port={wired.ofport}"
    for mac, net in sources(wired.port):
        if net.version != 6:
            continue
        for told in (mac, _NO_MAC):
            frm = f"{icmp6},dl_src={mac}"
            solicit = f"{frm},icmp_type={NEIGHBOUR_SOLICIT},icmp_code=0,nd_sll={told}"
            target = f"icmp_type={NEIGHBOUR_ADVERT},icmp_code=0{_is(',nd_target', net)}"
            flows[Flow(SENT, 70, solicit, goto(LEARN))] = None
            flows[Flow(SENT, 70, f"{frm},{target},nd_tll={told}", goto(LEARN))] = None
    return list(flows)


def _groups(wired: WiredPort) -> list[Flow]:
    """Ask each group in turn; one that allows it is enough."""
    flows = []
    for table, port, rules, verdict in (
        (EGRESS_GROUPS, FROM_PORT, EGRESS_RULES, EGRESS_VERDICT),
        (INGRESS_GROUPS, TO, INGRESS_RULES, INGRESS_VERDICT),
    ):
        asked = "".join(
            f"set_field:{group_key(group)}->{GROUP},{goto(rules)},"
            for group in sorted(set(wired.port.security_group_ids))
        )
        actions = f"set_field:0->{ALLOWED},{asked}{goto(verdict)}"
        flows.append(Flow(table, 10, f"{port}={wired.ofport}", actions))
    return flows
