"""The list of role assignments, as stored or as they work out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.keystone.store import assignments as store
from gureum.keystone.store import entities, tables

_A = tables.assignments.c


@dataclass(frozen=True, slots=True)
class Found:
    """One assignment: actor, target, role."""

    actor_type: str
    actor_id: str
    target_type: str
    target_id: str
    role_id: str
    inherited: bool

    def id_of(self, kind: str) -> str | None:
        """Return the id of the part of a kind, if it is there."""
        if kind == "role":
            return self.role_id
        if kind == self.actor_type:
            return self.actor_id
        return self.target_id if kind == self.target_type else None


def listed(tx: Tx, query: Any, effective: bool, subtree: bool) -> list[Found]:
    """Return the assignments that a query asks for."""
    projects = [query.project] if query.has("project") else []
    if subtree:
        projects += [row.id for row in store.descendants(tx, projects)]
    conditions: list[sa.ColumnElement[bool]] = []
    if not effective:
        conditions = _direct_conditions(query, projects)
    elif query.has("user"):
        groups = store.group_ids(tx, query.user)
        mine = sa.and_(_A.actor_type == "user", _A.actor_id == query.user)
        conditions.append(sa.or_(mine, sa.and_(_A.actor_type == "group", _A.actor_id.in_(groups))))
    rows = tx.all(sa.select(tables.assignments).where(*conditions))
    found = [Found(*(getattr(row, name) for name in Found.__slots__)) for row in rows]
    if not effective:
        return found
    return [item for item in _expand(tx, found) if _wanted(item, query, projects)]


def _direct_conditions(query: Any, projects: list[str]) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    for kind in ("user", "group"):
        if query.has(kind):
            conditions += [_A.actor_type == kind, _A.actor_id == query.get(kind)]
    if query.has("role"):
        conditions.append(_A.role_id == query.role)
    if projects:
        conditions += [_A.target_type == "project", _A.target_id.in_(projects)]
    if query.has("domain"):
        conditions += [_A.target_type == "domain", _A.target_id == query.domain]
    if query.has("system"):
        conditions.append(_A.target_type == "system")
    if query.has("inherited"):
        conditions.append(_A.inherited == sa.true())
    return conditions


def _wanted(item: Found, query: Any, projects: list[str]) -> bool:
    if query.has("user") and item.actor_id != query.user:
        return False
    if query.has("role") and item.role_id != query.role:
        return False
    if projects and not (item.target_type == "project" and item.target_id in projects):
        return False
    if query.has("domain") and not (
        item.target_type == "domain" and item.target_id == query.domain
    ):
        return False
    return not (query.has("system") and item.target_type != "system")


def _expand(tx: Tx, found: list[Found]) -> list[Found]:
    r = tables.roles.c
    of_domains = {row.id for row in tx.all(sa.select(r.id).where(r.domain_id != ""))}
    out: dict[Found, None] = {}
    implied: dict[str, list[str]] = {}
    members: dict[str, list[str]] = {}
    below: dict[tuple[str, str], list[str]] = {}
    for item in found:
        if item.role_id not in implied:
            everything = store.with_implied(tx, [item.role_id])
            implied[item.role_id] = [id for id in everything if id not in of_domains]
        if item.actor_type == "group" and item.actor_id not in members:
            m = tables.memberships.c
            rows = tx.all(sa.select(m.user_id).where(m.group_id == item.actor_id))
            members[item.actor_id] = [row.user_id for row in rows]
        actors = members[item.actor_id] if item.actor_type == "group" else [item.actor_id]
        targets = [item.target_id]
        if item.inherited:
            key = (item.target_type, item.target_id)
            if key not in below:
                below[key] = _projects_below(tx, *key)
            targets = below[key]
        for actor in actors:
            for target in targets:
                for role in implied[item.role_id]:
                    kind = "project" if item.inherited else item.target_type
                    out[
                        replace(
                            item,
                            actor_type="user",
                            actor_id=actor,
                            target_type=kind,
                            target_id=target,
                            role_id=role,
                            inherited=False,
                        )
                    ] = None
    return list(out)


def _projects_below(tx: Tx, kind: str, id: str) -> list[str]:
    if kind == "project":
        return [row.id for row in store.descendants(tx, [id])]
    p = tables.projects.c
    return [row.id for row in tx.all(sa.select(p.id).where(p.domain_id == id))]


def within_domain(tx: Tx, found: list[Found], domain_id: str) -> list[Found]:
    """Keep what lies in one domain."""
    ids = [item.target_id for item in found if item.target_type == "project"]
    projects = entities.by_ids(tx, tables.projects, ids)
    return [
        item
        for item in found
        if (item.target_type == "domain" and item.target_id == domain_id)
        or (
            item.target_type == "project"
            and item.target_id in projects
            and projects[item.target_id].domain_id == domain_id
        )
    ]
