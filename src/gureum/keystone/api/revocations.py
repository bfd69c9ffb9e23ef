"""Revocations as events (OS-REVOKE): for services that check tokens by themselves."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Struct, Time, operation, show_time
from gureum.keystone.store import tables

_T = tables.revocations
_NAMES = ("audit_id", "user_id", "project_id", "domain_id")


class EventQuery(Struct, extra="ignore"):
    """Which events."""

    since = Time("Only those from this moment on.")


@operation(
    "GET",
    "/OS-REVOKE/events",
    policy="identity:list_revoke_events",
    query=EventQuery,
    target=lambda ctx, loaded, new: {},
)
def list_events(ctx: Context, tx: Tx, query: EventQuery) -> Any:
    """List revocations; each covers the tokens with all its values that were issued before it."""
    statement = sa.select(_T).where(_T.c.application_credential_id.is_(None)).order_by(_T.c.id)
    if query.has("since"):
        statement = statement.where(_T.c.issued_before >= query.since)
    path = f"{ctx.base_url}/OS-REVOKE/events"
    return {
        "events": [_shown(row) for row in tx.all(statement)],
        "links": {"self": path, "next": None, "previous": None},
    }


def _shown(row: Any) -> dict[str, Any]:
    moment = show_time(row.issued_before, "usz")
    values = {name: getattr(row, name) for name in _NAMES if getattr(row, name) is not None}
    return {"issued_before": moment, "revoked_at": moment, **values}
