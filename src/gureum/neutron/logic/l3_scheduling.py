"""Which L3 agent serves a router.

A router gets a live agent with its first interface or gateway. Its ports are bound to the agent's host,
so that the L2 agent there plugs them; moving a router moves its ports.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.neutron.logic import binding
from gureum.neutron.store import changes
from gureum.neutron.store import ports as port_store
from gureum.neutron.store import routers as store
from gureum.neutron.store import tables as t

AGENT_TYPE = "L3 agent"


def agents_of(tx: Tx, router_id: str) -> list[sa.Row[Any]]:
    """Return the agents that serve a router."""
    links = t.router_l3_agents
    return list(
        tx.all(
            sa.select(t.agents)
            .join(links, links.c.agent_id == t.agents.c.id)
            .where(links.c.router_id == router_id)
            .order_by(t.agents.c.host)
        )
    )


def host_of(tx: Tx, router_id: str) -> str:
    """Return the host that a router's ports are bound to; "" when no agent serves it."""
    found = agents_of(tx, router_id)
    return found[0].host if found else ""


def ensure(tx: Tx, router_id: str) -> str:
    """Schedule a router if no agent serves it yet; returns its host or ""."""
    host = host_of(tx, router_id)
    if host:
        return host
    links, agents = t.router_l3_agents, t.agents
    statement = (
        sa.select(agents.c.id)
        .outerjoin(links, links.c.agent_id == agents.c.id)
        .where(
            agents.c.agent_type == AGENT_TYPE,
            agents.c.admin_state_up.is_(True),
            agents.c.heartbeat_at > binding.alive_since(tx),
        )
        .group_by(agents.c.id)
        .order_by(sa.func.count(links.c.router_id), agents.c.id)
        .limit(1)
    )
    chosen = tx.first(statement)
    if chosen is None:
        return ""
    return assign(tx, router_id, chosen.id)


def assign(tx: Tx, router_id: str, agent_id: str) -> str:
    """Put a router on an agent and its ports on the agent's host; returns the host."""
    tx.insert(t.router_l3_agents, router_id=router_id, agent_id=agent_id)
    host: str = tx.scalar(sa.select(t.agents.c.host).where(t.agents.c.id == agent_id))
    _move_ports(tx, router_id, host)
    changes.note(tx, changes.router_items(tx, router_id))
    return host


def unassign(tx: Tx, router_id: str, agent_id: str) -> None:
    """Take a router off an agent; its ports are bound nowhere and its floating IPs lead nowhere."""
    items = changes.router_items(tx, router_id)
    c = t.router_l3_agents.c
    tx.delete(t.router_l3_agents, sa.and_(c.router_id == router_id, c.agent_id == agent_id))
    host = host_of(tx, router_id)
    _move_ports(tx, router_id, host)
    if not host:
        c = t.floatingips.c
        where = sa.and_(c.router_id == router_id, c.status != "DOWN")
        tx.update(t.floatingips, where, status="DOWN", revision_number=c.revision_number + 1)
    changes.note(tx, items)


def _move_ports(tx: Tx, router_id: str, host: str) -> None:
    items: set[changes.Item] = set()
    for port in store.ports_of(tx, router_id, store.INTERFACE, store.GATEWAY):
        before = binding.rebind(tx, port._mapping, host)
        groups = port_store.groups_of(tx, [port.id]).get(port.id, [])
        items |= changes.port_items(tx, port.id, port.network_id, {before, host}, groups)
    changes.note(tx, items)


def adopt(tx: Tx, most: int = 200) -> None:
    """Schedule connected routers that no agent serves, after an agent came (back)."""
    links = t.router_l3_agents
    waiting = (
        sa.select(t.ports.c.device_id)
        .join(t.routers, t.routers.c.id == t.ports.c.device_id)
        .outerjoin(links, links.c.router_id == t.ports.c.device_id)
        .where(
            t.ports.c.device_owner.in_((store.INTERFACE, store.GATEWAY)),
            links.c.agent_id.is_(None),
        )
        .distinct()
        .limit(most)
    )
    for row in tx.all(waiting):
        ensure(tx, row.device_id)
