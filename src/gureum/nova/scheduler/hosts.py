"""Hosts as the scheduler sees them at one moment.

Owns: `HostState`, and loading it from the databases. Must not: decide anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from gureum.core.db.engine import Database
from gureum.core.db.types import utc_now
from gureum.nova.agent.contract import Capabilities, Inventory
from gureum.nova.store import scheduling
from gureum.nova.store.scheduling import AggregateFacts

ZONE_KEY = "availability_zone"


@dataclass(frozen=True, slots=True)
class Room:
    """How much of one resource class a host has (with its allocation ratio) and how much is taken."""

    capacity: int
    used: int

    @property
    def free(self) -> int:
        """What is left."""
        return self.capacity - self.used


@dataclass(frozen=True, slots=True, eq=False)
class HostState:
    """One compute node. `room` is placement's view, empty when placement does not offer the host.

    near: which of the servers that hints or the group name are here.
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
    room: Mapping[str, Room] = field(default_factory=dict)


def load_hosts(
    api: Database,
    cells: Iterable[Database],
    *,
    interesting: Iterable[str],
    service_down_time_s: float,
    default_zone: str,
) -> list[HostState]:
    """Read every compute node. `interesting`: servers of which it matters where they are."""
    wanted = list(interesting)
    with api.read() as tx:
        aggregates = scheduling.aggregates_by_host(tx)
    found: list[HostState] = []
    oldest = utc_now() - timedelta(seconds=service_down_time_s)
    for cell in cells:
        with cell.read() as tx:
            rows = scheduling.hosts(tx)
            counts = scheduling.servers_by_host(tx)
            places = scheduling.hosts_of_servers(tx, wanted)
        for row in rows:
            mine = tuple(aggregates.get(row.host, ()))
            zones = [facts.metadata[ZONE_KEY] for facts in mine if ZONE_KEY in facts.metadata]
            on_host, building = counts.get(row.host, (0, 0))
            found.append(
                HostState(
                    host=row.host,
                    node=row.hypervisor_hostname,
                    provider_id=row.id,
                    up=not row.forced_down
                    and row.last_seen_at is not None
                    and row.last_seen_at > oldest,
                    disabled=row.disabled,
                    disabled_reason=row.disabled_reason,
                    zone=zones[0] if zones else default_zone,
                    aggregates=mine,
                    inventory=msgspec.convert(row.inventory, Inventory),
                    capabilities=msgspec.convert(row.capabilities, Capabilities),
                    servers=on_host,
                    building=building,
                    near=frozenset(name for name, host in places.items() if host == row.host),
                )
            )
    return found
