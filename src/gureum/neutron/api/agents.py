"""Agents and what they are given. Follows: Network API v2.0, "Agents", "DHCP agent scheduler"."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    TOKEN,
    Boolean,
    Id,
    Integer,
    Json,
    Page,
    Reply,
    String,
    Struct,
    Time,
    operation,
)
from gureum.neutron.api.common import ListQuery, ShowQuery, View, rule_target
from gureum.neutron.api.networks import Network
from gureum.neutron.api.routers import Router
from gureum.neutron.errors import NetworkNotFound
from gureum.neutron.errors_l3 import (
    AgentNotFound,
    InvalidDHCPAgent,
    InvalidL3Agent,
    NetworkHostedByDHCPAgent,
    NetworkNotHostedByDhcpAgent,
    RouterHostedByL3Agent,
    RouterNotFound,
    RouterNotHostedByL3Agent,
)
from gureum.neutron.logic import dhcp, l3_scheduling
from gureum.neutron.store import tables as t
from gureum.neutron.store.agents import AGENT, views
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import list_page, load, load_row
from gureum.neutron.store.routers import ROUTER


class Agent(Struct):
    """An agent."""

    id = Id("Id.")
    binary = String("Its program.")
    agent_type = String("What it does.")
    host = String("Where it runs.")
    topic = String("Where it listens.")
    availability_zone = String("Its zone.")
    description = String("Free text.")
    admin_state_up = Boolean("Whether it gets new work.")
    alive = Boolean("Whether it reported lately.")
    created_at = Time("First report.", form="us")
    started_at = Time("Last start.", form="us")
    heartbeat_timestamp = Time("Last report.", form="us")
    configurations = Json("What it told about itself.")
    resources_synced = Boolean("Whether Placement knows its resources.")
    load = Integer("How much it serves.")


class AgentUpdate(Struct):
    """Changes of an agent."""

    admin_state_up = Boolean("Whether it gets new work.")
    description = String("Free text.", null=True)


class NetworkId(Struct):
    """A network to serve."""

    network_id = Id("Network.", required=True)


class RouterId(Struct):
    """A router to serve."""

    router_id = Id("Router.", required=True)


def load_agent(ctx: Context, tx: Tx, agent_id: str) -> View:
    """Return an agent. Raises: AgentNotFound."""
    return load(ctx, tx, AGENT, agent_id)


@operation("GET", "/agents", policy=TOKEN, query=ListQuery, items=Agent, response_wrap="agents")
def list_agents(ctx: Context, tx: Tx, query: Any) -> Page:
    """List agents; who may not see them gets an empty list."""
    if not tx.deps.policy.allows("get_agent", ctx, rule_target({"project_id": ctx.project_id})):
        return Page([])
    return list_page(ctx, tx, AGENT, query)


@operation(
    "GET",
    "/agents/{agent_id}",
    policy="get_agent",
    load=load_agent,
    query=ShowQuery,
    response=Agent,
    response_wrap="agent",
    errors=(AgentNotFound,),
)
def show_agent(ctx: Context, tx: Tx, agent: View, query: Any) -> View:
    """Show an agent."""
    return agent


@operation(
    "PUT",
    "/agents/{agent_id}",
    policy="update_agent",
    load=load_agent,
    wrap="agent",
    request=AgentUpdate,
    response=Agent,
    errors=(AgentNotFound,),
)
def update_agent(ctx: Context, tx: Tx, agent: View, new: Any) -> View:
    """Change an agent."""
    values: dict[str, Any] = {}
    if new.has("admin_state_up"):
        values["admin_state_up"] = new.admin_state_up
    if new.has("description"):
        values["description"] = new.get("description") or ""
    if values:
        tx.update_by(t.agents.c.id, agent["id"], **values)
    return load(ctx, tx, AGENT, agent["id"])


@operation(
    "DELETE",
    "/agents/{agent_id}",
    policy="delete_agent",
    load=load_agent,
    errors=(AgentNotFound,),
)
def delete_agent(ctx: Context, tx: Tx, agent: View) -> None:
    """Forget an agent; it comes back with its next report."""
    row = tx.by(t.agents.c.id, agent["id"])
    links = tx.all(
        sa.select(t.network_dhcp_agents.c.network_id).where(
            t.network_dhcp_agents.c.agent_id == agent["id"]
        )
    )
    for link in links:
        dhcp.remove_network(ctx, tx, link.network_id, row)
    routers = tx.all(
        sa.select(t.router_l3_agents.c.router_id).where(
            t.router_l3_agents.c.agent_id == agent["id"]
        )
    )
    for link in routers:
        l3_scheduling.unassign(tx, link.router_id, agent["id"])
    tx.delete_by(t.agents.c.id, agent["id"])


# --- DHCP ---------------------------------------------------------------------------------------


def _dhcp_agent(agent: View) -> None:
    if agent["agent_type"] != dhcp.AGENT_TYPE or not agent["admin_state_up"]:
        raise InvalidDHCPAgent(id=agent["id"])


@operation(
    "GET",
    "/agents/{agent_id}/dhcp-networks",
    policy="get_dhcp-networks",
    load=load_agent,
    query=ShowQuery,
    items=Network,
    response_wrap="networks",
)
def list_dhcp_networks(ctx: Context, tx: Tx, agent: View, query: Any) -> Any:
    """List the networks that a DHCP agent serves."""
    links = t.network_dhcp_agents.c
    found = tx.all(
        sa.select(t.networks)
        .join(t.network_dhcp_agents, links.network_id == t.networks.c.id)
        .where(links.agent_id == agent["id"])
        .order_by(t.networks.c.id)
    )
    return NETWORK.views(ctx, tx, found)


@operation(
    "POST",
    "/agents/{agent_id}/dhcp-networks",
    policy="create_dhcp-network",
    load=load_agent,
    request=NetworkId,
    errors=(InvalidDHCPAgent, NetworkNotFound, NetworkHostedByDHCPAgent),
)
def add_dhcp_network(ctx: Context, tx: Tx, agent: View, new: Any) -> Any:
    """Put a network on a DHCP agent."""
    _dhcp_agent(agent)
    load_row(ctx, tx, NETWORK, new.network_id)
    if any(a.id == agent["id"] for a in dhcp.agents_of(tx, new.network_id)):
        raise NetworkHostedByDHCPAgent(network_id=new.network_id, agent_id=agent["id"])
    row = tx.by(t.agents.c.id, agent["id"])
    dhcp.add_network(ctx, tx, new.network_id, row)
    return Reply(raw=b"null")


@operation(
    "DELETE",
    "/agents/{agent_id}/dhcp-networks/{network_id}",
    policy="delete_dhcp-network",
    errors=(AgentNotFound, NetworkNotHostedByDhcpAgent),
)
def remove_dhcp_network(ctx: Context, tx: Tx, agent_id: str, network_id: str) -> None:
    """Take a network off a DHCP agent."""
    load_agent(ctx, tx, agent_id)
    row = next((a for a in dhcp.agents_of(tx, network_id) if a.id == agent_id), None)
    if row is None:
        raise NetworkNotHostedByDhcpAgent(network_id=network_id, agent_id=agent_id)
    dhcp.remove_network(ctx, tx, network_id, row)


@operation(
    "GET",
    "/networks/{network_id}/dhcp-agents",
    policy="get_dhcp-agents",
    query=ShowQuery,
    items=Agent,
    response_wrap="agents",
    errors=(NetworkNotFound,),
)
def list_dhcp_agents(ctx: Context, tx: Tx, network_id: str, query: Any) -> Any:
    """List the DHCP agents that serve a network."""
    load_row(ctx, tx, NETWORK, network_id)
    return views(ctx, tx, dhcp.agents_of(tx, network_id))


# --- L3 -----------------------------------------------------------------------------------------


@operation(
    "GET",
    "/agents/{agent_id}/l3-routers",
    policy="get_l3-routers",
    load=load_agent,
    query=ShowQuery,
    items=Router,
    response_wrap="routers",
)
def list_l3_routers(ctx: Context, tx: Tx, agent: View, query: Any) -> Any:
    """List the routers that an L3 agent serves."""
    links = t.router_l3_agents.c
    found = tx.all(
        sa.select(t.routers)
        .join(t.router_l3_agents, links.router_id == t.routers.c.id)
        .where(links.agent_id == agent["id"])
        .order_by(t.routers.c.id)
    )
    return ROUTER.views(ctx, tx, found)


@operation(
    "POST",
    "/agents/{agent_id}/l3-routers",
    policy="create_l3-router",
    load=load_agent,
    request=RouterId,
    errors=(InvalidL3Agent, RouterNotFound, RouterHostedByL3Agent),
)
def add_l3_router(ctx: Context, tx: Tx, agent: View, new: Any) -> Any:
    """Put a router on an L3 agent."""
    if agent["agent_type"] != l3_scheduling.AGENT_TYPE or not agent["admin_state_up"]:
        raise InvalidL3Agent(id=agent["id"])
    load_row(ctx, tx, ROUTER, new.router_id)
    now = l3_scheduling.agents_of(tx, new.router_id)
    if now and now[0].id != agent["id"]:
        raise RouterHostedByL3Agent(router_id=new.router_id, agent_id=now[0].id)
    if not now:
        l3_scheduling.assign(tx, new.router_id, agent["id"])
    return Reply(raw=b"null")


@operation(
    "DELETE",
    "/agents/{agent_id}/l3-routers/{router_id}",
    policy="delete_l3-router",
    errors=(AgentNotFound, RouterNotHostedByL3Agent),
)
def remove_l3_router(ctx: Context, tx: Tx, agent_id: str, router_id: str) -> None:
    """Take a router off an L3 agent."""
    load_agent(ctx, tx, agent_id)
    if all(agent.id != agent_id for agent in l3_scheduling.agents_of(tx, router_id)):
        raise RouterNotHostedByL3Agent(router_id=router_id, agent_id=agent_id)
    l3_scheduling.unassign(tx, router_id, agent_id)


@operation(
    "GET",
    "/routers/{router_id}/l3-agents",
    policy="get_l3-agents",
    query=ShowQuery,
    items=Agent,
    response_wrap="agents",
    errors=(RouterNotFound,),
)
def list_l3_agents(ctx: Context, tx: Tx, router_id: str, query: Any) -> Any:
    """List the L3 agents that serve a router."""
    load_row(ctx, tx, ROUTER, router_id)
    return views(ctx, tx, l3_scheduling.agents_of(tx, router_id))
