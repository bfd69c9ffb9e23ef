"""From a cloud's settings to what an audit is handed.

Owns: opening databases and clients. Must not: compare.
"""

from collections.abc import Sequence

from gureum import components
from gureum.audit.image_files import file_stores
from gureum.audit.world import SagaLog, World
from gureum.core.api import open_policy
from gureum.core.run import Runtime
from gureum.core.saga import SagaStore
from gureum.neutron.agents.contract import NetworkAgent, NetworkState, poke_address
from gureum.neutron.config import NeutronOptions
from gureum.neutron.deps import Deps as NeutronDeps
from gureum.neutron.service import SERVICE as NEUTRON
from gureum.nova.agent.contract import ComputeAgent
from gureum.nova.conductor.component import image_access
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.config import NovaOptions
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.ports_rest import RestServerPorts
from gureum.nova.scheduler.contract import Scheduler
from gureum.nova.session import service_session
from gureum.nova.store.tables import CELL, CELL1, DATABASE_OF_CELL
from gureum.placement.client import PlacementClient


def open_world(runtime: Runtime, grace_s: float) -> World:
    """Return the world of a cloud that runs; `runtime` owns what is opened."""
    session = service_session(runtime)
    placement = PlacementClient(session)

    def compute(host: str, timeout_s: float) -> ComputeAgent:
        return runtime.bus.client(ComputeAgent, host, timeout_s=timeout_s)

    def network_agent(binary: str, host: str) -> NetworkAgent:
        return runtime.bus.client(NetworkAgent, poke_address(binary, host))

    def poke(binary: str, host: str, revision: int, kinds: Sequence[str]) -> None:
        network_agent(binary, host).changed(revision, list(kinds))

    neutron = runtime.database("neutron")
    if neutron.deps is None:  # neutron-server is another process
        neutron.deps = NeutronDeps(
            db=neutron,
            policy=open_policy(runtime, NEUTRON),
            options=runtime.config.get(NeutronOptions),
            poke=poke,
        )
    nova = SagaDeps(
        cell=CELL1,
        api=runtime.database("nova_api"),
        cells={cell: runtime.database(name) for cell, name in DATABASE_OF_CELL.items()},
        placement=ClientPlacement(placement),
        ports=RestServerPorts(session),
        scheduler=runtime.bus.client(Scheduler),
        compute=compute,
        image_access=image_access(session),
        nova=runtime.config.get(NovaOptions),
    )
    return World(
        nova=nova,
        sagas=SagaStore(CELL),
        neutron=neutron,
        glance=runtime.database("glance"),
        keystone=runtime.database("keystone"),
        placement=placement,
        network_state=runtime.bus.client(NetworkState),
        network_agent=network_agent,
        session=session,
        stores=file_stores(runtime.config),
        logs=tuple(
            SagaLog(spec.name, runtime.database(spec.name), SagaStore(spec.tables))
            for service in components.services()
            for spec in service.databases
            if "sagas" in spec.tables.tables
        ),
        grace_s=grace_s,
        agent_down_s=runtime.config.get(NeutronOptions).agent_down_time,
    )
