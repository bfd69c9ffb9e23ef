"""Rows of subnets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors import SubnetNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import (
    Noun,
    View,
    Where,
    asked,
    flag,
    granted,
    shared_ids,
    standard_views,
)


def views(
    ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]], only: frozenset[str] = frozenset()
) -> list[View]:
    """Return subnets; they are shared when their network is."""
    networks = sorted({row.network_id for row in rows})
    shared = shared_ids(ctx, tx, "network", networks) if asked(only, "shared") else set()
    out = standard_views(tx, rows, tags=asked(only, "tags"))
    for view in out:
        view["shared"] = view["network_id"] in shared
    return out


def _visible(ctx: Context) -> Where:
    mine = ctx.project_id or ""
    networks = sa.select(t.networks.c.id).where(
        sa.or_(
            t.networks.c.project_id == mine,
            granted(t.networks, "network", ctx, "access_as_shared"),
        )
    )
    return sa.or_(t.subnets.c.project_id == mine, t.subnets.c.network_id.in_(networks))


def _shared(ctx: Context, values: list[str]) -> Where:
    networks = sa.select(t.networks.c.id).where(
        granted(t.networks, "network", ctx, "access_as_shared")
    )
    inside = t.subnets.c.network_id.in_(networks)
    return sa.or_(sa.false(), *(inside if flag(v) else sa.not_(inside) for v in values))


def _external(ctx: Context, values: list[str]) -> Where:
    wanted = [flag(value) for value in values]
    return t.subnets.c.network_id.in_(
        sa.select(t.networks.c.id).where(t.networks.c.router_external.in_(wanted))
    )


SUBNET = Noun(
    t.subnets,
    "subnet",
    "subnets",
    SubnetNotFound,
    _visible,
    views,
    special={"shared": _shared, "router:external": _external},
    partial=True,
)


def user_ports(tx: Tx, subnet_id: str, automatic: Sequence[str]) -> list[sa.Row[Any]]:
    """Return the ports with an address of a subnet that do not go away with it."""
    a = t.ip_allocations.c
    return list(
        tx.all(
            sa.select(t.ports)
            .join(t.ip_allocations, a.port_id == t.ports.c.id)
            .where(a.subnet_id == subnet_id, t.ports.c.device_owner.not_in(automatic))
        )
    )
