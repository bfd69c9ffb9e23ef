"""Writing rows of any noun: ids and times on creation, revision compare-and-swap on update.

Must not: know what a noun means.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Stale, Tx
from gureum.core.db.types import utc_now
from gureum.neutron.errors import RevisionNumberConstraintFailed
from gureum.neutron.store import tables as t

_MATCH = re.compile(r"revision_number\s*=\s*\"?(\d{1,18})\"?")


def new_id() -> str:
    """Return a fresh resource id."""
    return str(uuid.uuid4())


def insert(tx: Tx, table: sa.Table, **values: Any) -> str:
    """Insert a standard row; returns its id. Raises: Conflict."""
    row_id: str = values.pop("id", None) or new_id()
    now = utc_now()
    tx.insert(table, id=row_id, created_at=now, updated_at=now, revision_number=1, **values)
    return row_id


def insert_or_retry(tx: Tx, table: sa.Table, **values: Any) -> None:
    """Insert a row whose key was chosen by us; a rival's row means: choose again. Raises: Stale."""
    try:
        tx.insert(table, **values)
    except Conflict as error:
        raise Stale(f"{table.name}: another request was faster") from error


def check_revision(ctx: Context, view: Mapping[str, Any]) -> None:
    """Refuse a write whose If-Match names another revision. Raises: RevisionNumberConstraintFailed."""
    if not ctx.if_match:
        return
    match = _MATCH.search(ctx.if_match)
    if match is not None and int(match[1]) != view["revision_number"]:
        raise RevisionNumberConstraintFailed(expected=match[1], current=view["revision_number"])


def update(tx: Tx, table: sa.Table, view: Mapping[str, Any], **values: Any) -> None:
    """Write a row at the revision it was read at, and count it up. Raises: Stale."""
    matched = tx.update(
        table,
        sa.and_(table.c.id == view["id"], table.c.revision_number == view["revision_number"]),
        revision_number=view["revision_number"] + 1,
        updated_at=utc_now(),
        **values,
    )
    if matched != 1:
        raise Stale(f"{table.name} {view['id']} changed")


def touch(tx: Tx, table: sa.Table, row_id: str) -> None:
    """Count up the revision of a row whose parts changed."""
    tx.execute(_touch(table), {"row_id": row_id, "now": utc_now()})


@cache
def _touch(table: sa.Table) -> sa.Update:
    return (
        sa.update(table)
        .where(table.c.id == sa.bindparam("row_id"))
        .values(revision_number=table.c.revision_number + 1, updated_at=sa.bindparam("now"))
    )


def forget(tx: Tx, row_id: str) -> None:
    """Drop what refers to a resource by its bare id: tags and RBAC policies."""
    tx.delete_by(t.tags.c.resource_id, row_id)
    tx.delete_by(t.rbac_policies.c.object_id, row_id)
