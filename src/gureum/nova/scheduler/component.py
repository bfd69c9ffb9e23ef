"""The component nova-scheduler.

Owns: its start and stop. Must not: choose; `choose.py` does.
"""

from gureum.core.bus.base import Service
from gureum.core.reconcile import Reconcilers
from gureum.core.run import Component, Health, Runtime
from gureum.nova.config import NovaOptions
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.reconcilers.housekeeping import SignOfLife
from gureum.nova.scheduler.choose import HostChooser
from gureum.nova.scheduler.config import FilterSchedulerOptions, SchedulerOptions
from gureum.nova.scheduler.contract import Scheduler
from gureum.nova.session import service_session
from gureum.nova.store.tables import CELL1, DATABASE_OF_CELL
from gureum.placement.client import PlacementClient

BINARY = "nova-scheduler"


class NovaScheduler(Component):
    """Chooses hosts."""

    name = BINARY

    def __init__(self) -> None:
        self._service: Service | None = None
        self._loops: Reconcilers | None = None

    def start(self, runtime: Runtime) -> None:
        """Serve the scheduler's contract."""
        cell = runtime.database(DATABASE_OF_CELL[CELL1])
        options = runtime.config.get(SchedulerOptions)
        chooser = HostChooser(
            runtime.database("nova_api"),
            [cell],
            ClientPlacement(PlacementClient(service_session(runtime))),
            runtime.config.get(FilterSchedulerOptions),
            options,
            runtime.config.get(NovaOptions),
        )
        self._service = runtime.bus.serve(
            Scheduler, chooser, runtime.host, workers=options.workers
        )
        self._loops = Reconcilers([SignOfLife(cell, runtime.host, BINARY)], None)
        self._loops.start()

    def stop(self) -> None:
        """Stop."""
        if self._loops is not None:
            self._loops.stop()
        if self._service is not None:
            self._service.close(wait=False)

    def health(self) -> Health:
        """Well when it was started."""
        return Health(self._service is not None, "" if self._service else "not started")
