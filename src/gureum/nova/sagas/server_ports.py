"""The ports of a server: making, binding, giving back.

Owns: which of a server's ports were made for it, and writing what is kept of them. Must not: plug them.
A port that was made is found again by the requested card's id in its binding profile.
"""

from collections.abc import Sequence
from typing import Any

from gureum.core.saga.model import Retry, SagaAbort, StepContext
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.model import Nic, RequestedNic
from gureum.nova.ports import (
    BINDING_FAILED,
    OWNER,
    Port,
    PortRefused,
    nic_of,
)
from gureum.nova.store import server_nics

Context = StepContext[Any, SagaDeps]


def bound_port(
    step: Context,
    nic: RequestedNic,
    known: Sequence[Port],
    *,
    project_id: str,
    host: str,
    zone: str,
    security_groups: Sequence[str],
) -> Port:
    """Return the port of a requested card, bound to a host: found, bound or made.

    Raises: SagaAbort, PortsUnavailable.
    """
    owner, server_id = OWNER + zone, step.resource_id
    mine = next((port for port in known if port.nic_id == nic.id), None)
    try:
        if mine is None and nic.port_id is not None:
            mine = step.deps.ports.get(nic.port_id)
            if mine is None:
                raise SagaAbort("port_not_found", f"Port {nic.port_id} could not be found.")
            if mine.device_id not in ("", server_id):
                raise SagaAbort("port_in_use", f"Port {nic.port_id} is still in use.")
        if mine is None:
            return step.deps.ports.create(
                nic_id=nic.id,
                network_id=nic.network_id or "",
                project_id=project_id,
                server_id=server_id,
                owner=owner,
                host=host,
                fixed_ip=nic.fixed_ip,
                security_groups=security_groups,
            )
        if mine.host == host and mine.device_id == server_id and mine.nic_id == nic.id:
            return mine
        return step.deps.ports.bind(
            mine, nic_id=nic.id, server_id=server_id, owner=owner, host=host
        )
    except PortRefused as error:
        raise SagaAbort(
            "port_refused", f"The network service refused a port: {error.text}"
        ) from error


def check_bound(port: Port, host: str) -> None:
    """Raises: Retry, when no mechanism could bind the port on the host."""
    if port.vif_type == BINDING_FAILED:
        raise Retry(
            "claim",
            "port_binding_failed",
            "A port could not be bound on the chosen host.",
            detail=f"binding of port {port.id} failed on host {host}",
        )


def give_back(step: Context, ports: Sequence[Port]) -> None:
    """Delete the ports that were made for the server, and take it from the others."""
    for port in ports:
        if port.keep or port.nic_id is None:
            step.deps.ports.unbind(port)
        else:
            step.deps.ports.delete(port.id)


def nics(step: Context, ports: Sequence[Port], tags: dict[str, str | None]) -> list[Nic]:
    """Return what is kept of ports; `tags` by port."""
    around = step.deps.ports.surroundings(ports)
    return [nic_of(port, around, tags.get(port.id)) for port in ports]


def keep_nics(step: Context, found: Sequence[Nic]) -> None:
    """Write the server's ports with the step's mark."""
    server_id = step.resource_id
    step.at_mark(lambda tx: server_nics.replace(tx, server_id, found))
