"""What the saga tables say of one saga, as frozen dataclasses.

Owns: the states and `SagaRecord`, `StepRecord`. Must not: run a query; `store.py` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gureum.core.saga.model import END, Earlier, Requester, Setback

QUEUED = "queued"
"""Waits for the saga that it superseded to end."""
RUNNING = "running"
UNWINDING = "unwinding"
STUCK = "stuck"
"""An undo failed too often; tried again slowly, or at once by `retry`, or passed over by `skip`."""
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"

RUNNABLE = (RUNNING, UNWINDING, STUCK)
ACTIVE = (QUEUED, *RUNNABLE)
FINISHED = (DONE, FAILED, CANCELLED)

STEP_STARTED = "started"
STEP_DONE = "done"
STEP_SKIPPED = "skipped"
STEP_UNDOING = "undoing"
STEP_UNDONE = "undone"

CANCEL_CODE = "cancelled"


def moment(at: float | None) -> datetime | None:
    """Return seconds since 1970 as an aware UTC time."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of one round. Times are seconds since 1970."""

    name: str
    round: int
    position: int
    state: str
    tries: int = 0
    undo_tries: int = 0
    result: Mapping[str, Any] = field(default_factory=dict)
    error_code: str | None = None
    error_text: str | None = None
    error_detail: str | None = None
    progress: str | None = None
    runner: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    undo_started_at: float | None = None
    undone_at: float | None = None


@dataclass(frozen=True, slots=True)
class SagaRecord:
    """One saga with its steps in the order in which they were started."""

    id: str
    name: str
    resource_id: str
    state: str
    generation: int
    params: bytes
    requester: Requester
    round: int = 0
    runner: str | None = None
    lease_until: float = 0.0
    wake_at: float = 0.0
    cancel: bool = False
    unwind_to: str | None = None
    task_state: str | None = None
    error_code: str | None = None
    error_text: str | None = None
    error_detail: str | None = None
    error_step: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    finished_at: float | None = None
    steps: Sequence[StepRecord] = ()

    def latest(self) -> dict[str, StepRecord]:
        """Return the newest row of each step (the closing hook left out), by name."""
        rows = sorted(self.steps, key=lambda row: row.round)
        return {row.name: row for row in rows if row.name != END}

    def results(self) -> dict[str, Mapping[str, Any]]:
        """Return the results of steps that are done and not undone."""
        return {
            name: row.result
            for name, row in self.latest().items()
            if row.state in (STEP_DONE, STEP_UNDOING) and row.finished_at is not None
        }

    def earlier(self, name: str) -> list[Earlier]:
        """Return how a step went in earlier rounds."""
        return [
            Earlier(row.round, row.result, row.error_code)
            for row in self.steps
            if row.name == name and row.round < self.round
        ]

    def setbacks(self) -> list[Setback]:
        """Return the errors that ended earlier rounds."""
        return [
            Setback(row.name, row.round, row.error_code, row.error_text or "", row.error_detail or "")
            for row in self.steps
            if row.round < self.round and row.error_code is not None
        ]
