"""What ran when: servers that were up in a span of time, deleted ones too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.nova.store.tables import servers


def up_between(
    tx: Tx,
    start: datetime,
    stop: datetime,
    *,
    project_id: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Sequence[sa.Row[Any]]:
    """Return servers by (project, id) that were up in a span; `after` is the last one seen."""
    table = servers.c
    wanted = sa.select(
        table.id,
        table.project_id,
        table.name,
        table.flavor_name,
        table.vcpus,
        table.memory_mib,
        table.disk_gib,
        table.ephemeral_gib,
        table.vm_state,
        table.launched_at,
        table.terminated_at,
    ).where(
        table.launched_at.is_not(None),
        table.launched_at <= stop,
        sa.or_(table.terminated_at.is_(None), table.terminated_at >= start),
    )
    if project_id is not None:
        wanted = wanted.where(table.project_id == project_id)
    if after is not None:
        wanted = wanted.where(
            sa.or_(
                table.project_id > after[0],
                sa.and_(table.project_id == after[0], table.id > after[1]),
            )
        )
    return tx.all(wanted.order_by(table.project_id, table.id).limit(limit))


def project_of(tx: Tx, server_id: str) -> str | None:
    """Return whose a server is, deleted or not."""
    found = tx.scalar(sa.select(servers.c.project_id).where(servers.c.id == server_id))
    return None if found is None else str(found)
