"""Which DHCP agents serve a network, and the ports they serve it from.

A network with a DHCP subnet gets `dhcp_agents_per_network` live agents. Each of them has one port in the
network, made here, with a device id that follows from host and network, bound to the agent's host.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors import IpAddressGenerationFailure
from gureum.neutron.logic import binding, ipam
from gureum.neutron.logic import ports as port_logic
from gureum.neutron.store import addresses, changes
from gureum.neutron.store import tables as t

AGENT_TYPE = "DHCP agent"
OWNER = "network:dhcp"


def device_id(host: str, network_id: str) -> str:
    """Return the device id of a host's DHCP port in a network."""
    return f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, host)}-{network_id}"


def served_subnets(tx: Tx, network_id: str) -> list[sa.Row[Any]]:
    """Return the subnets that need a DHCP server (or its namespace, for SLAAC without one)."""
    return [subnet for subnet in ipam.subnets_of(tx, network_id) if subnet.enable_dhcp]


def network_changed(ctx: Context, tx: Tx, network_id: str) -> None:
    """Schedule a network if it needs DHCP, and bring its DHCP ports up to date."""
    subnets = served_subnets(tx, network_id)
    if subnets:
        schedule(tx, network_id)
    for agent in agents_of(tx, network_id):
        ensure_port(ctx, tx, network_id, agent, subnets)
    changes.note(tx, changes.dhcp_items(tx, network_id))


def agents_of(tx: Tx, network_id: str) -> list[sa.Row[Any]]:
    """Return the agents that serve a network."""
    links = t.network_dhcp_agents
    return list(
        tx.all(
            sa.select(t.agents)
            .join(links, links.c.agent_id == t.agents.c.id)
            .where(links.c.network_id == network_id)
            .order_by(t.agents.c.host)
        )
    )


def schedule(tx: Tx, network_id: str) -> None:
    """Give a network live agents, the least loaded first."""
    wanted = tx.deps.options.dhcp_agents_per_network
    links, agents = t.network_dhcp_agents, t.agents
    have = {agent.id for agent in agents_of(tx, network_id)}
    if len(have) >= wanted:
        return
    load = sa.func.count(links.c.network_id)
    statement = (
        sa.select(agents.c.id)
        .outerjoin(links, links.c.agent_id == agents.c.id)
        .where(
            agents.c.agent_type == AGENT_TYPE,
            agents.c.admin_state_up.is_(True),
            agents.c.heartbeat_at > binding.alive_since(tx),
            agents.c.id.not_in(have),
        )
        .group_by(agents.c.id)
        .order_by(load, agents.c.id)
        .limit(wanted - len(have))
    )
    for row in tx.all(statement):
        tx.insert(links, network_id=network_id, agent_id=row.id)


def ensure_port(
    ctx: Context, tx: Tx, network_id: str, agent: Any, subnets: list[sa.Row[Any]]
) -> None:
    """Make, change or remove the DHCP port of an agent, so that it has an address in each subnet."""
    device = device_id(agent.host, network_id)
    port = tx.first(
        sa.select(t.ports).where(t.ports.c.network_id == network_id, t.ports.c.device_id == device)
    )
    if not subnets:
        if port is not None:
            port_logic.remove(tx, port)
        return
    wishes = [ipam.Wish(subnet_id=subnet.id) for subnet in subnets]
    if port is None:
        project = tx.scalar(sa.select(t.networks.c.project_id).where(t.networks.c.id == network_id))
        # a full subnet is no reason to refuse the caller's request
        with contextlib.suppress(IpAddressGenerationFailure), tx.connection.begin_nested():
            port_logic.add(
                ctx,
                tx,
                network_id,
                project_id=project,
                device_owner=OWNER,
                device_id=device,
                wishes=wishes,
                host=agent.host,
            )
        return
    have = {item.subnet_id for item in addresses.of_port(tx, port.id)}
    if have != {subnet.id for subnet in subnets}:
        place = ipam.Place(network_id, port.id, port.mac_address, OWNER)
        with contextlib.suppress(IpAddressGenerationFailure), tx.connection.begin_nested():
            ipam.change(tx, place, wishes, 1000)
        changes.note(tx, changes.port_items(tx, port.id, network_id, {agent.host}, ()))


def add_network(ctx: Context, tx: Tx, network_id: str, agent: Any) -> None:
    """Put a network on an agent by hand."""
    tx.insert(t.network_dhcp_agents, network_id=network_id, agent_id=agent.id)
    ensure_port(ctx, tx, network_id, agent, served_subnets(tx, network_id))
    changes.note(tx, changes.dhcp_items(tx, network_id))


def remove_network(ctx: Context, tx: Tx, network_id: str, agent: Any) -> None:
    """Take a network off an agent, with its port."""
    items = changes.dhcp_items(tx, network_id)
    ensure_port(ctx, tx, network_id, agent, [])
    c = t.network_dhcp_agents.c
    tx.delete(t.network_dhcp_agents, sa.and_(c.network_id == network_id, c.agent_id == agent.id))
    changes.note(tx, items)


def adopt(ctx: Context, tx: Tx, most: int = 200) -> None:
    """Schedule networks that no agent serves, after an agent came (back)."""
    links = t.network_dhcp_agents
    waiting = (
        sa.select(t.subnets.c.network_id)
        .outerjoin(links, links.c.network_id == t.subnets.c.network_id)
        .where(t.subnets.c.enable_dhcp.is_(True), links.c.agent_id.is_(None))
        .distinct()
        .limit(most)
    )
    for row in tx.all(waiting):
        network_changed(ctx, tx, row.network_id)
