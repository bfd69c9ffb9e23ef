"""Verbs on groups and their members."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common, tokens
from gureum.keystone.store import assignments, entities, tables

_M = tables.memberships


def create(ctx: Context, tx: Tx, new: Any) -> entities.Row:
    """Create. Raises: Duplicate, Missing (the domain)."""
    domain_id = new.get("domain_id") or ctx.domain_id or ctx.project_domain_id or "default"
    if entities.get(tx, tables.domains, domain_id) is None:
        raise Missing(kind="domain", id=domain_id)
    refuse_directory(tx, domain_id)
    values = {
        "id": common.new_id(),
        "name": new.name,
        "domain_id": domain_id,
        "description": new.get("description") or "",
        "extra_values": new.extra_values,
    }
    return common.insert(tx, tables.groups, "group", values)


def refuse_directory(tx: Tx, domain_id: str) -> None:
    """Refuse to change the groups of a directory. Raises: Forbidden."""
    if tx.deps.directories is not None:
        tx.deps.directories.refuse_write(tx, domain_id)


def delete(tx: Tx, group: Any) -> None:
    """Delete; its members lose the roles it gave them, and their tokens. Raises: Forbidden."""
    refuse_directory(tx, group.domain_id)
    remove_whole(tx, group)


def remove_whole(tx: Tx, group: Any) -> None:
    """Delete, also when the whole domain goes."""
    for row in tx.all(sa.select(_M.c.user_id).where(_M.c.group_id == group.id)):
        tokens.revoke(tx, tx.deps, user_id=row.user_id)
    assignments.drop_actor(tx, "group", group.id)
    common.delete(tx, tables.groups, group.id)


def has(tx: Tx, group: Any, user: Any) -> bool:
    """Whether a user is in a group."""
    where = sa.and_(_M.c.group_id == group.id, _M.c.user_id == user.id)
    return tx.first(sa.select(_M.c.user_id).where(where)) is not None


def add(tx: Tx, group: Any, user: Any) -> None:
    """Put a user into a group; a second time changes nothing."""
    refuse_directory(tx, group.domain_id)
    if not has(tx, group, user):
        tx.insert(_M, user_id=user.id, group_id=group.id)
        entities.bump(tx)


def remove(tx: Tx, group: Any, user: Any) -> None:
    """Take a user out of a group; ends the user's tokens. Raises: Missing."""
    refuse_directory(tx, group.domain_id)
    where = sa.and_(_M.c.group_id == group.id, _M.c.user_id == user.id)
    if tx.delete(_M, where) == 0:
        raise Missing(kind="user in group", id=user.id)
    tokens.revoke(tx, tx.deps, user_id=user.id)
