"""Asking a compute host for long work, without being held up by one that died.

Owns: waiting for a job while looking for a lost lease, a cancellation, and a host that stopped reporting.
Must not: know what the job is.
"""

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from gureum.core.bus.contract import BusTimeout
from gureum.core.saga.model import LeaseLost, SagaAbort, StepContext
from gureum.nova.agent.contract import ComputeAgent
from gureum.nova.conductor.deps import SagaDeps

T = TypeVar("T")
Context = StepContext[Any, SagaDeps]

LOOK_S = 1.0
"""How often a waiting step looks whether it should go on waiting."""
LOOKS_A_HOST = 10
"""Every how many looks the host's last report is read."""


class HostDown(Exception):
    """The compute host stopped to report while it was asked for something."""

    code = "host_down"
    retryable = True


class TryAgain(Exception):
    """The host said that the same may work later."""

    retryable = True

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def run_job(step: Context, host: str, job: Callable[[ComputeAgent], T]) -> T:
    """Let a host do a job, for as long as the step has time.

    Raises: HostDown, LeaseLost, SagaAbort (cancelled), AgentError, BusTimeout.
    """
    if step.deps.host_is_down(host):
        raise HostDown(f"compute host {host} does not report")
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    agent = step.deps.compute(host, step.left_s())

    def ask() -> None:
        try:
            answers.put((True, job(agent)))
        except BaseException as error:
            answers.put((False, error))

    ids = contextvars.copy_context()
    threading.Thread(target=lambda: ids.run(ask), name="host-job", daemon=True).start()
    looks = 0
    while True:
        try:
            done, value = answers.get(timeout=LOOK_S)
            break
        except queue.Empty:
            looks += 1
            _look(step, host, looks)
    if not done:
        raise value
    result: T = value
    return result


def _look(step: Context, host: str, looks: int) -> None:
    if step.lost.is_set():
        raise LeaseLost(f"saga {step.saga_id} was taken over")
    if step.stop_wanted():
        raise SagaAbort("cancelled", "Cancelled.")
    if looks % LOOKS_A_HOST == 0 and step.deps.host_is_down(host):
        raise HostDown(f"compute host {host} stopped to report")


def destroy_guest(step: Context, host: str) -> None:
    """Remove a guest from a host. A host that is down is passed over: it removes guests that are not
    its own any more once it reports again.

    Raises: AgentError, BusTimeout (the host reports, and does not answer).
    """
    server_id = step.resource_id
    try:
        run_job(
            step, host,
            lambda agent: agent.destroy(step.key, step.generation, server_id, True),
        )
    except HostDown:
        return
    except BusTimeout:
        if not step.deps.host_is_down(host):
            raise
