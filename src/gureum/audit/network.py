"""Neutron against Nova, and the networking agents' hosts against Neutron.

Owns: ports, bindings and floating addresses of servers, ports of routers and of DHCP; what agents say that
they find. Must not: touch a host; its agents do.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from gureum.audit import hosts
from gureum.audit.finding import CannotLook, Finding, Mend
from gureum.audit.world import Servers, World, ask_all
from gureum.core.bus.contract import AgentError, BusError
from gureum.core.db.engine import Tx
from gureum.neutron.agents.contract import (
    DHCP_AGENT,
    L2_AGENT,
    L3_AGENT,
    AgentInspection,
    FoundItem,
    collections,
)
from gureum.neutron.logic import ports
from gureum.neutron.store import tables as t
from gureum.nova.ports import OWNER, Port, PortRefused, PortsUnavailable
from gureum.nova.reconcilers.ports import KnownPorts
from gureum.nova.store.tables import CELL1, DATABASE_OF_CELL, server_nics

WHERE = "neutron"
_ROUTER_OWNERS = ("network:router_interface", "network:router_gateway")
_FLOATING = "network:floatingip"
_DHCP = "network:dhcp"


def compare(world: World, found: Servers) -> Iterator[Finding]:
    """Compare the databases of Neutron and Nova."""
    with world.neutron.read() as tx:
        joined = sa.select(t.ports, t.port_bindings.c.host, t.port_bindings.c.vif_type).join(
            t.port_bindings, t.port_bindings.c.port_id == t.ports.c.id, isouter=True
        )
        rows = {row.id: row for row in tx.all(joined)}
        routers = {row.id for row in tx.all(sa.select(t.routers.c.id))}
        floating = list(tx.all(sa.select(t.floatingips)))
    yield from _server_ports(world, found, rows)
    yield from _nics(world, found, rows)
    yield from _service_ports(world, rows, routers, {row.id for row in floating})
    for row in floating:
        if (row.port_id is None) != (row.fixed_ip_address is None):
            yield Finding(
                "floating-ip", row.id, WHERE, "it is associated by halves", "disassociate it",
                partial(_put, world, f"/floatingips/{row.id}", {"floatingip": {"port_id": None}}),
            )  # fmt: skip


def _server_ports(world: World, found: Servers, rows: Mapping[str, Any]) -> Iterator[Finding]:
    alive = found.alive()
    for port in rows.values():
        if not port.device_owner.startswith(OWNER) or not port.device_id:
            continue
        if found.is_busy(port.device_id) or world.is_young(port.updated_at):
            continue
        known = alive.get(port.device_id)
        if known is None:
            gone = "deleted" if port.device_id in found.rows else "unknown to Nova"
            yield Finding(
                "port", port.id, WHERE, f"its server {port.device_id} is {gone}",
                "delete it; a port that was there before its server is taken from it",
                partial(_give_back, world, port.id),
            )  # fmt: skip
        elif known[1].host is not None and port.host != known[1].host:
            host = known[1].host
            yield Finding(
                "port-binding", port.id, WHERE,
                f"it is bound to {port.host or 'no host'}, its server is on {host}",
                f"bind it to {host}",
                partial(_put, world, f"/ports/{port.id}", {"port": {"binding:host_id": host}}),
            )  # fmt: skip


def _give_back(world: World, port_id: str) -> None:
    def work() -> None:
        port: Port | None = world.nova.ports.get(port_id)
        if port is None:
            return
        if port.keep or port.nic_id is None:
            world.nova.ports.unbind(port)
        else:
            world.nova.ports.delete(port.id)

    _asked(work)


def _nics(world: World, found: Servers, rows: Mapping[str, Any]) -> Iterator[Finding]:
    """What Nova keeps of its servers' ports."""
    reader = KnownPorts(world.nova, world.sagas, 0.0)
    alive = found.alive()
    with world.nova.cells[CELL1].read() as tx:
        kept = {(row.server_id, row.port_id) for row in tx.all(sa.select(server_nics))}
    real = {
        (port.device_id, port.id) for port in rows.values() if port.device_owner.startswith(OWNER)
    }
    for server_id, port_id in sorted(kept ^ real):
        known = alive.get(server_id)
        if known is None or known[0] != CELL1 or known[1].host is None:
            continue
        if found.is_busy(server_id) or world.is_young(known[1].updated_at):
            continue
        is_kept = (server_id, port_id) in kept
        why = "Neutron gives the server no such port" if is_kept else "Nova does not know of it"
        yield Finding(
            "server-port", port_id, DATABASE_OF_CELL[CELL1], f"{why} (server {server_id})",
            "read the server's ports again", partial(_refresh, reader, server_id),
        )  # fmt: skip


def _refresh(reader: KnownPorts, server_id: str) -> None:
    _asked(lambda: reader.refresh([server_id]))


def _service_ports(
    world: World, rows: Mapping[str, Any], routers: set[str], floating: set[str]
) -> Iterator[Finding]:
    with world.neutron.read() as tx:
        served = {
            (row.network_id, row.host)
            for row in tx.all(
                sa.select(t.network_dhcp_agents.c.network_id, t.agents.c.host).join(
                    t.agents, t.agents.c.id == t.network_dhcp_agents.c.agent_id
                )
            )
        }
    for port in rows.values():
        if world.is_young(port.updated_at):
            continue
        why = ""
        if port.device_owner in _ROUTER_OWNERS and port.device_id not in routers:
            why = f"its router {port.device_id} is gone"
        elif port.device_owner == _FLOATING and port.device_id not in floating:
            why = f"its floating IP {port.device_id} is gone"
        elif port.device_owner == _DHCP and (port.network_id, port.host) not in served:
            why = f"no DHCP agent of {port.host or 'any host'} serves its network"
        if why:
            yield Finding(
                "port", port.id, WHERE, why, "delete it", partial(_delete_port, world, port.id)
            )


def _delete_port(world: World, port_id: str) -> None:
    """The API keeps ports of routers and floating IPs from being deleted; their owner is gone."""

    def work(tx: Tx) -> None:
        row = tx.one(sa.select(t.ports).where(t.ports.c.id == port_id))
        if row is not None:
            ports.remove(tx, row)

    world.neutron.retrying(work)


def _put(world: World, path: str, body: Mapping[str, Any]) -> None:
    reply = world.session.request("PUT", "network", f"/v2.0{path}", json=body)
    if reply.status >= 400 and reply.status != 404:
        raise CannotLook(f"neutron refused PUT {path}: {reply.status}")


def _asked(call: Any) -> None:
    try:
        call()
    except (PortsUnavailable, PortRefused) as error:
        raise CannotLook(f"neutron: {error}") from error


# --- agents ---------------------------------------------------------------------------------------


def inspect(world: World) -> tuple[list[AgentInspection], list[str]]:
    """Ask every networking agent; returns the answers, and which did not give one."""
    with world.neutron.read() as tx:
        rows = tx.all(sa.select(t.agents.c.binary, t.agents.c.host, t.agents.c.heartbeat_at))
    asked: dict[str, Callable[[], AgentInspection]] = {}
    silent: list[str] = []
    oldest = world.clock() - timedelta(seconds=world.agent_down_s)
    for row in rows:
        if row.heartbeat_at < oldest:
            silent.append(f"{row.binary} on {row.host} is down")
            continue
        agent = world.network_agent(row.binary, row.host)
        asked[f"{row.binary} on {row.host}"] = agent.inspect
    answers, mute = ask_all(asked)
    return answers, silent + mute


def compare_agents(world: World, seen: list[AgentInspection]) -> Iterator[Finding]:
    """Report what agents find, and agents that want something else than Neutron does."""
    for agent in seen:
        where = f"{agent.binary} on {agent.host}"
        mend = partial(_mend_agent, world, agent.binary, agent.host)
        for item in agent.items:
            yield _finding(world, agent, item, where, mend)
        for text in agent.problems:
            kind = text.partition(" ")[0] if " " in text else "agent"
            yield Finding(f"unmade-{kind}", text, where, text, "try it again", mend)
        yield from _stale(world, agent, where, mend)


def _finding(
    world: World, agent: AgentInspection, item: FoundItem, where: str, mend: Mend
) -> Finding:
    owner = f" (of {item.owner_id})" if item.owner_id and item.owner_id not in item.name else ""
    repair = "remove it" if item.fault == "extra" else "make it as it should be"
    if item.kind == "switch-port" and item.guest_id:
        mend = partial(hosts.remove_tap, world, agent.host, item.name)
        repair = "take it off its bridge, unless a guest has it"
    id = f"{item.name} {item.owner_id}" if item.kind == "flows" else item.name
    return Finding(item.kind, id, where, f"{item.text}{owner}", repair, mend)


def _stale(world: World, agent: AgentInspection, where: str, mend: Mend) -> Iterator[Finding]:
    asked: Callable[[str, int], Any] | None = {
        L2_AGENT: world.network_state.l2_state,
        L3_AGENT: world.network_state.l3_state,
        DHCP_AGENT: world.network_state.dhcp_state,
    }.get(agent.binary)
    if asked is None:
        return
    try:
        state = asked(agent.host, 0)
    except (AgentError, BusError) as error:
        raise CannotLook(f"neutron-server: {error}") from error
    for kind, items in collections(state).items():
        wanted, known = {item.id for item in items}, set(agent.wanted.get(kind, ()))
        for item_id in sorted(wanted ^ known):
            why = "the agent does not know of it" if item_id in wanted else "nobody wants it"
            yield Finding(
                f"agent-{kind}", item_id, where, why, "let the agent read its state again", mend
            )


def _mend_agent(world: World, binary: str, host: str) -> None:
    try:
        world.network_agent(binary, host).mend()
    except (AgentError, BusError) as error:
        raise CannotLook(f"{binary} on {host}: {error}") from error
