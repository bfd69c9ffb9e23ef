"""The server side of what networking agents ask: wanted state, heartbeats, statuses.

Owns: the answers of the contract NetworkState. Full or as the difference since a revision; a difference
is the ids noted in the table `changes`, looked up again. All methods are idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from gureum.core import log
from gureum.core.context import Context, new_request_id
from gureum.core.db import Tx
from gureum.neutron.agents.contract import (
    AgentAck,
    AgentReport,
    DhcpState,
    L2State,
    L3State,
    MetadataTarget,
    NetworkState,
    StatusUpdate,
)
from gureum.neutron.deps import Deps
from gureum.neutron.logic import binding, dhcp, l3_scheduling
from gureum.neutron.logic.heartbeats import KIND_OF_AGENT, L2_AGENTS, Heartbeats
from gureum.neutron.store import agents as agent_store
from gureum.neutron.store import changes, l2_state, l3_state
from gureum.neutron.store import ports as port_store
from gureum.neutron.store import tables as t

LOG = log.get(__name__)

Build = Callable[..., tuple[Any, ...]]
_L2_BUILDERS: dict[str, Build] = {
    "networks": l2_state.networks,
    "ports": l2_state.ports,
    "security_groups": l2_state.security_groups,
    "members": l2_state.members,
    "tunnels": l2_state.tunnels,
}
_PORTS_AT = (
    sa.select(t.ports)
    .join(t.port_bindings, t.port_bindings.c.port_id == t.ports.c.id)
    .where(
        t.ports.c.id.in_(sa.bindparam("ids", expanding=True)),
        t.port_bindings.c.host == sa.bindparam("host"),
        t.port_bindings.c.status == port_store.ACTIVE,
    )
)
_UNREADY = sa.select(t.ports).where(
    t.ports.c.id.in_(sa.bindparam("ids", expanding=True)), t.ports.c.dhcp_ready.is_(False)
)
_ROW_STATUSES = ("ACTIVE", "DOWN", "ERROR")


def system_context() -> Context:
    """Return the context of work that no user asked for."""
    return Context(request_id=new_request_id(), roles=("admin",))


class NetworkStateServer(NetworkState):
    """Answers agents from the database."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._heartbeats = Heartbeats(deps)

    # --- wanted state ---------------------------------------------------------------------------

    def l2_state(self, host: str, since: int) -> L2State:
        """See NetworkState."""
        revision, full, parts, removed = self._state(changes.L2, _L2_BUILDERS, host, since)
        return L2State(revision=revision, full=full, removed=removed, **parts)

    def l3_state(self, host: str, since: int) -> L3State:
        """See NetworkState."""
        builders: dict[str, Build] = {"routers": l3_state.routers}
        revision, full, parts, removed = self._state(changes.L3, builders, host, since)
        return L3State(revision=revision, full=full, removed=removed, **parts)

    def dhcp_state(self, host: str, since: int) -> DhcpState:
        """See NetworkState."""
        builders: dict[str, Build] = {"networks": l3_state.dhcp_networks}
        revision, full, parts, removed = self._state(changes.DHCP, builders, host, since)
        return DhcpState(revision=revision, full=full, removed=removed, **parts)

    def _state(
        self, agent: str, builders: dict[str, Build], host: str, since: int
    ) -> tuple[int, bool, dict[str, tuple[Any, ...]], dict[str, list[str]]]:
        with self._deps.db.read() as tx:
            revision, floor = changes.current(tx)
            if since <= 0 or since < floor or since > revision:
                return revision, True, {k: build(tx, host) for k, build in builders.items()}, {}
            parts: dict[str, tuple[Any, ...]] = {}
            removed: dict[str, list[str]] = {}
            for kind, ids in changes.since(tx, agent, host, since).items():
                items = builders[kind](tx, host, ids)
                parts[kind] = items
                gone = set(ids) - {item.id for item in items}
                if gone:
                    removed[kind] = sorted(gone)
            return revision, False, parts, removed

    def metadata_target(
        self, host: str, address: str, network_id: str | None, router_id: str | None
    ) -> MetadataTarget | None:
        """See NetworkState."""
        with self._deps.db.read() as tx:
            return l3_state.metadata_target(tx, address, network_id, router_id)

    # --- what agents tell -----------------------------------------------------------------------

    def report(self, report: AgentReport) -> AgentAck:
        """See NetworkState."""
        quiet = self._heartbeats.take(report)
        if quiet is not None:
            return quiet

        def take(tx: Tx) -> tuple[AgentAck, str]:
            agent, came = agent_store.take_report(tx, report)
            if came:
                self._welcome(tx, agent)
            if report.agent_type in L2_AGENTS:
                binding.settle(tx, [report.host])
            changes.prune(tx, self._deps.options.changes_kept)
            newest = changes.newest_of(tx, KIND_OF_AGENT.get(report.agent_type, ""), report.host)
            return AgentAck(revision=newest, admin_state_up=agent.admin_state_up), agent.id

        ack, agent_id = self._deps.db.retrying(take)
        self._heartbeats.written(report, agent_id)
        return ack

    def _welcome(self, tx: Tx, agent: Any) -> None:
        """Give an agent that came (back) what waited for one."""
        LOG.info("agent came", agent=agent.binary, host=agent.host, agent_id=agent.id)
        if agent.agent_type in L2_AGENTS:
            binding.retry_failed(tx, agent.host)
            networks = {n.id for n in l2_state.networks(tx, agent.host)}
            changes.note(
                tx,
                {
                    changes.Item(changes.L2, host, "tunnels", network)
                    for network in networks
                    for host in changes.hosts_of_network(tx, network)
                },
            )
        elif agent.agent_type == dhcp.AGENT_TYPE:
            dhcp.adopt(system_context(), tx)
        elif agent.agent_type == l3_scheduling.AGENT_TYPE:
            l3_scheduling.adopt(tx)

    def port_statuses(self, host: str, updates: list[StatusUpdate]) -> None:
        """See NetworkState."""
        wanted = {update.id: update.status for update in updates}

        def take(tx: Tx) -> None:
            for port in self._ports_at(tx, host, list(wanted)):
                status = wanted[port.id]
                active = status == "ACTIVE"
                if port.l2_active != active:
                    tx.update_by(t.ports.c.id, port.id, l2_active=active)
                if active and binding.awaits_dhcp(tx, port):
                    continue
                binding.set_status(tx, port, status if status in _ROW_STATUSES else "DOWN")

        self._deps.db.retrying(take)

    @staticmethod
    def _ports_at(tx: Tx, host: str, ids: list[str]) -> list[Any]:
        return list(tx.all(_PORTS_AT, {"ids": ids, "host": host})) if ids else []

    def dhcp_ready(self, host: str, port_ids: list[str]) -> None:
        """See NetworkState."""

        def take(tx: Tx) -> None:
            for port in tx.all(_UNREADY, {"ids": port_ids}) if port_ids else []:
                tx.update_by(t.ports.c.id, port.id, dhcp_ready=True)
                if port.l2_active:
                    binding.set_status(tx, port, "ACTIVE")

        self._deps.db.retrying(take)

    def router_statuses(
        self, host: str, routers: list[StatusUpdate], floating_ips: list[StatusUpdate]
    ) -> None:
        """See NetworkState."""

        def take(tx: Tx) -> None:
            mine = {router.id for router in l3_state.routers(tx, host, [u.id for u in routers])}
            for update in routers:
                if update.id in mine and update.status in _ROW_STATUSES:
                    where = sa.and_(
                        t.routers.c.id == update.id, t.routers.c.status != update.status
                    )
                    tx.update(t.routers, where, status=update.status)
            c = t.floatingips.c
            for update in floating_ips:
                if update.status in _ROW_STATUSES:
                    where = sa.and_(
                        c.id == update.id, c.router_id.is_not(None), c.status != update.status
                    )
                    tx.update(
                        t.floatingips,
                        where,
                        status=update.status,
                        revision_number=c.revision_number + 1,
                    )

        self._deps.db.retrying(take)
