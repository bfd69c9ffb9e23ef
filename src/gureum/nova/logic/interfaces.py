"""Plugging ports into servers and out of them. Plugging is answered when it is done, as clients expect."""

from __future__ import annotations

import time
import uuid
from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.saga import records
from gureum.core.spec.errors import ApiError
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, NetworkAmbiguous, PortNotFound
from gureum.nova.logic import build_facts
from gureum.nova.logic.saga_params import (
    INTERFACE_ATTACH,
    INTERFACE_DETACH,
    InterfaceAttachParams,
    InterfaceDetachParams,
)
from gureum.nova.logic.server_load import Server, check_lock
from gureum.nova.logic.server_verbs import check_state
from gureum.nova.logic.submit import perform, submit
from gureum.nova.model import RequestedNic
from gureum.nova.store import server_nics

WAIT_S = 120.0
_POLL_S = 0.1


class AttachFailed(ApiError):
    """The port could not be plugged."""

    status, code, text = 500, "attach_failed", "Failed to attach network adapter to {server_id}"


def attach(ctx: Context, deps: Deps, server: Server, new: Any) -> str:
    """Plug a port and return its id once it is in. Raises: Bad, WrongState, AttachFailed."""
    check_lock(ctx, deps, server)
    nic = _wanted(ctx, deps, new)

    def work(tx: Tx) -> str:
        row = check_state(tx, server, "attach_interface", model.INTERFACE_STATES)
        if nic.port_id is not None and server_nics.server_of_port(tx, nic.port_id) is not None:
            raise build_facts.PortInUse(port_id=nic.port_id)
        return submit(
            ctx,
            deps,
            tx,
            INTERFACE_ATTACH,
            InterfaceAttachParams(server.id, nic),
            server_id=server.id,
            action="attach_interface",
            host=row.host,
        )

    saga_id = perform(ctx, deps, server.database, INTERFACE_ATTACH, server.id, work)
    return _wait(deps, server, saga_id)


def _wanted(ctx: Context, deps: Deps, new: Any) -> RequestedNic:
    port_id, network_id = new.get("port_id"), new.get("net_id")
    fixed = [item.get("ip_address") for item in new.get("fixed_ips") or ()]
    if port_id and network_id:
        raise Bad("Must not input both network_id and port_id")
    if fixed and not network_id:
        raise Bad("Must input network_id when request IP address")
    if not port_id and not network_id:
        nics = build_facts.nics_of(ctx, deps, None, count=1).nics
        if not nics:
            raise NetworkAmbiguous("No network is there to attach to.")
        nic = nics[0]
    else:
        item = _Asked(port_id, network_id, fixed[0] if fixed else None)
        [nic] = build_facts.checked_nics(ctx, deps, [item], count=1)  # type: ignore[list-item]
    return RequestedNic(
        str(uuid.uuid4()), nic.network_id, nic.port_id, nic.fixed_ip, new.get("tag")
    )


class _Asked:
    """What was asked for, in the form of an item of `networks`."""

    def __init__(self, port: str | None, network: str | None, fixed_ip: str | None) -> None:
        self._values = {"port": port, "uuid": network, "fixed_ip": fixed_ip}

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value."""
        value = self._values.get(name)
        return default if value is None else value


def _wait(deps: Deps, server: Server, saga_id: str) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with server.database.read() as tx:
            saga = deps.saga_store.load(tx, saga_id)
        if saga is None or saga.state in (records.FAILED, records.CANCELLED):
            if saga is not None and saga.error_code == "port_refused":
                raise Bad(saga.error_text or "The port was refused.")
            break
        if saga.state == records.DONE:
            return str(saga.results()["port"]["port_id"])
        time.sleep(_POLL_S)
    raise AttachFailed(server_id=server.id)


def detach(ctx: Context, deps: Deps, server: Server, port_id: str) -> None:
    """Unplug a port. Raises: PortNotFound, WrongState."""
    check_lock(ctx, deps, server)

    def work(tx: Tx) -> str:
        row = check_state(tx, server, "detach_interface", model.INTERFACE_STATES)
        if server_nics.server_of_port(tx, port_id) != server.id:
            raise PortNotFound(port_id=port_id)
        return submit(
            ctx,
            deps,
            tx,
            INTERFACE_DETACH,
            InterfaceDetachParams(server.id, port_id),
            server_id=server.id,
            action="detach_interface",
            host=row.host,
        )

    perform(ctx, deps, server.database, INTERFACE_DETACH, server.id, work)
