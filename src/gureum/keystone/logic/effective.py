"""Which roles a user really has: direct, through groups, inherited down the tree, and implied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.keystone.logic.known import NOTHING, Known
from gureum.keystone.store import assignments, entities, tables


def expand(tx: Tx, role_ids: Iterable[str], known: Known = NOTHING) -> list[str]:
    """Return the roles and all that they imply."""
    graph = known.get("implied", lambda: assignments.implications(tx))
    return assignments.with_implied(tx, role_ids, graph)


def roles_in(
    tx: Tx,
    user_id: str,
    scope: str,
    scope_id: str,
    group_ids: Sequence[str] = (),
    known: Known = NOTHING,
) -> list[sa.Row[Any]]:
    """Return the roles of a user in a scope ("p", "d" or "s"), ordered by name.

    group_ids: groups that a federated token carries, besides those of the user.
    """
    rows = assignments.of_user(tx, user_id, group_ids)
    above: set[str] = set()
    domain_id = None
    if scope == "p":
        if any(row.inherited and row.target_type == "domain" for row in rows):
            project = entities.get(tx, tables.projects, scope_id)
            domain_id = project.domain_id if project is not None else None
        if any(row.inherited and row.target_type == "project" for row in rows):
            above = {row.id for row in assignments.ancestors(tx, scope_id)}
    direct = [row.role_id for row in rows if _counts(row, scope, scope_id, domain_id, above)]
    if not direct:
        return []
    ids = frozenset(expand(tx, direct, known))
    shown: list[sa.Row[Any]] = known.get(("roles", ids), lambda: _named(tx, ids))
    return shown


def _named(tx: Tx, ids: Iterable[str]) -> list[sa.Row[Any]]:
    found = entities.by_ids(tx, tables.roles, list(ids)).values()
    # a role of a domain only stands for what it implies: its name means nothing to services
    return sorted((role for role in found if not role.domain_id), key=lambda role: role.name)


def _counts(row: Any, scope: str, scope_id: str, domain_id: str | None, above: set[str]) -> bool:
    kind = {"p": "project", "d": "domain", "s": "system"}[scope]
    if not row.inherited:
        return row.target_type == kind and row.target_id == (scope_id or "all")
    if scope != "p":
        return False
    if row.target_type == "domain":
        return bool(row.target_id == domain_id)
    return row.target_type == "project" and row.target_id in above


def reachable_projects(tx: Tx, user_id: str, group_ids: Sequence[str] = ()) -> list[sa.Row[Any]]:
    """Return the enabled projects in which a user has any role."""
    rows = assignments.of_user(tx, user_id, group_ids)
    ids = {row.target_id for row in rows if row.target_type == "project" and not row.inherited}
    parents = [row.target_id for row in rows if row.target_type == "project" and row.inherited]
    ids |= {row.id for row in assignments.descendants(tx, parents)}
    domains = {row.target_id for row in rows if row.target_type == "domain" and row.inherited}
    found = dict(entities.by_ids(tx, tables.projects, sorted(ids)))
    if domains:
        for row in entities.listed(tx, tables.projects, [tables.projects.c.domain_id.in_(domains)]):
            found[row.id] = row
    enabled = entities.by_ids(tx, tables.domains, [row.domain_id for row in found.values()])
    return sorted(
        (row for row in found.values() if row.enabled and enabled[row.domain_id].enabled),
        key=lambda row: row.id,
    )


def reachable_domains(tx: Tx, user_id: str, group_ids: Sequence[str] = ()) -> list[sa.Row[Any]]:
    """Return the enabled domains on which a user has any role."""
    rows = assignments.of_user(tx, user_id, group_ids)
    ids = [row.target_id for row in rows if row.target_type == "domain" and not row.inherited]
    return [row for row in entities.by_ids(tx, tables.domains, ids).values() if row.enabled]


def reaches_system(tx: Tx, user_id: str, group_ids: Sequence[str] = ()) -> bool:
    """Whether a user has any role on the system."""
    return any(row.target_type == "system" for row in assignments.of_user(tx, user_id, group_ids))


def names(rows: Sequence[Any]) -> list[str]:
    """Return the names of roles."""
    return [row.name for row in rows]
