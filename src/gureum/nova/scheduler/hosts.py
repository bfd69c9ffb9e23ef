"""Hosts as the scheduler sees them at one moment.

Owns: `HostState`, and `KnownHosts`, which keeps them in memory. A decision reads, beside two revisions, only
the hosts that changed since the last one and the servers that are being built; heartbeats are read again when
what is known of them is older than `ALIVE_S`. Must not: decide anything.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from gureum.core.db.engine import Database, Tx
from gureum.core.db.types import utc_now
from gureum.nova.agent.contract import Capabilities, Inventory
from gureum.nova.placement import Usage
from gureum.nova.store import revisions, scheduling
from gureum.nova.store.scheduling import AggregateFacts
from gureum.nova.store.tables import api_revisions, cell_revisions

ZONE_KEY = "availability_zone"
ALIVE_S = 1.0
"""How old the last look at all heartbeats may be. A host that is gone is noticed after minutes anyway."""

Room = Usage
"""How much of one resource class a host has (with its allocation ratio) and how much is taken."""


class HostState(msgspec.Struct, frozen=True, eq=False):
    """One compute node. `room` is placement's view, empty when placement does not offer the host.

    near: which of the servers that hints or the group name are here. servers: counted only when a filter
    or an extra spec asks for it.
    """

    host: str
    node: str
    provider_id: str
    up: bool = True
    disabled: bool = False
    disabled_reason: str | None = None
    zone: str = "nova"
    aggregates: tuple[AggregateFacts, ...] = ()
    inventory: Inventory | None = None
    capabilities: Capabilities | None = None
    servers: int = 0
    building: int = 0
    near: frozenset[str] = frozenset()
    room: Mapping[str, Room] = {}
    forced_down: bool = False


@dataclass(slots=True)
class _Cell:
    """What is known of one cell: its hosts by node id, as of a revision; heartbeats by host."""

    database: Database
    revision: int = 0
    hosts: dict[str, HostState] = field(default_factory=dict)
    heard: dict[str, datetime | None] = field(default_factory=dict)
    heard_at: float = float("-inf")
    alive: list[HostState] | None = None
    """The hosts with `up` as of `heard_at`; None when a host is otherwise."""


class KnownHosts:
    """The compute hosts of some cells. Thread-safe."""

    def __init__(
        self,
        api: Database,
        cells: Iterable[Database],
        *,
        service_down_time_s: float,
        default_zone: str,
    ) -> None:
        self._api = api
        self._cells = [_Cell(database) for database in cells]
        self._down_time = timedelta(seconds=service_down_time_s)
        self._default_zone = default_zone
        self._aggregates: dict[str, tuple[AggregateFacts, ...]] = {}
        self._aggregates_at = 0
        self._lock = threading.Lock()

    def now(
        self, *, interesting: Iterable[str] = (), counted: bool = False, fresh: bool = False
    ) -> list[HostState]:
        """Return every compute node.

        interesting: servers of which it matters where they are. counted: with the number of servers, which
        costs a look at each. fresh: with the heartbeats as they are now.
        """
        wanted = list(interesting)
        with self._lock:
            found: list[HostState] = []
            with self._api.read() as tx:
                self._read_aggregates(tx)
            for cell in self._cells:
                with cell.database.read() as tx:
                    self._read_cell(tx, cell, fresh=fresh)
                    extras = self._extras(tx, wanted, counted=counted)
                states = self._alive(cell)
                found += _with(states, extras) if extras else states
            return found

    # -- what is kept -----------------------------------------------------------------------------

    def _read_aggregates(self, tx: Tx) -> None:
        newest, _ = revisions.current(tx, api_revisions)
        if newest <= self._aggregates_at:
            return
        read = scheduling.aggregates_by_host(tx)
        self._aggregates = {host: tuple(facts) for host, facts in read.items()}
        self._aggregates_at = newest
        for cell in self._cells:
            cell.alive = None
            cell.hosts = {
                node: replace(state, **self._place(state.host)) for node, state in cell.hosts.items()
            }

    def _place(self, host: str) -> dict[str, Any]:
        mine = self._aggregates.get(host, ())
        zones = [facts.metadata[ZONE_KEY] for facts in mine if ZONE_KEY in facts.metadata]
        return {"aggregates": mine, "zone": zones[0] if zones else self._default_zone}

    def _read_cell(self, tx: Tx, cell: _Cell, *, fresh: bool) -> None:
        newest, floor = revisions.current(tx, cell_revisions)
        if cell.revision < floor:
            cell.hosts, cell.revision, cell.alive = {}, 0, None
        if newest > cell.revision:
            for row in scheduling.hosts(tx, since=cell.revision):
                cell.hosts[row.id] = self._state(row)
                cell.heard[row.host] = row.last_seen_at
            cell.revision, cell.alive = newest, None
        if fresh or time.monotonic() - cell.heard_at > ALIVE_S:
            cell.heard = scheduling.signs_of_life(tx)
            cell.heard_at, cell.alive = time.monotonic(), None

    def _state(self, row: Any) -> HostState:
        return HostState(
            host=row.host,
            node=row.hypervisor_hostname,
            provider_id=row.id,
            disabled=row.disabled,
            disabled_reason=row.disabled_reason,
            forced_down=row.forced_down,
            inventory=msgspec.convert(row.inventory, Inventory),
            capabilities=msgspec.convert(row.capabilities, Capabilities),
            **self._place(row.host),
        )

    def _alive(self, cell: _Cell) -> list[HostState]:
        if cell.alive is not None:
            return cell.alive
        oldest = utc_now() - self._down_time
        for node, state in cell.hosts.items():
            heard = cell.heard.get(state.host)
            up = heard is not None and heard > oldest and not state.forced_down
            if up != state.up:
                cell.hosts[node] = replace(state, up=up)
        cell.alive = list(cell.hosts.values())
        return cell.alive

    # -- what is of the moment --------------------------------------------------------------------

    @staticmethod
    def _extras(tx: Tx, wanted: Sequence[str], *, counted: bool) -> dict[str, dict[str, Any]]:
        """Return what differs from what is kept, by host."""
        extras: dict[str, dict[str, Any]] = {}
        for host, building in scheduling.building_by_host(tx).items():
            extras.setdefault(host, {})["building"] = building
        near: dict[str, set[str]] = {}
        for server_id, host in scheduling.hosts_of_servers(tx, wanted).items():
            near.setdefault(host, set()).add(server_id)
        for host, servers in near.items():
            extras.setdefault(host, {})["near"] = frozenset(servers)
        if counted:
            for host, number in scheduling.servers_by_host(tx).items():
                extras.setdefault(host, {})["servers"] = number
        return extras


def _with(
    states: Sequence[HostState], extras: Mapping[str, Mapping[str, Any]]
) -> list[HostState]:
    return [
        replace(state, **extras[state.host]) if state.host in extras else state for state in states
    ]
