"""Verbs on credentials: secrets that a service looks up for a user, encrypted at rest.

Follows: Identity API v3, "Credentials" and "OS-EC2". A key pair of type `ec2` is found by its access key:
its id is the key's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common, delegation
from gureum.keystone.store import entities, tables

_T = tables.credentials


def create(
    ctx: Context,
    tx: Tx,
    *,
    kind: str,
    blob: str,
    user_id: str,
    project_id: str | None,
    extra: Mapping[str, Any],
) -> entities.Row:
    """Create. Raises: BadRequest, Forbidden (too many), Duplicate."""
    limits = delegation.of(ctx, tx)
    if limits is not None and (limits.key != "trust_id" or kind != "ec2"):
        raise Forbidden("A token that was delegated cannot make credentials.")
    if kind == "ec2":
        id, blob = _ec2_identity(tx, ctx, blob, limits)
        if project_id is None:
            raise BadRequest("A credential of type ec2 needs a project_id.")
    else:
        id = common.new_id()
    _check_limit(tx, user_id)
    values = {
        "id": id,
        "type": kind,
        "user_id": user_id,
        "project_id": project_id,
        "encrypted_blob": tx.deps.vault.lock(blob),
        "extra_values": dict(extra),
    }
    return common.insert(tx, _T, "credential", values)


def _ec2_identity(
    tx: Tx, ctx: Context, blob: str, limits: delegation.Delegation | None
) -> tuple[str, str]:
    """Return id and content of a key pair; what limits it comes from the token, never from the caller."""
    try:
        content = msgspec.json.decode(blob)
    except msgspec.DecodeError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("access"), str):
        raise BadRequest("The blob of a credential of type ec2 must be a JSON object with access.")
    claims = tx.deps.provider.read(ctx.token or "", tx)
    if any(content.get(key) is not None for key in delegation.KEYS):
        raise BadRequest(f"{', '.join(delegation.KEYS)} of a credential cannot be chosen.")
    if limits is not None:
        content[limits.key] = limits.id
    elif claims is not None and claims.application_credential_id:
        content["app_cred_id"] = claims.application_credential_id
    return hashlib.sha256(content["access"].encode()).hexdigest(), json.dumps(content)


def _check_limit(tx: Tx, user_id: str) -> None:
    limit = tx.deps.credential_options.user_limit
    if limit < 0:
        return
    have = tx.scalar(sa.select(sa.func.count()).select_from(_T).where(_T.c.user_id == user_id))
    if have >= limit:
        raise Forbidden("The user has as many credentials as allowed.")


def blob_of(tx: Tx, row: Any) -> str:
    """Return the secret part."""
    blob: str = tx.deps.vault.open(row.encrypted_blob)
    return blob


def readable(ctx: Context, tx: Tx, rows: Sequence[entities.Row]) -> list[entities.Row]:
    """Leave out what the caller's token, if it was delegated, must not see: secrets that give more."""
    limits = delegation.of(ctx, tx)
    if limits is None or ctx.is_admin:
        return list(rows)
    return [row for row in rows if _made_with(tx, row, limits)]


def _made_with(tx: Tx, row: Any, limits: delegation.Delegation) -> bool:
    if row.type != "ec2":
        return False
    blob = msgspec.json.decode(blob_of(tx, row))
    return isinstance(blob, dict) and blob.get(limits.key) == limits.id


def check_delegated(ctx: Context, tx: Tx, row: Any) -> None:
    """Refuse to show or change what a delegated token must not reach. Raises: Forbidden."""
    if not readable(ctx, tx, [row]):
        raise Forbidden("A token that was delegated reaches only credentials that it made.")


def set_blob(tx: Tx, row: Any, blob: str, extra: Mapping[str, Any]) -> entities.Row:
    """Replace the secret part. Raises: BadRequest (an ec2 access key cannot change)."""
    if row.type == "ec2":
        old = msgspec.json.decode(blob_of(tx, row))
        try:
            new = msgspec.json.decode(blob)
        except msgspec.DecodeError:
            new = None
        if not isinstance(new, dict) or new.get("access") != old.get("access"):
            raise BadRequest("The access key of a credential cannot be changed.")
        for key in delegation.KEYS:  # what limits the key pair stays with it
            if new.get(key, old.get(key)) != old.get(key):
                raise BadRequest(f"{key} of a credential cannot be changed.")
            if key in old:
                new[key] = old[key]
        blob = json.dumps(new)
    values = {"encrypted_blob": tx.deps.vault.lock(blob), "extra_values": dict(extra)}
    return common.update(tx, _T, "credential", row, values)


# -- EC2 key pairs ---------------------------------------------------------------------------------


def create_pair(ctx: Context, tx: Tx, user_id: str, project_id: str) -> entities.Row:
    """Make a fresh access and secret key."""
    blob = {"access": uuid.uuid4().hex, "secret": uuid.uuid4().hex}
    return create(
        ctx,
        tx,
        kind="ec2",
        blob=json.dumps(blob),
        user_id=user_id,
        project_id=project_id,
        extra={},
    )


def pair(tx: Tx, access: str) -> entities.Row:
    """Find a key pair by its access key. Raises: Missing."""
    row = entities.get(tx, _T, hashlib.sha256(access.encode()).hexdigest())
    if row is None or row.type != "ec2":
        raise Missing(kind="credential", id=access)
    return row


def pairs(tx: Tx, user_id: str) -> list[entities.Row]:
    """Return the key pairs of a user."""
    return list(entities.listed(tx, _T, [_T.c.user_id == user_id, _T.c.type == "ec2"]))
