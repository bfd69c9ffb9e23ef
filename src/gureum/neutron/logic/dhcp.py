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
    """Schedule a network if it needs DHCP, and bring its DHCP ports up to date.

    The caller notes for the agents what changed.
    """
    subnets = served_subnets(tx, network_id)
    for agent in schedule(tx, network_id) if subnets else agents_of(tx, network_id):
        ensure_port(ctx, tx, network_id, agent, subnets)


def agents_of(tx: Tx, network_id: str) -> list[sa.Row[Any]]:
    """Return the agents that serve a network."""
    return list(tx.all(_AGENTS, {"network": network_id}))


_AGENTS = (
    sa.select(t.agents)
    .join(t.network_dhcp_agents, t.network_dhcp_agents.c.agent_id == t.agents.c.id)
    .where(t.network_dhcp_agents.c.network_id == sa.bindparam("network"))
    .order_by(t.agents.c.host)
)


def schedule(tx: Tx, network_id: str) -> list[sa.Row[Any]]:
    """Give a network live agents, the least loaded first; returns `id` and `host` of all it has now."""
    have = agents_of(tx, network_id)
    missing = tx.deps.options.dhcp_agents_per_network - len(have)
    if missing <= 0:
        return have
    wanted = {
        "after": binding.alive_since(tx),
        "have": [agent.id for agent in have],
        "missing": missing,
    }
    found = tx.all(_LEAST_LOADED, wanted)
    for agent in found:
        tx.insert(t.network_dhcp_agents, network_id=network_id, agent_id=agent.id)
    return [*have, *found]


_LEAST_LOADED = (
    sa.select(t.agents.c.id, t.agents.c.host)
    .outerjoin(t.network_dhcp_agents, t.network_dhcp_agents.c.agent_id == t.agents.c.id)
    .where(
        t.agents.c.agent_type == AGENT_TYPE,
        t.agents.c.admin_state_up.is_(True),
        t.agents.c.heartbeat_at > sa.bindparam("after"),
        t.agents.c.id.not_in(sa.bindparam("have", expanding=True)),
    )
    .group_by(t.agents.c.id, t.agents.c.host)
    .order_by(sa.func.count(t.network_dhcp_agents.c.network_id), t.agents.c.id)
    .limit(sa.bindparam("missing", type_=sa.Integer))
)


_PORT = sa.select(t.ports).where(
    t.ports.c.network_id == sa.bindparam("network"), t.ports.c.device_id == sa.bindparam("device")
)
_PROJECT = sa.select(t.networks.c.project_id).where(t.networks.c.id == sa.bindparam("network"))


def ensure_port(
    ctx: Context, tx: Tx, network_id: str, agent: Any, subnets: list[sa.Row[Any]]
) -> None:
    """Make, change or remove the DHCP port of an agent, so that it has an address in each subnet."""
    device = device_id(agent.host, network_id)
    port = tx.first(_PORT, {"network": network_id, "device": device})
    if not subnets:
        if port is not None:
            port_logic.remove(tx, port)
        return
    wishes = [ipam.Wish(subnet_id=subnet.id) for subnet in subnets]
    if port is None:
        project = tx.scalar(_PROJECT, {"network": network_id})
        # a full subnet is no reason to refuse the caller's request
        with contextlib.suppress(IpAddressGenerationFailure), tx.connection.begin_nested():
            port_logic.write(
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
        changes.note(tx, changes.dhcp_items(tx, row.network_id))
