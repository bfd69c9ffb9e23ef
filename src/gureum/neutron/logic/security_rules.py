"""Security group rules as a typed model, checked before they are stored.

Owns: what a rule may say (protocols by name or number, port ranges, ICMP type and code, families) and
when two rules are the same. Agents get nothing that did not pass here.
Follows: Network API v2.0, "Security group rules"; IANA protocol numbers.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Tx
from gureum.core.spec import Struct
from gureum.neutron.errors_pools import AddressGroupNotFound
from gureum.neutron.errors_security import (
    SecurityGroupEthertypeConflictWithProtocol,
    SecurityGroupInvalidIcmpValue,
    SecurityGroupInvalidPortRange,
    SecurityGroupInvalidPortValue,
    SecurityGroupInvalidProtocolForPort,
    SecurityGroupMissingIcmpType,
    SecurityGroupRemoteGroupAndRemoteIpPrefix,
    SecurityGroupRuleExists,
    SecurityGroupRuleInvalidProtocol,
    SecurityGroupRuleParameterConflict,
)
from gureum.neutron.logic import quota
from gureum.neutron.store import changes, rows
from gureum.neutron.store import security_groups as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.default_rules import PARENT
from gureum.neutron.store.query import View, load_row, reload

PROTOCOLS: Mapping[str, int] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
_OLD_NAMES = {"icmpv6": "ipv6-icmp"}
_WITH_PORTS = {"tcp", "udp", "udplite", "sctp", "dccp", "6", "17", "136", "132", "33"}
_ICMP = {"icmp", "ipv6-icmp", "icmpv6", "1", "58"}
_ONLY_IPV6 = {
    "ipv6-encap",
    "ipv6-frag",
    "ipv6-icmp",
    "icmpv6",
    "ipv6-nonxt",
    "ipv6-opts",
    "ipv6-route",
    "41",
    "44",
    "58",
    "59",
    "60",
    "43",
}


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """What a rule says. None means any. For ICMP the ports are type and code."""

    direction: str
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None

    @property
    def normalized_cidr(self) -> str | None:
        """The remote prefix without host bits."""
        if self.remote_ip_prefix is None:
            return None
        return str(ipaddress.ip_network(self.remote_ip_prefix, strict=False))

    def fingerprint(self) -> str:
        """Return what two rules of one group must not share."""
        protocol = self.protocol
        if protocol is not None and protocol in PROTOCOLS:
            protocol = str(PROTOCOLS[protocol])
        prefix = self.normalized_cidr
        if prefix in ("0.0.0.0/0", "::/0"):
            prefix = None
        same = replace(self, protocol=protocol, remote_ip_prefix=prefix)
        return hashlib.sha256(repr(astuple(same)).encode()).hexdigest()


def spec_of(new: Struct) -> RuleSpec:
    """Return a checked rule. Raises: the errors of this module's imports."""
    spec = RuleSpec(
        direction=new.get("direction"),
        ethertype=new.get("ethertype") or "IPv4",
        protocol=_protocol(new.get("protocol")),
        port_range_min=new.get("port_range_min"),
        port_range_max=new.get("port_range_max"),
        remote_ip_prefix=new.get("remote_ip_prefix"),
        remote_group_id=new.get("remote_group_id"),
        remote_address_group_id=new.get("remote_address_group_id"),
    )
    remotes = (spec.remote_ip_prefix, spec.remote_group_id, spec.remote_address_group_id)
    if sum(remote is not None for remote in remotes) > 1:
        raise SecurityGroupRemoteGroupAndRemoteIpPrefix()
    if spec.protocol in _ONLY_IPV6 and spec.ethertype == "IPv4":
        raise SecurityGroupEthertypeConflictWithProtocol(
            ethertype=spec.ethertype, protocol=spec.protocol
        )
    _check_family(spec)
    _check_ports(spec)
    return spec


def spec_of_row(row: Any, group_id: str | None = None) -> RuleSpec:
    """Return the rule of a row; group_id: what PARENT stands for."""
    remote = row.remote_group_id
    return RuleSpec(
        direction=row.direction,
        ethertype=row.ethertype,
        protocol=row.protocol,
        port_range_min=row.port_range_min,
        port_range_max=row.port_range_max,
        remote_ip_prefix=row.remote_ip_prefix,
        remote_group_id=group_id if remote == PARENT and group_id else remote,
        remote_address_group_id=row.remote_address_group_id,
    )


def _protocol(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value).lower()
    if text in ("", "any"):
        return None
    if text.isdigit() and text.isascii():
        number = int(text)
        if not 0 <= number <= 255:
            raise SecurityGroupRuleInvalidProtocol(protocol=value)
        return str(number) if number else None
    if text in PROTOCOLS or text in _OLD_NAMES:
        return text
    raise SecurityGroupRuleInvalidProtocol(protocol=value)


def _check_family(spec: RuleSpec) -> None:
    if spec.remote_ip_prefix is None:
        return
    version = ipaddress.ip_network(spec.remote_ip_prefix, strict=False).version
    if f"IPv{version}" != spec.ethertype:
        raise SecurityGroupRuleParameterConflict(
            ethertype=spec.ethertype, cidr=spec.remote_ip_prefix
        )


def _check_ports(spec: RuleSpec) -> None:
    low, high = spec.port_range_min, spec.port_range_max
    if low is None and high is None:
        return
    if spec.protocol in _ICMP:
        for value, attr, field in (
            (low, "port_range_min", "type"),
            (high, "port_range_max", "code"),
        ):
            if value is not None and not 0 <= value <= 255:
                raise SecurityGroupInvalidIcmpValue(field=field, attr=attr, value=value)
        if low is None:
            raise SecurityGroupMissingIcmpType(value=high)
        return
    if spec.protocol not in _WITH_PORTS:
        raise SecurityGroupInvalidProtocolForPort(protocol=spec.protocol)
    for value in (low, high):
        if value is not None and not 0 <= value <= 65535:
            raise SecurityGroupInvalidPortValue(port=value)
    if low is None or high is None or low > high or low == 0:
        raise SecurityGroupInvalidPortRange()


def write(tx: Tx, group_id: str, project_id: str, spec: RuleSpec, description: str = "") -> str:
    """Write a checked rule; returns its id. Raises: SecurityGroupRuleExists."""
    fingerprint = spec.fingerprint()
    c = t.security_group_rules.c
    same = tx.scalar(
        sa.select(c.id).where(c.security_group_id == group_id, c.fingerprint == fingerprint)
    )
    if same is not None:
        raise SecurityGroupRuleExists(rule_id=same)
    try:
        return rows.insert(
            tx,
            t.security_group_rules,
            security_group_id=group_id,
            project_id=project_id,
            name="",
            description=description,
            direction=spec.direction,
            ethertype=spec.ethertype,
            protocol=spec.protocol,
            port_range_min=spec.port_range_min,
            port_range_max=spec.port_range_max,
            remote_ip_prefix=spec.remote_ip_prefix,
            normalized_cidr=spec.normalized_cidr,
            remote_group_id=spec.remote_group_id,
            remote_address_group_id=spec.remote_address_group_id,
            fingerprint=fingerprint,
        )
    except Conflict:
        raise SecurityGroupRuleExists(rule_id="") from None


def create(ctx: Context, tx: Tx, new: Struct, group: Mapping[str, Any], project_id: str) -> View:
    """Add a rule to a group. Raises: OverQuota, SecurityGroupRuleExists, and those of spec_of."""
    spec = spec_of(new)
    if spec.remote_group_id is not None:
        load_row(ctx, tx, store.SECURITY_GROUP, spec.remote_group_id)
    if spec.remote_address_group_id is not None:
        from gureum.neutron.store.address_groups import ADDRESS_GROUP

        if load_row(ctx, tx, ADDRESS_GROUP, spec.remote_address_group_id) is None:
            raise AddressGroupNotFound(id=spec.remote_address_group_id)
    quota.check(ctx, tx, project_id, "security_group_rule")
    rule_id = write(tx, group["id"], project_id, spec, new.get("description", "") or "")
    rows.touch(tx, t.security_groups, group["id"])
    changes.note(tx, changes.group_items(tx, group["id"]))
    return reload(ctx, tx, store.RULE, rule_id)


def delete(ctx: Context, tx: Tx, rule: Mapping[str, Any]) -> None:
    """Delete a rule."""
    rows.check_revision(ctx, rule)
    group_id = rule["security_group_id"]
    items = changes.group_items(tx, group_id)
    tx.delete_by(t.security_group_rules.c.id, rule["id"])
    rows.forget(tx, rule["id"])
    rows.touch(tx, t.security_groups, group_id)
    changes.note(tx, items)
