"""Quotas. Follows: Network API v2.0, "Quotas extension", "Quotas details extension"."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Integer, NotFound, Reply, String, Struct, operation
from gureum.neutron.errors import InvalidInput, OverQuota
from gureum.neutron.logic import quota
from gureum.neutron.store import tables as t

_MOST = 2**31 - 1


class Quota(Struct):
    """The limits of a project; -1 is none."""

    project_id = String("Project, in lists.")
    tenant_id = String("Project, in lists.")
    network = Integer("Networks.")
    subnet = Integer("Subnets.")
    subnetpool = Integer("Subnet pools.")
    port = Integer("Ports.")
    router = Integer("Routers.")
    floatingip = Integer("Floating IPs.")
    security_group = Integer("Security groups.")
    security_group_rule = Integer("Security group rules.")
    rbac_policy = Integer("RBAC policies.")
    address_group = Integer("Address groups.")


def _limit() -> Integer:
    return Integer("Limit.", min=-1, max=_MOST)


class QuotaUpdate(Struct):
    """New limits."""

    project_id = String("Ignored.")
    tenant_id = String("Ignored.")
    network = _limit()
    subnet = _limit()
    subnetpool = _limit()
    port = _limit()
    router = _limit()
    floatingip = _limit()
    security_group = _limit()
    security_group_rule = _limit()
    rbac_policy = _limit()
    address_group = _limit()
    force = Boolean("Set them even below what is used.", default=False)
    check_limit = Boolean("Refuse what is below the use; so it is unless force is set.")


def _target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    return {"project_id": loaded, "tenant_id": loaded}


def load_project(ctx: Context, tx: Tx, project_id: str) -> str:
    """Return a project id; others than the caller's only for admins. Raises: NotFound."""
    if project_id != ctx.project_id and not ctx.is_admin:
        raise NotFound("The resource could not be found.")
    return project_id


@operation("GET", "/quotas", policy="get_quota", items=Quota, response_wrap="quotas")
def list_quotas(ctx: Context, tx: Tx) -> Any:
    """List the projects whose quotas differ from the defaults."""
    statement = sa.select(t.quotas.c.project_id).distinct().order_by(t.quotas.c.project_id)
    if not ctx.is_admin:
        statement = statement.where(t.quotas.c.project_id == ctx.project_id)
    return [
        {
            "project_id": row.project_id,
            "tenant_id": row.project_id,
            **quota.limits(tx, row.project_id),
        }
        for row in tx.all(statement)
    ]


@operation(
    "GET",
    "/quotas/{project_id}",
    policy="get_quota",
    load=load_project,
    target=_target,
    response=Quota,
    response_wrap="quota",
)
def show_quota(ctx: Context, tx: Tx, project_id: str) -> Any:
    """Show a project's quotas."""
    return quota.limits(tx, project_id)


@operation(
    "GET",
    "/quotas/{project_id}/default",
    policy="get_quota",
    load=load_project,
    target=_target,
    response=Quota,
    response_wrap="quota",
)
def show_default_quota(ctx: Context, tx: Tx, project_id: str) -> Any:
    """Show the default quotas."""
    return quota.defaults(tx)


@operation(
    "GET",
    "/quotas/{project_id}/details",
    policy="get_quota",
    load=load_project,
    target=_target,
)
def show_quota_details(ctx: Context, tx: Tx, project_id: str) -> Any:
    """Show limit, use and reservation of each resource."""
    limits = quota.limits(tx, project_id)
    details = {
        name: {"limit": limit, "used": quota.used(tx, project_id, name), "reserved": 0}
        for name, limit in limits.items()
    }
    return Reply({"quota": details})


@operation(
    "PUT",
    "/quotas/{project_id}",
    policy="update_quota",
    load=load_project,
    target=_target,
    wrap="quota",
    request=QuotaUpdate,
    response=Quota,
    errors=(OverQuota,),
)
def update_quota(ctx: Context, tx: Tx, project_id: str, new: Any) -> Any:
    """Change a project's quotas."""
    for name in quota.COUNTED:
        if not new.has(name):
            continue
        limit = new.get(name)
        if not new.force and 0 <= limit < quota.used(tx, project_id, name):
            raise InvalidInput(error_message=f"Quota limit {limit} of {name} is below what is used")
        where = sa.and_(t.quotas.c.project_id == project_id, t.quotas.c.resource == name)
        if not tx.update(t.quotas, where, amount=limit):
            tx.insert(t.quotas, project_id=project_id, resource=name, amount=limit)
    return quota.limits(tx, project_id)


@operation(
    "DELETE", "/quotas/{project_id}", policy="delete_quota", load=load_project, target=_target
)
def delete_quota(ctx: Context, tx: Tx, project_id: str) -> None:
    """Reset a project's quotas to the defaults."""
    if not tx.delete_by(t.quotas.c.project_id, project_id):
        raise NotFound(f"Quota for tenant {project_id} could not be found.")
