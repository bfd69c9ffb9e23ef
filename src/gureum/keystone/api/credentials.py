"""Credentials: secrets of users that other services look up, such as EC2 key pairs or TOTP seeds."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden, Id, Json, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Duplicate, Missing
from gureum.keystone.logic import credentials
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_T = tables.credentials


class Credential(Struct, extra="keep"):
    """A credential."""

    id = Id("Id.")
    type = String("Type, such as `ec2`, `cert` or `totp`.")
    blob = String("The secret, in the form that its type wants.", max=None)
    user_id = Id("Owner.")
    project_id = Id("Project it is for.")
    links = Json("Links.")


class CredentialCreate(Struct, extra="keep"):
    """A new credential."""

    type = String("Type, such as `ec2`, `cert` or `totp`.", required=True)
    blob = String("The secret, in the form that its type wants.", max=65535, required=True)
    user_id = Id("Owner.", max=64, required=True)
    project_id = Id("Project it is for.", max=64, null=True)


class CredentialUpdate(Struct, extra="keep"):
    """A new secret; nothing else of a credential can change."""

    blob = String("The secret.", max=65535)
    type = String("Cannot be changed.")
    user_id = Id("Cannot be changed.", max=64)
    project_id = Id("Cannot be changed.", max=64, null=True)


def _load(ctx: Context, tx: Tx, credential_id: str) -> Any:
    return load(tx, _T, "credential", credential_id)


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    owner = row.user_id if row is not None else None
    if row is None and new is not None:
        owner = new.get("user_id")
    return {"target.credential.user_id": owner}


def _new_target(ctx: Context, row: Any, new: CredentialCreate) -> dict[str, Any]:
    return {"target.credential.user_id": new.user_id}


def _shown(ctx: Context, tx: Tx, row: Any) -> dict[str, Any]:
    return {**shown(ctx, "credentials", row), "blob": credentials.blob_of(tx, row)}


@operation(
    "POST",
    "/credentials",
    policy="identity:create_credential",
    wrap="credential",
    request=CredentialCreate,
    response=Credential,
    target=_new_target,
    errors=(Duplicate, Missing, BadRequest, Forbidden),
)
def create_credential(ctx: Context, tx: Tx, new: CredentialCreate) -> Any:
    """Store a credential, encrypted."""
    load(tx, tables.users, "user", new.user_id)
    row = credentials.create(
        ctx,
        tx,
        kind=new.type,
        blob=new.blob,
        user_id=new.user_id,
        project_id=new.get("project_id"),
        extra=new.extra_values,
    )
    return _shown(ctx, tx, row)


@operation(
    "GET",
    "/credentials",
    policy="identity:list_credentials",
    query=ListQuery,
    items=Credential,
    response_wrap="credentials",
    target=lambda ctx, loaded, new: {"target.credential.user_id": ctx.user_id},
)
def list_credentials(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List credentials: all for administrators and readers of the system, else one's own."""
    where = shapes.filters(query, {"user_id": str, "type": str})
    conditions = entities.matching(_T, where)
    if not ctx.is_admin and not (ctx.system and "reader" in ctx.roles):
        conditions.append(_T.c.user_id == ctx.user_id)
    limit = query.get("limit")
    rows = entities.listed(tx, _T, conditions, marker=query.get("marker"), limit=limit)
    page = shapes.page(ctx, "credentials", rows, query, limit)
    seen = credentials.readable(ctx, tx, rows)
    return type(page)([_shown(ctx, tx, row) for row in seen], page.next_query)


@operation(
    "GET",
    "/credentials/{credential_id}",
    policy="identity:get_credential",
    response=Credential,
    response_wrap="credential",
    load=_load,
    target=_target,
    errors=(Missing, Forbidden),
)
def show_credential(ctx: Context, tx: Tx, credential: Any) -> Any:
    """Show a credential."""
    credentials.check_delegated(ctx, tx, credential)
    return _shown(ctx, tx, credential)


@operation(
    "PATCH",
    "/credentials/{credential_id}",
    policy="identity:update_credential",
    wrap="credential",
    request=CredentialUpdate,
    response=Credential,
    load=_load,
    target=lambda ctx, row, new: _target(ctx, row, None),
    errors=(Missing, BadRequest, Forbidden),
)
def update_credential(ctx: Context, tx: Tx, credential: Any, new: CredentialUpdate) -> Any:
    """Replace the secret of a credential."""
    credentials.check_delegated(ctx, tx, credential)
    for name in ("type", "user_id", "project_id"):
        if new.has(name) and new.get(name) != getattr(credential, name):
            raise BadRequest(f"{name} of a credential cannot be changed.")
    blob = new.blob if new.has("blob") else credentials.blob_of(tx, credential)
    row = credentials.set_blob(tx, credential, blob, new.extra_values)
    return _shown(ctx, tx, row)


@operation(
    "DELETE",
    "/credentials/{credential_id}",
    policy="identity:delete_credential",
    load=_load,
    target=_target,
    errors=(Missing, Forbidden),
)
def delete_credential(ctx: Context, tx: Tx, credential: Any) -> None:
    """Delete a credential."""
    credentials.check_delegated(ctx, tx, credential)
    tx.delete_by(_T.c.id, credential.id)
