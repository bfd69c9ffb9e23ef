"""Console tokens: only their hashes are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.nova.store.tables import console_tokens


def insert(tx: Tx, **values: Any) -> None:
    """Insert a token's row."""
    tx.insert(console_tokens, created_at=utc_now(), **values)


def get(tx: Tx, token_hash: str, now: datetime | None = None) -> sa.Row[Any] | None:
    """Return the row of a token that has not expired."""
    table = console_tokens.c
    return tx.one(
        sa.select(console_tokens).where(
            table.token_hash == token_hash, table.expires_at > (now or utc_now())
        )
    )


def forget_expired(tx: Tx, now: datetime | None = None) -> int:
    """Remove the tokens that have expired; returns how many."""
    return tx.delete(console_tokens, console_tokens.c.expires_at <= (now or utc_now()))


def forget_server(tx: Tx, server_id: str) -> int:
    """Remove the tokens of a server, as when it is deleted or moves; returns how many."""
    return tx.delete_by(console_tokens.c.server_id, server_id)
