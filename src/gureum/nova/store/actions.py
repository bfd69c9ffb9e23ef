"""What was done to servers: action records, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.page import SortKey, fetch_page
from gureum.core.db.types import UtcDateTime
from gureum.nova.store.tables import CELL, server_actions

_sagas = CELL.tables["sagas"]


def get(tx: Tx, server_id: str, request_id: str) -> sa.Row[Any] | None:
    """Return the newest action of a request on a server."""
    table = server_actions.c
    return tx.first(
        sa.select(server_actions)
        .where(table.server_id == server_id, table.request_id == request_id)
        .order_by(table.number.desc())
        .limit(1)
    )


def find_page(
    tx: Tx,
    server_id: str,
    *,
    since: datetime | None,
    before: datetime | None,
    marker: int | None,
    limit: int,
) -> tuple[list[sa.Row[Any]], bool]:
    """Return a page of a server's actions, newest first, and whether more follow.

    since/before: when the action, or the saga that it started, changed last.
    """
    table = server_actions.c
    wanted = sa.select(server_actions).where(table.server_id == server_id)
    for moment, later in ((since, True), (before, False)):
        if moment is not None:
            wanted = wanted.where(_changed(moment, later=later))
    keys = [SortKey(table.number, descending=True)]
    return fetch_page(tx, wanted, keys, None if marker is None else [marker], limit)


def _changed(moment: datetime, *, later: bool) -> sa.ColumnElement[bool]:
    table = server_actions.c
    own = sa.bindparam(None, moment, type_=UtcDateTime())
    seconds = moment.timestamp()
    saga = (
        sa.select(_sagas.c.updated_at)
        .where(_sagas.c.id == table.saga_id)
        .correlate(server_actions)
        .scalar_subquery()
    )
    if later:
        return sa.or_(table.updated_at >= own, saga >= seconds)
    return sa.and_(table.updated_at <= own, sa.func.coalesce(saga, seconds) <= seconds)


def sagas_of(tx: Tx, saga_ids: Sequence[str]) -> Mapping[str, sa.Row[Any]]:
    """Return state and last change of sagas."""
    if not saga_ids:
        return {}
    wanted = sa.select(_sagas.c.id, _sagas.c.state, _sagas.c.updated_at)
    return {row.id: row for row in tx.all(wanted.where(_sagas.c.id.in_(saga_ids)))}
