"""OAuth1: a consumer asks, a user authorizes some roles in a project, the consumer acts in that name.

Signatures are checked with oauthlib; only HMAC ones are taken. A nonce counts once.
Follows: RFC 5849; Identity API v3, "OS-OAUTH1".
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit

import sqlalchemy as sa
from oauthlib.oauth1.rfc5849 import signature as signatures  # type: ignore[import-untyped]

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest, Forbidden, Unauthorized, show_time
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common, effective, proofs, totp
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import entities, tables

_VERIFY = {
    "HMAC-SHA1": signatures.verify_hmac_sha1,
    "HMAC-SHA256": signatures.verify_hmac_sha256,
}


@dataclass(frozen=True, slots=True)
class Signed:
    """The parameters of the Authorization header and what was signed."""

    values: dict[str, str]
    request: Any

    def get(self, name: str) -> str:
        """Return a parameter. Raises: Unauthorized when it is missing."""
        value = self.values.get(name)
        if not value:
            raise Unauthorized(f"The OAuth parameter {name} is missing.")
        return value


def read(caller: proofs.Caller) -> Signed:
    """Read the Authorization header. Raises: Unauthorized."""
    header = caller.headers.get("authorization", "")
    try:
        pairs = signatures.collect_parameters(
            uri_query=urlsplit(caller.url).query,
            headers={"Authorization": header},
            exclude_oauth_signature=False,
        )
    except ValueError:
        raise Unauthorized("The Authorization header cannot be read.") from None
    values = dict(pairs)
    if not header.lower().startswith("oauth ") or len(values) != len(pairs):
        raise Unauthorized("The Authorization header cannot be read.")
    request = SimpleNamespace(
        uri=caller.url,
        http_method=caller.method,
        params=[(name, value) for name, value in pairs if name != "oauth_signature"],
        signature=values.get("oauth_signature", ""),
    )
    return Signed(values, request)


def _check(tx: Tx, signed: Signed, consumer: Any, token: Any | None) -> None:
    """Refuse a signature that is wrong, old, or used before. Raises: Unauthorized."""
    verify = _VERIFY.get(signed.get("oauth_signature_method"))
    if verify is None or signed.values.get("oauth_version", "1.0") != "1.0":
        raise Unauthorized("The signature method is not supported.")
    try:
        age = abs(time.time() - int(signed.get("oauth_timestamp")))
    except ValueError:
        raise Unauthorized("The timestamp is no number.") from None
    limit = tx.deps.auth.signature_age_s
    secret = tx.deps.vault.open(consumer.encrypted_secret)
    token_secret = tx.deps.vault.open(token.encrypted_secret) if token is not None else ""
    if age > limit or not verify(signed.request, secret, token_secret):
        raise Unauthorized("The signature is not valid.")
    nonce = f"{consumer.id}:{signed.get('oauth_nonce')}:{signed.get('oauth_timestamp')}"
    if not totp.use_once(tx, "oauth1", nonce, 2 * limit):
        raise Unauthorized("The nonce was used before.")


def _consumer(tx: Tx, signed: Signed) -> Any:
    row = entities.get(tx, tables.consumers, signed.get("oauth_consumer_key"))
    if row is None:
        raise Unauthorized("The signature is not valid.")
    return row


def _over(row: Any) -> bool:
    return row.expires_at is not None and row.expires_at <= utc_now()


def _until(seconds: int) -> datetime | None:
    return utc_now() + timedelta(seconds=seconds) if seconds else None


def _form(id: str, secret: str, expires_at: datetime | None) -> bytes:
    values = {"oauth_token": id, "oauth_token_secret": secret}
    if expires_at is not None:
        values["oauth_expires_at"] = show_time(expires_at, "usz")
    return urlencode(values).encode()


def request_token(deps: Deps, caller: proofs.Caller) -> bytes:
    """Make a request token; returns the form that answers. Raises: Unauthorized, BadRequest, Missing."""
    signed = read(caller)
    project_id = caller.headers.get("requested-project-id")
    if not project_id:
        raise BadRequest("The header Requested-Project-Id is missing.")
    secret, id = secrets.token_hex(32), common.new_id()
    expires_at = _until(deps.auth.oauth1_request_token_s)
    with deps.db.write() as tx:
        consumer = _consumer(tx, signed)
        _check(tx, signed, consumer, None)
        common.load(tx, tables.projects, "project", project_id)
        tx.insert(
            tables.request_tokens,
            id=id,
            consumer_id=consumer.id,
            encrypted_secret=deps.vault.lock(secret),
            project_id=project_id,
            expires_at=expires_at,
        )
    return _form(id, secret, expires_at)


def authorize(ctx: Context, tx: Tx, id: str, roles: Sequence[Any]) -> str:
    """Give a request token some of one's roles; returns the verifier. Raises: Missing, Forbidden."""
    row = entities.get(tx, tables.request_tokens, id)
    if row is None or _over(row):
        raise Missing(kind="request token", id=id)
    claims = tx.deps.provider.read(ctx.token or "", tx)
    if claims is None or claims.trust_id or claims.access_token_id:
        raise Forbidden("A token that was delegated cannot authorize a request token.")
    if claims.application_credential_id:
        raise Forbidden("An application credential cannot authorize a request token.")
    held = effective.roles_in(tx, ctx.user_id or "", "p", row.project_id, claims.group_ids)
    by_name = {role.name: role.id for role in held}
    chosen = []
    for reference in roles:
        role_id = reference.get("id") or by_name.get(reference.get("name"))
        if role_id not in by_name.values():
            raise Forbidden("One can only give roles that one has in the project.")
        chosen.append(role_id)
    verifier = secrets.token_hex(4)
    tx.update_by(
        tables.request_tokens.c.id,
        id,
        user_id=ctx.user_id,
        role_ids=list(dict.fromkeys(chosen)),
        verifier=verifier,
    )
    return verifier


def access_token(deps: Deps, caller: proofs.Caller) -> bytes:
    """Make an access token of an authorized request token; returns the form. Raises: Unauthorized."""
    signed = read(caller)
    secret, id = secrets.token_hex(32), common.new_id()
    expires_at = _until(deps.auth.oauth1_access_token_s)
    asked = tables.request_tokens
    with deps.db.write() as tx:
        consumer = _consumer(tx, signed)
        row = entities.get(tx, asked, signed.get("oauth_token"))
        if row is None or row.consumer_id != consumer.id or _over(row) or not row.verifier:
            raise Unauthorized("The request token is not valid.")
        _check(tx, signed, consumer, row)
        if not hmac.compare_digest(row.verifier.encode(), signed.get("oauth_verifier").encode()):
            raise Unauthorized("The verifier is not valid.")
        tx.insert(
            tables.access_tokens,
            id=id,
            consumer_id=consumer.id,
            user_id=row.user_id,
            encrypted_secret=deps.vault.lock(secret),
            project_id=row.project_id,
            role_ids=row.role_ids,
            expires_at=expires_at,
        )
        tx.delete(asked, sa.and_(asked.c.id == row.id))
    return _form(id, secret, expires_at)


def prove(deps: Deps, part: Any, caller: proofs.Caller) -> proofs.Proven:
    """The method `oauth1`: a request that is signed with an access token. Raises: Unauthorized."""
    signed = read(caller)
    with deps.db.write() as tx:
        consumer = _consumer(tx, signed)
        row = entities.get(tx, tables.access_tokens, signed.get("oauth_token"))
        if row is None or row.consumer_id != consumer.id or _over(row):
            raise Unauthorized("The access token is not valid.")
        _check(tx, signed, consumer, row)
    return proofs.Proven(
        row.user_id,
        ("oauth1",),
        expires_at=row.expires_at,
        access_token_id=row.id,
        only_project_id=row.project_id,
    )


def revoke(tx: Tx, row: Any) -> None:
    """Delete an access token; tokens that were made with it end."""
    common.delete(tx, tables.access_tokens, row.id)
