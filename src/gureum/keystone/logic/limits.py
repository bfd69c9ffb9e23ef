"""Verbs on registered limits and limits: flat, so a limit of a project says nothing about those below it.

Follows: Identity API v3, "Unified limits".
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.spec import BadRequest
from gureum.keystone.errors import StillLimited
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
    values = {
        "id": common.new_id(),
        "registered_limit_id": registered.id,
        "project_id": project_id or "",
        "domain_id": domain_id or "",
        "resource_limit": new.resource_limit,
        "description": new.get("description"),
    }
    return common.insert(tx, _L, "limit", values)


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
