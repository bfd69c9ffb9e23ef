"""Stored policies, and for which endpoints they count (OS-ENDPOINT-POLICY).

Keystone only keeps the text: services may fetch it, and read nothing of it here.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Id, Json, Operation, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.catalog import Endpoint
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common, endpoint_policy
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_T = tables.policies


class Policy(Struct, extra="keep"):
    """A policy."""

    id = Id("Id.")
    type = String("Media type of the blob.")
    blob = Json("The rules.")
    links = Json("Links.")


class PolicyCreate(Struct, extra="keep"):
    """A new policy."""

    type = String("Media type of the blob.", required=True)
    blob = String("The rules.", max=None, required=True)


class PolicyUpdate(Struct, extra="keep"):
    """Changes to a policy."""

    type = String("Media type of the blob.")
    blob = String("The rules.", max=None)


def _load(ctx: Context, tx: Tx, policy_id: str) -> Any:
    return load(tx, _T, "policy", policy_id)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


@operation(
    "POST",
    "/policies",
    policy="identity:create_policy",
    wrap="policy",
    request=PolicyCreate,
    response=Policy,
    target=_no_target,
)
def create_policy(ctx: Context, tx: Tx, new: PolicyCreate) -> Any:
    """Store a policy."""
    values = {
        "id": common.new_id(),
        "type": new.type,
        "blob": new.blob,
        "extra_values": new.extra_values,
    }
    return shown(ctx, "policies", common.insert(tx, _T, "policy", values))


@operation(
    "GET",
    "/policies",
    policy="identity:list_policies",
    query=ListQuery,
    items=Policy,
    response_wrap="policies",
    target=_no_target,
)
def list_policies(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List policies."""
    where = entities.matching(_T, shapes.filters(query, {"type": str}))
    return shapes.page(ctx, "policies", entities.listed(tx, _T, where), query, None)


@operation(
    "GET",
    "/policies/{policy_id}",
    policy="identity:get_policy",
    response=Policy,
    response_wrap="policy",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def show_policy(ctx: Context, tx: Tx, policy: Any) -> Any:
    """Show a policy."""
    return shown(ctx, "policies", policy)


@operation(
    "PATCH",
    "/policies/{policy_id}",
    policy="identity:update_policy",
    wrap="policy",
    request=PolicyUpdate,
    response=Policy,
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def update_policy(ctx: Context, tx: Tx, policy: Any, new: PolicyUpdate) -> Any:
    """Change a policy."""
    return shown(ctx, "policies", common.update(tx, _T, "policy", policy, common.given(new)))


@operation(
    "DELETE",
    "/policies/{policy_id}",
    policy="identity:delete_policy",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def delete_policy(ctx: Context, tx: Tx, policy: Any) -> None:
    """Delete a policy and its links to endpoints."""
    common.delete(tx, _T, policy.id)


# -- OS-ENDPOINT-POLICY ----------------------------------------------------------------------------


_KINDS = {
    "endpoint": (tables.endpoints, "endpoints/{endpoint_id}"),
    "service": (tables.services, "services/{service_id}"),
    "region_and_service": (tables.services, "services/{service_id}/regions/{region_id}"),
}


def _load_link(kind: str) -> Any:
    def load_all(ctx: Context, tx: Tx, policy_id: str, *ids: str) -> Any:
        load(tx, _T, "policy", policy_id)
        load(tx, _KINDS[kind][0], kind.removeprefix("region_and_"), ids[0])
        if kind == "endpoint":
            return policy_id, endpoint_policy.Key(endpoint_id=ids[0])
        if kind == "region_and_service":
            load(tx, tables.regions, "region", ids[1])
            return policy_id, endpoint_policy.Key(service_id=ids[0], region_id=ids[1])
        return policy_id, endpoint_policy.Key(service_id=ids[0])

    return load_all


def _link_operations(kind: str) -> list[Operation]:
    path = f"/policies/{{policy_id}}/OS-ENDPOINT-POLICY/{_KINDS[kind][1]}"
    noun = f"policy_association_for_{kind}"
    what = kind.replace("_and_", " of a ")
    common_parts: dict[str, Any] = {
        "load": _load_link(kind),
        "target": _no_target,
        "errors": (Missing,),
        "status": 204,
    }

    def link(ctx: Context, tx: Tx, loaded: Any) -> None:
        endpoint_policy.link(tx, *loaded)

    def check(ctx: Context, tx: Tx, loaded: Any) -> None:
        policy_id, key = loaded
        if endpoint_policy.linked(tx, key) != policy_id:
            raise Missing(kind="policy association", id=policy_id)

    def unlink(ctx: Context, tx: Tx, loaded: Any) -> None:
        endpoint_policy.unlink(tx, *loaded)

    link.__doc__ = f"Let a policy count for a {what}; it takes the place of another."
    check.__doc__ = f"Ask whether a policy counts for a {what}."
    unlink.__doc__ = f"Let a policy no longer count for a {what}."
    return [
        operation("PUT", path, policy=f"identity:create_{noun}", **common_parts)(link),
        operation("GET", path, policy=f"identity:check_{noun}", **common_parts)(check),
        operation("DELETE", path, policy=f"identity:delete_{noun}", **common_parts)(unlink),
    ]


OPERATIONS: list[Operation] = [made for kind in _KINDS for made in _link_operations(kind)]


@operation(
    "GET",
    "/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints",
    policy="identity:list_endpoints_for_policy",
    items=Endpoint,
    response_wrap="endpoints",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def list_policy_endpoints(ctx: Context, tx: Tx, policy: Any) -> Any:
    """List the endpoints for which a policy counts."""
    rows = tx.all(sa.select(tables.endpoints).order_by(tables.endpoints.c.id))
    found = [row for row in rows if endpoint_policy.of_endpoint(tx, row) == policy.id]
    return [{**shown(ctx, "endpoints", row), "region": row.region_id} for row in found]


@operation(
    "GET",
    "/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy",
    policy="identity:get_policy_for_endpoint",
    response=Policy,
    response_wrap="policy",
    load=lambda ctx, tx, endpoint_id: load(tx, tables.endpoints, "endpoint", endpoint_id),
    target=_no_target,
    errors=(Missing,),
)
def show_endpoint_policy(ctx: Context, tx: Tx, endpoint: Any) -> Any:
    """Show the policy that counts for an endpoint."""
    policy_id = endpoint_policy.of_endpoint(tx, endpoint)
    if policy_id is None:
        raise Missing(kind="policy of endpoint", id=endpoint.id)
    return shown(ctx, "policies", load(tx, _T, "policy", policy_id))


def _counts(tx: Tx, policy: Any) -> None:
    """Refuse a policy that is tied to nothing. Raises: Missing."""
    if not entities.rows_of(tx, tables.policy_links, tables.policy_links.c.policy_id == policy.id):
        raise Missing(kind="policy association", id=policy.id)


@operation(
    "GET",
    "/policies/{policy_id}/OS-ENDPOINT-POLICY/policy",
    policy="identity:get_policy_association",
    response=Policy,
    response_wrap="policy",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def show_associated_policy(ctx: Context, tx: Tx, policy: Any) -> Any:
    """Show a policy that counts for some endpoint, service or region."""
    _counts(tx, policy)
    return shown(ctx, "policies", policy)


@operation(
    "HEAD",
    "/policies/{policy_id}/OS-ENDPOINT-POLICY/policy",
    policy="identity:get_policy_association",
    load=_load,
    target=_no_target,
    status=200,
    errors=(Missing,),
)
def check_associated_policy(ctx: Context, tx: Tx, policy: Any) -> None:
    """Ask whether a policy counts for some endpoint, service or region."""
    _counts(tx, policy)
