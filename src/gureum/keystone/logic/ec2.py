"""Signed requests of EC2 and S3 clients: whose key pair signed them.

Only the present signature versions 2 and 4 are taken; a request may be signed once within
`signature_age_s`.
Follows: the public descriptions of AWS Signature Version 2 and 4; Identity API v3, "OS-EC2" and
"s3tokens".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest, Unauthorized
from gureum.keystone.errors import Missing
from gureum.keystone.logic import credentials, login, proofs
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.store import entities, tables


def _sha256(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _escaped(text: Any) -> str:
    return quote(str(text), safe="-_.~")


def v2(secret: str, verb: str, host: str, path: str, params: Mapping[str, Any]) -> str:
    """Return the version 2 signature of a request."""
    known = {name: value for name, value in params.items() if name != "Signature"}
    pairs = "&".join(f"{_escaped(name)}={_escaped(known[name])}" for name in sorted(known))
    text = f"{verb}\n{host.lower()}\n{path}\n{pairs}"
    kind = hashlib.sha1 if params.get("SignatureMethod") == "HmacSHA1" else hashlib.sha256
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), kind).digest()).decode()


def v4_key(secret: str, scope: list[str]) -> bytes:
    """Return the signing key of a scope: date, region, service, `aws4_request`."""
    key = ("AWS4" + secret).encode()
    for part in scope:
        key = _sha256(key, part)
    return key


def v4(secret: str, signed: Mapping[str, Any], authorization: Mapping[str, str]) -> str:
    """Return the version 4 signature of a request. Raises: BadRequest."""
    headers = {name.lower(): str(value) for name, value in signed["headers"].items()}
    scope = authorization["Credential"].split("/")[1:]
    names = authorization["SignedHeaders"].split(";")
    moment = headers.get("x-amz-date") or signed["params"].get("X-Amz-Date")
    if len(scope) != 4 or not moment or not moment.startswith(scope[0]):
        raise BadRequest("The credential scope does not fit the date.")
    params = {k: v for k, v in signed["params"].items() if k != "X-Amz-Signature"}
    canonical = "\n".join(
        (
            signed["verb"],
            signed["path"],
            "&".join(f"{_escaped(name)}={_escaped(params[name])}" for name in sorted(params)),
            "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names),
            ";".join(names),
            signed["body_hash"],
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", moment, "/".join(scope), digest))
    return _sha256(v4_key(secret, scope), text).hex()


def _authorization(signed: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the parts of a version 4 authorization, from its header or the query."""
    headers = {name.lower(): str(value) for name, value in signed["headers"].items()}
    params = signed["params"]
    if "X-Amz-Credential" in params:
        return {
            "Credential": str(params["X-Amz-Credential"]),
            "SignedHeaders": str(params.get("X-Amz-SignedHeaders", "")),
        }
    kind, _, rest = headers.get("authorization", "").partition(" ")
    if kind != "AWS4-HMAC-SHA256":
        return None
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    return parts if {"Credential", "SignedHeaders"} <= set(parts) else None


def _moment(signed: Mapping[str, Any]) -> datetime:
    headers = {name.lower(): str(value) for name, value in signed["headers"].items()}
    params = signed["params"]
    text = headers.get("x-amz-date") or params.get("X-Amz-Date") or params.get("Timestamp")
    if not text:
        raise Unauthorized("The signed request has no date.")
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise Unauthorized("The date of the signed request cannot be read.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _matches(secret: str, signed: Mapping[str, Any]) -> bool:
    """Whether a request was signed with a secret; the host with and without its port."""
    given = str(signed["signature"]).encode()
    authorization = _authorization(signed)
    if authorization is not None:
        hosts = [signed]
        bare = signed["host"].partition(":")[0]
        if bare != signed["host"]:
            headers = {
                name: bare if name.lower() == "host" else value
                for name, value in signed["headers"].items()
            }
            hosts.append({**signed, "headers": headers})
        wanted = [v4(secret, one, authorization) for one in hosts]
    elif str(signed["params"].get("SignatureVersion")) == "2":
        hosts_ = dict.fromkeys((signed["host"], signed["host"].partition(":")[0]))
        wanted = [
            v2(secret, signed["verb"], host, signed["path"], signed["params"]) for host in hosts_
        ]
    else:
        raise Unauthorized("Only signatures of version 2 and 4 are accepted.")
    found = False
    for one in wanted:
        found |= hmac.compare_digest(one.encode(), given)
    return found


def _pair(deps: Deps, access: str) -> tuple[Any, dict[str, Any]]:
    """Return the row and the content of a key pair. Raises: Unauthorized."""
    with deps.db.read() as tx:
        try:
            row = credentials.pair(tx, access)
        except Missing:
            raise Unauthorized("The signature is not valid.") from None
        return row, msgspec.json.decode(credentials.blob_of(tx, row))


def ec2_token(deps: Deps, signed: Mapping[str, Any]) -> tuple[str, Checked]:
    """Return a token of who signed an EC2 request. Raises: Unauthorized, BadRequest."""
    row, blob = _pair(deps, str(signed["access"]))
    age = abs((utc_now() - _moment(signed)).total_seconds())
    if age > deps.auth.signature_age_s or not _matches(str(blob.get("secret", "")), signed):
        raise Unauthorized("The signature is not valid.")
    return _issue(deps, row, blob)


def s3_token(deps: Deps, access: str, token: str, signature: str) -> tuple[str, Checked]:
    """Return a token of who signed an S3 request; token: what was signed, base64.

    Raises: Unauthorized, BadRequest.
    """
    row, blob = _pair(deps, access)
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise BadRequest("token must be base64.") from None
    secret = str(blob.get("secret", ""))
    lines = text.split("\n")
    if lines[0] == "AWS4-HMAC-SHA256" and len(lines) >= 4:
        wanted = _sha256(v4_key(secret, lines[2].split("/")), text).hex()
    else:
        digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
        wanted = base64.b64encode(digest).decode()
    if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
        raise Unauthorized("The signature is not valid.")
    return _issue(deps, row, blob)


def _issue(deps: Deps, row: Any, blob: Mapping[str, Any]) -> tuple[str, Checked]:
    """Return a token for the project of a key pair, no wider than the token it was made with."""
    with deps.db.read() as tx:
        user = entities.get(tx, tables.users, row.user_id)
        if user is None or not proofs.usable(tx, user):
            raise Unauthorized()
        made_with = blob.get("app_cred_id")
        app = made_with and entities.get(tx, tables.application_credentials, made_with)
    if made_with:
        if app is None or app.user_id != row.user_id:
            raise Unauthorized()
        return login.issue(deps, proofs.of_application_credential(app), ("p", app.project_id))
    proven = proofs.Proven(row.user_id, ("ec2credential",))
    if blob.get("trust_id"):
        with deps.db.read() as tx:
            trust = entities.get(tx, tables.trusts, blob["trust_id"])
        if trust is None or row.user_id not in (trust.trustor_user_id, trust.trustee_user_id):
            raise Unauthorized()
        trustee = proofs.Proven(trust.trustee_user_id, ("ec2credential",))
        proven, scope, trust_id = login.use_trust(deps, trustee, trust.id)
        return login.issue(deps, proven, scope, trust_id)
    return login.issue(deps, proven, ("p", row.project_id))
