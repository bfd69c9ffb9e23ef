"""Rows of routers and floating IPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_l3 import FloatingIPNotFound, RouterNotFound
from gureum.neutron.store import addresses
from gureum.neutron.store import tables as t
from gureum.neutron.store.port_forwardings import of_floatingips, single
from gureum.neutron.store.query import Noun, View, Where, asked, grouped, own, standard_views

INTERFACE = "network:router_interface"
GATEWAY = "network:router_gateway"


def views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
    """Return routers with their gateway: four queries for any number."""
    gateway_ids = [row.gateway_port_id for row in rows if row.gateway_port_id]
    gateways = {}
    if gateway_ids:
        statement = sa.select(t.ports.c.id, t.ports.c.network_id).where(
            t.ports.c.id.in_(gateway_ids)
        )
        gateways = {row.id: row.network_id for row in tx.all(statement)}
    allocated = addresses.of_ports(tx, gateway_ids)
    zones = _zones(tx, [row.id for row in rows])
    out = standard_views(tx, rows)
    for view in out:
        port_id = view["gateway_port_id"]
        view["external_gateway_info"] = (
            {
                "network_id": gateways[port_id],
                "enable_snat": view["enable_snat"],
                "external_fixed_ips": [
                    {"subnet_id": item.subnet_id, "ip_address": item.ip_address}
                    for item in allocated.get(port_id, [])
                ],
            }
            if port_id in gateways
            else None
        )
        view["distributed"] = view["ha"] = False
        view["flavor_id"] = None
        view["availability_zones"] = zones.get(view["id"], [])
    return out


def _zones(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    if not ids:
        return {}
    links, agents = t.router_l3_agents, t.agents
    statement = (
        sa.select(links.c.router_id, agents.c.availability_zone)
        .join(agents, agents.c.id == links.c.agent_id)
        .where(links.c.router_id.in_(ids))
        .distinct()
    )
    return {
        key: sorted(row.availability_zone for row in found)
        for key, found in grouped(tx.all(statement), "router_id").items()
    }


def _flavor(ctx: Context, values: list[str]) -> Where:
    return sa.false()


ROUTER = Noun(
    t.routers,
    "router",
    "routers",
    RouterNotFound,
    own(t.routers),
    views,
    special={"flavor_id": _flavor},
)


def ports_of(tx: Tx, router_id: str, *owners: str) -> list[sa.Row[Any]]:
    """Return a router's ports of these kinds (none named: interfaces)."""
    return list(
        tx.all(
            sa.select(t.ports)
            .where(
                t.ports.c.device_id == router_id,
                t.ports.c.device_owner.in_(owners or (INTERFACE,)),
            )
            .order_by(t.ports.c.created_at, t.ports.c.id)
        )
    )


def connected_subnets(tx: Tx, router_id: str, *owners: str) -> list[sa.Row[Any]]:
    """Return (port_id, ip_address and all of the subnet) of a router's connections."""
    return list(
        tx.all(
            sa.select(
                t.ports.c.id.label("port_id"),
                t.ports.c.device_owner,
                t.ip_allocations.c.ip_address,
                t.subnets,
            )
            .join(t.ip_allocations, t.ip_allocations.c.port_id == t.ports.c.id)
            .join(t.subnets, t.subnets.c.id == t.ip_allocations.c.subnet_id)
            .where(
                t.ports.c.device_id == router_id,
                t.ports.c.device_owner.in_(owners or (INTERFACE, GATEWAY)),
            )
        )
    )


# --- floating IPs -------------------------------------------------------------------------------

_DETAILS = (
    "name",
    "network_id",
    "mac_address",
    "admin_state_up",
    "status",
    "device_id",
    "device_owner",
)


def floatingip_views(
    ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]], only: frozenset[str] = frozenset()
) -> list[View]:
    """Return floating IPs with the details of their ports: three queries for any number."""
    port_ids = [row.port_id for row in rows if row.port_id]
    found = {}
    if port_ids and asked(only, "port_details"):
        statement = sa.select(t.ports).where(t.ports.c.id.in_(port_ids))
        found = {row.id: row for row in tx.all(statement)}
    wants = asked(only, "port_forwardings")
    forwardings = of_floatingips(tx, [row.id for row in rows]) if wants else {}
    out = standard_views(tx, rows, tags=asked(only, "tags"))
    for view in out:
        port = found.get(view["port_id"])
        view["port_forwardings"] = [
            {
                "id": row.id,
                "internal_port_id": row.internal_port_id,
                "internal_ip_address": row.internal_ip_address,
                "internal_port": single(row.internal_first, row.internal_last),
                "external_port": single(row.external_first, row.external_last),
                "protocol": row.protocol,
            }
            for row in forwardings.get(view["id"], ())
        ]
        view["port_details"] = (
            None if port is None else {name: getattr(port, name) for name in _DETAILS}
        )
    return out


FLOATINGIP = Noun(
    t.floatingips,
    "floatingip",
    "floatingips",
    FloatingIPNotFound,
    own(t.floatingips),
    floatingip_views,
    partial=True,
)
