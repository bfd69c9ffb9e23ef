"""The component nova-conductor: saga engines, ComputeState, reconcilers.

Owns: their order of start and stop. Must not: decide anything about servers.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import sqlalchemy as sa

from gureum.core import log
from gureum.core.bus.base import Bus, Service
from gureum.core.db.types import utc_now
from gureum.core.http.client import RemoteError, RemoteUnavailable
from gureum.core.metrics import Sample
from gureum.core.reconcile import Leases, Reconcilers
from gureum.core.run import Component, Health, Runtime
from gureum.core.saga import Engine, SagaStore
from gureum.core.saga.run import SagaEvent
from gureum.keystone.client import Session
from gureum.nova import notices, sagas
from gureum.nova.agent.contract import ComputeAgent, ComputeState, ImageAccess
from gureum.nova.conductor.compute_state import ComputeStateWorker
from gureum.nova.conductor.config import ConductorOptions
from gureum.nova.conductor.contract import ConductorHints
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.conductor.plugs import Plugs
from gureum.nova.config import NovaOptions
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.ports_rest import RestServerPorts
from gureum.nova.reconcilers.allocations import Allocations
from gureum.nova.reconcilers.housekeeping import PruneSagas, SignOfLife
from gureum.nova.reconcilers.mappings import Mappings
from gureum.nova.reconcilers.ports import KnownPorts
from gureum.nova.reconcilers.stray_ports import StrayPorts
from gureum.nova.sagas.host_jobs import TryAgain
from gureum.nova.scheduler.contract import Scheduler
from gureum.nova.session import service_session
from gureum.nova.store.tables import API, CELL, CELL0, CELL1, DATABASE_OF_CELL, services
from gureum.placement.client import PlacementClient

LOG = log.get(__name__)

BINARY = "nova-conductor"


def image_access(session: Session) -> Callable[[], ImageAccess]:
    """Return what agents read images with: the image endpoint and the service's token."""

    def access() -> ImageAccess:
        try:
            return ImageAccess(session.endpoint("image"), session.token())
        except (RemoteUnavailable, RemoteError) as error:
            raise TryAgain("image_unavailable", str(error)) from error

    return access


class Hints(ConductorHints):
    """Takes hints to the engines, the steps that wait for ports, and the ports' reconciler."""

    def __init__(self, engines: list[Engine], plugs: Plugs, ports: KnownPorts) -> None:
        self._engines = engines
        self._plugs = plugs
        self._ports = ports

    def wake(self) -> None:
        """Wake the engines."""
        for engine in self._engines:
            engine.wake()

    def refresh_ports(self, server_ids: list[str]) -> None:
        """Read the ports of servers again; first by the verbs that wait for that."""
        self._plugs.told(server_ids)
        self._ports.refresh(server_ids)


def waker(bus: Bus) -> Callable[[], None]:
    """Return what a submitter of sagas calls after its commit."""
    return bus.client(ConductorHints).wake


class NovaConductor(Component):
    """Runs the sagas; stands between compute hosts and the databases."""

    name = BINARY

    def __init__(self) -> None:
        self._engines: list[Engine] = []
        self._services: list[Service] = []
        self._loops: Reconcilers | None = None

    def start(self, runtime: Runtime) -> None:
        """Serve compute hosts, then run sagas and loops."""
        options = runtime.config.get(ConductorOptions)
        deps = self._deps(runtime)
        store = SagaStore(CELL)
        store.wake = self._wake
        self._engines = []
        for cell in (CELL1, CELL0):
            own = SagaStore(CELL)  # what ends in one cell does not wake the other's engine
            engine = Engine(
                deps.cells[cell], own, sagas.ALL, deps=replace(deps, cell=cell),
                name=f"{BINARY}/{runtime.instance}", workers=options.workers,
                observers=self._observers(runtime, deps, own, cell),
            )  # fmt: skip
            own.wake = engine.wake
            self._engines.append(engine)
        ports = KnownPorts(deps, store, options.reconcile_interval)
        state = ComputeStateWorker(
            deps.api, deps.cell1, [deps.cell0], store, deps.placement, options
        )
        self._services = [
            runtime.bus.serve(ComputeState, state, runtime.host, workers=4),
            runtime.bus.serve(
                ConductorHints, Hints(self._engines, deps.plugs, ports), runtime.host, workers=2
            ),
        ]
        self._loops = Reconcilers(
            [
                SignOfLife(deps.cell1, runtime.host, BINARY),
                Allocations(deps, store, options.reconcile_interval),
                Mappings(deps, options.reconcile_interval),
                StrayPorts(deps, store, options.reconcile_interval),
                ports,
                PruneSagas(deps.cells, store),
            ],
            Leases(deps.api, API),
        )
        for engine in self._engines:
            engine.start()
        self._loops.start()
        self._count_sagas(runtime, deps, store)
        self._time_heartbeats(runtime, deps)

    def _wake(self) -> None:
        for engine in self._engines:
            engine.wake()

    @staticmethod
    def _observers(
        runtime: Runtime, deps: SagaDeps, store: SagaStore, cell: str
    ) -> list[Callable[[SagaEvent], None]]:
        if runtime.events is None:
            return []
        database, cells = deps.cells[cell], deps.cells.values()
        return [notices.server_verbs(database, cells, store, sagas.ALL, runtime.events)]

    @staticmethod
    def _deps(runtime: Runtime) -> SagaDeps:
        session = service_session(runtime)

        def compute(host: str, timeout_s: float) -> ComputeAgent:
            return runtime.bus.client(ComputeAgent, host, timeout_s=timeout_s)

        return SagaDeps(
            cell=CELL1,
            api=runtime.database("nova_api"),
            cells={cell: runtime.database(name) for cell, name in DATABASE_OF_CELL.items()},
            placement=ClientPlacement(PlacementClient(session)),
            ports=RestServerPorts(session),
            scheduler=runtime.bus.client(Scheduler),
            compute=compute,
            image_access=image_access(session),
            nova=runtime.config.get(NovaOptions),
        )

    @staticmethod
    def _count_sagas(runtime: Runtime, deps: SagaDeps, store: SagaStore) -> None:
        def read() -> Iterator[Sample]:
            for cell, database in deps.cells.items():
                with database.read() as tx:
                    counts = store.counts(tx)
                for (name, state), count in counts.items():
                    yield (cell, name, state), float(count)

        runtime.metrics.gauge_from(
            "gureum_nova_sagas", "Sagas in the log, by state.", ("cell", "saga", "state"), read
        )

    @staticmethod
    def _time_heartbeats(runtime: Runtime, deps: SagaDeps) -> None:
        def read() -> Iterator[Sample]:
            now = utc_now()
            c = services.c
            with deps.cell1.read() as tx:
                rows = tx.all(sa.select(c.binary, c.host, c.last_seen_at))
            for row in rows:
                if row.last_seen_at is not None:
                    age_s = (now - row.last_seen_at).total_seconds()
                    yield (row.binary, row.host), age_s

        runtime.metrics.gauge_from(
            "gureum_nova_heartbeat_age_seconds",
            "Time since a service of Nova was last heard of.",
            ("binary", "host"),
            read,
        )

    def stop(self) -> None:
        """Stop at the next step borders; whoever starts next goes on from there."""
        if self._loops is not None:
            self._loops.stop()
        for engine in self._engines:
            engine.stop()
        for service in self._services:
            service.close(wait=False)

    def health(self) -> Health:
        """Well when it was started."""
        return Health(bool(self._engines), "" if self._engines else "not started")
