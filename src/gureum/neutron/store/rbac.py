"""Rows of RBAC policies, and who uses what they open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_pools import RbacPolicyNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import Noun, View, own

_OF_THE_CLOUD = ("network:dhcp", "network:floatingip", "network:router_gateway")


def views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
    """Return policies with both names of the owner."""
    return [{**row._mapping, "tenant_id": row.project_id} for row in rows]


RBAC = Noun(
    t.rbac_policies,
    "rbac_policy",
    "rbac_policies",
    RbacPolicyNotFound,
    own(t.rbac_policies),
    views,
    has_tags=False,
)


def reload(tx: Tx, policy_id: str) -> View:
    """Return a policy just written."""
    row = tx.by(t.rbac_policies.c.id, policy_id)
    if row is None:
        raise RbacPolicyNotFound(id=policy_id)
    return {**row._mapping, "tenant_id": row.project_id}


def _still_open(policy: Mapping[str, Any]) -> sa.Select[Any]:
    c = t.rbac_policies.c
    return sa.select(c.target_tenant).where(
        c.object_id == policy["object_id"],
        c.action == policy["action"],
        c.id != policy["id"],
    )


Lost = Callable[[sa.ColumnElement[Any]], sa.ColumnElement[bool]]
"""From the column of an owner to: whether it would lose what the policy gives."""
Users = list[tuple[str, sa.Select[Any]]]
"""What stands on a shared thing: its name for people, and the query that finds one."""


def uses(tx: Tx, policy: Mapping[str, Any], owner: str, instead: str = "") -> str:
    """Return what would lose its ground if a policy went, or became one for `instead`."""
    open_to = {row.target_tenant for row in tx.all(_still_open(policy))}
    if instead:
        open_to.add(instead)
    if "*" in open_to:
        return ""
    target = policy["target_tenant"]
    keep = {owner, "", *open_to}
    if target != "*" and target in keep:
        return ""

    def lost(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        gone = column.not_in(keep)
        return gone if target == "*" else sa.and_(gone, column == target)

    outside = policy["action"] == "access_as_external"
    find = _users_of_outside if outside else _USERS.get(policy["object_type"])
    for name, statement in find(policy["object_id"], lost) if find is not None else ():
        if tx.first(statement) is not None:
            return name
    return ""


def _users_of_outside(network_id: str, lost: Lost) -> Users:
    p, f = t.ports.c, t.floatingips.c
    gateways = sa.select(t.routers.c.id).join(t.ports, p.id == t.routers.c.gateway_port_id)
    floating = sa.select(f.id).where(f.floating_network_id == network_id, lost(f.project_id))
    return [
        ("routers", gateways.where(p.network_id == network_id, lost(t.routers.c.project_id))),
        ("floating IPs", floating),
    ]


def _users_of_network(network_id: str, lost: Lost) -> Users:
    p, s = t.ports.c, t.subnets.c
    guests = p.device_owner.not_in(_OF_THE_CLOUD)
    return [
        ("ports", sa.select(p.id).where(p.network_id == network_id, guests, lost(p.project_id))),
        ("subnets", sa.select(s.id).where(s.network_id == network_id, lost(s.project_id))),
    ]


def _users_of_subnetpool(pool_id: str, lost: Lost) -> Users:
    s = t.subnets.c
    return [("subnets", sa.select(s.id).where(s.subnetpool_id == pool_id, lost(s.project_id)))]


def _users_of_address_scope(scope_id: str, lost: Lost) -> Users:
    s = t.subnetpools.c
    pools = sa.select(s.id).where(s.address_scope_id == scope_id, lost(s.project_id))
    return [("subnet pools", pools)]


def _users_of_security_group(group_id: str, lost: Lost) -> Users:
    p, r, worn = t.ports.c, t.security_group_rules.c, t.port_security_groups.c
    ports = sa.select(p.id).join(t.port_security_groups, worn.port_id == p.id)
    return [
        ("ports", ports.where(worn.security_group_id == group_id, lost(p.project_id))),
        ("rules", sa.select(r.id).where(r.remote_group_id == group_id, lost(r.project_id))),
    ]


def _users_of_address_group(group_id: str, lost: Lost) -> Users:
    r = t.security_group_rules.c
    rules = sa.select(r.id).where(r.remote_address_group_id == group_id, lost(r.project_id))
    return [("rules", rules)]


_USERS: dict[str, Callable[[str, Lost], Users]] = {
    "network": _users_of_network,
    "subnetpool": _users_of_subnetpool,
    "address_scope": _users_of_address_scope,
    "security_group": _users_of_security_group,
    "address_group": _users_of_address_group,
}
