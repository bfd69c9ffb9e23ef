"""What Nova's sagas and reconcilers are handed: databases, other services, the way to hosts.

Must not: hold the state of a saga.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gureum.core.db.engine import Database
from gureum.core.db.types import utc_now
from gureum.nova.agent.contract import ComputeAgent, ImageAccess
from gureum.nova.conductor.plugs import Plugs
from gureum.nova.config import NovaOptions
from gureum.nova.placement import Placement
from gureum.nova.ports import ServerPorts
from gureum.nova.scheduler.contract import Scheduler
from gureum.nova.store import hosts, mappings
from gureum.nova.store.tables import CELL0, CELL1


@dataclass(frozen=True, slots=True)
class SagaDeps:
    """The object of one cell's saga engine.

    cell: the cell whose database holds the sagas. compute: (host, timeout_s) -> the host's agent.
    image_access: where agents read images, None when there is no image service. started_at: when this
    conductor started; hosts get as long again to report before they count as down.
    """

    cell: str
    api: Database
    cells: Mapping[str, Database]
    placement: Placement
    ports: ServerPorts
    scheduler: Scheduler
    compute: Callable[[str, float], ComputeAgent]
    image_access: Callable[[], ImageAccess | None] = lambda: None
    nova: NovaOptions = field(default_factory=NovaOptions)
    plugs: Plugs = field(default_factory=Plugs)
    started_at: datetime = field(default_factory=utc_now)

    @property
    def own(self) -> Database:
        """The database whose transactions the sagas' marks are in."""
        return self.cells[self.cell]

    @property
    def cell0(self) -> Database:
        """Where servers are that found no host."""
        return self.cells[CELL0]

    @property
    def cell1(self) -> Database:
        """Where servers are made."""
        return self.cells[CELL1]

    def cell_of(self, server_id: str) -> str:
        """Return the cell that holds a server's row; the own one when nobody knows."""
        with self.api.read() as tx:
            mapping = mappings.get(tx, server_id)
        return self.cell if mapping is None or mapping.cell not in self.cells else mapping.cell

    def host_is_down(self, host: str) -> bool:
        """Whether a compute host has not reported lately, or was declared down."""
        with self.cell1.read() as tx:
            found = hosts.list_services(tx, hosts=[host], binary=hosts.COMPUTE)
        if not found:
            return True
        service = found[0]
        heard = max(service.last_seen_at or self.started_at, self.started_at)
        oldest = utc_now() - timedelta(seconds=self.nova.service_down_time)
        return bool(service.forced_down or heard < oldest)
