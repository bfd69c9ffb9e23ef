"""Where servers and hosts are: the mappings of nova_api.

Owns: `server_mappings`, `host_mappings`, `cell_mappings`. A mapping is written before the server's row;
one without a row is removed by a reconciler.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.nova.store.tables import cell_mappings, host_mappings, server_mappings


def insert_many(tx: Tx, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the mappings of new servers."""
    tx.insert_many(server_mappings, rows)


def get(tx: Tx, server_id: str) -> sa.Row[Any] | None:
    """Return a server's mapping (its `cell`, owner, sizes), deleted or not; None when unknown."""
    return tx.by(server_mappings.c.server_id, server_id)


def cells_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, str]:
    """Return the cell of each known server."""
    return {row.server_id: row.cell for row in tx.among(server_mappings.c.server_id, server_ids)}


def set_cell(tx: Tx, server_id: str, cell: str) -> bool:
    """Say that a server's row is in another cell now; False when there is no mapping."""
    return tx.update_by(server_mappings.c.server_id, server_id, cell=cell) == 1


def mark_deleted(tx: Tx, server_id: str) -> bool:
    """Stop counting a server for quota; False when it was not counted any more."""
    return tx.execute(_END, {"server": server_id, "now": utc_now()}).rowcount == 1


_END = (
    sa.update(server_mappings)
    .where(
        server_mappings.c.server_id == sa.bindparam("server"),
        server_mappings.c.deleted_at.is_(None),
    )
    .values(deleted_at=sa.bindparam("now"))
)


def remove(tx: Tx, server_id: str) -> None:
    """Remove a mapping whose server was never written."""
    tx.delete_by(server_mappings.c.server_id, server_id)


def live_before(tx: Tx, moment: datetime, *, limit: int = 1000) -> Sequence[sa.Row[Any]]:
    """Return mappings that still count and were made before a moment; for reconcilers."""
    table = server_mappings.c
    wanted = sa.select(server_mappings).where(table.created_at < moment, table.deleted_at.is_(None))
    return tx.all(wanted.order_by(table.created_at).limit(limit))


def deleted_since(tx: Tx, moment: datetime) -> list[str]:
    """Return the servers that ended since a moment."""
    table = server_mappings.c
    wanted = sa.select(table.server_id).where(table.deleted_at >= moment)
    return [row.server_id for row in tx.all(wanted.order_by(table.deleted_at))]


def map_host(tx: Tx, host: str, cell: str) -> None:
    """Say in which cell a compute host is; said already is fine."""
    known = tx.scalar(sa.select(host_mappings.c.cell).where(host_mappings.c.host == host))
    if known is None:
        tx.insert(host_mappings, host=host, cell=cell)
    elif known != cell:
        tx.update_by(host_mappings.c.host, host, cell=cell)


def cell_of_host(tx: Tx, host: str) -> str | None:
    """Return the cell of a compute host."""
    found = tx.scalar(sa.select(host_mappings.c.cell).where(host_mappings.c.host == host))
    return None if found is None else str(found)


def unmap_host(tx: Tx, host: str) -> None:
    """Forget a compute host."""
    tx.delete_by(host_mappings.c.host, host)


def ensure_cells(tx: Tx, names: Iterable[str]) -> None:
    """Write the cells that are not known yet."""
    known = {row.name for row in tx.all(sa.select(cell_mappings.c.name))}
    for name in names:
        if name not in known:
            tx.insert(cell_mappings, name=name, id=str(uuid.uuid4()), disabled=False)
