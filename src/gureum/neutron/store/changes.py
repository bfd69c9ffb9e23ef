"""What agents must be told: a cloud-wide revision and the items that changed for each host.

Owns: the tables `revisions` and `changes`, and who is affected by what. Every change takes the next
revision in the writing transaction, and the lock on the counter row makes the order of revisions the
order of commits. After the commit only the affected hosts get a hint. Must not: build the items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.neutron.agents.contract import DHCP_AGENT, L2_AGENT, L3_AGENT
from gureum.neutron.store import tables as t

L2, L3, DHCP = "l2", "l3", "dhcp"
BINARIES = {L2: L2_AGENT, L3: L3_AGENT, DHCP: DHCP_AGENT}
BOUND = "ACTIVE"


class Item(NamedTuple):
    """One thing that one kind of agent of one host has to look at again."""

    agent: str
    host: str
    kind: str
    id: str


_NEXT = sa.update(t.revisions).where(t.revisions.c.id == 1).values(value=t.revisions.c.value + 1)
_VALUE = sa.select(t.revisions.c.value).where(t.revisions.c.id == 1)
_INSERT = sa.insert(t.changes)
_SINCE = (
    sa.select(t.changes.c.kind, t.changes.c.item_id)
    .where(
        t.changes.c.agent == sa.bindparam("agent"),
        t.changes.c.host == sa.bindparam("host"),
        t.changes.c.revision > sa.bindparam("revision"),
    )
    .distinct()
)


def current(tx: Tx) -> tuple[int, int]:
    """Return the newest revision, and the oldest that deltas may start from."""
    row = tx.by(t.revisions.c.id, 1)
    return (row.value, row.floor) if row is not None else (1, 1)


def note(tx: Tx, items: Iterable[Item]) -> None:
    """Record that items changed, under the next revision; hint the hosts after the commit."""
    wanted = sorted({item for item in items if item.host and item.id})
    if not wanted:
        return
    if not tx.execute(_NEXT).rowcount:
        tx.insert(t.revisions, id=1, value=2, floor=1)
    revision: int = tx.scalar(_VALUE)
    tx.execute(
        _INSERT,
        [
            {
                "revision": revision,
                "agent": item.agent,
                "host": item.host,
                "kind": item.kind,
                "item_id": item.id,
            }
            for item in wanted
        ],
    )
    tx.after_commit(_hint(tx, revision, wanted))


def _hint(tx: Tx, revision: int, wanted: Sequence[Item]) -> Callable[[], None]:
    kinds: dict[tuple[str, str], set[str]] = {}
    for item in wanted:
        kinds.setdefault((item.agent, item.host), set()).add(item.kind)
    poke = tx.deps.poke

    def send() -> None:
        for (agent, host), names in kinds.items():
            poke(BINARIES[agent], host, revision, sorted(names))

    return send


def since(tx: Tx, agent: str, host: str, revision: int) -> dict[str, list[str]]:
    """Return the ids that changed for a host after a revision, by kind."""
    found: dict[str, list[str]] = {}
    wanted = {"agent": agent, "host": host, "revision": revision}
    for row in tx.all(_SINCE, wanted):
        found.setdefault(row.kind, []).append(row.item_id)
    return found


def newest(tx: Tx, *, since: int) -> dict[tuple[str, str], int]:
    """Return the last revision after `since` by agent and host."""
    return {(row.agent, row.host): row.newest for row in tx.all(_NEWEST, {"since": since})}


_NEWEST = (
    sa.select(t.changes.c.agent, t.changes.c.host, sa.func.max(t.changes.c.revision).label("newest"))
    .where(t.changes.c.revision > sa.bindparam("since"))
    .group_by(t.changes.c.agent, t.changes.c.host)
)


def newest_of(tx: Tx, agent: str, host: str) -> int:
    """Return the last revision of one host, 0 when there is none."""
    return tx.scalar(_NEWEST_OF, {"agent": agent, "host": host}) or 0


_NEWEST_OF = sa.select(sa.func.max(t.changes.c.revision)).where(
    t.changes.c.agent == sa.bindparam("agent"), t.changes.c.host == sa.bindparam("host")
)


def prune(tx: Tx, kept: int) -> None:
    """Forget old changes; who is further behind gets the whole state."""
    value, floor = current(tx)
    if value - floor > 2 * kept:
        tx.update_by(t.revisions.c.id, 1, floor=value - kept)
        tx.delete(t.changes, t.changes.c.revision <= value - kept)


# --- who is affected ----------------------------------------------------------------------------


def hosts_of_network(tx: Tx, network_id: str) -> set[str]:
    """Return the hosts that have a port of a network."""
    return {row.host for row in tx.all(_HOSTS, {"network": network_id})}


_HOSTS = (
    sa.select(t.port_bindings.c.host)
    .join(t.ports, t.ports.c.id == t.port_bindings.c.port_id)
    .where(
        t.ports.c.network_id == sa.bindparam("network"),
        t.port_bindings.c.status == BOUND,
        t.port_bindings.c.host != "",
    )
    .distinct()
)


def dhcp_hosts(tx: Tx, network_id: str) -> set[str]:
    """Return the hosts whose DHCP agent serves a network."""
    return {row.host for row in tx.all(_DHCP_HOSTS, {"network": network_id})}


_DHCP_HOSTS = (
    sa.select(t.agents.c.host)
    .join(t.network_dhcp_agents, t.network_dhcp_agents.c.agent_id == t.agents.c.id)
    .where(t.network_dhcp_agents.c.network_id == sa.bindparam("network"))
)


def router_hosts(tx: Tx, router_id: str) -> set[str]:
    """Return the hosts whose L3 agent serves a router."""
    links = t.router_l3_agents
    statement = (
        sa.select(t.agents.c.host)
        .join(links, links.c.agent_id == t.agents.c.id)
        .where(links.c.router_id == router_id)
    )
    return {row.host for row in tx.all(statement)}


def remotes_of(tx: Tx, groups: Iterable[str]) -> set[str]:
    """Return the groups that rules of these groups name as their remote."""
    return {row.remote_group_id for row in tx.all(_REMOTES, {"groups": list(groups)})}


_REMOTES = (
    sa.select(t.security_group_rules.c.remote_group_id)
    .where(
        t.security_group_rules.c.security_group_id.in_(sa.bindparam("groups", expanding=True)),
        t.security_group_rules.c.remote_group_id.is_not(None),
    )
    .distinct()
)


def _wearers(groups: Iterable[str]) -> sa.Select[tuple[str, str]]:
    worn = t.port_security_groups
    return (
        sa.select(t.port_bindings.c.host, worn.c.security_group_id)
        .join(worn, worn.c.port_id == t.port_bindings.c.port_id)
        .where(
            worn.c.security_group_id.in_(list(groups)),
            t.port_bindings.c.status == BOUND,
            t.port_bindings.c.host != "",
        )
        .distinct()
    )


def member_users(tx: Tx, groups: Iterable[str]) -> set[tuple[str, str]]:
    """Return (host, group) where a port of the host wears a rule whose remote is the group."""
    found = tx.all(_MEMBER_USERS, {"groups": list(groups)})
    return {(row.host, row.remote_group_id) for row in found}


_MEMBER_USERS = (
    sa.select(t.port_bindings.c.host, t.security_group_rules.c.remote_group_id)
    .join(t.port_security_groups, t.port_security_groups.c.port_id == t.port_bindings.c.port_id)
    .join(
        t.security_group_rules,
        t.security_group_rules.c.security_group_id == t.port_security_groups.c.security_group_id,
    )
    .where(
        t.security_group_rules.c.remote_group_id.in_(sa.bindparam("groups", expanding=True)),
        t.port_bindings.c.status == BOUND,
        t.port_bindings.c.host != "",
    )
    .distinct()
)


# --- what changed -------------------------------------------------------------------------------


def port_items(
    tx: Tx,
    port_id: str,
    network_id: str,
    hosts: Iterable[str],
    groups: Iterable[str],
    *,
    router_id: str | None = None,
    members: bool = True,
) -> set[Item]:
    """Return what changes when a port is made, bound, changed or deleted.

    hosts: where it is and was. groups: what it wears and wore. members: addresses changed too.
    """
    groups, hosts = set(groups), set(hosts) - {""}
    items: set[Item] = set()
    remotes = remotes_of(tx, groups) if groups and hosts else set()
    for host in hosts:
        items.add(Item(L2, host, "ports", port_id))
        items.add(Item(L2, host, "networks", network_id))
        items.add(Item(L2, host, "tunnels", network_id))
        items |= {Item(L2, host, "security_groups", group) for group in groups}
        items |= {Item(L2, host, "members", group) for group in remotes}
    if members:
        items |= {
            Item(L2, host, "tunnels", network_id) for host in hosts_of_network(tx, network_id)
        }
        if groups:
            items |= {Item(L2, host, "members", group) for host, group in member_users(tx, groups)}
        items |= dhcp_items(tx, network_id)
    if router_id:
        items |= router_items(tx, router_id)
    return items


def dhcp_items(tx: Tx, network_id: str) -> set[Item]:
    """Return what changes for DHCP when a network, subnet or port changes."""
    return {Item(DHCP, host, "networks", network_id) for host in dhcp_hosts(tx, network_id)}


def router_items(tx: Tx, router_id: str) -> set[Item]:
    """Return what changes when a router, its ports or floating IPs change."""
    return {Item(L3, host, "routers", router_id) for host in router_hosts(tx, router_id)}


def network_items(tx: Tx, network_id: str) -> set[Item]:
    """Return what changes when a network's own attributes change."""
    items = {Item(L2, host, "networks", network_id) for host in hosts_of_network(tx, network_id)}
    return items | dhcp_items(tx, network_id) | network_router_items(tx, network_id)


def network_router_items(tx: Tx, network_id: str) -> set[Item]:
    """Return the routers that look at a network, for a change of it or its subnets."""
    found = tx.all(_ROUTERS, {"network": network_id})
    return set().union(*(router_items(tx, row.device_id) for row in found))


_ROUTERS = (
    sa.select(t.ports.c.device_id)
    .where(
        t.ports.c.network_id == sa.bindparam("network"),
        t.ports.c.device_owner.like("network:router%"),
    )
    .distinct()
)


def group_items(tx: Tx, group_id: str) -> set[Item]:
    """Return what changes when the rules of a group change."""
    hosts = {row.host for row in tx.all(_wearers([group_id]))}
    remotes = remotes_of(tx, [group_id])
    items = {Item(L2, host, "security_groups", group_id) for host in hosts}
    return items | {Item(L2, host, "members", group) for host in hosts for group in remotes}
