"""Verbs on registered limits and limits, by one of two models.

flat: a limit of a project says nothing about those below it. strict_two_level: projects lie at most two deep,
and no limit is above that of the project or domain over it.
Follows: Identity API v3, "Unified limits".
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.spec import BadRequest
from gureum.keystone.errors import InvalidLimit, StillLimited
from gureum.keystone.logic import common
from gureum.keystone.store import entities, tables

_R = tables.registered_limits
_L = tables.limits


def _check_place(tx: Tx, service_id: str, region_id: str | None) -> None:
    if entities.get(tx, tables.services, service_id) is None:
        raise BadRequest(f"Could not find service: {service_id}.")
    if region_id and entities.get(tx, tables.regions, region_id) is None:
        raise BadRequest(f"Could not find region: {region_id}.")


def register(tx: Tx, new: Any) -> entities.Row:
    """Register a limit. Raises: Duplicate, BadRequest."""
    _check_place(tx, new.service_id, new.get("region_id"))
    values = {
        "id": common.new_id(),
        "service_id": new.service_id,
        "region_id": new.get("region_id") or "",
        "resource_name": new.resource_name,
        "default_limit": new.default_limit,
        "description": new.get("description"),
    }
    return common.insert(tx, _R, "registered limit", values)


def _refuse_used(tx: Tx, limit: Any) -> None:
    if entities.find(tx, _L, registered_limit_id=limit.id) is not None:
        raise StillLimited(id=limit.id)


def reregister(tx: Tx, limit: Any, new: Any) -> entities.Row:
    """Change a registered limit. Raises: StillLimited, Duplicate, BadRequest."""
    values = common.given(new)
    if {"service_id", "region_id", "resource_name"} & set(values):
        _refuse_used(tx, limit)
        service_id = values.get("service_id", limit.service_id)
        values["region_id"] = values.get("region_id", limit.region_id) or ""
        _check_place(tx, service_id, values["region_id"])
    return common.update(tx, _R, "registered limit", limit, values)


def unregister(tx: Tx, limit: Any) -> None:
    """Delete a registered limit. Raises: StillLimited."""
    _refuse_used(tx, limit)
    common.delete(tx, _R, limit.id)


def create(tx: Tx, new: Any) -> entities.Row:
    """Create a limit of a project or a domain. Raises: BadRequest, Duplicate."""
    project_id, domain_id = new.get("project_id"), new.get("domain_id")
    if (project_id is None) == (domain_id is None):
        raise BadRequest("A limit needs either a project_id or a domain_id.")
    if project_id is not None and entities.get(tx, tables.projects, project_id) is None:
        raise BadRequest(f"Could not find project: {project_id}.")
    if domain_id is not None and entities.get(tx, tables.domains, domain_id) is None:
        raise BadRequest(f"Could not find domain: {domain_id}.")
    registered = entities.find(
        tx,
        _R,
        service_id=new.service_id,
        region_id=new.get("region_id") or "",
        resource_name=new.resource_name,
    )
    if registered is None:
        raise BadRequest("There is no registered limit for this service, region and resource.")
    check_tree(tx, registered, project_id or "", domain_id or "", new.resource_limit)
    values = {
        "id": common.new_id(),
        "registered_limit_id": registered.id,
        "project_id": project_id or "",
        "domain_id": domain_id or "",
        "resource_limit": new.resource_limit,
        "description": new.get("description"),
    }
    return common.insert(tx, _L, "limit", values)


def update(tx: Tx, limit: Any, new: Any) -> entities.Row:
    """Change a limit. Raises: InvalidLimit."""
    if new.has("resource_limit"):
        registered = entities.get(tx, _R, limit.registered_limit_id)
        check_tree(tx, registered, limit.project_id, limit.domain_id, new.resource_limit)
    return common.update(tx, _L, "limit", limit, common.given(new))


# -- the strict model ------------------------------------------------------------------------------

STRICT_DEPTH = 2
MODELS = {
    "flat": "Limit enforcement and validation does not take project hierarchy into consideration.",
    "strict_two_level": "This model requires project hierarchy never exceeds a depth of two levels.",
}


def check_tree(tx: Tx, registered: Any, project_id: str, domain_id: str, value: int) -> None:
    """Refuse a limit above the one over it or below one under it. Raises: InvalidLimit."""
    if tx.deps.limits.enforcement_model == "flat":
        return
    over = _over(tx, registered, project_id) if project_id else None
    if over is not None and _above(value, over):
        raise InvalidLimit(reason=f"{value} is above the limit {over} of what it lies in.")
    for row in _under(tx, registered, project_id, domain_id):
        if _above(row.resource_limit, value):
            raise InvalidLimit(
                reason=f"{value} is below the limit {row.resource_limit} of project"
                f" {row.project_id} in it."
            )


def _above(one: int, two: int) -> bool:
    """Whether one limit allows more than another; -1 stands for no limit."""
    return two != -1 and (one == -1 or one > two)


def _own(tx: Tx, registered: Any, project_id: str, domain_id: str) -> int | None:
    row = entities.find(
        tx,
        _L,
        registered_limit_id=registered.id,
        project_id=project_id,
        domain_id=domain_id,
    )
    return None if row is None else int(row.resource_limit)


def _over(tx: Tx, registered: Any, project_id: str) -> int | None:
    """Return the limit that a project's own may not exceed: a parent has the default if none of its own."""
    project = entities.get(tx, tables.projects, project_id)
    assert project is not None
    if project.parent_id != project.domain_id:
        own = _own(tx, registered, project.parent_id, "")
        return int(registered.default_limit) if own is None else own
    return _own(tx, registered, "", project.domain_id)


def _under(tx: Tx, registered: Any, project_id: str, domain_id: str) -> list[entities.Row]:
    """Return the limits of the projects right under a project or domain."""
    p = tables.projects.c
    inside = sa.select(p.id).where(p.parent_id == (project_id or domain_id))
    where = [_L.c.registered_limit_id == registered.id, _L.c.project_id.in_(inside)]
    return list(entities.listed(tx, _L, where))


def listed(tx: Tx, conditions: list[sa.ColumnElement[bool]]) -> list[dict[str, Any]]:
    """Return limits with what their registered limits say."""
    rows = entities.listed(tx, _L, conditions)
    registered = entities.by_ids(tx, _R, [row.registered_limit_id for row in rows])
    out = []
    for row in rows:
        of = registered[row.registered_limit_id]
        out.append(
            {
                "id": row.id,
                "project_id": row.project_id or None,
                "domain_id": row.domain_id or None,
                "service_id": of.service_id,
                "region_id": of.region_id or None,
                "resource_name": of.resource_name,
                "resource_limit": row.resource_limit,
                "description": row.description,
            }
        )
    return out
