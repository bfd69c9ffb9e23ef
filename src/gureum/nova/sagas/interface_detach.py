"""Unplug a card from a server. It only goes forward. Follows docs/adr/0003-sagas.md."""

import msgspec

from gureum.core.saga.model import Result, Saga, Step
from gureum.nova.agent.contract import GuestNotFound, PortSpec
from gureum.nova.logic.saga_params import INTERFACE_DETACH, InterfaceDetachParams
from gureum.nova.sagas.host_jobs import Context, run_job
from gureum.nova.sagas.server_ports import give_back
from gureum.nova.sagas.server_rows import server_of
from gureum.nova.store import server_nics

UNPLUG_TIMEOUT_S = 300.0


def unplug(step: Context) -> Result:
    """Unplug the card from the guest."""
    row, port_id = server_of(step), step.params.port_id
    with step.deps.own.read() as tx:
        found = server_nics.of_servers(tx, [row.id]).get(row.id, [])
    nic = next((nic for nic in found if nic.port_id == port_id), None)
    if nic is None or row.host is None:
        return None
    spec = msgspec.convert(nic.spec, PortSpec)
    try:
        run_job(
            step, row.host,
            lambda agent: agent.detach_interface(step.key, step.generation, row.id, spec),
        )  # fmt: skip
    except GuestNotFound:
        return None
    return None


def return_port(step: Context) -> Result:
    """Delete the port if it was made for the server, else take the server from it."""
    server_id, port_id = step.resource_id, step.params.port_id
    ports = step.deps.ports.of_servers([server_id])
    give_back(step, [port for port in ports if port.id == port_id])
    step.at_mark(lambda tx: server_nics.remove(tx, server_id, port_id))
    return None


DETACH = Saga(
    INTERFACE_DETACH,
    Step("unplug", do=unplug, tries=None, timeout_s=UNPLUG_TIMEOUT_S),
    Step("port", do=return_port, tries=None, timeout_s=UNPLUG_TIMEOUT_S),
    params=InterfaceDetachParams,
    cancellable=False,
)
