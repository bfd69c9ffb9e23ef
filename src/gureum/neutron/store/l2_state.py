"""What the L2 agent of a host has to make true, as rows say.

Every function takes the ids to build, or None for all of the host; what is asked for and not returned is
not wanted there any more.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from gureum.core.db import Tx
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
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import segments_of
from gureum.neutron.store.ports import ACTIVE, groups_of
from gureum.neutron.store.query import grouped
from gureum.neutron.store.security_groups import rules_of

TUNNELS = ("vxlan", "gre")
Ids = Collection[str] | None


class OnHost(NamedTuple):
    """What an agent of a host asks for, as statements made once: making one costs more than running it."""

    every: sa.Select[Any]
    some: sa.Select[Any]

    def of(self, tx: Tx, host: str, ids: Ids) -> Sequence[sa.Row[Any]]:
        """Return the rows of a host that have these ids, or all."""
        if ids is None:
            return tx.all(self.every, {"host": host})
        return tx.all(self.some, {"host": host, "ids": list(ids)}) if ids else ()


def on_host(every: sa.Select[Any], column: sa.ColumnElement[Any]) -> OnHost:
    """Return a statement with the parameter `host` for all of a host, and for some by a column."""
    ids = sa.bindparam("ids", expanding=True, type_=column.type)
    return OnHost(every.order_by(column), every.where(column.in_(ids)).order_by(column))


_BOUND_HERE = (
    sa.select(t.ports, t.port_bindings.c.vnic_type, t.port_bindings.c.profile)
    .join(t.port_bindings, t.port_bindings.c.port_id == t.ports.c.id)
    .where(
        t.port_bindings.c.host == sa.bindparam("host"),
        t.port_bindings.c.status == ACTIVE,
        t.port_bindings.c.vif_type != "binding_failed",
    )
)
_PORTS = on_host(_BOUND_HERE, t.ports.c.id)


def fixed_ips(tx: Tx, port_ids: Sequence[str]) -> dict[str, tuple[FixedIp, ...]]:
    """Return the addresses by port with the size of their subnets, in one query."""
    if not port_ids:
        return {}
    found: dict[str, tuple[FixedIp, ...]] = {}
    for row in tx.all(_FIXED_IPS, {"ids": port_ids}):
        ip = FixedIp(row.subnet_id, row.ip_address, int(row.cidr.rpartition("/")[2]))
        found[row.port_id] = (*found.get(row.port_id, ()), ip)
    return found


_FIXED_IPS = (
    sa.select(
        t.ip_allocations.c.port_id,
        t.ip_allocations.c.subnet_id,
        t.ip_allocations.c.ip_address,
        t.subnets.c.cidr,
    )
    .join(t.subnets, t.subnets.c.id == t.ip_allocations.c.subnet_id)
    .where(t.ip_allocations.c.port_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(t.ip_allocations.c.position, t.ip_allocations.c.ip_key)
)


def ports(tx: Tx, host: str, ids: Ids = None) -> tuple[L2Port, ...]:
    """Return the ports bound to a host."""
    rows = _PORTS.of(tx, host, ids)
    found = [row.id for row in rows]
    addresses, groups = fixed_ips(tx, found), groups_of(tx, found)
    return tuple(
        L2Port(
            id=row.id,
            network_id=row.network_id,
            mac_address=row.mac_address,
            fixed_ips=addresses.get(row.id, ()),
            allowed_address_pairs=tuple(
                AddressPair(pair["ip_address"], pair["mac_address"])
                for pair in row.allowed_address_pairs
            ),
            device_id=row.device_id,
            device_owner=row.device_owner,
            admin_state_up=row.admin_state_up,
            port_security_enabled=row.port_security_enabled,
            security_group_ids=tuple(groups.get(row.id, ())),
            vnic_type=row.vnic_type,
            binding_profile=row.profile,
        )
        for row in rows
    )


_NETWORKS = on_host(
    sa.select(t.networks.c.id, t.networks.c.mtu).where(
        t.networks.c.id.in_(_BOUND_HERE.with_only_columns(t.ports.c.network_id))
    ),
    t.networks.c.id,
)


def networks(tx: Tx, host: str, ids: Ids = None) -> tuple[L2Network, ...]:
    """Return the networks that have a port on a host."""
    rows = _NETWORKS.of(tx, host, ids)
    segments = segments_of(tx, [row.id for row in rows])
    out = []
    for row in rows:
        for segment in segments.get(row.id, ())[:1]:
            out.append(
                L2Network(
                    id=row.id,
                    type=segment.network_type,
                    mtu=row.mtu,
                    physical_network=segment.physical_network or None,
                    segmentation_id=segment.segmentation_id
                    if segment.network_type != "flat"
                    else None,
                )
            )
    return tuple(out)


_WORN = (
    sa.select(t.port_security_groups.c.security_group_id)
    .join(t.port_bindings, t.port_bindings.c.port_id == t.port_security_groups.c.port_id)
    .where(t.port_bindings.c.host == sa.bindparam("host"), t.port_bindings.c.status == ACTIVE)
)
_GROUPS = on_host(
    sa.select(t.security_groups.c.id, t.security_groups.c.stateful).where(
        t.security_groups.c.id.in_(_WORN)
    ),
    t.security_groups.c.id,
)


def security_groups(tx: Tx, host: str, ids: Ids = None) -> tuple[SecurityGroup, ...]:
    """Return the groups that ports of a host wear, with their rules."""
    rows = _GROUPS.of(tx, host, ids)
    rules = rules_of(tx, [row.id for row in rows])
    named = {r.remote_address_group_id for found in rules.values() for r in found} - {None}
    ranges = _address_groups(tx, named)
    return tuple(
        SecurityGroup(
            id=row.id,
            stateful=row.stateful,
            rules=tuple(sg for rule in rules.get(row.id, ()) for sg in _rules(rule, ranges)),
        )
        for row in rows
    )


def _address_groups(tx: Tx, ids: Collection[Any]) -> dict[str, list[str]]:
    if not ids:
        return {}
    c = t.address_groups.c
    return {
        row.id: row.addresses for row in tx.all(sa.select(c.id, c.addresses).where(c.id.in_(ids)))
    }


def _rules(rule: Any, ranges: dict[str, list[str]]) -> list[SgRule]:
    """Return a rule for the agent; one that names an address group is one for each address."""
    if rule.remote_address_group_id is None:
        return [_rule(rule, rule.id, rule.normalized_cidr)]
    version = 4 if rule.ethertype == "IPv4" else 6
    found = [
        cidr
        for cidr in ranges.get(rule.remote_address_group_id, ())
        if ipaddress.ip_network(cidr).version == version
    ]
    return [_rule(rule, f"{rule.id}:{cidr}", cidr) for cidr in found]


def _rule(rule: Any, rule_id: str, prefix: str | None) -> SgRule:
    protocol = rule.protocol
    return SgRule(
        id=rule_id,
        direction=rule.direction,
        ethertype=rule.ethertype,
        protocol=protocol,
        port_range_min=rule.port_range_min,
        port_range_max=rule.port_range_max,
        remote_ip_prefix=prefix,
        remote_group_id=rule.remote_group_id,
    )


_REMOTES = on_host(
    sa.select(t.security_group_rules.c.remote_group_id)
    .where(
        t.security_group_rules.c.security_group_id.in_(_WORN),
        t.security_group_rules.c.remote_group_id.is_not(None),
    )
    .distinct(),
    t.security_group_rules.c.remote_group_id,
)
_WORN_NOW = t.port_security_groups.c.security_group_id.in_(sa.bindparam("groups", expanding=True))
_ADDRESSES_OF = (
    sa.select(t.port_security_groups.c.security_group_id, t.ip_allocations.c.ip_address)
    .join(t.ip_allocations, t.ip_allocations.c.port_id == t.port_security_groups.c.port_id)
    .where(_WORN_NOW)
)
_PAIRS_OF = (
    sa.select(t.port_security_groups.c.security_group_id, t.ports.c.allowed_address_pairs)
    .join(t.ports, t.ports.c.id == t.port_security_groups.c.port_id)
    .where(_WORN_NOW, sa.cast(t.ports.c.allowed_address_pairs, sa.Text) != "[]")
)


def members(tx: Tx, host: str, ids: Ids = None) -> tuple[SgMembers, ...]:
    """Return the addresses of the groups that rules on a host name as their remote."""
    groups = [row.remote_group_id for row in _REMOTES.of(tx, host, ids)]
    if not groups:
        return ()
    found: dict[str, set[str]] = {group: set() for group in groups}
    for row in tx.all(_ADDRESSES_OF, {"groups": groups}):
        found[row.security_group_id].add(row.ip_address)
    for row in tx.all(_PAIRS_OF, {"groups": groups}):
        found[row.security_group_id].update(
            pair["ip_address"] for pair in row.allowed_address_pairs
        )
    return tuple(SgMembers(group, tuple(sorted(found[group]))) for group in groups)


_ELSEWHERE = (
    sa.select(t.ports.c.id, t.ports.c.network_id, t.ports.c.mac_address, t.port_bindings.c.host)
    .join(t.port_bindings, t.port_bindings.c.port_id == t.ports.c.id)
    .where(
        t.ports.c.network_id.in_(sa.bindparam("networks", expanding=True)),
        t.port_bindings.c.status == ACTIVE,
        t.port_bindings.c.host != "",
        t.port_bindings.c.host != sa.bindparam("host"),
        t.port_bindings.c.vif_type != "binding_failed",
    )
    .order_by(t.ports.c.id)
)


def tunnels(tx: Tx, host: str, ids: Ids = None) -> tuple[NetworkTunnels, ...]:
    """Return where the other ports of a host's tunnelled networks live."""
    wanted = [network.id for network in networks(tx, host, ids) if network.type in TUNNELS]
    if not wanted:
        return ()
    rows = tx.all(_ELSEWHERE, {"networks": wanted, "host": host})
    vteps = _vteps(tx, {row.host for row in rows})
    addresses = fixed_ips(tx, [row.id for row in rows])
    by_network = grouped([row for row in rows if row.host in vteps], "network_id")
    return tuple(
        NetworkTunnels(
            id=network,
            vteps=tuple(sorted({vteps[row.host] for row in by_network.get(network, ())})),
            entries=tuple(
                FdbEntry(
                    row.mac_address,
                    vteps[row.host],
                    tuple(ip.ip_address for ip in addresses.get(row.id, ())),
                )
                for row in by_network.get(network, ())
            ),
        )
        for network in sorted(wanted)
    )


def _vteps(tx: Tx, hosts: Collection[str]) -> dict[str, str]:
    if not hosts:
        return {}
    c = t.agents.c
    found: dict[str, str] = {}
    for row in tx.all(sa.select(c.host, c.configurations).where(c.host.in_(hosts))):
        address = row.configurations.get("tunneling_ip")
        if address:
            found[row.host] = address
    return found
