"""Roles granted to users and groups on projects, domains and the system."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.keystone.store.tables import (
    assignments,
    expiring_memberships,
    implied_roles,
    memberships,
    projects,
)


def grant(
    tx: Tx, actor: tuple[str, str], target: tuple[str, str], role_id: str, inherited: bool
) -> None:
    """Grant a role; a second time changes nothing."""
    if not granted(tx, actor, target, role_id, inherited):
        tx.insert(
            assignments,
            actor_type=actor[0],
            actor_id=actor[1],
            target_type=target[0],
            target_id=target[1],
            role_id=role_id,
            inherited=inherited,
        )


def _where(
    actor: tuple[str, str], target: tuple[str, str], inherited: bool
) -> sa.ColumnElement[bool]:
    return sa.and_(
        assignments.c.actor_type == actor[0],
        assignments.c.actor_id == actor[1],
        assignments.c.target_type == target[0],
        assignments.c.target_id == target[1],
        assignments.c.inherited == inherited,
    )


def granted(
    tx: Tx, actor: tuple[str, str], target: tuple[str, str], role_id: str, inherited: bool
) -> bool:
    """Whether exactly this grant exists."""
    where = sa.and_(_where(actor, target, inherited), assignments.c.role_id == role_id)
    return tx.first(sa.select(assignments.c.role_id).where(where)) is not None


def revoke(
    tx: Tx, actor: tuple[str, str], target: tuple[str, str], role_id: str, inherited: bool
) -> bool:
    """Take a grant away; whether it was there."""
    where = sa.and_(_where(actor, target, inherited), assignments.c.role_id == role_id)
    return tx.delete(assignments, where) == 1


def role_ids(tx: Tx, actor: tuple[str, str], target: tuple[str, str], inherited: bool) -> list[str]:
    """Return the roles of one actor on one target."""
    rows = tx.all(sa.select(assignments.c.role_id).where(_where(actor, target, inherited)))
    return [row.role_id for row in rows]


def drop_actor(tx: Tx, kind: str, id: str) -> None:
    """Forget every grant of a user or group."""
    tx.delete(assignments, sa.and_(assignments.c.actor_type == kind, assignments.c.actor_id == id))


def drop_target(tx: Tx, kind: str, id: str) -> None:
    """Forget every grant on a project or domain."""
    tx.delete(
        assignments, sa.and_(assignments.c.target_type == kind, assignments.c.target_id == id)
    )


def group_ids(tx: Tx, user_id: str) -> list[str]:
    """Return the groups of a user."""
    rows = tx.all(sa.select(memberships.c.group_id).where(memberships.c.user_id == user_id))
    return [row.group_id for row in rows]


def of_user(tx: Tx, user_id: str, group_ids: Sequence[str] = ()) -> Sequence[sa.Row[Any]]:
    """Return every assignment of a user, its own and its groups'; group_ids: further groups."""
    values: dict[str, Any] = {"user": user_id, "now": utc_now()}
    if group_ids:
        values["groups"] = list(group_ids)
    return tx.all(_of_user(bool(group_ids)), values)


@functools.cache
def _of_user(more: bool) -> sa.Select[Any]:
    """Return the select of `of_user`; building it costs several times what running it does."""
    a, m, e = assignments.c, memberships.c, expiring_memberships.c
    user = sa.bindparam("user", type_=a.actor_id.type)
    now = sa.bindparam("now", type_=e.expires_at.type)
    mine = sa.and_(a.actor_type == "user", a.actor_id == user)
    members = sa.select(m.group_id).where(m.user_id == user)
    for_now = sa.select(e.group_id).where(e.user_id == user, e.expires_at > now)
    belongs = [a.actor_id.in_(members), a.actor_id.in_(for_now)]
    if more:
        groups = sa.bindparam("groups", expanding=True, type_=a.actor_id.type)
        belongs.append(a.actor_id.in_(groups))
    theirs = sa.and_(a.actor_type == "group", sa.or_(*belongs))
    return sa.select(assignments).where(sa.or_(mine, theirs))


def implications(tx: Tx) -> dict[str, list[str]]:
    """Return which roles each role implies directly."""
    graph: dict[str, list[str]] = {}
    for row in tx.all(_IMPLIED):
        graph.setdefault(row.prior_role_id, []).append(row.implied_role_id)
    return graph


_IMPLIED = sa.select(implied_roles)


def with_implied(
    tx: Tx, ids: Iterable[str], graph: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return the roles and every role that they imply, transitively."""
    graph = implications(tx) if graph is None else graph
    seen: dict[str, None] = {}
    todo = list(dict.fromkeys(ids))
    while todo:
        role_id = todo.pop()
        if role_id not in seen:
            seen[role_id] = None
            todo.extend(graph.get(role_id, ()))
    return list(seen)


def ancestors(tx: Tx, project_id: str, limit: int = 64) -> list[sa.Row[Any]]:
    """Return a project's parents, the nearest first; the domain on top is not among them."""
    found: list[sa.Row[Any]] = []
    row = tx.by(projects.c.id, project_id)
    while row is not None and row.parent_id != row.domain_id and len(found) < limit:
        row = tx.by(projects.c.id, row.parent_id)
        if row is not None:
            found.append(row)
    return found


def descendants(tx: Tx, parent_ids: Sequence[str]) -> list[sa.Row[Any]]:
    """Return every project below, level by level."""
    found: list[sa.Row[Any]] = []
    level = list(parent_ids)
    while level:
        rows = tx.among(projects.c.parent_id, level)
        found.extend(rows)
        level = [row.id for row in rows]
    return found
