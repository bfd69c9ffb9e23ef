"""Trusts (OS-TRUST): acting with some of another user's roles."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Forbidden,
    Id,
    Integer,
    Json,
    ListOf,
    String,
    Struct,
    Time,
    operation,
)
from gureum.keystone.api.roles import Role
from gureum.keystone.api.shapes import Reference, shown
from gureum.keystone.errors import Absent, Missing
from gureum.keystone.logic import trusts
from gureum.keystone.store import entities, tables

_T = tables.trusts


class Trust(Struct, extra="keep"):
    """A trust."""

    id = Id("Id.")
    trustor_user_id = Id("Who trusts.")
    trustee_user_id = Id("Who is trusted.")
    project_id = Id("Project of the roles.")
    impersonation = Boolean("Whether tokens show the trustor as their user.")
    expires_at = Time("End.", form="usz")
    deleted_at = String("Always null: a deleted trust is not shown.", default=None)
    remaining_uses = Integer("Tokens that can still be made; null: no limit.")
    redelegation_count = Integer("How often it may be given on.")
    redelegated_trust_id = Id("Trust it was made of.")
    roles = Json("Roles.")
    roles_links = Json("Links of the roles.")
    links = Json("Links.")


class TrustCreate(Struct, extra="keep"):
    """A new trust."""

    trustor_user_id = Id("Who trusts: oneself.", max=64, required=True)
    trustee_user_id = Id("Who is trusted.", max=64, required=True)
    impersonation = Boolean("Whether tokens show the trustor.", required=True, strict=True)
    project_id = Id("Project of the roles.", max=64, null=True)
    roles = ListOf(Reference, "Some of one's roles in the project.")
    expires_at = Time("End.", null=True)
    remaining_uses = Integer("Tokens that can be made.", min=1, null=True, strict=True)
    allow_redelegation = Boolean("Whether the trustee may give it on.", null=True, strict=True)
    redelegation_count = Integer("How often it may be given on.", min=0, null=True, strict=True)
    redelegated_trust_id = Id("Trust of the token that gives it on.", max=64, null=True)


class TrustQuery(Struct, extra="ignore"):
    """Filters."""

    trustor_user_id = String("Who trusts.")
    trustee_user_id = String("Who is trusted.")


def _load(ctx: Context, tx: Tx, trust_id: str) -> Any:
    return trusts.get(tx, trust_id)


def _load_role(ctx: Context, tx: Tx, trust_id: str, role_id: str) -> Any:
    return trusts.get(tx, trust_id), role_id


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {
        "target.trust.trustor_user_id": row.trustor_user_id,
        "target.trust.trustee_user_id": row.trustee_user_id,
    }


def _list_target(ctx: Context, row: Any, query: TrustQuery) -> dict[str, Any]:
    return {
        "target.trust.trustor_user_id": query.get("trustor_user_id"),
        "target.trust.trustee_user_id": query.get("trustee_user_id"),
    }


def _list_rule(ctx: Context, row: Any, query: TrustQuery) -> str:
    if query.has("trustor_user_id") and query.trustor_user_id != ctx.user_id:
        return "identity:list_trusts_for_trustor"
    if query.has("trustee_user_id") and query.trustee_user_id != ctx.user_id:
        return "identity:list_trusts_for_trustee"
    if query.has("trustor_user_id"):
        return "identity:list_trusts_for_trustor"
    return f"identity:list_trusts{'_for_trustee' if query.has('trustee_user_id') else ''}"


def _shown(ctx: Context, tx: Tx, row: Any) -> dict[str, Any]:
    out = shown(ctx, "OS-TRUST/trusts", row)
    roles = entities.by_ids(tx, tables.roles, row.role_ids)
    out["roles"] = [_role(ctx, roles[id]) for id in row.role_ids if id in roles]
    here = f"{ctx.base_url}/OS-TRUST/trusts/{row.id}/roles"
    out["roles_links"] = {"self": here, "next": None, "previous": None}
    return out


def _role(ctx: Context, row: Any) -> dict[str, Any]:
    return Role.render({**shown(ctx, "roles", row), "domain_id": row.domain_id or None})


@operation(
    "POST",
    "/OS-TRUST/trusts",
    policy="identity:create_trust",
    wrap="trust",
    request=TrustCreate,
    response=Trust,
    target=lambda ctx, loaded, new: {
        "target.trust.trustor_user_id": new.trustor_user_id,
        "target.trust.trustee_user_id": new.trustee_user_id,
    },
    errors=(BadRequest, Forbidden, Missing),
)
def create_trust(ctx: Context, tx: Tx, new: TrustCreate) -> Any:
    """Let another user act with some of one's roles."""
    if new.trustor_user_id != ctx.user_id:
        raise Forbidden("One can only give trusts of one's own.")
    return _shown(ctx, tx, trusts.create(ctx, tx, new))


@operation(
    "GET",
    "/OS-TRUST/trusts",
    policy="identity:list_trusts",
    query=TrustQuery,
    rule=_list_rule,
    target=_list_target,
    items=Trust,
    response_wrap="trusts",
)
def list_trusts(ctx: Context, tx: Tx, query: TrustQuery) -> Any:
    """List trusts, all or those of one user."""
    conditions = [_T.c[name] == value for name, value in query.items()]
    rows = [row for row in entities.listed(tx, _T, conditions) if trusts.usable(row)]
    return [shown(ctx, "OS-TRUST/trusts", row) for row in rows]  # roles: with a single trust only


@operation(
    "GET",
    "/OS-TRUST/trusts/{trust_id}",
    policy="identity:get_trust",
    response=Trust,
    response_wrap="trust",
    load=_load,
    target=_target,
    errors=(Absent,),
)
def show_trust(ctx: Context, tx: Tx, trust: Any) -> Any:
    """Show a trust."""
    return _shown(ctx, tx, trust)


@operation(
    "DELETE",
    "/OS-TRUST/trusts/{trust_id}",
    policy="identity:delete_trust",
    load=_load,
    target=_target,
    errors=(Absent,),
)
def delete_trust(ctx: Context, tx: Tx, trust: Any) -> None:
    """Delete a trust and those that were made of it; their tokens end."""
    trusts.delete(tx, trust)


@operation(
    "GET",
    "/OS-TRUST/trusts/{trust_id}/roles",
    policy="identity:list_roles_for_trust",
    load=_load,
    target=_target,
    errors=(Absent,),
)
def list_trust_roles(ctx: Context, tx: Tx, trust: Any) -> Any:
    """List the roles of a trust."""
    body = _shown(ctx, tx, trust)
    return {"roles": body["roles"], "links": body["roles_links"]}


@operation(
    "GET",
    "/OS-TRUST/trusts/{trust_id}/roles/{role_id}",
    policy="identity:get_role_for_trust",
    load=_load_role,
    target=lambda ctx, loaded, new: _target(ctx, loaded[0], new),
    errors=(Absent, Missing),
)
def show_trust_role(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show a role of a trust."""
    trust, role_id = loaded
    row = entities.get(tx, tables.roles, role_id) if role_id in trust.role_ids else None
    if row is None:
        raise Missing(kind="role", id=role_id)
    return {"role": _role(ctx, row)}
