"""Key pairs: a user's public keys by name. They belong to a user, not to a project."""

from __future__ import annotations

import string
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.db.errors import Conflict as RowConflict
from gureum.core.spec import Struct
from gureum.nova.errors import Bad, Exists, KeypairNotFound, MarkerNotFound, OverQuota
from gureum.nova.logic import quotas, ssh_keys
from gureum.nova.logic.flavors import page_size
from gureum.nova.store import keypairs as store

_SAFE = frozenset(string.ascii_letters + string.digits + "_- ")
_SAFE_TOO = frozenset("@.")


def owner(ctx: Context, query: Struct | None) -> str:
    """Return whose key pairs are meant: those of `user_id` when it was given."""
    asked = query.get("user_id") if query is not None else None
    return str(asked or ctx.user_id)


def get(tx: Tx, user_id: str, name: str) -> sa.Row[Any]:
    """Return a key pair. Raises: KeypairNotFound."""
    row = store.get(tx, user_id, name)
    if row is None:
        raise KeypairNotFound(name=name, user_id=user_id)
    return row


def find(tx: Tx, user_id: str, query: Struct, max_limit: int) -> tuple[list[sa.Row[Any]], bool]:
    """Return a page of a user's key pairs, and whether more follow. Raises: MarkerNotFound."""
    marker = query.get("marker")
    if marker is not None and store.get(tx, user_id, marker) is None:
        raise MarkerNotFound(marker=marker)
    return store.find_page(
        tx, user_id, marker=marker, limit=page_size(query.get("limit"), max_limit)
    )


def prepare(ctx: Context, new: Struct) -> dict[str, Any]:
    """Check or make the key, which takes a while and needs no database. Raises: Bad.

    Returns the row's values; `private_key` besides when the pair was made.
    """
    name, kind = new.get("name"), new.get("type", "ssh")
    safe = _SAFE | _SAFE_TOO if new.get("more_characters") else _SAFE
    if not set(name) <= safe:
        raise Bad("Keypair data is invalid: Keypair name contains unsafe characters")
    user_id = str(new.get("user_id") or ctx.user_id)
    values = {"name": name, "type": kind, "user_id": user_id}
    public_key = new.get("public_key")
    if public_key is None:
        made = ssh_keys.make_ssh() if kind == "ssh" else ssh_keys.make_x509(user_id)
        values["private_key"], public_key = made
    check = ssh_keys.ssh_fingerprint if kind == "ssh" else ssh_keys.x509_fingerprint
    return {**values, "public_key": public_key, "fingerprint": check(public_key)}


def create(tx: Tx, values: dict[str, Any]) -> dict[str, Any]:
    """Write a prepared key pair. Raises: Exists, OverQuota."""
    row = {key: value for key, value in values.items() if key != "private_key"}
    user_id, name = row["user_id"], row["name"]
    quotas.enter_gate(tx, f"user:{user_id}")
    limit = quotas.limit_of_user(tx, "key_pairs")
    if limit >= 0 and store.count(tx, user_id) >= limit:
        raise OverQuota("Quota exceeded, too many key pairs.")
    if store.get(tx, user_id, name) is not None:
        raise Exists(f"Key pair '{name}' already exists.")
    try:
        store.insert(tx, **row)
    except RowConflict as error:
        raise Exists(f"Key pair '{name}' already exists.") from error
    return values


def delete(tx: Tx, user_id: str, name: str) -> None:
    """Remove a key pair. Raises: KeypairNotFound."""
    store.delete(tx, get(tx, user_id, name).number)
