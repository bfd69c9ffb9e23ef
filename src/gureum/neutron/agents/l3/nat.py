"""The address translation of one router as nftables objects. Pure.

Owns: chains, rules and maps of table `inet gureum` in a router namespace, and the batch that leads from
what is there to what is wanted. Must not: run anything.
Follows: libnftables-json(5), nft(8).

A floating IP is one element in two maps, so its coming and going changes no rule; rules carry a hash of
themselves as comment, by which a later pass sees whether a chain is as wanted.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gureum.neutron.agents.contract import FloatingIp, PortForwarding, Router
from gureum.neutron.agents.l3.plan import (
    GATEWAY_PREFIX,
    INTERNAL_PREFIX,
    device_name,
    gateway_ipv4,
)
from gureum.neutron.agents.plumbing.proxy import METADATA_IPV4, METADATA_PORT

FAMILY = "inet"
TABLE = "gureum"
DNAT_MAP = "floating_to_fixed"
SNAT_MAP = "fixed_to_floating"
_FROM_OUTSIDE = 0x2
_TO_METADATA = 0x1
_MAX_FORWARDED_PORTS = 1024

_CHAINS: dict[str, dict[str, Any]] = {
    "mark": {"type": "filter", "hook": "prerouting", "prio": -150, "policy": "accept"},
    "before_routing": {"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"},
    "own_output": {"type": "nat", "hook": "output", "prio": -100, "policy": "accept"},
    "after_routing": {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"},
    "own_input": {"type": "filter", "hook": "input", "prio": 0, "policy": "accept"},
}

Expr = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NatTable:
    """Wanted or found content: rules by chain (in order), elements by map."""

    chains: dict[str, list[list[Expr]]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundTable:
    """What `nft list` shows: the comments of each chain's rules, and the elements of the maps."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)


# --- wanted ----------------------------------------------------------------------------------------


def wanted(router: Router, metadata_port: int | None) -> NatTable:
    """Return the table of a router; `metadata_port` is None when no proxy is wanted."""
    outside = device_name(GATEWAY_PREFIX, router.gateway.id) if router.gateway else None
    chains: dict[str, list[list[Expr]]] = {name: [] for name in _CHAINS}
    maps: dict[str, dict[str, str]] = {DNAT_MAP: {}, SNAT_MAP: {}}
    if metadata_port is not None:
        asked = _metadata_match()
        chains["mark"].append([*asked, _set_mark(_TO_METADATA)])
        chains["before_routing"].append([*asked, {"redirect": {"port": metadata_port}}])
        chains["own_input"].append(
            [
                _match(_field("tcp", "dport"), metadata_port),
                _match(_meta("mark"), _TO_METADATA, "!="),
                {"drop": None},
            ]
        )
    if outside is not None:
        chains["mark"].append([_match(_meta("iifname"), outside), _set_mark(_FROM_OUTSIDE)])
        for floating in router.floating_ips:
            _add_floating(floating, chains, maps)
        by_map = {"dnat": {"family": "ip", "addr": _lookup("daddr", DNAT_MAP)}}
        chains["before_routing"].append([by_map])
        chains["own_output"].append([by_map])
        chains["after_routing"] = _after_routing(router, outside)
    return NatTable(chains, maps)


def _after_routing(router: Router, outside: str) -> list[list[Expr]]:
    """Hide what leaves; and what turns round inside after a floating IP (else answers bypass us)."""
    not_out = _match(_meta("oifname"), outside, "!=")
    rules: list[list[Expr]] = [
        [not_out, _match({"ct": {"key": "status"}}, "dnat", "!in"), {"accept": None}],
        [not_out, _match(_meta("mark"), _FROM_OUTSIDE), {"accept": None}],
        [{"snat": {"family": "ip", "addr": _lookup("saddr", SNAT_MAP)}}],
    ]
    own = gateway_ipv4(router)
    if own is not None:
        hide: Expr = {"snat": {"family": "ip", "addr": own}}
        if router.enable_snat:
            rules.append(
                [_match(_meta("oifname"), outside), _match(_meta("nfproto"), "ipv4"), hide]
            )
        rules.append([not_out, _match({"ct": {"key": "status"}}, "dnat", "in"), hide])
    return rules


def _add_floating(
    floating: FloatingIp, chains: dict[str, list[list[Expr]]], maps: dict[str, dict[str, str]]
) -> None:
    if floating.fixed_ip_address:
        maps[DNAT_MAP][floating.floating_ip_address] = floating.fixed_ip_address
        maps[SNAT_MAP].setdefault(floating.fixed_ip_address, floating.floating_ip_address)
        return
    for forwarding in floating.port_forwardings:
        for outer, inner in forwarded_ports(forwarding):
            rule = [
                _match(_field("ip", "daddr"), floating.floating_ip_address),
                _match(_field(forwarding.protocol, "dport"), outer),
                {
                    "dnat": {
                        "family": "ip",
                        "addr": forwarding.internal_ip_address,
                        "port": inner,
                    }
                },
            ]
            chains["before_routing"].append(rule)
            chains["own_output"].append(rule)


def forwarded_ports(forwarding: PortForwarding) -> list[tuple[int, int]]:
    """Return pairs of external and internal port; ranges of different length give nothing."""
    outer, inner = _ports(forwarding.external_port), _ports(forwarding.internal_port)
    if len(inner) == 1:
        inner = inner * len(outer)
    if len(outer) != len(inner) or len(outer) > _MAX_FORWARDED_PORTS:
        return []
    return list(zip(outer, inner, strict=True))


def _ports(text: str) -> list[int]:
    first, _, last = str(text).partition(":")
    return list(range(int(first), int(last or first) + 1))


def _metadata_match() -> list[Expr]:
    return [
        _match(_meta("iifname"), f"{INTERNAL_PREFIX}*"),
        _match(_field("ip", "daddr"), METADATA_IPV4),
        _match(_field("tcp", "dport"), METADATA_PORT),
    ]


def _match(left: Expr, right: Any, op: str = "==") -> Expr:
    if op == "!in":
        # nft prints and takes "no bit of the mask is set" as an explicit mask.
        return {"match": {"op": "==", "left": {"&": [left, right]}, "right": 0}}
    return {"match": {"op": op, "left": left, "right": right}}


def _meta(key: str) -> Expr:
    return {"meta": {"key": key}}


def _field(protocol: str, name: str) -> Expr:
    return {"payload": {"protocol": protocol, "field": name}}


def _lookup(name: str, map_name: str) -> Expr:
    return {"map": {"key": _field("ip", name), "data": f"@{map_name}"}}


def _set_mark(value: int) -> Expr:
    return {"mangle": {"key": _meta("mark"), "value": value}}


# --- differences -----------------------------------------------------------------------------------


def rule_tag(rule: Sequence[Expr]) -> str:
    """Return the comment by which a rule is known again."""
    return hashlib.sha256(json.dumps(rule, sort_keys=True).encode()).hexdigest()[:20]


def parse(listing: dict[str, Any]) -> FoundTable | None:
    """Read our table from `nft -j list ruleset`; None when it is not there."""
    ours = [entry for entry in listing.get("nftables", ()) if _is_ours(entry)]
    if not ours:
        return None
    found = FoundTable()
    for entry in ours:
        if chain := entry.get("chain"):
            found.chains.setdefault(chain["name"], [])
        elif rule := entry.get("rule"):
            found.chains.setdefault(rule["chain"], []).append(rule.get("comment", ""))
        elif mapping := entry.get("map"):
            pairs = mapping.get("elem", ())
            found.maps[mapping["name"]] = {str(key): str(value) for key, value in pairs}
    return found


def _is_ours(entry: dict[str, Any]) -> bool:
    for kind, value in entry.items():
        if kind == "table":
            return bool(value["family"] == FAMILY and value["name"] == TABLE)
        return bool(value.get("family") == FAMILY and value.get("table") == TABLE)
    return False


def batch(found: FoundTable | None, want: NatTable) -> list[dict[str, Any]]:
    """Return the commands that lead from found to wanted, to be applied as one; empty when equal."""
    commands: list[dict[str, Any]] = []
    if found is None:
        commands.append({"add": {"table": {"family": FAMILY, "name": TABLE}}})
        found = FoundTable()
    for name, elements in want.maps.items():
        commands += _map_commands(name, elements, found.maps.get(name))
    for name, rules in want.chains.items():
        commands += _chain_commands(name, rules, found.chains.get(name))
    return commands


def gone(found: FoundTable | None, want: NatTable) -> set[str]:
    """Return the floating addresses that no longer lead where they led."""
    if found is None:
        return set()
    before, after = found.maps.get(DNAT_MAP, {}), want.maps[DNAT_MAP]
    return {outer for outer, inner in before.items() if after.get(outer) != inner}


def _map_commands(
    name: str, elements: dict[str, str], found: dict[str, str] | None
) -> list[dict[str, Any]]:
    commands: list[dict[str, Any]] = []
    where = {"family": FAMILY, "table": TABLE, "name": name}
    if found is None:
        commands.append({"add": {"map": {**where, "type": "ipv4_addr", "map": "ipv4_addr"}}})
        found = {}
    stale = [[key, value] for key, value in found.items() if elements.get(key) != value]
    fresh = [[key, value] for key, value in elements.items() if found.get(key) != value]
    if stale:
        commands.append({"delete": {"element": {**where, "elem": _sorted(stale)}}})
    if fresh:
        commands.append({"add": {"element": {**where, "elem": _sorted(fresh)}}})
    return commands


def _sorted(pairs: Iterable[list[str]]) -> list[list[str]]:
    return sorted(pairs)


def _chain_commands(
    name: str, rules: list[list[Expr]], found: list[str] | None
) -> list[dict[str, Any]]:
    tags = [rule_tag(rule) for rule in rules]
    if found == tags:
        return []
    commands: list[dict[str, Any]] = []
    where = {"family": FAMILY, "table": TABLE, "name": name}
    if found is None:
        commands.append({"add": {"chain": {**where, **_CHAINS[name]}}})
    else:
        # Emptied and refilled in one transaction: no packet sees it empty.
        commands.append({"flush": {"chain": where}})
    for rule, tag in zip(rules, tags, strict=True):
        commands.append(
            {
                "add": {
                    "rule": {
                        "family": FAMILY,
                        "table": TABLE,
                        "chain": name,
                        "expr": rule,
                        "comment": tag,
                    }
                }
            }
        )
    return commands
