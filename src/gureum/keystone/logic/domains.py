"""Verbs on domains."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.keystone.errors import StillEnabled
from gureum.keystone.logic import common, groups, projects, users
from gureum.keystone.store import assignments, entities, tables


def create(tx: Tx, new: Any) -> entities.Row:
    """Create. Raises: Duplicate."""
    values = {
        "id": new.get("explicit_domain_id") or common.new_id(),
        "name": new.name,
        "description": new.get("description") or "",
        "enabled": new.enabled,
        "options": new.get("options", {}),
        "tags": [],
        "extra_values": new.extra_values,
    }
    return common.insert(tx, tables.domains, "domain", values)


@dataclass(frozen=True, slots=True)
class AsProject:
    """A domain as the projects API shows it: the root of its tree."""

    id: str
    name: str
    description: str
    enabled: bool
    options: dict[str, Any]
    extra_values: dict[str, Any]
    domain_id: None = None
    parent_id: None = None
    is_domain: bool = True

    @property
    def _mapping(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def as_project(row: Any) -> AsProject:
    """Return a domain as a project."""
    return AsProject(row.id, row.name, row.description, row.enabled, row.options, row.extra_values)


def update(tx: Tx, domain: Any, new: Any) -> entities.Row:
    """Change. Raises: Duplicate, Immutable."""
    values = common.given(new, skip=("tags", "domain_id", "parent_id", "is_domain"))
    common.refuse_immutable("domain", domain, values)
    if "description" in values:
        values["description"] = values["description"] or ""
    return common.update(tx, tables.domains, "domain", domain, values)


def delete(tx: Tx, domain: Any) -> None:
    """Delete with its projects, groups, users and roles. Raises: StillEnabled, Immutable."""
    common.refuse_immutable("domain", domain)
    if domain.enabled:
        raise StillEnabled()
    inside = tables.projects.c.domain_id == domain.id
    for row in reversed(assignments.descendants(tx, [domain.id])):
        projects.remove(tx, row)
    for row in tx.all(sa.select(tables.projects).where(inside)):
        projects.remove(tx, row)
    for row in tx.all(sa.select(tables.groups).where(tables.groups.c.domain_id == domain.id)):
        groups.remove_whole(tx, row)
    for row in tx.all(sa.select(tables.users).where(tables.users.c.domain_id == domain.id)):
        users.remove(tx, row)
    tx.delete_by(tables.roles.c.domain_id, domain.id)
    assignments.drop_target(tx, "domain", domain.id)
    common.delete(tx, tables.domains, domain.id)
