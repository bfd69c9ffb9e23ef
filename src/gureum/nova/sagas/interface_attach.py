"""Plug one more card into a server. Follows docs/adr/0003-sagas.md."""

import msgspec

from gureum.core.saga.model import Result, Saga, SagaAbort, Step
from gureum.nova.agent.contract import GuestNotFound, PortSpec
from gureum.nova.logic.saga_params import INTERFACE_ATTACH, InterfaceAttachParams
from gureum.nova.ports import BINDING_FAILED, Port
from gureum.nova.sagas.host_jobs import Context, run_job
from gureum.nova.sagas.server_ports import bound_port, give_back, nics
from gureum.nova.sagas.server_rows import server_of
from gureum.nova.store import server_nics

PLUG_TIMEOUT_S = 300.0


def _own_ports(step: Context) -> list[Port]:
    """Return the port of this card, if it has one already."""
    found = step.deps.ports.of_servers([step.resource_id])
    return [port for port in found if port.nic_id == step.params.nic.id]


def make_port(step: Context) -> Result:
    """Make or bind the port."""
    row, nic = server_of(step), step.params.nic
    if row.host is None:
        raise SagaAbort("no_host", "The server is on no host.")
    port = bound_port(
        step, nic, _own_ports(step), project_id=row.project_id, host=row.host,
        zone=row.availability_zone or step.deps.nova.default_availability_zone,
        security_groups=step.params.security_groups,
    )  # fmt: skip
    if port.vif_type == BINDING_FAILED:
        raise SagaAbort("port_binding_failed", "The port could not be bound on the server's host.")
    (kept,) = nics(step, [port], {port.id: nic.tag})
    server_id = step.resource_id
    step.at_mark(lambda tx: server_nics.put(tx, server_id, kept))
    return {"port_id": port.id, "host": row.host, "spec": dict(kept.spec)}


def return_port(step: Context) -> None:
    """Delete the port that was made, or take the server from the one it was given."""
    ports, server_id = _own_ports(step), step.resource_id
    give_back(step, ports)
    port_ids = {port.id for port in ports} | set(filter(None, [step.result.get("port_id")]))

    def forget(tx: object) -> None:
        for port_id in port_ids:
            server_nics.remove(tx, server_id, port_id)  # type: ignore[arg-type]

    step.at_mark(forget)


def plug(step: Context) -> Result:
    """Plug the card."""
    made = step.results["port"]
    spec = msgspec.convert(made["spec"], PortSpec)
    run_job(
        step, made["host"],
        lambda agent: agent.attach_interface(step.key, step.generation, step.resource_id, spec),
    )  # fmt: skip
    return None


def unplug(step: Context) -> None:
    """Unplug the card; a guest that is gone has none."""
    made = step.results["port"]
    spec = msgspec.convert(made["spec"], PortSpec)
    try:
        run_job(
            step, made["host"],
            lambda agent: agent.detach_interface(step.key, step.generation, step.resource_id, spec),
        )  # fmt: skip
    except GuestNotFound:
        return


ATTACH = Saga(
    INTERFACE_ATTACH,
    Step("port", do=make_port, undo=return_port),
    Step("plug", do=plug, undo=unplug, timeout_s=PLUG_TIMEOUT_S),
    params=InterfaceAttachParams,
)
