"""Binding ports to hosts, and what status a port has.

A port is ACTIVE once the L2 agent of its host says so and, where a DHCP agent serves its network, that
agent knows its lease. Nova is told after the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core import log
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.neutron.ml2.base import Binding, HostAgent
from gureum.neutron.ml2.manager import FAILED, UNBOUND
from gureum.neutron.store import changes
from gureum.neutron.store import networks as network_store
from gureum.neutron.store import ports as store
from gureum.neutron.store import tables as t

LOG = log.get(__name__)

GUEST = "compute:"


def alive_since(tx: Tx) -> Any:
    """Return the moment after which an agent must have reported to count as alive."""
    return utc_now() - timedelta(seconds=tx.deps.options.agent_down_time)


def host_agents(tx: Tx, host: str) -> list[HostAgent]:
    """Return the live agents of a host."""
    found = tx.all(_HOST_AGENTS, {"host": host, "after": alive_since(tx)})
    return [HostAgent(row.agent_type, row.host, row.configurations) for row in found]


_HOST_AGENTS = sa.select(t.agents.c.agent_type, t.agents.c.host, t.agents.c.configurations).where(
    t.agents.c.host == sa.bindparam("host"),
    t.agents.c.heartbeat_at > sa.bindparam("after"),
    t.agents.c.admin_state_up.is_(True),
)


def choose(tx: Tx, network_id: str, host: str, vnic_type: str, owner: str) -> Binding:
    """Return how a port is bound on a host; unbound without one."""
    if not host:
        return UNBOUND
    segments = network_store.segments_of(tx, [network_id]).get(network_id, [])
    agents = host_agents(tx, host)
    binding: Binding = tx.deps.ml2.bind(segments, agents, vnic_type, owner)
    if binding.vif_type == FAILED.vif_type:
        LOG.warning(
            "port not bound",
            host=host,
            network_id=network_id,
            segments=[f"{s.network_type}:{s.physical_network}" for s in segments],
            live_agents=[agent.agent_type for agent in agents],
            vnic_type=vnic_type,
        )
    return binding


def insert(
    tx: Tx, port_id: str, network_id: str, host: str, vnic_type: str, profile: Any, owner: str
) -> None:
    """Write the binding of a new port."""
    binding = choose(tx, network_id, host, vnic_type, owner)
    tx.insert(
        t.port_bindings,
        port_id=port_id,
        host=host,
        vnic_type=vnic_type,
        profile=profile or {},
        vif_type=binding.vif_type,
        vif_details=dict(binding.vif_details),
        status=store.ACTIVE,
    )


def rebind(
    tx: Tx,
    port: Any,
    host: str,
    *,
    vnic_type: str | None = None,
    profile: Any = None,
) -> str:
    """Move the binding of a port; returns the host before. A new host means: not active yet."""
    now = store.binding_of(tx, port["id"])
    vnic_type = vnic_type or now.vnic_type
    unchanged = now.host == host and now.vnic_type == vnic_type and now.vif_type != FAILED.vif_type
    binding = (
        Binding(now.vif_type, now.vif_details)
        if unchanged
        else choose(tx, port["network_id"], host, vnic_type, port["device_owner"])
    )
    tx.update(
        t.port_bindings,
        sa.and_(t.port_bindings.c.port_id == port["id"], t.port_bindings.c.host == now.host),
        host=host,
        vnic_type=vnic_type,
        profile=now.profile if profile is None else profile,
        vif_type=binding.vif_type,
        vif_details=dict(binding.vif_details),
    )
    if host != now.host:
        tx.update_by(t.ports.c.id, port["id"], status="DOWN", l2_active=False)
    return str(now.host)


def awaits_dhcp(tx: Tx, port: Any) -> bool:
    """Whether a guest would not get its lease yet, and a live agent will say when it does."""
    if port.dhcp_ready or not port.device_owner.startswith(GUEST):
        return False
    if tx.first(_LIVE, {"network": port.network_id, "after": alive_since(tx)}) is None:
        return False
    return tx.first(_SERVED, {"port": port.id}) is not None


_LIVE = (
    sa.select(t.agents.c.id)
    .join(t.network_dhcp_agents, t.network_dhcp_agents.c.agent_id == t.agents.c.id)
    .where(
        t.network_dhcp_agents.c.network_id == sa.bindparam("network"),
        t.agents.c.heartbeat_at > sa.bindparam("after"),
    )
)
_SERVED = (
    sa.select(t.subnets.c.id)
    .join(t.ip_allocations, t.ip_allocations.c.subnet_id == t.subnets.c.id)
    .where(t.ip_allocations.c.port_id == sa.bindparam("port"), t.subnets.c.enable_dhcp.is_(True))
)


_WAITING = (
    sa.select(t.ports)
    .join(t.port_bindings, t.port_bindings.c.port_id == t.ports.c.id)
    .where(
        t.port_bindings.c.host.in_(sa.bindparam("hosts", expanding=True)),
        t.port_bindings.c.status == store.ACTIVE,
        t.ports.c.l2_active.is_(True),
        t.ports.c.status == "DOWN",
    )
)


def settle(tx: Tx, hosts: Collection[str]) -> None:
    """Make the ports of hosts active that waited for DHCP and do not have to any more."""
    for port in tx.all(_WAITING, {"hosts": sorted(hosts)}) if hosts else ():
        if not awaits_dhcp(tx, port):
            set_status(tx, port, "ACTIVE")


_SET_STATUS = (
    sa.update(t.ports)
    .where(t.ports.c.id == sa.bindparam("port"))
    .values(status=sa.bindparam("new"), revision_number=t.ports.c.revision_number + 1)
)


def set_status(tx: Tx, port: Any, status: str) -> None:
    """Write a port's status as its agents see it, and tell Nova about a guest's port."""
    if port.status == status:
        return
    tx.execute(_SET_STATUS, {"port": port.id, "new": status})
    LOG.info("port changed status", port_id=port.id, status=status, device_id=port.device_id)
    if port.device_owner.startswith(GUEST) and port.device_id:
        name = "network-vif-plugged" if status == "ACTIVE" else "network-vif-unplugged"
        tell_nova(tx, name, port)


def tell_nova(tx: Tx, name: str, port: Any) -> None:
    """Send an event about a port to Nova once the transaction is committed."""
    event = tx.deps.nova_event
    device_id, port_id, mac = port.device_id, port.id, port.mac_address
    tx.after_commit(lambda: event(name, device_id, port_id, mac))


def guests_changed(tx: Tx, port_ids: Sequence[str]) -> None:
    """Tell Nova that what it shows of ports may be otherwise; it reads the ports of guests again."""
    for port in tx.among(t.ports.c.id, port_ids):
        if port.device_owner.startswith(GUEST) and port.device_id:
            tell_nova(tx, "network-changed", port)


def retry_failed(tx: Tx, host: str) -> None:
    """Bind the ports of a host that had no live agent when they asked."""
    b = t.port_bindings.c
    found = tx.all(
        sa.select(t.ports)
        .join(t.port_bindings, b.port_id == t.ports.c.id)
        .where(b.host == host, b.vif_type == FAILED.vif_type, b.status == store.ACTIVE)
    )
    items: set[changes.Item] = set()
    groups = store.groups_of(tx, [port.id for port in found])
    for port in found:
        rebind(tx, port._mapping, host)
        items |= changes.port_items(
            tx, port.id, port.network_id, {host}, groups.get(port.id, ()), members=False
        )
    changes.note(tx, items)
