"""Availability zones, service providers and used addresses.

Follows: Network API v2.0, "Availability zones", "Service providers", "Network IP availability".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Id, Integer, ListOf, Page, String, Struct, operation
from gureum.neutron.api.common import ListQuery, View
from gureum.neutron.errors import NetworkNotFound
from gureum.neutron.logic import dhcp, l3_scheduling
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import grouped, limit_of, link_to, load_row

_ZONED = {dhcp.AGENT_TYPE: "network", l3_scheduling.AGENT_TYPE: "router"}


class Zone(Struct):
    """An availability zone."""

    name = String("Name.")
    resource = String("network or router.")
    state = String("available or unavailable.")


class ServiceProvider(Struct):
    """Who provides a service."""

    service_type = String("Kind of service.")
    name = String("Name.")
    default = Boolean("Whether it is the default.")


class SubnetUse(Struct):
    """Used addresses of a subnet."""

    subnet_id = Id("Subnet.")
    subnet_name = String("Its name.")
    cidr = String("Its addresses.")
    ip_version = Integer("4 or 6.")
    total_ips = Integer("Addresses in its pools.")
    used_ips = Integer("Used ones.")


class NetworkUse(Struct):
    """Used addresses of a network."""

    network_id = Id("Network.")
    network_name = String("Its name.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    total_ips = Integer("Addresses in its pools.")
    used_ips = Integer("Used ones.")
    subnet_ip_availability = ListOf(SubnetUse, "By subnet.")


@operation(
    "GET",
    "/availability_zones",
    policy="get_availability_zone",
    query=ListQuery,
    items=Zone,
    response_wrap="availability_zones",
)
def list_availability_zones(ctx: Context, tx: Tx, query: Any) -> Any:
    """List the availability zones of the agents."""
    c = t.agents.c
    statement = (
        sa.select(c.availability_zone, c.agent_type, sa.func.max(c.admin_state_up).label("up"))
        .where(c.agent_type.in_(_ZONED), c.availability_zone != "")
        .group_by(c.availability_zone, c.agent_type)
    )
    if tx.connection.dialect.name == "postgresql":
        statement = statement.with_only_columns(
            c.availability_zone, c.agent_type, sa.func.bool_or(c.admin_state_up).label("up")
        )
    zones = [
        {
            "name": row.availability_zone,
            "resource": _ZONED[row.agent_type],
            "state": "available" if row.up else "unavailable",
        }
        for row in tx.all(statement)
    ]
    return [
        zone
        for zone in zones
        if all(zone.get(k) in v for k, v in query.extra_values.items() if k in zone)
    ]


@operation(
    "GET",
    "/service-providers",
    policy="get_service_provider",
    query=ListQuery,
    items=ServiceProvider,
    response_wrap="service_providers",
)
def list_service_providers(ctx: Context, tx: Tx, query: Any) -> Any:
    """List who provides which service."""
    return [{"service_type": "L3_ROUTER_NAT", "name": "single_node", "default": True}]


_FILTERS = {
    "network_id": t.networks.c.id,
    "network_name": t.networks.c.name,
    "project_id": t.networks.c.project_id,
    "tenant_id": t.networks.c.project_id,
}


@operation(
    "GET",
    "/network-ip-availabilities",
    policy="get_network_ip_availability",
    query=ListQuery,
    items=NetworkUse,
    response_wrap="network_ip_availabilities",
)
def list_network_ip_availabilities(ctx: Context, tx: Tx, query: Any) -> Any:
    """List the used addresses of networks."""
    where: list[sa.ColumnElement[bool]] = []
    versions: list[str] = []
    for name, values in query.extra_values.items():
        if name in _FILTERS:
            where.append(_FILTERS[name].in_(values))
        elif name == "ip_version":
            versions = values
    limit, limited = limit_of(query, tx.deps.options.api_limit_max)
    if query.get("marker"):
        where.append(t.networks.c.id > load_row(ctx, tx, NETWORK, query.get("marker")).id)
    found = tx.all(_NETWORKS.where(*where).order_by(t.networks.c.id).limit(limit))
    full = limited and len(found) == limit
    return Page(_uses(tx, found, versions), link_to(query, found[-1].id, limit) if full else None)


@operation(
    "GET",
    "/network-ip-availabilities/{network_id}",
    policy="get_network_ip_availability",
    response=NetworkUse,
    response_wrap="network_ip_availability",
    errors=(NetworkNotFound,),
)
def show_network_ip_availability(ctx: Context, tx: Tx, network_id: str) -> Any:
    """Show the used addresses of a network."""
    return _uses(tx, [load_row(ctx, tx, NETWORK, network_id)], [])[0]


_NETWORKS = sa.select(t.networks.c.id, t.networks.c.name, t.networks.c.project_id)


def _uses(tx: Tx, networks: Sequence[sa.Row[Any]], versions: list[str]) -> list[View]:
    ids = [network.id for network in networks]
    if not ids:
        return []
    s = t.subnets.c
    statement = sa.select(t.subnets).where(s.network_id.in_(ids)).order_by(s.id)
    if versions:
        statement = statement.where(s.ip_version.in_([int(v) for v in versions if v.isdigit()]))
    subnets = grouped(tx.all(statement), "network_id")
    a = t.ip_allocations.c
    counted = tx.all(
        sa.select(a.subnet_id, sa.func.count().label("used"))
        .where(a.network_id.in_(ids))
        .group_by(a.subnet_id)
    )
    used = {row.subnet_id: row.used for row in counted}
    out = []
    for network in networks:
        parts = [
            {
                "subnet_id": subnet.id,
                "subnet_name": subnet.name,
                "cidr": subnet.cidr,
                "ip_version": subnet.ip_version,
                "total_ips": _total(subnet.allocation_pools),
                "used_ips": used.get(subnet.id, 0),
            }
            for subnet in subnets.get(network.id, ())
        ]
        if versions and not parts:
            continue
        out.append(
            {
                "network_id": network.id,
                "network_name": network.name,
                "project_id": network.project_id,
                "tenant_id": network.project_id,
                "total_ips": sum(part["total_ips"] for part in parts),
                "used_ips": sum(part["used_ips"] for part in parts),
                "subnet_ip_availability": parts,
            }
        )
    return out


def _total(pools: list[dict[str, str]]) -> int:
    return sum(
        int(ipaddress.ip_address(pool["end"])) - int(ipaddress.ip_address(pool["start"])) + 1
        for pool in pools
    )
