"""The flows of one security group: what its rules allow, asked with the group's key in a register.

Owns: reading rules strictly (a bad one is reported and skipped), port ranges as masks, remote groups.
Must not: do I/O, or know ports: the flows of a group are the same for every port that wears it.
Follows the API reference, "Security group rules"; ovs-fields(7), "Conjunctive Match Fields".
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from gureum.neutron.agents.contract import SecurityGroup, SgMembers, SgRule
from gureum.neutron.agents.l2.pipeline import (
    ALLOWED,
    EGRESS_RULES,
    GROUP,
    INGRESS_RULES,
    group_key,
)
from gureum.neutron.agents.ovs.flows import Flow, hash_bits

_ALLOW = f"set_field:1->{ALLOWED}"
_DIRECTIONS = {"ingress": INGRESS_RULES, "egress": EGRESS_RULES}
_ETHERTYPES = {"ipv4": 4, "ipv6": 6}
_PLAIN, _CONJUNCTION = 20, 10

# IANA's numbers of the names that the API reference lists.
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "ipv6-encap": 41,
    "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
    "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ospf": 89, "vrrp": 112, "pgm": 113,
    "sctp": 132, "udplite": 136,
}  # fmt: skip
_ICMP, _ICMPV6 = 1, 58
_WITH_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadRule(ValueError):
    """A rule that makes no sense; it allows nothing."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A rule after reading: table, IP version, protocol matches (the IP kind itself: any protocol)."""

    table: int
    version: int
    protocols: tuple[str, ...]
    prefix: Network | None
    remote_group: str | None

    @property
    def ip(self) -> str:
        return "ip" if self.version == 4 else "ipv6"

    @property
    def address_field(self) -> str:
        return _address_field(self.table, self.version)


@dataclass(frozen=True, slots=True)
class Members:
    """The addresses of a remote group after reading, by IP version; "" means all addresses."""

    addresses: Mapping[int, tuple[str, ...]]
    problems: tuple[str, ...] = ()


NO_MEMBERS = Members({})


def read_members(members: SgMembers) -> Members:
    """Read the addresses of a group once, for all the rules that name it."""
    found: dict[int, set[Network]] = {4: set(), 6: set()}
    problems = []
    for text in members.addresses:
        try:
            net = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            problems.append(f"member of group {members.id}: {error}")
            continue
        found[net.version].add(net)
    return Members(
        {version: tuple(map(_text, sorted(nets))) for version, nets in found.items()},
        tuple(problems),
    )


def group_flows(
    group: SecurityGroup, members: Mapping[str, Members]
) -> tuple[list[Flow], list[str]]:
    """Return the flows of a group, and what is wrong with the rules that were skipped.

    `members` maps the ids of remote groups to their addresses.
    """
    problems: list[str] = []
    by_remote: dict[tuple[int, int, str], list[_Read]] = {}
    plain: set[tuple[int, str]] = set()
    for rule in group.rules:
        try:
            read = _read(rule)
        except BadRule as error:
            problems.append(f"rule {rule.id}: {error}")
            continue
        if read.remote_group is not None:
            by_remote.setdefault((read.table, read.version, read.remote_group), []).append(read)
            continue
        where = _on(read.address_field, _text(read.prefix) if read.prefix else "")
        plain |= {(read.table, f"{protocol}{where}") for protocol in read.protocols}
    key = f"{GROUP}={group_key(group.id)}"
    clauses: dict[tuple[int, str], set[str]] = {}
    taken: set[int] = set()
    for (table, version, remote), reads in sorted(by_remote.items()):
        known = members.get(remote, NO_MEMBERS)
        problems += [text for text in known.problems if text not in problems]
        addresses = known.addresses.get(version, ())
        if not addresses:
            continue
        field = _address_field(table, version)
        protocols = sorted({protocol for read in reads for protocol in read.protocols})
        ip = reads[0].ip
        if ip in protocols:
            plain |= {(table, f"{ip}{_on(field, address)}") for address in addresses}
            continue
        number = _conjunction_id(f"{group.id} {table} {version} {remote}", taken)
        for address in addresses:
            match = f"{ip}{_on(field, address)}"
            clauses.setdefault((table, match), set()).add(f"conjunction({number},1/2)")
        for protocol in protocols:
            clauses.setdefault((table, protocol), set()).add(f"conjunction({number},2/2)")
        clauses.setdefault((table, f"conj_id={number},{ip}"), set()).add(_ALLOW)
    flows = [Flow(table, _PLAIN, f"{key},{match}", _ALLOW) for table, match in sorted(plain)]
    flows += [
        Flow(table, _CONJUNCTION, f"{key},{match}", ",".join(sorted(actions)))
        for (table, match), actions in sorted(clauses.items())
    ]
    return flows, problems


def remote_groups(group: SecurityGroup) -> set[str]:
    """Return the groups whose members a group's rules name."""
    return {rule.remote_group_id for rule in group.rules if rule.remote_group_id}


def port_masks(first: int, last: int) -> list[str]:
    """Return value/mask pairs that match exactly the ports first..last."""
    found = []
    while first <= last:
        size = first & -first or 0x10000
        while first + size - 1 > last:
            size >>= 1
        mask = 0x10000 - size
        found.append(f"{first}" if size == 1 else f"{first:#x}/{mask:#x}")
        first += size
    return found


def _read(rule: SgRule) -> _Read:
    table = _DIRECTIONS.get(rule.direction)
    version = _ETHERTYPES.get(rule.ethertype.lower())
    if table is None or version is None:
        raise BadRule(f"direction {rule.direction!r}, ethertype {rule.ethertype!r}")
    prefix = None
    if rule.remote_ip_prefix and rule.remote_group_id:
        raise BadRule("a remote prefix and a remote group at once")
    if rule.remote_ip_prefix:
        try:
            prefix = ipaddress.ip_network(rule.remote_ip_prefix, strict=False)
        except ValueError as error:
            raise BadRule(str(error)) from error
        if prefix.version != version:
            raise BadRule(f"{prefix} is not {rule.ethertype}")
    protocols = _protocol_matches(rule, version)
    return _Read(table, version, tuple(protocols), prefix, rule.remote_group_id or None)


def _protocol_number(text: str | None, version: int) -> int | None:
    if text is None or text.lower() in ("", "any", "0", "-1"):
        return None
    name = text.lower()
    number = PROTOCOLS.get(name)
    if number is None:
        if not name.isascii() or not name.isdigit() or int(name) > 255:
            raise BadRule(f"protocol {text!r}")
        number = int(name)
    return _ICMPV6 if number == _ICMP and version == 6 else number


def _protocol_matches(rule: SgRule, version: int) -> list[str]:
    number = _protocol_number(rule.protocol, version)
    low, high = rule.port_range_min, rule.port_range_max
    six = "6" if version == 6 else ""
    ip = "ipv6" if version == 6 else "ip"
    if number is None:
        # The API takes a range without a protocol only where it covers everything.
        if (low, high) not in ((None, None), (1, 65535), (0, 65535), (-1, -1)):
            raise BadRule(f"ports {low}..{high} without a protocol")
        return [ip]
    if number in (_ICMP, _ICMPV6):
        return [_icmp_match(number, low, high)]
    if number in _WITH_PORTS:
        name = _WITH_PORTS[number] + six
        low, high = _port_range(low, high)
        if (low, high) in ((0, 65535), (1, 65535)):
            return [name]
        return [f"{name},tp_dst={mask}" for mask in port_masks(low, high)]
    if low is not None or high is not None:
        raise BadRule(f"protocol {rule.protocol!r} has no ports here")
    return [f"{ip},nw_proto={number}"]


def _port_range(low: int | None, high: int | None) -> tuple[int, int]:
    if low is None and high is None:
        return 0, 65535
    low = 0 if low is None else low
    high = 65535 if high is None else high
    if not 0 <= low <= high <= 65535:
        raise BadRule(f"ports {low}..{high}")
    return low, high


def _icmp_match(number: int, kind: int | None, code: int | None) -> str:
    name = "icmp" if number == _ICMP else "icmp6"
    if kind in (None, -1):
        if code not in (None, -1):
            raise BadRule(f"ICMP code {code} without a type")
        return name
    for value in (kind, code):
        if value is not None and not -1 <= value <= 255:
            raise BadRule(f"ICMP type {kind}, code {code}")
    if code in (None, -1):
        return f"{name},icmp_type={kind}"
    return f"{name},icmp_type={kind},icmp_code={code}"


def _address_field(table: int, version: int) -> str:
    end = "src" if table == INGRESS_RULES else "dst"
    return f"{'nw' if version == 4 else 'ipv6'}_{end}"


def _text(net: Network) -> str:
    if net.prefixlen == 0:
        return ""
    return str(net.network_address if net.prefixlen == net.max_prefixlen else net)


def _on(field: str, address: str) -> str:
    return f",{field}={address}" if address else ""


def _conjunction_id(text: str, taken: set[int]) -> int:
    """Return a number that stays the same for the same text, and differs within a group."""
    number = hash_bits(text, 32)
    while number in taken:
        number = (number + 1) & 0xFFFFFFFF or 1
    taken.add(number)
    return number
