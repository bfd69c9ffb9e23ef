"""Key pairs: public keys by user and name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.page import SortKey, fetch_page
from gureum.core.db.types import utc_now
from gureum.nova.store.tables import keypairs


def get(tx: Tx, user_id: str, name: str) -> sa.Row[Any] | None:
    """Return a user's key pair."""
    return tx.one(sa.select(keypairs).where(keypairs.c.user_id == user_id, keypairs.c.name == name))


def find_page(
    tx: Tx, user_id: str, *, marker: str | None, limit: int
) -> tuple[list[sa.Row[Any]], bool]:
    """Return a page of a user's key pairs by name, and whether more follow."""
    wanted = sa.select(keypairs).where(keypairs.c.user_id == user_id)
    keys = [SortKey(keypairs.c.name)]
    return fetch_page(tx, wanted, keys, None if marker is None else [marker], limit)


def count(tx: Tx, user_id: str) -> int:
    """Return how many key pairs a user has."""
    wanted = sa.select(sa.func.count()).select_from(keypairs)
    return int(tx.scalar(wanted.where(keypairs.c.user_id == user_id)))


def insert(tx: Tx, **values: Any) -> None:
    """Insert a key pair. Raises: Conflict."""
    tx.insert(keypairs, created_at=utc_now(), **values)


def delete(tx: Tx, number: int) -> None:
    """Remove a key pair; servers keep the key they were made with."""
    tx.delete_by(keypairs.c.number, number)
