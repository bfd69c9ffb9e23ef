"""Verbs on projects: a tree under each domain."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common, limits
from gureum.keystone.store import assignments, entities, tables


def create(ctx: Context, tx: Tx, new: Any) -> entities.Row:
    """Create. Raises: BadRequest, Missing, Duplicate, Forbidden (tree too deep)."""
    domain_id, parent_id = place(ctx, tx, new)
    project_id = common.new_id()
    values = {
        "id": project_id,
        "name": new.name,
        "domain_id": domain_id,
        "parent_id": parent_id,
        "enabled": new.enabled,
        "description": new.get("description") or "",
        "options": new.get("options", {}),
        "extra_values": new.extra_values,
    }
    row = common.insert(tx, tables.projects, "project", values)
    set_tags(tx, row, new.get("tags", ()))
    return row


def place(ctx: Context, tx: Tx, new: Any) -> tuple[str, str]:
    """Return the domain and the parent of a new project. Raises: BadRequest, Missing, Forbidden."""
    parent_id = new.get("parent_id")
    domain_id = new.get("domain_id")
    parent = None
    if parent_id is not None and entities.get(tx, tables.domains, parent_id) is None:
        parent = common.load(tx, tables.projects, "project", parent_id)
        if domain_id is not None and parent.domain_id != domain_id:
            raise BadRequest("A project lies in the domain of its parent.")
        domain_id = parent.domain_id
        if not parent.enabled:
            raise Forbidden(f"The parent project {parent.id} is disabled.")
    elif parent_id is not None:
        if domain_id not in (None, parent_id):
            raise BadRequest("A project lies in the domain of its parent.")
        domain_id = parent_id
    domain_id = domain_id or ctx.domain_id or ctx.project_domain_id or "default"
    if entities.get(tx, tables.domains, domain_id) is None:
        raise Missing(kind="domain", id=domain_id)
    if parent is None:
        return domain_id, domain_id
    depth = len(assignments.ancestors(tx, parent.id)) + 2
    deepest = tx.deps.options.max_project_tree_depth
    if tx.deps.limits.enforcement_model == "strict_two_level":
        deepest = min(deepest, limits.STRICT_DEPTH)
    if depth > deepest:
        raise Forbidden("The tree of projects would become too deep.")
    return domain_id, parent.id


def update(tx: Tx, project: Any, new: Any) -> entities.Row:
    """Change. Raises: Duplicate, Immutable, Forbidden (a move, or enabled below a disabled parent)."""
    values = common.given(new, skip=("tags", "domain_id", "parent_id", "is_domain"))
    common.refuse_immutable("project", project, values)
    for name in ("domain_id", "parent_id"):
        if new.has(name) and new.get(name) != getattr(project, name):
            raise (Forbidden if name == "parent_id" else BadRequest)(f"{name} cannot be changed.")
    if "description" in values:
        values["description"] = values["description"] or ""
    if values.get("enabled") is False:
        below = assignments.descendants(tx, [project.id])
        if any(row.enabled for row in below):
            raise Forbidden("Cannot disable a project whose subtree has enabled projects.")
    if values.get("enabled") is True and any(
        not r.enabled for r in assignments.ancestors(tx, project.id)
    ):
        raise Forbidden("Cannot enable a project below a disabled one.")
    if new.has("tags"):
        set_tags(tx, project, new.tags)
    return common.update(tx, tables.projects, "project", project, values)


def delete(tx: Tx, project: Any) -> None:
    """Delete a leaf of the tree. Raises: Forbidden (it has children), Immutable."""
    common.refuse_immutable("project", project)
    if tx.first(sa.select(tables.projects.c.id).where(tables.projects.c.parent_id == project.id)):
        raise Forbidden(f"Cannot delete project {project.id}: it is not a leaf of its tree.")
    remove(tx, project)


def remove(tx: Tx, project: Any) -> None:
    """Delete a project with everything that hangs on it."""
    assignments.drop_target(tx, "project", project.id)
    users = tables.users
    tx.update_by(users.c.default_project_id, project.id, default_project_id=None)
    common.delete(tx, tables.projects, project.id)


def tags_of(tx: Tx, ids: list[str]) -> dict[str, list[str]]:
    """Return the tags of projects, in one query a thousand."""
    found: dict[str, list[str]] = {id: [] for id in ids}
    t = tables.project_tags.c
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        for row in tx.all(
            sa.select(t.project_id, t.tag).where(t.project_id.in_(part)).order_by(t.tag)
        ):
            found[row.project_id].append(row.tag)
    return found


def set_tags(tx: Tx, project: Any, tags: Any) -> None:
    """Replace every tag."""
    tx.delete_by(tables.project_tags.c.project_id, project.id)
    rows = [{"project_id": project.id, "tag": tag} for tag in dict.fromkeys(tags)]
    tx.insert_many(tables.project_tags, rows)
