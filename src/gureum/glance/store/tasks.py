"""SQL of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.page import SortKey, sorted_after
from gureum.core.db.types import utc_now
from gureum.glance.model import Task
from gureum.glance.store.tables import tasks

SORTABLE = ("created_at", "updated_at", "expires_at", "status", "type", "id")


def insert(tx: Tx, **values: Any) -> None:
    """Add a task."""
    now = utc_now()
    tx.insert(tasks, **{"created_at": now, "updated_at": now, "message": "", **values})


def get(tx: Tx, id: str) -> Task | None:
    """Return a task, or None."""
    row = tx.one(sa.select(tasks).where(tasks.c.id == id, _shown()))
    return None if row is None else _task(row)


def of_image(tx: Tx, image_id: str, project_id: str | None) -> list[Task]:
    """Return the tasks of an image, newest first. project_id: whose tasks; None for everybody's."""
    query = sa.select(tasks).where(tasks.c.image_id == image_id, _shown())
    if project_id is not None:
        query = query.where(tasks.c.project_id == project_id)
    return [_task(row) for row in tx.all(query.order_by(tasks.c.created_at.desc()).limit(1000))]


def change(tx: Tx, id: str, **values: Any) -> int:
    """Change a task; returns how many were."""
    return tx.update_by(tasks.c.id, id, **{"updated_at": utc_now(), **values})


def begin(tx: Tx, id: str) -> int:
    """Say that a task that waited is worked on; returns how many were."""
    waiting = sa.and_(tasks.c.id == id, tasks.c.status == "pending")
    return tx.update(tasks, waiting, status="processing", updated_at=utc_now())


def page(
    tx: Tx,
    filters: Mapping[str, str],
    order: Sequence[tuple[str, bool]],
    marker: Task | None,
    limit: int,
) -> tuple[list[Task], bool]:
    """Return up to `limit` tasks after the marker, and whether more follow."""
    query = sa.select(tasks).where(_shown(), *(tasks.c[n] == value for n, value in filters.items()))
    keys = [*order]
    for name in ("created_at", "id"):
        if all(name != known for known, _ in keys):
            keys.append((name, True))
    after = None if marker is None else [getattr(marker, name) for name, _ in keys]
    sorts = [SortKey(tasks.c[name], descending) for name, descending in keys]
    rows = tx.all(sorted_after(query, sorts, after, limit + 1))
    return [_task(row) for row in rows[:limit]], len(rows) > limit


def prune(tx: Tx, now: datetime) -> int:
    """Forget tasks whose time is over; returns how many."""
    return tx.delete(tasks, tasks.c.expires_at < now)


def _shown() -> sa.ColumnElement[bool]:
    return sa.or_(tasks.c.expires_at.is_(None), tasks.c.expires_at >= utc_now())


def _task(row: Any) -> Task:
    return Task(**dict(row._mapping))
