"""The flows of one network: how frames reach its other ports here, other hosts and the outside.

Owns: VLAN translation, tunnels, flooding, remote addresses. Must not: do I/O, or know rules.
Follows docs/adr/0010-l2-pipeline.md; IEEE 802.1Q, RFC 7348 (VXLAN), RFC 2784 (GRE).
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gureum.neutron.agents.contract import FdbEntry, L2Network, NetworkTunnels
from gureum.neutron.agents.l2.pipeline import (
    CLASSIFY,
    FLOOD_OUT,
    FROM_PORT,
    LEARN,
    LOCAL,
    MULTICAST,
    REMOTE,
    TUNNEL_IN,
    UNKNOWN,
    UNTAGGED,
    VTEP,
    goto,
    network_key,
)
from gureum.neutron.agents.l2.ports import (
    BadPort,
    WiredPort,
    deliver_to,
    learn_action,
    learned_cookie,
    mac_of,
)
from gureum.neutron.agents.ovs.flows import Flow

TUNNELLED = ("vxlan", "gre")
_V6_VTEP = "xxreg3"  # like VTEP, for hosts that tunnel over IPv6


class BadNetwork(ValueError):
    """This host cannot take part in a network; its ports reach each other, but nothing else."""


@dataclass(frozen=True, slots=True)
class Uplinks:
    """The ofports that lead away from this host."""

    provider: Mapping[str, int] = field(default_factory=dict)  # by physical network
    tunnel: Mapping[str, int] = field(default_factory=dict)  # by kind of tunnel
    ipv6_underlay: bool = False


@dataclass(frozen=True, slots=True)
class NetworkView:
    """A network with what is here and elsewhere of it."""

    network: L2Network
    ports: tuple[WiredPort, ...] = ()
    tunnels: NetworkTunnels | None = None


def local_flows(view: NetworkView) -> list[Flow]:
    """Return the flows that spread frames over the ports of this host."""
    key = network_key(view.network.id)
    everyone = [deliver_to(port.ofport) for port in _in_order(view.ports)]
    # Only who may have unknown MACs gets frames for them: others must not see their neighbours'.
    curious = [deliver_to(port.ofport) for port in _in_order(view.ports) if port.learns]
    flood = ",".join([*everyone, goto(FLOOD_OUT)])
    flows = [Flow(LOCAL, 10, f"metadata={key},{MULTICAST}", flood)]
    if curious:
        flows.append(Flow(UNKNOWN, 10, f"metadata={key}", ",".join([*curious, goto(FLOOD_OUT)])))
    return flows


def uplink_flows(
    view: NetworkView, uplinks: Uplinks, learned_timeout_s: int, arp_responder: bool = False
) -> list[Flow]:
    """Return the flows between this host and the rest of the network. Raises: BadNetwork."""
    kind = view.network.type
    if kind == "local":
        return []
    if kind in ("flat", "vlan"):
        return _provider(view, uplinks, learned_timeout_s)
    if kind in TUNNELLED:
        return _tunnelled(view, uplinks, learned_timeout_s, arp_responder)
    raise BadNetwork(f"networks of type {kind!r} are not known here")


def vtep_flows(tunnels: Iterable[NetworkTunnels], uplinks: Uplinks) -> list[Flow]:
    """Return the flows that take tunnelled frames from known hosts only."""
    hosts = {vtep for one in tunnels for vtep in one.vteps}
    hosts |= {entry.vtep_ip for one in tunnels for entry in one.entries}
    flows = []
    for host in sorted(hosts):
        try:
            frm = f"{_tunnel_field('src', uplinks)}={_vtep(host, uplinks)}"
        except BadNetwork:
            continue  # the network that names it has this problem reported
        for ofport in uplinks.tunnel.values():
            match = f"in_port={ofport},{frm},{UNTAGGED}"
            flows.append(Flow(CLASSIFY, 90, match, goto(TUNNEL_IN)))
    return flows


def _in_order(ports: Iterable[WiredPort]) -> list[WiredPort]:
    return sorted(ports, key=lambda port: port.ofport)


def _provider(view: NetworkView, uplinks: Uplinks, timeout_s: int) -> list[Flow]:
    network = view.network
    physical = network.physical_network or ""
    if physical not in uplinks.provider:
        raise BadNetwork(f"no bridge is mapped to physical network {physical!r}")
    patch = uplinks.provider[physical]
    key = network_key(network.id)
    enter = f"set_field:{key}->metadata,{goto(LEARN)}"
    if network.type == "flat":
        flows = [
            Flow(CLASSIFY, 80, f"in_port={patch},{UNTAGGED}", enter),
            Flow(FLOOD_OUT, 5, f"metadata={key}", f"output:{patch}"),
        ]
    else:
        vlan = network.segmentation_id or 0
        if not 1 <= vlan <= 4094:
            raise BadNetwork(f"{vlan} is no VLAN id")
        tag = f"push_vlan:0x8100,set_field:{0x1000 | vlan}->vlan_vid"
        flows = [
            Flow(CLASSIFY, 80, f"in_port={patch},dl_vlan={vlan}", f"pop_vlan,{enter}"),
            Flow(FLOOD_OUT, 5, f"metadata={key}", f"{tag},output:{patch}"),
        ]
    if any(port.learns for port in view.ports):
        # A MAC that shows up outside has left the port where it was learned.
        forget = learn_action(learned_cookie("net", network.id), timeout_s, "load:0->NXM_NX_REG2[]")
        match = f"metadata={key},{FROM_PORT}=0"
        flows.append(Flow(LEARN, 5, match, f"{forget},{goto(LOCAL)}"))
    return flows


def _tunnelled(
    view: NetworkView, uplinks: Uplinks, timeout_s: int, arp_responder: bool
) -> list[Flow]:
    network, key = view.network, network_key(view.network.id)
    if network.type not in uplinks.tunnel:
        raise BadNetwork(f"this host has no {network.type} tunnels; set local_ip and tunnel_types")
    vni = network.segmentation_id or 0
    if not 1 <= vni < (1 << (24 if network.type == "vxlan" else 32)):
        raise BadNetwork(f"{vni} is no {network.type} id")
    ofport = uplinks.tunnel[network.type]
    to = _tunnel_field("dst", uplinks)
    remember = learn_action(
        learned_cookie("net", network.id), timeout_s, f"load:{_source_bits(uplinks)}"
    )
    enter = f"set_field:{key}->metadata,{goto(LEARN)}"
    tagged = f"set_field:{vni}->tun_id"
    learned = _V6_VTEP if uplinks.ipv6_underlay else VTEP
    destination = "NXM_NX_TUN_IPV6_DST[]" if uplinks.ipv6_underlay else "NXM_NX_TUN_IPV4_DST[]"
    moved = f"move:NXM_NX_{learned.upper()}[]->{destination}"
    flows = [
        Flow(TUNNEL_IN, 10, f"in_port={ofport},tun_id={vni}", enter),
        Flow(LEARN, 5, f"metadata={key},{FROM_PORT}=0", f"{remember},{goto(LOCAL)}"),
        Flow(REMOTE, 10, f"metadata={key},{learned}=0", goto(UNKNOWN)),
        Flow(REMOTE, 5, f"metadata={key}", f"{tagged},{moved},output:{ofport}"),
    ]
    tunnels = view.tunnels or NetworkTunnels(network.id)
    hosts = [_vtep(host, uplinks) for host in sorted(set(tunnels.vteps))]
    if hosts:
        copies = [f"set_field:{host}->{to},output:{ofport}" for host in hosts]
        flows.append(Flow(FLOOD_OUT, 5, f"metadata={key}", ",".join([tagged, *copies])))
    flows += _remote(tunnels.entries, key, tagged, to, ofport, uplinks)
    return [*flows, *_answers(tunnels.entries, key)] if arp_responder else flows


def _remote(
    entries: Iterable[FdbEntry], key: str, tagged: str, to: str, ofport: int, uplinks: Uplinks
) -> list[Flow]:
    """Send frames for known remote ports straight to their host."""
    hosts = {_mac(entry): _vtep(entry.vtep_ip, uplinks) for entry in entries}
    return [
        Flow(
            REMOTE,
            20,
            f"metadata={key},dl_dst={mac}",
            f"{tagged},set_field:{host}->{to},output:{ofport}",
        )
        for mac, host in hosts.items()
    ]


def _answers(entries: Iterable[FdbEntry], key: str) -> list[Flow]:
    """Answer ARP requests of local ports for remote addresses that one port alone has."""
    owners: dict[str, set[str]] = {}
    for entry in entries:
        for text in entry.ip_addresses:
            try:
                address = ipaddress.ip_address(text)
            except ValueError as error:
                raise BadNetwork(str(error)) from error
            if address.version == 4:
                owners.setdefault(str(address), set()).add(_mac(entry))
    flows = []
    for address_text, macs in owners.items():
        if len(macs) != 1:
            continue
        (mac,) = macs
        reply = (
            f"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{mac}->eth_src,"
            "set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],"
            f"move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:{mac}->arp_sha,"
            f"set_field:{address_text}->arp_spa,in_port"
        )
        match = f"arp,metadata={key},arp_op=1,arp_tpa={address_text}"
        flows.append(Flow(FLOOD_OUT, 7, match, reply))
    return flows


def _mac(entry: FdbEntry) -> str:
    try:
        return mac_of(entry.mac_address)
    except BadPort as error:
        raise BadNetwork(str(error)) from error


def _vtep(host: str, uplinks: Uplinks) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise BadNetwork(str(error)) from error
    if address.version != (6 if uplinks.ipv6_underlay else 4):
        raise BadNetwork(f"tunnels to {host} need a local_ip of the same version")
    return str(address)


def _tunnel_field(end: str, uplinks: Uplinks) -> str:
    return f"tun_ipv6_{end}" if uplinks.ipv6_underlay else f"tun_{end}"


def _source_bits(uplinks: Uplinks) -> str:
    if uplinks.ipv6_underlay:
        return "NXM_NX_TUN_IPV6_SRC[]->NXM_NX_XXREG3[]"
    return "NXM_NX_TUN_IPV4_SRC[]->NXM_NX_REG8[]"
