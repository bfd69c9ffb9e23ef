"""Stored secrets encrypted anew with the primary key, so that an older key may go.

Every table that holds what a `Vault` locked must stand here; a test compares with the tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db import Database
from gureum.keystone.logic.vault import Vault
from gureum.keystone.store import tables

COLUMNS: tuple[sa.Column[Any], ...] = (
    tables.credentials.c.encrypted_blob,
    tables.consumers.c.encrypted_secret,
    tables.request_tokens.c.encrypted_secret,
    tables.access_tokens.c.encrypted_secret,
    tables.domain_options.c.encrypted_value,
)
_AT_ONCE = 100


def renew(database: Database, vault: Vault) -> int:
    """Encrypt every secret anew, some rows at a time; returns how many. May be repeated."""
    done = 0
    for column in COLUMNS:
        table = column.table
        assert isinstance(table, sa.Table)
        keys = list(table.primary_key.columns)
        after: tuple[Any, ...] | None = None
        while True:
            rows = _some(database, column, keys, after)
            if not rows:
                break
            with database.write() as tx:
                for row in rows:
                    same = [key == value for key, value in zip(keys, row[1:], strict=True)]
                    where = sa.and_(column == row[0], *same)  # unless it has changed meanwhile
                    done += tx.update(table, where, **{column.name: vault.lock(vault.open(row[0]))})
            after = tuple(rows[-1][1:])
    return done


def _some(
    database: Database, column: sa.Column[Any], keys: list[Any], after: tuple[Any, ...] | None
) -> list[Any]:
    query = sa.select(column, *keys).order_by(*keys).limit(_AT_ONCE)
    if after is not None:
        query = query.where(sa.tuple_(*keys) > sa.tuple_(*after))
    with database.read() as tx:
        return list(tx.all(query))
