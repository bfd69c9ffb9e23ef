"""RBAC policies. Follows: Network API v2.0, "RBAC Policies"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Id, Page, String, Struct, operation
from gureum.neutron.api.common import (
    ListQuery,
    ShowQuery,
    View,
    bulk,
    bulk_answer,
    create_all,
    enforce_create,
    loader,
    owner,
    rule_target,
    view_target,
)
from gureum.neutron.errors import OverQuota
from gureum.neutron.errors_pools import DuplicateRbacPolicy, RbacPolicyInUse, RbacPolicyNotFound
from gureum.neutron.logic import sharing
from gureum.neutron.store.query import list_page
from gureum.neutron.store.rbac import RBAC


class RbacPolicy(Struct):
    """Whom a resource is open to."""

    id = Id("Id.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    object_type = String("Kind of resource.")
    object_id = Id("The resource.")
    action = String("access_as_shared or access_as_external.")
    target_tenant = String("Project, or * for all.")


class RbacPolicyCreate(Struct):
    """A new policy."""

    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    object_type = String("Kind of resource.", required=True)
    object_id = Id("The resource.", uuid=True, required=True)
    action = String("access_as_shared or access_as_external.", required=True)
    target_tenant = String(
        "Project, or * for all.",
        required=True,
        min=1,
        policy="create_rbac_policy:target_tenant",
    )


class RbacPolicyUpdate(Struct):
    """Changes of a policy."""

    target_tenant = String("Project.", min=1, policy="update_rbac_policy:target_tenant")


RbacBody = bulk("rbac_policy", "rbac_policies", RbacPolicyCreate)
RbacMade = bulk_answer("rbac_policy", "rbac_policies", RbacPolicy)


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id, "target_tenant": new.target_tenant})
    enforce_create(ctx, tx.deps.policy, "create_rbac_policy", new, target)
    return sharing.create(ctx, tx, new, project_id)


def _target(ctx: Context, loaded: Any, new: Any) -> Any:
    target = dict(view_target(ctx, loaded, new))
    if isinstance(new, Struct) and new.has("target_tenant"):
        target["target_tenant"] = new.get("target_tenant")
    return target


@operation(
    "POST",
    "/rbac-policies",
    policy="create_rbac_policy",
    request=RbacBody,
    response=RbacMade,
    errors=(OverQuota, DuplicateRbacPolicy),
)
def create_rbac_policy(ctx: Context, tx: Tx, body: Any) -> Any:
    """Open a resource to another project, or to all."""
    return create_all(ctx, tx, body, "rbac_policy", "rbac_policies", RbacPolicy, _make)


@operation(
    "GET",
    "/rbac-policies",
    policy="get_rbac_policy",
    query=ListQuery,
    items=RbacPolicy,
    response_wrap="rbac_policies",
)
def list_rbac_policies(ctx: Context, tx: Tx, query: Any) -> Page:
    """List RBAC policies."""
    return list_page(ctx, tx, RBAC, query)


@operation(
    "GET",
    "/rbac-policies/{rbac_policy_id}",
    policy="get_rbac_policy",
    load=loader(RBAC),
    target=view_target,
    query=ShowQuery,
    response=RbacPolicy,
    response_wrap="rbac_policy",
    errors=(RbacPolicyNotFound,),
)
def show_rbac_policy(ctx: Context, tx: Tx, policy: View, query: Any) -> View:
    """Show an RBAC policy."""
    return policy


@operation(
    "PUT",
    "/rbac-policies/{rbac_policy_id}",
    policy="update_rbac_policy",
    load=loader(RBAC, "update_rbac_policy"),
    target=_target,
    wrap="rbac_policy",
    request=RbacPolicyUpdate,
    response=RbacPolicy,
    errors=(RbacPolicyNotFound, RbacPolicyInUse),
)
def update_rbac_policy(ctx: Context, tx: Tx, policy: View, new: Any) -> View:
    """Open a resource to another project instead."""
    return sharing.update(ctx, tx, policy, new)


@operation(
    "DELETE",
    "/rbac-policies/{rbac_policy_id}",
    policy="delete_rbac_policy",
    load=loader(RBAC, "delete_rbac_policy"),
    target=view_target,
    errors=(RbacPolicyNotFound, RbacPolicyInUse),
)
def delete_rbac_policy(ctx: Context, tx: Tx, policy: View) -> None:
    """Close a resource again."""
    sharing.delete(ctx, tx, policy)
