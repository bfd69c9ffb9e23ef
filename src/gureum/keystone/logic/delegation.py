"""What a token that was delegated (trust, application credential, OAuth1) may not do: reach beyond itself.

Whoever holds such a token acts as its user, but must not make or read a secret that gives more than the
token does, and must not give on what it was not given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Forbidden
from gureum.keystone.store import entities, tables

KEYS = ("trust_id", "app_cred_id", "access_token_id")
"""How a key pair names what limits it."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """By what a token was delegated: one of KEYS, and its id."""

    key: str
    id: str


def of(ctx: Context, tx: Tx) -> Delegation | None:
    """Return how the caller's token was delegated; None where it may all that its user may."""
    claims = tx.deps.provider.read(ctx.token or "", tx)
    if claims is None:
        return None
    if claims.trust_id:
        return Delegation("trust_id", claims.trust_id)
    if claims.access_token_id:
        return Delegation("access_token_id", claims.access_token_id)
    credential_id = claims.application_credential_id
    if credential_id:
        row = entities.get(tx, tables.application_credentials, credential_id)
        if row is None or not row.unrestricted:
            return Delegation("app_cred_id", credential_id)
    return None


def refuse(ctx: Context, tx: Tx, what: str) -> None:
    """Refuse a delegated token. Raises: Forbidden."""
    if of(ctx, tx) is not None:
        raise Forbidden(f"A token that was delegated cannot {what}.")


def given(ctx: Context, roles: list[Any]) -> list[Any]:
    """Return those of the roles that the caller's token has, too."""
    return [role for role in roles if role.name in ctx.roles]
