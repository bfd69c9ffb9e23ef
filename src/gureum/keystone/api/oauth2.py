"""OAuth2: tokens for programs, by the grant of client credentials.

The client is an application credential. Follows: RFC 6749 (4.4 and 5.2); Identity API v3, "OS-OAUTH2".
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs, unquote

from gureum.core.context import Context
from gureum.core.db.types import utc_now
from gureum.core.spec import PUBLIC, BadRequest, Forbidden, Reply, TooLarge, Unauthorized, operation
from gureum.keystone.errors import MoreNeeded
from gureum.keystone.logic import login, proofs
from gureum.keystone.logic.deps import Deps

_NEVER_STORED = [("Cache-Control", "no-store"), ("Pragma", "no-cache")]
_MAX_FORM_BYTES = 16384


def _refused(status: int, error: str, text: str) -> Reply:
    headers = list(_NEVER_STORED)
    if status == 401:
        headers.append(("WWW-Authenticate", 'Basic realm="identity"'))
    return Reply({"error": error, "error_description": text}, status=status, headers=headers)


def _form(stream: Any) -> dict[str, str]:
    """Read a small form. Raises: TooLarge."""
    data = b""
    for chunk in stream.chunks() if stream is not None else ():
        data += chunk
        if len(data) > _MAX_FORM_BYTES:
            raise TooLarge()
    return {name: values[-1] for name, values in parse_qs(data.decode("utf-8", "replace")).items()}


def _client(header: str) -> tuple[str, str] | None:
    """Return id and secret of HTTP Basic authentication."""
    kind, _, rest = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        id, found, secret = base64.b64decode(rest, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (unquote(id), unquote(secret)) if found else None


@operation(
    "POST",
    "/OS-OAUTH2/token",
    policy=PUBLIC,
    status=200,
    upload=True,
    manual=True,
    media=("application/x-www-form-urlencoded",),
    headers=("authorization",),
    errors=(Unauthorized, BadRequest, TooLarge),
)
def create_oauth2_token(ctx: Context, deps: Deps, stream: Any, headers: dict[str, str]) -> Any:
    """Hand out a token for an application credential, whose id and secret authenticate the client."""
    form = _form(stream)
    grant = form.get("grant_type")
    if not grant:
        return _refused(400, "invalid_request", "The parameter grant_type is required.")
    client = _client(headers.get("authorization", ""))
    if client is None:
        return _refused(401, "invalid_client", "Client authentication is required.")
    if grant != "client_credentials":
        return _refused(400, "unsupported_grant_type", "Only client_credentials is supported.")
    part = {"id": client[0][:64], "secret": client[1]}
    caller = proofs.Caller("POST", f"{ctx.base_url}/OS-OAUTH2/token", headers)
    try:
        proven = proofs.application_credential(deps, _Part(part), caller)
        proven = login.require_enough(deps, proven, proofs.Caller())
        token, checked = login.issue(deps, proven, ("p", proven.only_project_id or ""))
    except (Unauthorized, Forbidden, MoreNeeded):
        return _refused(401, "invalid_client", "Client authentication failed.")
    left = int((checked.expires_at - utc_now()).total_seconds())
    body = {"access_token": token, "token_type": "Bearer", "expires_in": left}
    return Reply(body, headers=_NEVER_STORED)


class _Part(dict[str, str]):
    """Id and secret, as the method application_credential reads them."""

    @property
    def id(self) -> str:
        return self["id"]

    @property
    def secret(self) -> str:
        return self["secret"]
