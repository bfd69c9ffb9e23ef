"""EC2 key pairs of a user: an access key and a secret for one project."""

from __future__ import annotations

from typing import Any

import msgspec

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Forbidden, Id, Struct, operation
from gureum.keystone.errors import Absent, Missing
from gureum.keystone.logic import credentials
from gureum.keystone.logic.common import load
from gureum.keystone.store import tables

_BASE = "/users/{user_id}/credentials/OS-EC2"


class PairCreate(Struct, extra="ignore"):
    """A new key pair."""

    tenant_id = Id("Project.", max=64, required=True)


def _load_user(ctx: Context, tx: Tx, user_id: str) -> Any:
    return load(tx, tables.users, "user", user_id)


def _load(ctx: Context, tx: Tx, user_id: str, access: str) -> Any:
    try:
        return credentials.pair(tx, access)  # the rule looks at its real owner
    except Missing:
        raise Absent(kind="credential", id=access) from None


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {} if row is None else {"user_id": row.user_id, "target.credential.user_id": row.user_id}


def _user_target(ctx: Context, user: Any, new: Any) -> dict[str, Any]:
    return {} if user is None else {"user_id": user.id, "target.user.id": user.id}


def _shown(ctx: Context, tx: Tx, row: Any) -> dict[str, Any]:
    blob = msgspec.json.decode(credentials.blob_of(tx, row))
    path = f"users/{row.user_id}/credentials/OS-EC2/{blob['access']}"
    return {
        "user_id": row.user_id,
        "tenant_id": row.project_id,
        "access": blob["access"],
        "secret": blob.get("secret"),
        "trust_id": blob.get("trust_id"),
        "links": {"self": f"{ctx.base_url}/{path}"},
    }


@operation(
    "POST",
    _BASE,
    policy="identity:ec2_create_credential",
    request=PairCreate,
    load=_load_user,
    target=_user_target,
    errors=(Missing, Forbidden),
)
def create_ec2_credential(ctx: Context, tx: Tx, user: Any, new: PairCreate) -> Any:
    """Create a key pair."""
    load(tx, tables.projects, "project", new.tenant_id)
    row = credentials.create_pair(ctx, tx, user.id, new.tenant_id)
    return {"credential": _shown(ctx, tx, row)}


@operation(
    "GET",
    _BASE,
    policy="identity:ec2_list_credentials",
    load=_load_user,
    target=_user_target,
    errors=(Missing,),
)
def list_ec2_credentials(ctx: Context, tx: Tx, user: Any) -> Any:
    """List the key pairs of a user."""
    rows = credentials.readable(ctx, tx, credentials.pairs(tx, user.id))
    path = f"{ctx.base_url}/users/{user.id}/credentials/OS-EC2"
    return {
        "credentials": [_shown(ctx, tx, row) for row in rows],
        "links": {"self": path, "next": None, "previous": None},
    }


@operation(
    "GET",
    _BASE + "/{credential_id}",
    policy="identity:ec2_get_credential",
    load=_load,
    target=_target,
    errors=(Absent, Forbidden),
)
def show_ec2_credential(ctx: Context, tx: Tx, row: Any) -> Any:
    """Show a key pair."""
    credentials.check_delegated(ctx, tx, row)
    return {"credential": _shown(ctx, tx, row)}


@operation(
    "DELETE",
    _BASE + "/{credential_id}",
    policy="identity:ec2_delete_credential",
    load=_load,
    target=_target,
    errors=(Absent, Forbidden),
)
def delete_ec2_credential(ctx: Context, tx: Tx, row: Any) -> None:
    """Delete a key pair."""
    credentials.check_delegated(ctx, tx, row)
    tx.delete_by(tables.credentials.c.id, row.id)
