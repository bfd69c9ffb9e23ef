"""What those need who check signed tokens themselves: certificates, and which tokens were revoked.

Follows: Identity API v3, "OS-SIMPLE-CERT" and "OS-PKI".
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization

from gureum.core.context import Context
from gureum.core.db.types import utc_now
from gureum.core.spec import PUBLIC, Reply, String, Struct, operation, show_time
from gureum.keystone.errors import NoCertificates
from gureum.keystone.logic.certificates import Certificates
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import tables

_PEM = "application/x-pem-file"


def _certificates(deps: Deps) -> Certificates:
    if deps.certificates is None:
        raise NoCertificates(provider=deps.provider.name)
    return deps.certificates


@operation(
    "GET", "/OS-SIMPLE-CERT/ca", policy=PUBLIC, manual=True, waits=False, errors=(NoCertificates,)
)
def show_ca_certificate(ctx: Context, deps: Deps) -> Reply:
    """Show the certificate of the authority that signing certificates come from, as PEM."""
    return Reply(raw=_certificates(deps).authority_pem(), content_type=_PEM)


@operation(
    "GET",
    "/OS-SIMPLE-CERT/certificates",
    policy=PUBLIC,
    manual=True,
    waits=False,
    errors=(NoCertificates,),
)
def show_signing_certificates(ctx: Context, deps: Deps) -> Reply:
    """Show the certificates that tokens may be signed with, the present one first, as PEM."""
    return Reply(raw=_certificates(deps).signing_pem(), content_type=_PEM)


class RevokedQuery(Struct, extra="ignore"):
    """How to show the list."""

    audit_id_only = String("Present: audit ids instead of hashes, and no signature.")


@operation(
    "GET",
    "/auth/tokens/OS-PKI/revoked",
    policy="identity:revocation_list",
    query=RevokedQuery,
    manual=True,
    waits=False,
    target=lambda ctx, loaded, new: {},
    errors=(NoCertificates,),
)
def list_revoked_tokens(ctx: Context, deps: Deps, query: RevokedQuery) -> Any:
    """List tokens that were revoked one by one and would still be valid, signed.

    `id` is the SHA-256 of a token. What ends many tokens at once stands in OS-REVOKE.
    """
    r = tables.revocations.c
    wanted = sa.select(r.audit_id, r.token_hash, r.token_expires_at)
    wanted = wanted.where(r.token_hash.is_not(None), r.token_expires_at > utc_now())
    with deps.db.read() as tx:
        rows = tx.all(wanted.order_by(r.id))
    by_audit = query.has("audit_id_only")
    shown = [
        {
            **({} if by_audit else {"id": row.token_hash}),
            "audit_id": row.audit_id,
            "expires": show_time(row.token_expires_at, "usz"),
        }
        for row in rows
    ]
    if by_audit:
        return {"revoked": shown}
    certificates = _certificates(deps)
    content = msgspec.json.encode({"revoked": shown})
    return {"signed": certificates.sign(content, serialization.Encoding.PEM).decode()}
