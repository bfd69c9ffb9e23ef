"""What the scheduler reads: hosts with their services, aggregates, and what is on them.

Owns: queries over nova_api's aggregates and a cell's hosts and servers. Must not: decide anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.nova.model import BUILDING
from gureum.nova.store.hosts import COMPUTE
from gureum.nova.store.tables import (
    aggregate_hosts,
    aggregate_metadata,
    aggregates,
    compute_nodes,
    server_group_members,
    server_groups,
    servers,
    services,
)


@dataclass(frozen=True, slots=True)
class AggregateFacts:
    """An aggregate as its hosts see it."""

    name: str
    metadata: dict[str, str] = field(default_factory=dict)


def aggregates_by_host(tx: Tx) -> dict[str, list[AggregateFacts]]:
    """Return the aggregates of each host (database nova_api)."""
    metadata: dict[int, dict[str, str]] = {}
    for row in tx.all(sa.select(aggregate_metadata)):
        metadata.setdefault(row.aggregate_number, {})[row.key] = row.value
    names = {row.number: row.name for row in tx.all(sa.select(aggregates))}
    found: dict[str, list[AggregateFacts]] = {}
    for row in tx.all(sa.select(aggregate_hosts).order_by(aggregate_hosts.c.aggregate_number)):
        facts = AggregateFacts(names[row.aggregate_number], metadata.get(row.aggregate_number, {}))
        found.setdefault(row.host, []).append(facts)
    return found


def group_of(tx: Tx, server_id: str) -> tuple[sa.Row[Any], list[str]] | None:
    """Return the server group of a server and its other members (database nova_api)."""
    table = server_group_members.c
    group_id = tx.scalar(sa.select(table.group_id).where(table.server_id == server_id))
    if group_id is None:
        return None
    group = tx.by(server_groups.c.id, group_id)
    if group is None:
        return None
    members = tx.all(
        sa.select(table.server_id).where(table.group_id == group_id, table.server_id != server_id)
    )
    return group, [row.server_id for row in members]


def hosts(tx: Tx, *, since: int | None = None) -> Sequence[sa.Row[Any]]:
    """Return compute nodes with their services (database of a cell); those changed since a revision."""
    wanted = sa.select(
        compute_nodes.c.id,
        compute_nodes.c.host,
        compute_nodes.c.hypervisor_hostname,
        compute_nodes.c.inventory,
        compute_nodes.c.capabilities,
        services.c.disabled,
        services.c.disabled_reason,
        services.c.forced_down,
        services.c.last_seen_at,
    ).join(services, services.c.id == compute_nodes.c.service_id)
    if since is not None:
        wanted = wanted.where(compute_nodes.c.revision > since)
    return tx.all(wanted.order_by(compute_nodes.c.number))


def signs_of_life(tx: Tx) -> dict[str, datetime | None]:
    """Return when each compute host was last heard of."""
    c = services.c
    rows = tx.all(sa.select(c.host, c.last_seen_at).where(c.binary == COMPUTE))
    return {row.host: row.last_seen_at for row in rows}


def building_by_host(tx: Tx) -> dict[str, int]:
    """Return how many servers are being built on each host where there are some."""
    c = servers.c
    wanted = (
        sa.select(c.host, sa.func.count().label("building"))
        .where(c.vm_state == BUILDING, c.deleted.is_(False), c.host.is_not(None))
        .group_by(c.host)
    )
    return {row.host: row.building for row in tx.all(wanted)}


def servers_by_host(tx: Tx) -> dict[str, int]:
    """Return how many servers there are on each host; reads an entry for every server of the cell."""
    wanted = (
        sa.select(servers.c.host, sa.func.count().label("all"))
        .where(servers.c.host.is_not(None), servers.c.deleted.is_(False))
        .group_by(servers.c.host)
    )
    return {row.host: row.all for row in tx.all(wanted)}


def hosts_of_servers(tx: Tx, server_ids: Iterable[str]) -> dict[str, str]:
    """Return where servers are; those without a host are left out."""
    ids = list(server_ids)
    if not ids:
        return {}
    wanted = sa.select(servers.c.id, servers.c.host).where(
        servers.c.id.in_(ids), servers.c.host.is_not(None), servers.c.deleted.is_(False)
    )
    return {row.id: row.host for row in tx.all(wanted)}
