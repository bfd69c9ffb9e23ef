"""Consoles: a short-lived token that opens the screen of one server, and looking tokens up.

A token is shown once and kept as a hash; it is bound to the server, host and port it was made for.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import ConsoleUnavailable, NotReady
from gureum.nova.logic.hosts_call import ask
from gureum.nova.logic.server_load import Server
from gureum.nova.store import consoles as store

NOVNC = "novnc"
PROTOCOL_OF = {
    "novnc": "vnc",
    "xvpvnc": "vnc",
    "spice-html5": "spice",
    "spice-direct": "spice",
    "rdp-html5": "rdp",
    "serial": "serial",
    "webmks": "mks",
}


def token_hash(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def open_console(deps: Deps, server: Server, kind: str) -> str:
    """Return the URL of a server's screen. Raises: ConsoleUnavailable, NotReady."""
    if kind != NOVNC or not deps.vnc.enabled:
        raise ConsoleUnavailable(f"Unavailable console type {kind}.")
    if server.row.vm_state == model.BUILDING:
        raise NotReady(server_id=server.id)
    place = ask(deps, server, "get vnc console", lambda host: host.vnc_console(server.id))
    token = secrets.token_urlsafe(32)
    row = {
        "token_hash": token_hash(token),
        "server_id": server.id,
        "kind": kind,
        "host": place.host,
        "port": place.port,
        "expires_at": utc_now() + timedelta(seconds=deps.consoles.token_ttl),
    }

    def work(tx: Tx) -> None:
        store.forget_expired(tx)
        store.insert(tx, **row)

    deps.api.retrying(work)
    return f"{deps.novnc_url}?path=%3Ftoken%3D{token}"


def look_up(tx: Tx, token: str) -> sa.Row[Any] | None:
    """Return where a token leads (server_id, host, port, kind), or None when it opens nothing."""
    return store.get(tx, token_hash(token))
