"""Quotas: defaults, a project's own limits, and counting in the creating transaction.

Nothing keeps a counter; what exists is counted when more is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Stale, Tx
from gureum.neutron.errors import OverQuota
from gureum.neutron.store import tables as t

COUNTED: Mapping[str, sa.Table] = {
    "network": t.networks,
    "subnet": t.subnets,
    "subnetpool": t.subnetpools,
    "port": t.ports,
    "router": t.routers,
    "floatingip": t.floatingips,
    "security_group": t.security_groups,
    "security_group_rule": t.security_group_rules,
    "rbac_policy": t.rbac_policies,
    "address_group": t.address_groups,
}


_LIMIT = sa.select(t.quotas.c.amount).where(
    t.quotas.c.project_id == sa.bindparam("project"),
    t.quotas.c.resource == sa.bindparam("resource"),
)
_COUNTS = {
    name: sa.select(sa.func.count())
    .select_from(table)
    .where(table.c.project_id == sa.bindparam("project"))
    for name, table in COUNTED.items()
}


def defaults(tx: Tx) -> dict[str, int]:
    """Return the configured limits."""
    options = tx.deps.quotas
    return {name: getattr(options, f"quota_{name}") for name in COUNTED}


def limits(tx: Tx, project_id: str) -> dict[str, int]:
    """Return the limits of a project."""
    found = defaults(tx)
    for row in tx.all(sa.select(t.quotas).where(t.quotas.c.project_id == project_id)):
        if row.resource in found:
            found[row.resource] = row.amount
    return found


def used(tx: Tx, project_id: str, resource: str) -> int:
    """Count what a project has."""
    return int(tx.scalar(_COUNTS[resource], {"project": project_id}))


def check(ctx: Context, tx: Tx, project_id: str, resource: str, more: int = 1) -> None:
    """Refuse what would go over the limit. Raises: OverQuota."""
    if not project_id:
        return
    limit = tx.scalar(_LIMIT, {"project": project_id, "resource": resource})
    if limit is None:
        limit = getattr(tx.deps.quotas, f"quota_{resource}")
    if limit < 0:
        return
    _take_turn(tx, project_id, resource)
    if used(tx, project_id, resource) + more > limit:
        raise OverQuota(resource=resource)


def _take_turn(tx: Tx, project_id: str, resource: str) -> None:
    """Let one transaction at a time count (SQLite has one writer anyway). Raises: Stale."""
    if tx.connection.dialect.name == "sqlite":
        return
    gates = t.quota_gates
    mine = sa.and_(gates.c.project_id == project_id, gates.c.resource == resource)
    if tx.update(gates, mine, entered=gates.c.entered + 1):
        return
    try:
        tx.insert(gates, project_id=project_id, resource=resource, entered=1)
    except Conflict as error:
        raise Stale("two first counts of one quota met") from error
