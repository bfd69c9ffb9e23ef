"""Create a server: claim a host, make its ports, spawn the guest; on failure, another host or ERROR.

Follows docs/adr/0003-sagas.md. A server that no host was found for moves to nova_cell0.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from gureum.core import log
from gureum.core.bus.contract import AgentError, BusTimeout
from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.core.saga.model import LeaseLost, Result, Retry, Saga, SagaAbort, Step
from gureum.nova.agent.contract import (
    POWER_STATE_NUMBERS,
    HypervisorDown,
    ImageUnavailable,
    ImageUnusable,
)
from gureum.nova.conductor.guest_spec import guest_spec, schedule_request
from gureum.nova.logic.saga_params import SERVER_CREATE, ServerCreateParams
from gureum.nova.model import (
    ACTIVE,
    BUILDING,
    ERROR,
    NETWORKING,
    SCHEDULING,
    SPAWNING,
    STOPPED,
    BuildRequest,
)
from gureum.nova.placement import PlacementConflict
from gureum.nova.ports import VIF_TYPES, Port
from gureum.nova.sagas.host_jobs import Context, HostDown, TryAgain, destroy_guest, run_job
from gureum.nova.sagas.server_ports import bound_port, check_bound, give_back, keep_nics, nics
from gureum.nova.sagas.server_rows import (
    FAULT_CODE,
    fault_message,
    mark_error,
    order_of,
    server_of,
    write_server,
)
from gureum.nova.scheduler.contract import SelectedHost, Selection
from gureum.nova.store import aggregates, hosts, mappings
from gureum.nova.store import servers as store
from gureum.nova.store.tables import CELL0

LOG = log.get(__name__)

NO_VALID_HOST = "no_valid_host"
SELECTIONS = 3
"""How often the scheduler is asked anew when others took the room of every host it named."""
SAME_HOST_TRIES = 3
HOSTS_TOLD = 30
"""How many hosts a fault names with what spoke against each; only administrators see it."""
MAX_ATTEMPTS = 3
"""On how many hosts a server is tried."""
SPAWN_TIMEOUT_S = 1800.0
PLUG_LOOK_S = (0.2, 0.8)
"""How often the network is asked whether ports are plugged, at first and at last, if it does not say so."""


# -- claim -----------------------------------------------------------------------------------------


def claim_host(step: Context) -> Result:
    """Find a host and take its room in placement."""
    row, request = order_of(step)
    failed = [seen.result["host"] for seen in step.earlier if seen.result]
    first = _is_first(step)
    chosen = None if first else _held(step)
    if chosen is None or chosen["host"] in failed:
        if not first:
            step.deps.placement.release(step.resource_id)
        chosen = _claim(step, row, request, failed, first=first)
    write_server(
        step, step.deps.own, host=chosen["host"], node=chosen["node"],
        availability_zone=chosen["zone"],
    )  # fmt: skip
    return chosen


def _is_first(step: Context) -> bool:
    """Whether the step was never begun before: nothing of it can be there yet."""
    return step.round == 0 and step.tries == 1


def _held(step: Context) -> dict[str, str] | None:
    """Return the host that an earlier try of this step claimed."""
    held = step.deps.placement.allocation(step.resource_id)
    with step.deps.own.read() as tx:
        found = (hosts.node_of_provider(tx, provider) for provider in held.by_provider)
        node = next((one for one in found if one is not None), None)
    if node is None:
        return None
    with step.deps.api.read() as tx:
        zones = aggregates.zones_of_hosts(tx, [node.host])
    zone = zones.get(node.host, step.deps.nova.default_availability_zone)
    return {"host": node.host, "node": node.hypervisor_hostname, "zone": zone}


def _claim(
    step: Context, row: Any, request: BuildRequest, failed: list[str], *, first: bool
) -> dict[str, str]:
    with step.deps.api.read() as tx:
        asked = schedule_request(tx, request, row, exclude_hosts=failed)
    conflict: PlacementConflict | None = None
    for _ in range(SELECTIONS):
        selection = step.deps.scheduler.select(asked)
        if not selection.hosts:
            raise _no_valid_host(step, selection)
        for host in selection.hosts:
            try:
                step.deps.placement.allocate(
                    step.resource_id, host.provider_id, host.resources,
                    project_id=row.project_id, user_id=row.user_id, new=first,
                )  # fmt: skip
            except PlacementConflict as error:
                conflict = error
                continue
            step.at_mark(_decision(step, selection, host))
            return {"host": host.host, "node": host.node, "zone": host.zone}
    assert conflict is not None
    raise conflict


def _decision(
    step: Context, selection: Selection, chosen: SelectedHost | None
) -> Callable[[Tx], None]:
    """Return what keeps why; a decision that is made twice is kept twice."""
    explanation = {
        **asdict(selection.explanation),
        "hosts_in_order": [host.host for host in selection.hosts],
    }

    def write(tx: Tx) -> None:
        store.add_schedule_record(
            tx,
            step.resource_id,
            request_id=step.requester.request_id,
            chosen_host=None if chosen is None else chosen.host,
            explanation=explanation,
        )

    return write


def _no_valid_host(step: Context, selection: Selection) -> SagaAbort:
    with step.deps.own.write() as tx:
        _decision(step, selection, None)(tx)
    explanation = selection.explanation
    text = explanation.text()
    if step.setbacks:
        text = f"{step.setbacks[-1].text} {text}"
    before = [f"round {seen.round + 1}, {seen.step}: {seen.detail}" for seen in step.setbacks]
    lines = [text, *_hosts_told(explanation.hosts), *before]
    return SagaAbort(NO_VALID_HOST, text, detail="\n".join(lines))


def _hosts_told(hosts: dict[str, str]) -> list[str]:
    """Return a line a host; the scheduling record holds those that are left out."""
    lines = [f"{host}: {why}" for host, why in sorted(hosts.items())]
    if len(lines) > HOSTS_TOLD:
        lines[HOSTS_TOLD:] = [f"and {len(lines) - HOSTS_TOLD} hosts more"]
    return lines


def release_claim(step: Context) -> None:
    """Give the host's room back."""
    step.deps.placement.release(step.resource_id)
    write_server(step, step.deps.own, host=None, node=None)


# -- ports -----------------------------------------------------------------------------------------


def make_ports(step: Context) -> Result:
    """Make or bind a port for each requested card."""
    (row, request), claim = order_of(step), step.results["claim"]
    known = [] if _is_first(step) else step.deps.ports.of_servers([step.resource_id])
    ports, tags = [], {}
    for nic in request.nics:
        port = bound_port(
            step, nic, known, project_id=row.project_id, host=claim["host"], zone=claim["zone"],
            security_groups=request.security_groups,
        )  # fmt: skip
        check_bound(port, claim["host"])
        ports.append(port)
        tags[port.id] = nic.tag
    keep_nics(step, nics(step, ports, tags))
    return {"ports": [port.id for port in ports]}


def delete_ports(step: Context) -> None:
    """Delete the ports that were made, and take the server from those it was given."""
    ports = step.deps.ports.of_servers([step.resource_id])
    give_back(step, [port for port in ports if port.nic_id is not None])
    keep_nics(step, ())


# -- spawn -----------------------------------------------------------------------------------------


def spawn_guest(step: Context) -> Result:
    """Let the host make the guest."""
    row, host = server_of(step), step.results["claim"]["host"]
    access = step.deps.image_access() if row.image_id else None
    with step.deps.own.read() as tx:
        spec = guest_spec(tx, row, step.params, step.requester, access)
    try:
        handle = run_job(step, host, lambda agent: agent.spawn(step.key, step.generation, spec))
    except ImageUnusable as error:
        text = f"The image cannot be used: {error.text}"
        raise SagaAbort(error.code, text, detail=f"{host}: {error}") from error
    except (ImageUnavailable, HypervisorDown, HostDown, BusTimeout) as error:
        if step.tries < SAME_HOST_TRIES and not isinstance(error, HostDown):
            raise TryAgain(error.code, f"{host}: {error}") from error
        raise _elsewhere(error.code, host, error) from error
    except AgentError as error:
        raise _elsewhere(error.code, host, error) from error
    return {
        "power_state": handle.power_state,
        "root_device_name": handle.root_device_name,
        "config_drive": handle.config_drive,
    }


def _elsewhere(code: str, host: str, error: Exception) -> Retry:
    return Retry("claim", code, "Build of the server failed on a host.", detail=f"{host}: {error}")


def remove_guest(step: Context) -> None:
    """Remove the guest and its disks."""
    destroy_guest(step, step.results["claim"]["host"])


# -- plugged ---------------------------------------------------------------------------------------


def wait_for_ports(step: Context) -> Result:
    """Wait until the network says that the guest's ports are plugged, as long as the options say."""
    options, began = step.deps.nova, time.monotonic()
    late: list[str] = []
    wait_s = PLUG_LOOK_S[0]
    with step.deps.plugs.waiting(step.resource_id) as told:
        while options.vif_plugging_timeout:
            told.clear()
            found = step.deps.ports.of_servers([step.resource_id])
            late = sorted(port.id for port in found if _awaits_plug(port))
            if not late or time.monotonic() - began >= options.vif_plugging_timeout:
                break
            told.wait(wait_s)
            if step.lost.is_set():
                raise LeaseLost(f"saga {step.saga_id} was taken over")
            wait_s = min(2 * wait_s, PLUG_LOOK_S[1])
            if step.stop_wanted():
                raise SagaAbort("cancelled", "Cancelled.")
    if late and options.vif_plugging_is_fatal:
        raise SagaAbort(
            "vif_plugging_failed",
            "The server's ports were not plugged in time.",
            detail=f"after {options.vif_plugging_timeout} s: {', '.join(late)}",
        )
    if late:
        LOG.warning("ports are not plugged yet", server_id=step.resource_id, ports=",".join(late))
    return {"unplugged": late}


def _awaits_plug(port: Port) -> bool:
    return port.vif_type in VIF_TYPES and port.admin_state_up and port.status != "ACTIVE"


# -- the end ---------------------------------------------------------------------------------------


def mark_active(step: Context) -> Result:
    """Say that the server is there."""
    spawn = step.results["spawn"]
    running = spawn["power_state"] != "shutdown"
    write_server(
        step,
        step.deps.own,
        vm_state=ACTIVE if running else STOPPED,
        power_state=POWER_STATE_NUMBERS[spawn["power_state"]],
        root_device_name=spawn["root_device_name"],
        config_drive=spawn["config_drive"],
        launched_at=datetime.fromtimestamp(step.clock(), UTC),
    )
    return None


def mark_building(step: Context) -> None:
    """Take that back."""
    write_server(step, step.deps.own, vm_state=BUILDING, power_state=0, launched_at=None)


def record_failure(step: Context) -> Result:
    """Put the server in ERROR; one that no host was ever found for moves to nova_cell0."""
    if step.error_code == NO_VALID_HOST and not step.setbacks:
        _bury(step)
    else:
        mark_error(step)
    return None


def _bury(step: Context) -> None:
    server_id, deps = step.resource_id, step.deps
    with deps.own.read() as tx:
        bundle = store.export(tx, server_id)
    if bundle is None:
        return
    bundle["server_faults"] = [
        *bundle["server_faults"],
        {
            "server_id": server_id,
            "code": FAULT_CODE,
            "message": fault_message(step),
            "details": step.error_detail,
            "host": None,
            "created_at": utc_now(),
        },
    ]
    with deps.cell0.write() as tx:
        store.take(tx, bundle, vm_state=ERROR, updated_at=utc_now())
    with deps.api.write() as tx:
        mappings.set_cell(tx, server_id, CELL0)
    step.at_mark(lambda tx: store.forget(tx, server_id))


CREATE = Saga(
    SERVER_CREATE,
    Step("claim", do=claim_host, undo=release_claim, task_state=SCHEDULING),
    Step("ports", do=make_ports, undo=delete_ports, task_state=NETWORKING),
    Step(
        "spawn", do=spawn_guest, undo=remove_guest, task_state=SPAWNING, timeout_s=SPAWN_TIMEOUT_S
    ),
    Step("plug", do=wait_for_ports, task_state=SPAWNING, timeout_s=SPAWN_TIMEOUT_S),
    Step("finish", do=mark_active, undo=mark_building),
    params=ServerCreateParams,
    on_failed=record_failure,
    max_rounds=MAX_ATTEMPTS,
    secrets=("admin_pass", "personality"),
)
