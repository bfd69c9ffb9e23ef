"""Rows of RBAC policies, and who uses what they open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    object_id = policy["object_id"]
    find: list[tuple[str, sa.Select[Any]]] = []
    p = t.ports.c
    if policy["action"] == "access_as_external":
        gateways = sa.select(t.routers.c.id).join(t.ports, p.id == t.routers.c.gateway_port_id)
        find.append(
            ("routers", gateways.where(p.network_id == object_id, lost(t.routers.c.project_id)))
        )
        f = t.floatingips.c
        find.append(
            (
                "floating IPs",
                sa.select(f.id).where(f.floating_network_id == object_id, lost(f.project_id)),
            )
        )
    elif policy["object_type"] == "network":
        find.append(
            (
                "ports",
                sa.select(p.id).where(
                    p.network_id == object_id,
                    p.device_owner.not_in(_OF_THE_CLOUD),
                    lost(p.project_id),
                ),
            )
        )
        s = t.subnets.c
        find.append(
            ("subnets", sa.select(s.id).where(s.network_id == object_id, lost(s.project_id)))
        )
    elif policy["object_type"] == "subnetpool":
        s = t.subnets.c
        find.append(
            ("subnets", sa.select(s.id).where(s.subnetpool_id == object_id, lost(s.project_id)))
        )
    elif policy["object_type"] == "address_scope":
        s = t.subnetpools.c
        find.append(
            (
                "subnet pools",
                sa.select(s.id).where(s.address_scope_id == object_id, lost(s.project_id)),
            )
        )
    elif policy["object_type"] == "security_group":
        worn = t.port_security_groups.c
        ports = sa.select(p.id).join(t.port_security_groups, worn.port_id == p.id)
        find.append(("ports", ports.where(worn.security_group_id == object_id, lost(p.project_id))))
        r = t.security_group_rules.c
        find.append(
            ("rules", sa.select(r.id).where(r.remote_group_id == object_id, lost(r.project_id)))
        )
    elif policy["object_type"] == "address_group":
        r = t.security_group_rules.c
        find.append(
            (
                "rules",
                sa.select(r.id).where(r.remote_address_group_id == object_id, lost(r.project_id)),
            )
        )
    for name, statement in find:
        if tx.first(statement) is not None:
            return name
    return ""
