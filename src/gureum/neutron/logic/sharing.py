"""Opening resources to other projects: RBAC policies.

Owns: which actions exist for which kind, who may open what, and when opening may end.
Follows: Network API v2.0, "RBAC Policies".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Tx
from gureum.core.spec import BadRequest, NotFound, Struct
from gureum.neutron.errors import InvalidInput
from gureum.neutron.errors_pools import (
    DuplicateRbacPolicy,
    RbacPolicyInitError,
    RbacPolicyInUse,
)
from gureum.neutron.logic import quota
from gureum.neutron.store import rbac as store
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import View, granted

SHARED = "access_as_shared"
EXTERNAL = "access_as_external"
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "network": (SHARED, EXTERNAL),
    "subnetpool": (SHARED,),
    "address_scope": (SHARED,),
    "address_group": (SHARED,),
    "security_group": (SHARED,),
}
OBJECTS: Mapping[str, sa.Table] = {
    "network": t.networks,
    "subnetpool": t.subnetpools,
    "address_scope": t.address_scopes,
    "address_group": t.address_groups,
    "security_group": t.security_groups,
}


def open_to_all(
    tx: Tx, object_type: str, object_id: str, project_id: str, action: str = SHARED
) -> None:
    """Open a resource to every project, if it is not."""
    c = t.rbac_policies.c
    there = sa.select(c.id).where(
        c.object_id == object_id, c.action == action, c.target_tenant == "*"
    )
    if tx.first(there) is None:
        tx.insert(
            t.rbac_policies,
            id=rows.new_id(),
            project_id=project_id,
            object_type=object_type,
            object_id=object_id,
            action=action,
            target_tenant="*",
        )


def close_to_all(tx: Tx, object_id: str, action: str = SHARED) -> None:
    """Take back what open_to_all gave."""
    c = t.rbac_policies.c
    tx.delete(
        t.rbac_policies,
        sa.and_(c.object_id == object_id, c.action == action, c.target_tenant == "*"),
    )


def object_of(ctx: Context, tx: Tx, object_type: str, object_id: str) -> sa.Row[Any]:
    """Return a resource that the caller owns. Raises: NotFound, BadRequest."""
    table = OBJECTS[object_type]
    seen = granted(table, object_type, ctx, *ACTIONS[object_type])
    statement = sa.select(table).where(table.c.id == object_id)
    if not ctx.is_admin:
        mine = table.c.project_id == (ctx.project_id or "")
        statement = statement.where(sa.or_(mine, seen))
    row = tx.one(statement)
    if row is None:
        raise NotFound(f"The requested object {object_id} could not be found.")
    if row.project_id != ctx.project_id and not ctx.is_admin:
        raise InvalidInput(
            error_message="Only admins can manipulate policies on objects they do not own"
        )
    return row


def create(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Open a resource. Raises: RbacPolicyInitError, DuplicateRbacPolicy, OverQuota."""
    quota.check(ctx, tx, project_id, "rbac_policy")
    if new.object_type not in ACTIONS:
        raise BadRequest(
            f"Invalid input for object_type. Reason: '{new.object_type[:40]}' is not in"
            f" {sorted(ACTIONS)}."
        )
    if new.action not in ACTIONS[new.object_type]:
        raise RbacPolicyInitError(action=new.action, object_type=new.object_type)
    row = object_of(ctx, tx, new.object_type, new.object_id)
    if new.object_type == "security_group" and new.target_tenant == "*" and not ctx.is_admin:
        raise BadRequest("Only an administrator opens a security group to every project.")
    if new.object_type == "subnetpool":
        _check_pool(tx, row, new)
    policy_id = rows.new_id()
    try:
        tx.insert(
            t.rbac_policies,
            id=policy_id,
            project_id=project_id,
            object_type=new.object_type,
            object_id=new.object_id,
            action=new.action,
            target_tenant=new.target_tenant,
        )
    except Conflict:
        raise DuplicateRbacPolicy() from None
    rows.touch(tx, OBJECTS[new.object_type], new.object_id)
    if new.action == EXTERNAL:
        tx.update_by(t.networks.c.id, new.object_id, router_external=True)
    return store.reload(tx, policy_id)


def _check_pool(tx: Tx, pool: Any, new: Struct) -> None:
    """A pool in a scope is opened only to those who may use the scope."""
    if not pool.address_scope_id:
        return
    c = t.rbac_policies.c
    opened = tx.first(
        sa.select(c.id).where(
            c.object_id == pool.address_scope_id,
            c.action == SHARED,
            c.target_tenant.in_(("*", new.target_tenant)),
        )
    )
    scope = tx.one(
        sa.select(t.address_scopes.c.project_id).where(
            t.address_scopes.c.id == pool.address_scope_id
        )
    )
    if opened is None and (scope is None or scope.project_id != new.target_tenant):
        raise InvalidInput(
            error_message=f"The address scope of subnet pool {pool.id} is not open to the project"
        )


def update(ctx: Context, tx: Tx, policy: Mapping[str, Any], new: Struct) -> View:
    """Open a resource to another project instead. Raises: RbacPolicyInUse."""
    if new.has("target_tenant") and new.target_tenant != policy["target_tenant"]:
        _check_unused(tx, policy, new.target_tenant)
        try:
            tx.update_by(
                t.rbac_policies.c.id,
                policy["id"],
                target_tenant=new.target_tenant,
            )
        except Conflict:
            raise DuplicateRbacPolicy() from None
    return store.reload(tx, policy["id"])


def delete(ctx: Context, tx: Tx, policy: Mapping[str, Any]) -> None:
    """Close a resource again. Raises: RbacPolicyInUse."""
    _check_unused(tx, policy)
    tx.delete_by(t.rbac_policies.c.id, policy["id"])
    if policy["action"] == EXTERNAL:
        c = t.rbac_policies.c
        left = sa.select(c.id).where(c.object_id == policy["object_id"], c.action == EXTERNAL)
        if tx.first(left) is None:
            tx.update_by(t.networks.c.id, policy["object_id"], router_external=False)


def _check_unused(tx: Tx, policy: Mapping[str, Any], instead: str = "") -> None:
    table = OBJECTS[policy["object_type"]]
    row = tx.by(table.c.id, policy["object_id"])
    if row is None:
        return
    used = store.uses(tx, policy, row.project_id, instead)
    if policy["action"] == EXTERNAL and policy["target_tenant"] == "*" and row.is_default:
        used = "it is the default external network"
    if used:
        raise RbacPolicyInUse(object_id=policy["object_id"], details=used)
