"""Nova's control plane in one process: real databases, bus, scheduler, worker; fake driver,
placement, ports.
"""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from databases import fresh

from gureum.core.bus import Journal, open_bus
from gureum.core.context import Context
from gureum.core.db.types import utc_now
from gureum.core.saga import Engine, SagaStore
from gureum.core.saga.testing import HandClock
from gureum.nova import sagas
from gureum.nova.agent.config import ComputeOptions
from gureum.nova.agent.contract import ComputeAgent, HostReport
from gureum.nova.agent.worker import ComputeWorker
from gureum.nova.conductor.compute_state import ComputeStateWorker
from gureum.nova.conductor.config import ConductorOptions
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.conductor.testing import MemoryPlacement, MemoryPorts
from gureum.nova.config import NovaOptions
from gureum.nova.drivers.fake import FakeDriver, FakeHost
from gureum.nova.logic import saga_params
from gureum.nova.model import BuildRequest, RequestedNic
from gureum.nova.scheduler.choose import HostChooser
from gureum.nova.scheduler.config import FilterSchedulerOptions, SchedulerOptions
from gureum.nova.scheduler.contract import Scheduler
from gureum.nova.store import mappings, server_nics
from gureum.nova.store import servers as store
from gureum.nova.store.tables import API, CELL, CELL0, CELL1, server_faults

CTX = Context(request_id="req-1", user_id="u" * 32, project_id="p" * 32, project_name="demo",
              user_name="alice", roles=("member",))
NETWORK = "0a000000-0000-4000-8000-000000000001"
OPTIONS = ComputeOptions(
    compute_driver="fake", state_path="", instances_path="", my_ip="127.0.0.1",
)


class NovaWorld:
    def __init__(self, directory, hosts=("h1",), *, options=None, placement=None, ports=None,
                 bus=None, agent_bus=None):
        self.directory = directory
        self.clock = HandClock()
        self.api = self._database("nova_api", API)
        self.cells = {CELL0: self._database("nova_cell0", CELL),
                      CELL1: self._database("nova_cell1", CELL)}
        self.placement = placement or MemoryPlacement()
        self.ports = ports or MemoryPorts()
        self.bus = bus or open_bus("local://")
        self.agent_bus = agent_bus or self.bus
        self.store = SagaStore(CELL, clock=self.clock)
        self.conductor = ComputeStateWorker(
            self.api, self.cells[CELL1], [self.cells[CELL0]], self.store, self.placement,
            ConductorOptions(),
        )
        self.drivers, self.workers, self.services = {}, {}, []
        chooser = HostChooser(self.api, [self.cells[CELL1]], self.placement,
                              options or FilterSchedulerOptions(), SchedulerOptions(),
                              NovaOptions())
        self.services.append(self.bus.serve(Scheduler, chooser))
        for host in hosts:
            self.add_host(host)
        self.deps = SagaDeps(
            cell=CELL1, api=self.api, cells=self.cells, placement=self.placement,
            ports=self.ports, scheduler=self.bus.client(Scheduler),
            # nobody plugs ports of a real Neutron here
            nova=NovaOptions(vif_plugging_timeout=0 if ports is not None else 300),
            compute=lambda host, timeout_s: self.bus.client(
                ComputeAgent, host, timeout_s=min(timeout_s, 20.0)
            ),
        )

    def _database(self, name, metadata):
        database = fresh(name, f"sqlite:///{self.directory / name}.sqlite")
        metadata.create_all(database.engine)
        return database

    def add_host(self, host, **sizes):
        kept = self.directory / f"{host}-guests.json"
        driver = FakeDriver(FakeHost(name=f"{host}.example", **sizes), kept)
        journal = Journal(self.directory / f"{host}-journal.sqlite")
        worker = ComputeWorker(OPTIONS, host, driver, journal)
        self.services.append(self.agent_bus.serve(ComputeAgent, worker, host))
        self.drivers[host], self.workers[host] = driver, worker
        self.report(host)

    def report(self, host):
        driver = self.drivers[host]
        now = datetime.now(UTC).isoformat()
        self.conductor.report(
            HostReport(host, now, now, driver.inventory(), driver.capabilities(), "boot-1")
        )

    def engine(self, cell=CELL1, name="conductor", **options):
        return Engine(self.cells[cell], self.store, sagas.ALL,
                      deps=replace(self.deps, cell=cell), name=name, **options)

    def run(self, *, rounds=60, step_s=45.0, cells=(CELL1, CELL0)):
        for _ in range(rounds):
            count = sum(self.engine(cell).run_due() for cell in cells)
            if not count:
                return
            self.clock.now += step_s

    def new_server(self, *, nics=(), vcpus=1, memory_mib=512, disk_gib=1, image=None,
                   request=None, name="web", extra_specs=None, server_id=None):
        """Write the mapping, the row and the create saga, as the API does."""
        server_id = server_id or str(uuid.uuid4())
        with self.api.write() as tx:
            mappings.insert_many(tx, [{
                "server_id": server_id, "project_id": CTX.project_id, "user_id": CTX.user_id,
                "cell": CELL1, "vcpus": vcpus, "memory_mib": memory_mib,
                "created_at": utc_now(),
            }])
        wanted = request or BuildRequest(nics=tuple(nics))
        with self.cells[CELL1].write() as tx:
            store.insert(
                tx,
                {
                    "id": server_id, "project_id": CTX.project_id, "user_id": CTX.user_id,
                    "name": name, "hostname": name, "vm_state": "building",
                    "flavor_id": "1", "flavor_name": "m1.tiny", "vcpus": vcpus,
                    "memory_mib": memory_mib, "disk_gib": disk_gib,
                    "flavor": {"extra_specs": extra_specs or {}},
                    "image": image or {}, "reservation_id": "r-1", "created_at": utc_now(),
                },
                wanted, metadata={"role": "web"}, tags=["blue"],
            )
            self.submit(tx, sagas.CREATE,
                        saga_params.ServerCreateParams(server_id, "s3cret"), "create")
        return server_id

    def submit(self, tx, saga, params, action, **options):
        saga_id = self.store.submit(tx, saga, resource_id=params.server_id, params=params,
                                    ctx=CTX, **options)
        store.add_action(tx, params.server_id, action, request_id=CTX.request_id,
                         user_id=CTX.user_id, project_id=CTX.project_id, saga_id=saga_id)
        return saga_id

    def delete_server(self, server_id, cell=CELL1):
        with self.cells[cell].write() as tx:
            return self.submit(tx, sagas.DELETE, saga_params.ServerDeleteParams(server_id),
                               "delete", supersede=True)

    def power(self, server_id, action):
        with self.cells[CELL1].write() as tx:
            return self.submit(tx, sagas.POWER,
                               saga_params.ServerPowerParams(server_id, action, 1), action)

    def active_server(self, **options):
        server_id = self.new_server(**options)
        self.run()
        assert self.row(server_id).vm_state == "active", self.story(server_id)
        return server_id

    def row(self, server_id, cell=CELL1, *, deleted=False):
        with self.cells[cell].read() as tx:
            return store.get(tx, server_id, deleted=deleted)

    def faults(self, server_id, cell=CELL1):
        with self.cells[cell].read() as tx:
            wanted = server_faults.select().where(server_faults.c.server_id == server_id)
            return tx.all(wanted)

    def nics(self, server_id):
        with self.cells[CELL1].read() as tx:
            return server_nics.of_servers(tx, [server_id]).get(server_id, [])

    def mapping(self, server_id):
        with self.api.read() as tx:
            return mappings.get(tx, server_id)

    def sagas_of(self, server_id, cell=CELL1):
        with self.cells[cell].read() as tx:
            return self.store.of_resource(tx, server_id)

    def story(self, server_id):
        return [(s.name, s.state, s.error_code, s.error_detail) for s in self.sagas_of(server_id)]

    def guests(self):
        return {state.guest_id: host for host, driver in self.drivers.items()
                for state in driver.guest_states()}

    def provider(self, host):
        names = {name: provider for provider, name in self.placement.names.items()}
        return names[f"{host}.example"]

    def replaced(self, **values):
        return replace(self.deps, **values)

    def effects(self, server_id):
        """Name every outside effect that a server has."""
        found = [f"guest on {host}" for guest, host in self.guests().items() if guest == server_id]
        if self.placement.allocation(server_id).by_provider:
            found.append("allocation")
        found += [f"port {port.id}" for port in self.ports.of_servers([server_id])]
        found += [f"kept nic {nic.port_id}" for nic in self.nics(server_id)]
        row = self.row(server_id)
        if row is not None and row.host is not None:
            found.append(f"host {row.host} in the row")
        return found

    def close(self):
        self.bus.close()


def nic(network_id=NETWORK, **options):
    return RequestedNic(id=str(uuid.uuid4()), network_id=network_id, **options)
