"""Rows of agents: reports, liveness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Stale, Tx
from gureum.core.db.types import utc_now
from gureum.core.machine import taken
from gureum.neutron.agents.contract import AgentReport
from gureum.neutron.errors_l3 import AgentNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import Noun, View, Where, flag, moment
from gureum.neutron.store.rows import new_id


def views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
    """Return agents with what they serve: three queries for any number."""
    ids = [row.id for row in rows]
    load: dict[str, int] = {}
    for links in (t.network_dhcp_agents, t.router_l3_agents):
        if ids:
            statement = (
                sa.select(links.c.agent_id, sa.func.count().label("amount"))
                .where(links.c.agent_id.in_(ids))
                .group_by(links.c.agent_id)
            )
            load.update({row.agent_id: row.amount for row in tx.all(statement)})
    after = _alive_after(tx)
    return [
        {
            **row._mapping,
            "alive": row.heartbeat_at > after,
            "heartbeat_timestamp": row.heartbeat_at,
            "resources_synced": None,
            "load": load.get(row.id, 0),
        }
        for row in rows
    ]


def _alive_after(tx: Tx) -> datetime:
    return utc_now() - timedelta(seconds=tx.deps.options.agent_down_time)


def _alive(ctx: Context, values: list[str]) -> Where:
    # the configured time is not known here; views() say the exact truth for each row
    after = utc_now() - timedelta(seconds=75)
    c = t.agents.c.heartbeat_at
    return sa.or_(sa.false(), *(c > after if flag(v) else c <= after for v in values))


def _kind(ctx: Context, values: list[str]) -> Where:
    return sa.func.lower(t.agents.c.agent_type).in_([value.lower() for value in values])


AGENT = Noun(
    t.agents,
    "agent",
    "agents",
    AgentNotFound,
    lambda ctx: sa.false(),
    views,
    special={"alive": _alive, "agent_type": _kind},
    wire={"heartbeat_timestamp": "heartbeat_at"},
    has_tags=False,
)


_OF_HOST = sa.select(t.agents).where(
    t.agents.c.agent_type == sa.bindparam("kind"), t.agents.c.host == sa.bindparam("place")
)


def take_report(tx: Tx, report: AgentReport) -> tuple[sa.Row[Any], bool]:
    """Write a heartbeat; returns the agent, and whether it is new or was dead until now.

    Raises: HostNameTaken.
    """
    now = utc_now()
    values: dict[str, Any] = {
        "binary": report.binary,
        "topic": report.topic,
        "availability_zone": report.availability_zone,
        "started_at": moment(report.started_at),
        "heartbeat_at": now,
        "configurations": {**report.configurations, "problems": list(report.problems)}
        if report.problems
        else report.configurations,
        "revision": report.revision,
    }
    row = tx.one(_OF_HOST, {"kind": report.agent_type, "place": report.host})
    if row is None:
        try:
            tx.insert(
                t.agents,
                id=new_id(),
                agent_type=report.agent_type,
                host=report.host,
                description="",
                admin_state_up=True,
                created_at=now,
                machine_id=report.machine_id,
                **values,
            )
        except Conflict as error:
            raise Stale("the agent was registered by another request") from error
        came = True
    else:
        _claim(tx, row, report.machine_id)
        came = row.heartbeat_at <= _alive_after(tx) or row.started_at != values["started_at"]
        came = came or _reach(row.configurations) != _reach(report.configurations)
        if row.configurations == values["configurations"]:
            del values["configurations"]
        tx.update_by(t.agents.c.id, row.id, **values)
        if not came:
            return row, False
    found = tx.one(_OF_HOST, {"kind": report.agent_type, "place": report.host})
    assert found is not None
    return found, came


def still_there(tx: Tx, beats: Mapping[str, AgentReport]) -> dict[str, bool]:
    """Write heartbeats that say nothing new, by id; returns whether each agent that is known is switched on.

    An agent that is unknown, or whose name another machine has now, is left out.
    """
    c = t.agents.c
    rows = tx.all(
        sa.select(c.id, c.admin_state_up, c.machine_id).where(c.id.in_(list(beats)))
    )
    up = {
        row.id: row.admin_state_up
        for row in rows
        if row.machine_id in ("", beats[row.id].machine_id)
    }
    at_revision: dict[int, list[str]] = {}
    for agent_id in up:
        at_revision.setdefault(beats[agent_id].revision, []).append(agent_id)
    now = utc_now()
    for revision, ids in at_revision.items():
        tx.update(t.agents, c.id.in_(ids), heartbeat_at=now, revision=revision)
    return up


def _claim(tx: Tx, row: sa.Row[Any], machine_id: str) -> None:
    """Keep a host name for the machine that reported first. Raises: HostNameTaken, Stale."""
    if not machine_id or row.machine_id == machine_id:
        return
    if row.machine_id:
        raise taken(row.host, row.machine_id, row.heartbeat_at)
    free = sa.and_(t.agents.c.id == row.id, t.agents.c.machine_id == "")
    if not tx.update(t.agents, free, machine_id=machine_id):
        raise Stale(f"{row.host} was claimed by another request")


def _reach(configurations: Any) -> Any:
    """What decides which ports can be bound on the agent's host."""
    names = ("bridge_mappings", "interface_mappings", "tunnel_types", "tunneling_ip")
    return [configurations.get(name) for name in names]
