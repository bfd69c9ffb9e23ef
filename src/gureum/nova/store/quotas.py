"""Quota limits and the counting of what they limit: all of it in nova_api.

Nothing is kept in counters. Who counts in order to write enters the owner's gate first: a row that every
such transaction changes, so that two of them never count side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.errors import Conflict, Unavailable
from gureum.nova.store.tables import (
    quota_classes,
    quota_gates,
    quotas,
    server_group_members,
    server_groups,
    server_mappings,
)

_ENTER = (
    sa.update(quota_gates)
    .where(quota_gates.c.owner == sa.bindparam("who"))
    .values(generation=quota_gates.c.generation + 1)
)
_LIMITS = sa.select(quotas.c.user_id, quotas.c.resource, quotas.c.hard_limit).where(
    quotas.c.project_id == sa.bindparam("project"),
    quotas.c.user_id.in_(("", sa.bindparam("user", type_=quotas.c.user_id.type))),
)
_USED = sa.select(
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(server_mappings.c.vcpus), 0),
    sa.func.coalesce(sa.func.sum(server_mappings.c.memory_mib), 0),
).where(
    server_mappings.c.project_id == sa.bindparam("project"),
    server_mappings.c.deleted_at.is_(None),
)
_USED_BY_USER = _USED.where(server_mappings.c.user_id == sa.bindparam("user"))


def enter_gate(tx: Tx, owner: str) -> None:
    """Take the owner's turn until the transaction ends. Raises: Unavailable when it must be retried."""
    if tx.execute(_ENTER, {"who": owner}).rowcount == 0:
        try:
            tx.insert(quota_gates, owner=owner, generation=1)
        except Conflict as error:
            raise Unavailable("two first counts of one owner met") from error


def limits_of(tx: Tx, project_id: str, user_id: str = "") -> dict[str, int]:
    """Return the limits that were set for a project, or for one of its users."""
    wanted = sa.select(quotas.c.resource, quotas.c.hard_limit).where(
        quotas.c.project_id == project_id, quotas.c.user_id == user_id
    )
    return {row.resource: row.hard_limit for row in tx.all(wanted)}


def limits_of_both(tx: Tx, project_id: str, user_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the limits that were set for a project and those for one of its users, in one query."""
    common: dict[str, int] = {}
    own: dict[str, int] = {}
    for row in tx.all(_LIMITS, {"project": project_id, "user": user_id}):
        (own if row.user_id else common)[row.resource] = row.hard_limit
    return common, own


def limits_of_class(tx: Tx, name: str) -> dict[str, int]:
    """Return the limits that were set for a quota class."""
    found = tx.among(quota_classes.c.class_name, [name])
    return {row.resource: row.hard_limit for row in found}


def set_limits(tx: Tx, project_id: str, user_id: str, limits: Mapping[str, int]) -> None:
    """Set limits of a project, or of one of its users; others stay."""
    tx.delete(
        quotas,
        sa.and_(
            quotas.c.project_id == project_id,
            quotas.c.user_id == user_id,
            quotas.c.resource.in_(list(limits)),
        ),
    )
    tx.insert_many(
        quotas,
        [
            {"project_id": project_id, "user_id": user_id, "resource": name, "hard_limit": limit}
            for name, limit in limits.items()
        ],
    )


def set_class_limits(tx: Tx, name: str, limits: Mapping[str, int]) -> None:
    """Set limits of a quota class; others stay."""
    tx.delete(
        quota_classes,
        sa.and_(quota_classes.c.class_name == name, quota_classes.c.resource.in_(list(limits))),
    )
    tx.insert_many(
        quota_classes,
        [{"class_name": name, "resource": k, "hard_limit": v} for k, v in limits.items()],
    )


def forget_limits(tx: Tx, project_id: str, user_id: str | None) -> None:
    """Remove the limits of a project with all its users, or of one user."""
    where = quotas.c.project_id == project_id
    if user_id is not None:
        where = sa.and_(where, quotas.c.user_id == user_id)
    tx.delete(quotas, where)


def servers_used(tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """Count servers, VCPUs and memory (MiB) of a project, or of one of its users."""
    wanted = _USED if user_id is None else _USED_BY_USER
    row: Any = tx.one(wanted, {"project": project_id, "user": user_id})
    return {"instances": int(row[0]), "cores": int(row[1]), "ram": int(row[2])}


def groups_used(tx: Tx, project_id: str, user_id: str | None = None) -> int:
    """Count the server groups of a project, or of one of its users."""
    wanted = sa.select(sa.func.count()).select_from(server_groups)
    wanted = wanted.where(server_groups.c.project_id == project_id)
    if user_id is not None:
        wanted = wanted.where(server_groups.c.user_id == user_id)
    return int(tx.scalar(wanted))


def members_used(tx: Tx, group_id: str, user_id: str | None = None) -> int:
    """Count the members of a server group that were added by a user."""
    table = server_group_members.c
    wanted = sa.select(sa.func.count()).select_from(server_group_members)
    wanted = wanted.where(table.group_id == group_id)
    if user_id is not None:
        wanted = wanted.where(table.user_id == user_id)
    return int(tx.scalar(wanted))
