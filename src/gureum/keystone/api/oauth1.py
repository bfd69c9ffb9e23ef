"""OAuth1: request tokens, their authorization, access tokens, and those that a user has given."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    PUBLIC,
    BadRequest,
    Forbidden,
    ListOf,
    Reply,
    Struct,
    Unauthorized,
    operation,
    show_time,
)
from gureum.keystone.api.auth import user_target
from gureum.keystone.api.shapes import Reference
from gureum.keystone.errors import Missing
from gureum.keystone.logic import oauth1
from gureum.keystone.logic.common import load
from gureum.keystone.logic.deps import Deps
from gureum.keystone.logic.proofs import Caller
from gureum.keystone.store import entities, tables

_T = tables.access_tokens
_FORM = "application/x-www-form-urlencoded"
_BASE = "/users/{user_id}/OS-OAUTH1/access_tokens"


@operation(
    "POST",
    "/OS-OAUTH1/request_token",
    policy=PUBLIC,
    manual=True,
    headers=("authorization", "requested-project-id"),
    errors=(Unauthorized, BadRequest, Missing),
)
def create_request_token(ctx: Context, deps: Deps, headers: dict[str, str]) -> Any:
    """Ask for access in the name of some user; signed by a consumer."""
    caller = Caller("POST", f"{ctx.base_url}/OS-OAUTH1/request_token", headers)
    return Reply(raw=oauth1.request_token(deps, caller), content_type=_FORM)


@operation(
    "POST",
    "/OS-OAUTH1/access_token",
    policy=PUBLIC,
    manual=True,
    headers=("authorization",),
    errors=(Unauthorized,),
)
def create_access_token(ctx: Context, deps: Deps, headers: dict[str, str]) -> Any:
    """Turn an authorized request token into an access token; signed by the consumer."""
    caller = Caller("POST", f"{ctx.base_url}/OS-OAUTH1/access_token", headers)
    return Reply(raw=oauth1.access_token(deps, caller), content_type=_FORM)


class Authorization(Struct, extra="ignore"):
    """Which roles a consumer gets."""

    roles = ListOf(Reference, "Some of one's own roles in the project.", min=1, required=True)


@operation(
    "PUT",
    "/OS-OAUTH1/authorize/{request_token_id}",
    policy="identity:authorize_request_token",
    request=Authorization,
    target=lambda ctx, loaded, new: {"target.user.id": ctx.user_id},
    errors=(Missing, Forbidden),
)
def authorize_request_token(ctx: Context, tx: Tx, request_token_id: str, new: Authorization) -> Any:
    """Give a consumer some of one's roles; the answer is what the consumer must show."""
    verifier = oauth1.authorize(ctx, tx, request_token_id, new.roles)
    return {"token": {"oauth_verifier": verifier}}


def _load_user(ctx: Context, tx: Tx, user_id: str) -> Any:
    return load(tx, tables.users, "user", user_id)


def _load(ctx: Context, tx: Tx, user_id: str, access_token_id: str, *rest: str) -> Any:
    user = load(tx, tables.users, "user", user_id)
    row = entities.get(tx, _T, access_token_id)
    if row is None or row.user_id != user.id:
        raise Missing(kind="access token", id=access_token_id)
    return (user, row, *rest)


def _target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    return user_target(loaded and loaded[0])


def _user_of(ctx: Context, user: Any, new: Any) -> dict[str, Any]:
    return user_target(user)


def _path(ctx: Context, row: Any) -> str:
    return f"{ctx.base_url}/users/{row.user_id}/OS-OAUTH1/access_tokens/{row.id}"


def _shown(ctx: Context, row: Any) -> dict[str, Any]:
    here = _path(ctx, row)
    return {
        "id": row.id,
        "consumer_id": row.consumer_id,
        "project_id": row.project_id,
        "authorizing_user_id": row.user_id,
        "expires_at": None if row.expires_at is None else show_time(row.expires_at, "usz"),
        "links": {"self": here, "roles": f"{here}/roles"},
    }


@operation(
    "GET",
    _BASE,
    policy="identity:list_access_tokens",
    load=_load_user,
    target=_user_of,
    errors=(Missing,),
)
def list_access_tokens(ctx: Context, tx: Tx, user: Any) -> Any:
    """List the access tokens that a user has given."""
    rows = entities.listed(tx, _T, [_T.c.user_id == user.id])
    here = f"{ctx.base_url}/users/{user.id}/OS-OAUTH1/access_tokens"
    return {
        "access_tokens": [_shown(ctx, row) for row in rows],
        "links": {"self": here, "next": None, "previous": None},
    }


@operation(
    "GET",
    _BASE + "/{access_token_id}",
    policy="identity:get_access_token",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def show_access_token(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show an access token."""
    return {"access_token": _shown(ctx, loaded[1])}


@operation(
    "DELETE",
    _BASE + "/{access_token_id}",
    policy="identity:delete_access_token",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def delete_access_token(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Take an access token back; what was done with it ends."""
    oauth1.revoke(tx, loaded[1])


def _role(ctx: Context, row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id or None,
        "links": {"self": f"{ctx.base_url}/roles/{row.id}"},
    }


@operation(
    "GET",
    _BASE + "/{access_token_id}/roles",
    policy="identity:list_access_token_roles",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def list_access_token_roles(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """List the roles of an access token."""
    _, row = loaded
    found = entities.by_ids(tx, tables.roles, row.role_ids)
    return {
        "roles": [_role(ctx, role) for role in found.values()],
        "links": {"self": f"{_path(ctx, row)}/roles", "next": None, "previous": None},
    }


@operation(
    "GET",
    _BASE + "/{access_token_id}/roles/{role_id}",
    policy="identity:get_access_token_role",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def show_access_token_role(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show a role of an access token."""
    _, row, role_id = loaded
    role = entities.get(tx, tables.roles, role_id)
    if role is None or role_id not in row.role_ids:
        raise Missing(kind="role of access token", id=role_id)
    return {"role": _role(ctx, role)}
