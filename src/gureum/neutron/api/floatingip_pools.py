"""Floating IP pools: the external subnets that floating IPs come from.

Follows: Network API v2.0, "Floating IP pools".
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Id, Page, String, Struct, operation
from gureum.neutron.api.common import ListQuery
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import sees_all


class FloatingIpPool(Struct):
    """An external subnet."""

    subnet_id = Id("Subnet.")
    subnet_name = String("Its name.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    network_id = Id("Its network.")
    cidr = String("Its addresses.")


@operation(
    "GET",
    "/floatingip_pools",
    policy="get_floatingip_pool",
    query=ListQuery,
    items=FloatingIpPool,
    response_wrap="floatingip_pools",
)
def list_floatingip_pools(ctx: Context, tx: Tx, query: Any) -> Page:
    """List the subnets that floating IPs can be taken from."""
    return _pools(ctx, tx)


def _pools(ctx: Context, tx: Tx) -> Page:
    n, s = t.networks.c, t.subnets.c
    networks = sa.select(n.id).where(n.router_external.is_(True))
    if not sees_all(ctx):
        networks = networks.where(NETWORK.visible(ctx))
    statement = (
        sa.select(s.id, s.name, s.cidr, s.network_id, s.project_id)
        .where(s.network_id.in_(networks), s.ip_version == 4)
        .order_by(sa.func.lower(s.id))  # few rows: sorted after they are found
    )
    return Page(
        [
            {
                "subnet_id": row.id,
                "subnet_name": row.name,
                "cidr": row.cidr,
                "network_id": row.network_id,
                "project_id": row.project_id,
                "tenant_id": row.project_id,
            }
            for row in tx.all(statement)
        ]
    )
