"""The component nova-compute: builds the driver, the worker and the loops, and serves the contract.

Owns: their order of start and stop. Must not: decide anything about guests.
"""

import time
from pathlib import Path

from gureum.core import log
from gureum.core.bus.base import Service
from gureum.core.bus.journal import Journal
from gureum.core.faults import FaultPoint, SimulatedOptions
from gureum.core.machine import HostNameTaken, machine_id
from gureum.core.run import Component, Health, Runtime
from gureum.core.runner import Runner
from gureum.nova.agent.config import ComputeOptions, LibvirtOptions
from gureum.nova.agent.contract import ComputeAgent, ComputeState, HypervisorFailed
from gureum.nova.agent.image_source import ImageApis
from gureum.nova.agent.loops import ComputeLoops
from gureum.nova.agent.worker import ComputeWorker
from gureum.nova.drivers.base import ComputeDriver
from gureum.nova.drivers.fake import FakeDriver, FakeHost

LOG = log.get(__name__)

STATE_TIMEOUT_S = 15.0
SILENT_REPORTS = 6
"""Heartbeats that may be missing before the component calls itself ill."""


class NovaCompute(Component):
    """A compute host."""

    name = "nova-compute"

    def __init__(self) -> None:
        self._driver: ComputeDriver | None = None
        self._journal: Journal | None = None
        self._service: Service | None = None
        self._loops: ComputeLoops | None = None
        self._started = time.monotonic()
        self._patience_s = 0.0

    def start(self, runtime: Runtime) -> None:
        """Begin the loops, and serve ComputeAgent for this host once the conductor knows it."""
        options = runtime.config.get(ComputeOptions)
        state_path = Path(options.state_path)
        state_path.mkdir(parents=True, exist_ok=True)
        self._driver = make_driver(
            options,
            runtime.config.get(LibvirtOptions),
            runtime.host,
            Runner(),
            fault_point(runtime),
        )
        self._journal = Journal(state_path / "compute-journal.sqlite")
        images = ImageApis(options.image_timeout_s, runtime.client)
        worker = ComputeWorker(options, runtime.host, self._driver, self._journal, images.open)

        def serve(member: bool) -> None:
            """Take orders as long as the host name is ours: they would be another machine's."""
            if self._service is not None:
                self._service.close(wait=False)
                self._service = None
            if member:
                self._service = runtime.bus.serve(
                    ComputeAgent, worker, runtime.host, workers=options.job_workers
                )

        state = runtime.bus.client(ComputeState, timeout_s=STATE_TIMEOUT_S)
        self._loops = ComputeLoops(
            options,
            worker,
            state,
            machine_id=machine_id(runtime.cloud.state_dir),
            on_member=serve,
        )
        self._patience_s = SILENT_REPORTS * (options.report_interval + STATE_TIMEOUT_S)
        self._started = time.monotonic()
        self._loops.start()

    def stop(self) -> None:
        """Stop; guests keep running."""
        if self._loops is not None:
            self._loops.stop()
        if self._service is not None:
            self._service.close(wait=False)
        if self._driver is not None:
            self._driver.close()
        # The journal stays open for the jobs that are still running; it is whole at any moment.

    def health(self) -> Health:
        """Ill when heartbeats stopped to arrive, or are refused."""
        if self._loops is None:
            return Health(False, "not started")
        if self._loops.trouble.startswith(HostNameTaken.code):
            return Health(False, self._loops.trouble)
        last = self._loops.last_report_at or self._started
        if time.monotonic() - last > self._patience_s:
            return Health(False, f"no heartbeat arrived: {self._loops.trouble or 'no answer'}")
        return Health(True, self._loops.trouble)


def fault_point(runtime: Runtime) -> FaultPoint:
    """Return where the fake driver learns what goes wrong."""
    options = runtime.config.get(SimulatedOptions)
    return FaultPoint(NovaCompute.name, runtime.host, options, HypervisorFailed, runtime.stopping)


def make_driver(
    options: ComputeOptions,
    libvirt_options: LibvirtOptions,
    host: str,
    runner: Runner,
    point: FaultPoint | None = None,
) -> ComputeDriver:
    """Return the configured driver; `point` is the fake one's."""
    if options.compute_driver == "fake":
        fake = FakeHost(name=host, address=options.my_ip, spawn_s=options.fake_spawn_s)
        return FakeDriver(fake, Path(options.state_path) / "fake-guests.json", point)
    from gureum.nova.drivers.libvirt.driver import LibvirtDriver

    return LibvirtDriver(options, libvirt_options, host, runner)
