"""What a token says, whatever its form; and what every provider of tokens can do.

Follows: Identity API v3, "Authentication and token management".
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from gureum.core.db import Tx
from gureum.core.shapes import ready

METHODS = (
    "password",
    "token",
    "application_credential",
    "totp",
    "mapped",
    "oauth1",
    "oauth2",
    "ec2credential",
)
"""Names that are packed as numbers: append only."""


class TokenClaims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says. Times are seconds since 1970; scope is "p", "d", "s" or "". Append only."""

    user_id: str
    methods: tuple[str, ...]
    scope: str
    scope_id: str
    issued_at: float
    expires_at: float
    audit_ids: tuple[str, ...]
    application_credential_id: str = ""
    trust_id: str = ""
    access_token_id: str = ""
    idp_id: str = ""
    protocol_id: str = ""
    group_ids: tuple[str, ...] = ()

    def moment(self, what: str) -> datetime:
        """Return `issued_at` or `expires_at` as a moment."""
        return datetime.fromtimestamp(getattr(self, what), UTC)


ready(TokenClaims)


class TokenProvider(Protocol):
    """Makes tokens of claims, and claims of tokens."""

    name: str

    def issue(self, claims: TokenClaims, body: Mapping[str, Any]) -> str:
        """Return the token. body: what `GET /auth/tokens` shows, with the catalogue."""
        ...

    def read(self, token: str, tx: Tx | None = None) -> TokenClaims | None:
        """Return what a token says, or None when it is not ours. Says nothing about expiry."""
        ...


def new_audit_id() -> str:
    """Return a short random id of a token."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
