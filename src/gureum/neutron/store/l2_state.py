"""What the L2 agent of a host has to make true, as rows say.

Every function takes the ids to build, or None for all of the host; what is asked for and not returned is
not wanted there any more.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any

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


def _on_host(host: str) -> sa.Select[Any]:
    b = t.port_bindings.c
    return (
        sa.select(t.ports, b.vnic_type, b.profile)
        .join(t.port_bindings, b.port_id == t.ports.c.id)
        .where(b.host == host, b.status == ACTIVE, b.vif_type != "binding_failed")
    )


def fixed_ips(tx: Tx, port_ids: Sequence[str]) -> dict[str, tuple[FixedIp, ...]]:
    """Return the addresses by port with the size of their subnets, in one query."""
    if not port_ids:
        return {}
    a = t.ip_allocations.c
    statement = (
        sa.select(a.port_id, a.subnet_id, a.ip_address, t.subnets.c.cidr)
        .join(t.subnets, t.subnets.c.id == a.subnet_id)
        .where(a.port_id.in_(port_ids))
        .order_by(a.position, a.ip_key)
    )
    return {
        port_id: tuple(
            FixedIp(row.subnet_id, row.ip_address, ipaddress.ip_network(row.cidr).prefixlen)
            for row in rows
        )
        for port_id, rows in grouped(tx.all(statement), "port_id").items()
    }


def ports(tx: Tx, host: str, ids: Ids = None) -> tuple[L2Port, ...]:
    """Return the ports bound to a host."""
    statement = _on_host(host)
    if ids is not None:
        statement = statement.where(t.ports.c.id.in_(ids))
    rows = tx.all(statement.order_by(t.ports.c.id))
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


def networks(tx: Tx, host: str, ids: Ids = None) -> tuple[L2Network, ...]:
    """Return the networks that have a port on a host."""
    wanted = _on_host(host).with_only_columns(t.ports.c.network_id)
    statement = sa.select(t.networks.c.id, t.networks.c.mtu).where(t.networks.c.id.in_(wanted))
    if ids is not None:
        statement = statement.where(t.networks.c.id.in_(ids))
    rows = tx.all(statement.order_by(t.networks.c.id))
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


def _worn(host: str) -> sa.Select[Any]:
    worn = t.port_security_groups.c
    return (
        sa.select(worn.security_group_id)
        .join(t.port_bindings, t.port_bindings.c.port_id == worn.port_id)
        .where(t.port_bindings.c.host == host, t.port_bindings.c.status == ACTIVE)
    )


def security_groups(tx: Tx, host: str, ids: Ids = None) -> tuple[SecurityGroup, ...]:
    """Return the groups that ports of a host wear, with their rules."""
    c = t.security_groups.c
    statement = sa.select(c.id, c.stateful).where(c.id.in_(_worn(host)))
    if ids is not None:
        statement = statement.where(c.id.in_(ids))
    rows = tx.all(statement.order_by(c.id))
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


def members(tx: Tx, host: str, ids: Ids = None) -> tuple[SgMembers, ...]:
    """Return the addresses of the groups that rules on a host name as their remote."""
    r = t.security_group_rules.c
    statement = sa.select(r.remote_group_id).where(
        r.security_group_id.in_(_worn(host)), r.remote_group_id.is_not(None)
    )
    if ids is not None:
        statement = statement.where(r.remote_group_id.in_(ids))
    groups = sorted({row.remote_group_id for row in tx.all(statement)})
    if not groups:
        return ()
    worn = t.port_security_groups.c
    found: dict[str, set[str]] = {group: set() for group in groups}
    addresses = (
        sa.select(worn.security_group_id, t.ip_allocations.c.ip_address)
        .join(t.ip_allocations, t.ip_allocations.c.port_id == worn.port_id)
        .where(worn.security_group_id.in_(groups))
    )
    for row in tx.all(addresses):
        found[row.security_group_id].add(row.ip_address)
    pairs = (
        sa.select(worn.security_group_id, t.ports.c.allowed_address_pairs)
        .join(t.ports, t.ports.c.id == worn.port_id)
        .where(
            worn.security_group_id.in_(groups),
            sa.cast(t.ports.c.allowed_address_pairs, sa.Text) != "[]",
        )
    )
    for row in tx.all(pairs):
        found[row.security_group_id].update(
            pair["ip_address"] for pair in row.allowed_address_pairs
        )
    return tuple(SgMembers(group, tuple(sorted(found[group]))) for group in groups)


def tunnels(tx: Tx, host: str, ids: Ids = None) -> tuple[NetworkTunnels, ...]:
    """Return where the other ports of a host's tunnelled networks live."""
    wanted = [network.id for network in networks(tx, host, ids) if network.type in TUNNELS]
    if not wanted:
        return ()
    b, p = t.port_bindings.c, t.ports.c
    statement = (
        sa.select(p.id, p.network_id, p.mac_address, b.host)
        .join(t.port_bindings, b.port_id == p.id)
        .where(
            p.network_id.in_(wanted),
            b.status == ACTIVE,
            b.host.not_in(("", host)),
            b.vif_type != "binding_failed",
        )
        .order_by(p.id)
    )
    rows = tx.all(statement)
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
