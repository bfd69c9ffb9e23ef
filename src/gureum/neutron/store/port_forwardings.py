"""Rows of port forwardings: ports of a floating IP that lead to ports of fixed addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_l3 import PortForwardingNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import Noun, View, grouped, own


def views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
    """Return forwardings; a single port is a number, a range is text."""
    return [view(row) for row in rows]


def view(row: Any) -> View:
    """Return one forwarding."""
    return {
        **row._mapping,
        "internal_port": single(row.internal_first, row.internal_last),
        "external_port": single(row.external_first, row.external_last),
        "internal_port_range": f"{row.internal_first}:{row.internal_last}",
        "external_port_range": f"{row.external_first}:{row.external_last}",
    }


def single(first: int, last: int) -> int | None:
    """Return the port of a range of one."""
    return first if first == last else None


PORT_FORWARDING = Noun(
    t.port_forwardings,
    "port_forwarding",
    "port_forwardings",
    PortForwardingNotFound,
    own(t.port_forwardings),
    views,
    has_tags=False,
)


def of_floatingips(tx: Tx, ids: Sequence[str]) -> dict[str, list[sa.Row[Any]]]:
    """Return the forwardings by floating IP, in one query."""
    if not ids:
        return {}
    c = t.port_forwardings.c
    statement = sa.select(t.port_forwardings).where(c.floatingip_id.in_(ids)).order_by(c.id)
    return grouped(tx.all(statement), "floatingip_id")
