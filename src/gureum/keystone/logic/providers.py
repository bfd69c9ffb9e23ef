"""The other forms of tokens: signed (jws), stored (uuid), and signed documents (pki, pkiz).

Whoever holds a public key or certificate can check signed tokens without asking; revocations they have to
ask for. Follows: RFC 7515 and RFC 7518 (ES256) for jws; RFC 5652 for pki and pkiz; RFC 1950 for pkiz.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from gureum.core.db import Database, Tx
from gureum.core.db.types import utc_now
from gureum.keystone.client import read_time
from gureum.keystone.logic.certificates import Certificates
from gureum.keystone.logic.claims import TokenClaims
from gureum.keystone.logic.keyring import KeyRing, KeySource
from gureum.keystone.store import entities, tables

_MAX_TOKEN = 262_144
_MAX_DOCUMENT = 4 << 20


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    """Decode the one spelling that `_b64` writes. Raises: ValueError."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    if _b64(data) != text:
        raise ValueError("another spelling of the same bytes")
    return data


# -- jws -------------------------------------------------------------------------------------------


def make_signing_key() -> bytes:
    """Return a new key for ES256."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _key_id(key: ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()[:16]


class SigningKeys(KeyRing):
    """A ring of keys for ES256."""

    def __init__(self, source: KeySource, max_active_keys: int = 3) -> None:
        super().__init__(source, make_signing_key, max_active_keys)
        self._made: tuple[int, list[ec.EllipticCurvePrivateKey]] | None = None

    def private(self, *, fresh: bool = False) -> list[ec.EllipticCurvePrivateKey]:
        """Return the keys, the primary first."""
        version = self.look(fresh=fresh)
        if self._made is None or self._made[0] != version:
            keys = [serialization.load_pem_private_key(pem, None) for pem in self.ordered()]
            self._made = (version, [k for k in keys if isinstance(k, ec.EllipticCurvePrivateKey)])
        return self._made[1]

    def public_pem(self) -> list[bytes]:
        """Return the public keys, for those who check offline."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return [
            key.public_key().public_bytes(serialization.Encoding.PEM, form)
            for key in self.private(fresh=True)
        ]


def verify_jws(token: str, keys: Sequence[ec.EllipticCurvePublicKey]) -> dict[str, Any] | None:
    """Return the payload of a token that one of the keys signed, else None. Works offline."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX_TOKEN:
        return None
    try:
        header = msgspec.json.decode(_unb64(parts[0]))
        payload, signature = _unb64(parts[1]), _unb64(parts[2])
    except (ValueError, msgspec.DecodeError):
        return None
    if not isinstance(header, dict) or header.get("alg") != "ES256" or len(signature) != 64:
        return None
    half = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    signed = f"{parts[0]}.{parts[1]}".encode()
    for key in keys:
        if header.get("kid") not in (None, _key_id(key)):
            continue
        try:
            key.verify(encode_dss_signature(*half), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        try:
            found = msgspec.json.decode(payload)
        except msgspec.DecodeError:
            return None
        return found if isinstance(found, dict) else None
    return None


_SCOPES = {"p": "openstack_project_id", "d": "openstack_domain_id", "s": "openstack_system"}
_OTHERS = {
    "openstack_app_cred_id": "application_credential_id",
    "openstack_trust_id": "trust_id",
    "openstack_access_token_id": "access_token_id",
    "openstack_idp_id": "idp_id",
    "openstack_protocol_id": "protocol_id",
}


class JwsProvider:
    """Signed tokens that anybody with the public key can read."""

    name = "jws"

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def issue(self, claims: TokenClaims, body: Mapping[str, Any]) -> str:
        """Return the token in compact form."""
        key = self._keys.private()[0]
        header = {"typ": "JWT", "alg": "ES256", "kid": _key_id(key.public_key())}
        payload: dict[str, Any] = {
            "sub": claims.user_id,
            "iat": claims.issued_at,
            "exp": int(claims.expires_at),
            "openstack_methods": claims.methods,
            "openstack_audit_ids": claims.audit_ids,
        }
        if claims.scope:
            payload[_SCOPES[claims.scope]] = claims.scope_id or "all"
        for name, field in _OTHERS.items():
            if getattr(claims, field):
                payload[name] = getattr(claims, field)
        if claims.group_ids:
            payload["openstack_group_ids"] = claims.group_ids
        head, content = (_b64(msgspec.json.encode(part)) for part in (header, payload))
        r, s = decode_dss_signature(
            key.sign(f"{head}.{content}".encode(), ec.ECDSA(hashes.SHA256()))
        )
        return f"{head}.{content}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def read(self, token: str, tx: Tx | None = None) -> TokenClaims | None:
        """Return what a token says, or None when it is not ours."""
        for fresh in (False, True):
            keys = [key.public_key() for key in self._keys.private(fresh=fresh)]
            payload = verify_jws(token, keys)
            if payload is not None:
                return _claims_of_payload(payload)
        return None


def _claims_of_payload(payload: Mapping[str, Any]) -> TokenClaims | None:
    scope = next((mark for mark, name in _SCOPES.items() if name in payload), "")
    values = {
        "user_id": payload.get("sub"),
        "methods": payload.get("openstack_methods"),
        "scope": scope,
        "scope_id": payload[_SCOPES[scope]] if scope in ("p", "d") else "",
        "issued_at": payload.get("iat"),
        "expires_at": payload.get("exp"),
        "audit_ids": payload.get("openstack_audit_ids"),
        "group_ids": payload.get("openstack_group_ids", ()),
        **{field: payload.get(name, "") for name, field in _OTHERS.items()},
    }
    return _converted(values)


def _converted(values: Mapping[str, Any]) -> TokenClaims | None:
    order = [values[name] for name in TokenClaims.__struct_fields__]
    try:
        return msgspec.convert(order, TokenClaims)
    except msgspec.ValidationError:
        return None


# -- uuid ------------------------------------------------------------------------------------------


class UuidProvider:
    """Random tokens; what they say is a row. The row holds a hash, so that it gives no token away."""

    name = "uuid"

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, claims: TokenClaims, body: Mapping[str, Any]) -> str:
        """Store a token; rows that are over go."""
        token, table = uuid.uuid4().hex, tables.stored_tokens
        with self._database.write() as tx:
            over = sa.select(table.c.token_hash).where(table.c.expires_at < utc_now()).limit(20)
            old = [row.token_hash for row in tx.all(over)]
            if old:
                tx.delete(table, table.c.token_hash.in_(old))
            tx.insert(
                table,
                token_hash=_hash(token),
                claims=msgspec.to_builtins(claims),
                expires_at=claims.moment("expires_at"),
            )
        return token

    def read(self, token: str, tx: Tx | None = None) -> TokenClaims | None:
        """Return what a token says, or None when there is none."""
        if len(token) != 32 or not token.isascii():
            return None
        if tx is None:
            with self._database.read() as own:
                return self.read(token, own)
        row = entities.find(tx, tables.stored_tokens, token_hash=_hash(token))
        return msgspec.convert(row.claims, TokenClaims) if row is not None else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# -- pki and pkiz ----------------------------------------------------------------------------------


class PkiProvider:
    """The whole answer of a token check, signed; `pkiz` compresses it."""

    def __init__(self, certificates: Certificates, *, compressed: bool) -> None:
        self.name = "pkiz" if compressed else "pki"
        self._certificates = certificates

    def issue(self, claims: TokenClaims, body: Mapping[str, Any]) -> str:
        """Return the signed document."""
        content = msgspec.json.encode({"token": body})
        der = self._certificates.sign(content, serialization.Encoding.DER)
        if self.name == "pkiz":
            return "PKIZ_" + base64.urlsafe_b64encode(zlib.compress(der, 6)).decode()
        return _classic(der)

    def read(self, token: str, tx: Tx | None = None) -> TokenClaims | None:
        """Return what a token says, or None when it is not ours."""
        der = document_of(token)
        content = self._certificates.open(der) if der is not None else None
        if content is None:
            return None
        try:
            return _claims_of_body(msgspec.json.decode(content)["token"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return None


def _classic(der: bytes) -> str:
    """Return a document as tokens of the form pki write it."""
    return base64.b64encode(der).decode().replace("/", "-")


def document_of(token: str) -> bytes | None:
    """Return the CMS document of a pki or pkiz token, or None when it has not that form."""
    if not 40 <= len(token) <= _MAX_TOKEN or not token.isascii():
        return None
    try:
        if token.startswith("PKIZ_"):
            packed = _unb64(token[5:].rstrip("="))
            unpacker = zlib.decompressobj()
            der = unpacker.decompress(packed, _MAX_DOCUMENT)
            return der if unpacker.eof and not unpacker.unused_data else None
        der = base64.b64decode(token.replace("-", "/"), validate=True)
        return der if _classic(der) == token else None
    except (ValueError, zlib.error):
        return None


def _claims_of_body(body: Mapping[str, Any]) -> TokenClaims | None:
    scope, scope_id = "", ""
    if "project" in body:
        scope, scope_id = "p", body["project"]["id"]
    elif "domain" in body:
        scope, scope_id = "d", body["domain"]["id"]
    elif "system" in body:
        scope = "s"
    federation = body["user"].get("OS-FEDERATION", {})
    values = {
        "user_id": body["user"]["id"],
        "methods": body["methods"],
        "scope": scope,
        "scope_id": scope_id,
        "issued_at": _seconds(body["issued_at"]),
        "expires_at": _seconds(body["expires_at"]),
        "audit_ids": body["audit_ids"],
        "application_credential_id": body.get("application_credential", {}).get("id", ""),
        "trust_id": body.get("OS-TRUST:trust", {}).get("id", ""),
        "access_token_id": body.get("OS-OAUTH1", {}).get("access_token_id", ""),
        "idp_id": federation.get("identity_provider", {}).get("id", ""),
        "protocol_id": federation.get("protocol", {}).get("id", ""),
        "group_ids": [group["id"] for group in federation.get("groups", ())],
    }
    return _converted(values)


def _seconds(text: str) -> float:
    return read_time(text).astimezone(UTC).timestamp()


def token_hash(token: str) -> str:
    """Return the id by which the list of revoked tokens names a token."""
    return _hash(token)
