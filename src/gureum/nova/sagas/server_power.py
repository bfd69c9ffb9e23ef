"""Start, stop, reboot, pause, unpause, suspend, resume: one job of the host, and the new state.

Follows docs/adr/0003-sagas.md; which verb may start in which state is model.POWER_VERBS.
"""

from gureum.core.bus.contract import AgentError
from gureum.core.saga.model import Result, Saga, SagaAbort, Step
from gureum.nova.agent.contract import (
    POWER_STATE_NUMBERS,
    GuestNotFound,
    GuestStateConflict,
    HypervisorDown,
    HypervisorFailed,
)
from gureum.nova.logic.saga_params import SERVER_POWER, ServerPowerParams
from gureum.nova.model import POWER_VERBS
from gureum.nova.sagas.host_jobs import Context, TryAgain, run_job
from gureum.nova.sagas.server_rows import add_fault, mark_error, server_of, write_server

BROKEN = (GuestNotFound.code, HypervisorFailed.code)
"""Failures after which the guest is not known to be what it was."""
SLACK_S = 600
"""Time of a power verb beside what a guest may take to shut itself down."""
TIMEOUT_S = 3600.0 + SLACK_S


def act(step: Context) -> Result:
    """Let the host do it, and write the new state."""
    row, params = server_of(step), step.params
    verb = POWER_VERBS[params.action]
    if row.host is None:
        raise SagaAbort("no_host", "The server is on no host.")
    try:
        state = run_job(
            step, row.host,
            lambda agent: agent.power(
                step.key, step.generation, row.id, verb.action, params.timeout_s
            ),
        )  # fmt: skip
    except HypervisorDown as error:
        raise TryAgain(error.code, f"{row.host}: {error}") from error
    except AgentError as error:
        raise SagaAbort(
            error.code, f"The server could not be told to {verb.name}.", detail=f"{row.host}: {error}"
        ) from error
    write_server(
        step, step.deps.own, vm_state=verb.vm_state,
        power_state=POWER_STATE_NUMBERS[state.power_state],
    )  # fmt: skip
    return {"power_state": state.power_state}


def record_failure(step: Context) -> Result:
    """Record a fault; the server is in ERROR only when its guest is not what it was."""
    if step.error_code in BROKEN:
        mark_error(step)
    elif not step.cancelled and step.error_code != GuestStateConflict.code:
        add_fault(step)
    return None


POWER = Saga(
    SERVER_POWER,
    Step("act", do=act, timeout_s=TIMEOUT_S, tries=5),
    params=ServerPowerParams,
    on_failed=record_failure,
)
