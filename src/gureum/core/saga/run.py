"""One runner's way through one saga: step by step forward, or back.

Owns: the order of marks and actions. A step is marked as started before it acts and as done afterwards; both
marks, the next step's start and what the step wants written with its mark go in one transaction that first
compares the generation. Must not: choose which saga to run, or renew leases; `engine.py` does.
"""

import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from gureum.core import log, trace
from gureum.core.db.engine import Database, Tx, assert_no_transaction
from gureum.core.db.errors import Stale, Unavailable
from gureum.core.saga import records
from gureum.core.saga.model import END, LeaseLost, Retry, Saga, SagaAbort, Step, StepContext
from gureum.core.saga.records import SagaRecord, StepRecord
from gureum.core.saga.store import SagaStore

LOG = log.get(__name__)

T = TypeVar("T")

STUCK_RETRY_S = 600.0
"""How long a stuck saga rests before its undo is tried once more."""
END_BACKOFF_S = (0.5, 60.0)
_DATABASE_TRIES = 6


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step did not succeed. `text` is for users, `detail` for operators."""

    code: str
    text: str
    detail: str
    retryable: bool = False
    retry_to: str | None = None


CANCELLED = Failure(records.CANCEL_CODE, "Cancelled.", "cancelled")


@dataclass(frozen=True, slots=True)
class SagaEvent:
    """Something happened to a saga; told to observers after it was committed."""

    what: str
    saga_id: str
    saga: str
    resource_id: str
    step: str | None = None
    error_code: str | None = None


def failure_of(error: Exception, step_name: str) -> Failure:
    """Say what an exception of a step means."""
    if isinstance(error, SagaAbort):
        to = error.to if isinstance(error, Retry) else None
        return Failure(error.code, error.text, error.detail or error.text, retry_to=to)
    retryable = bool(getattr(error, "retryable", isinstance(error, (Unavailable, Stale))))
    code = getattr(error, "code", None)
    code = code if isinstance(code, str) else "internal"
    text = f"The step {step_name} failed."
    return Failure(code, text, f"{type(error).__name__}: {error}", retryable)


class SagaRun:
    """Runs one leased saga in the calling thread until it ends, must wait, or is lost."""

    def __init__(
        self,
        database: Database,
        store: SagaStore,
        saga: Saga,
        record: SagaRecord,
        *,
        deps: Any,
        lease_s: float,
        stopping: threading.Event,
        observe: Callable[[SagaEvent], None],
    ) -> None:
        self._database = database
        self._store = store
        self._saga = saga
        self.record = record
        self._now = record
        self._deps = deps
        self._lease_s = lease_s
        self._stopping = stopping
        self._observe = observe
        self.lost = threading.Event()
        # Whoever runs the saga next works in the same span: its id is the saga's.
        self.span = trace.Span.known(
            trace.SAGA, saga.name, log.get(saga.steps[0].do.__module__), id=span_id(record.id),
            parent=record.requester.traceparent, started_at=record.created_at,
        )  # fmt: skip

    def run(self) -> None:
        """Raises: LeaseLost, Unavailable (the lease will expire, and someone goes on)."""
        if self.record.state == records.STUCK:
            self._mark(lambda tx, now: self._set_saga(tx, state=records.UNWINDING))
        current = self._mark(self._next)
        while current is not None:
            current = self._act(*current)

    # -- one step -----------------------------------------------------------------------------

    def _act(self, step: Step, row: StepRecord) -> tuple[Step, StepRecord] | None:
        """Do or undo one step, mark it, and return the next one that was marked as begun."""
        undo = row.state == records.STEP_UNDOING
        context = self._context(self.record, step, row)
        action = step.undo if undo else step.do
        assert action is not None
        self._tell("step.undo" if undo else "step.start", step.name)
        name = f"{self._saga.name} {step.name}"
        told: dict[str, Any] = {
            "round": row.round or None,
            "tries": context.tries if context.tries > 1 else None,
        }
        with trace.Span(trace.STEP, name, log.get(action.__module__)) as span:
            try:
                assert_no_transaction(f"step {step.name}")
                result = action(context)
                following = self._mark(lambda tx, now: self._passed(tx, now, row, context, result))
                span.end("undone" if undo else "done", **told)
                return following
            except LeaseLost:
                span.end("lost", failed=True, **told)
                raise
            except Exception as error:  # border: the saga runner
                failure = self._failed(error, step, undo, context)
                span.end("failed", failed=True, code=failure.code, undo=undo or None, **told)
        return self._mark(lambda tx, now: self._stumbled(tx, now, step, row, failure))

    def _failed(
        self, error: Exception, step: Step, undo: bool, context: StepContext[Any, Any]
    ) -> Failure:
        failure = failure_of(error, step.name)
        LOG.warning(
            "step failed",
            step=step.name,
            undo=undo,
            tries=context.tries,
            code=failure.code,
            detail=failure.detail,
        )
        if failure.code == "internal" and not failure.retryable and not undo:
            LOG.error("step raised what it does not declare", step=step.name, exc_info=True)
        self._tell("step.failed", step.name, failure.code)
        return failure

    def _context(
        self, record: SagaRecord, step: Step, row: StepRecord
    ) -> StepContext[Any, Any]:
        undo = row.state == records.STEP_UNDOING
        begun = (row.undo_started_at if undo else row.started_at) or self._store.clock()
        key = f"{record.id}/{row.name}" + (f".{row.round}" if row.round else "")
        return StepContext(
            saga_id=record.id,
            saga=record.name,
            step=step.name,
            resource_id=record.resource_id,
            params=msgspec.json.decode(record.params, type=self._saga.params),
            results=self._results(record),
            key=f"{key}/undo" if undo else key,
            generation=record.generation,
            requester=record.requester,
            deps=self._deps,
            round=row.round,
            tries=row.undo_tries if undo else row.tries,
            done=row.finished_at is not None,
            error_code=record.error_code,
            error_text=record.error_text,
            error_detail=record.error_detail,
            cancelled=record.error_code == records.CANCEL_CODE,
            deadline=begun + step.timeout_s,
            clock=self._store.clock,
            earlier=record.earlier(row.name),
            setbacks=record.setbacks(),
            lost=self.lost,
            report=lambda text: self._report(row, text),
            stop_wanted=self._stop_wanted,
        )

    def _results(self, record: SagaRecord) -> dict[str, Mapping[str, Any]]:
        steps = self._saga.steps
        return {
            steps[self._saga.index(name)].name: result
            for name, result in record.results().items()
        }

    def _report(self, row: StepRecord, text: str) -> None:
        self._mark(
            lambda tx, now: self._set_step(tx, row.round, row.name, progress=text[:255])
        )

    # -- what is marked, inside a guarded transaction -------------------------------------------

    def _mark(self, change: Callable[[Tx, SagaRecord], T]) -> T:
        """Run `change` in a transaction in which the lease was checked. Raises: LeaseLost.

        Who holds the lease is the only one who writes the saga, so its rows are what was written last;
        they are read again when it is not sure what was.
        """
        for attempt in range(1, _DATABASE_TRIES + 1):
            try:
                with self._database.write() as tx:
                    self._now = self._store.guard(
                        tx, self.record, self._lease_s, reread=attempt > 1
                    )
                    answer = change(tx, self._now)
                self.record = self._now
                return answer
            except Unavailable:
                if attempt == _DATABASE_TRIES:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
            except LeaseLost:
                self.lost.set()
                raise
        raise AssertionError("unreachable")

    def _set_saga(self, tx: Tx, **values: Any) -> None:
        self._store.set_saga(tx, self._now.id, **values)
        self._now = replace(self._now, **values)

    def _set_step(self, tx: Tx, round: int, name: str, **values: Any) -> None:
        self._store.set_step(tx, self._now.id, round, name, **values)
        if "result" in values:  # as it will be read
            values["result"] = msgspec.json.decode(msgspec.json.encode(values["result"]))
        self._now = replace(
            self._now,
            steps=tuple(
                replace(row, **values) if (row.round, row.name) == (round, name) else row
                for row in self._now.steps
            ),
        )

    def _add_step(self, tx: Tx, row: StepRecord) -> None:
        self._store.add_step(tx, self._now.id, row)
        steps = sorted((*self._now.steps, row), key=lambda known: (known.round, known.position))
        self._now = replace(self._now, steps=tuple(steps))

    def _passed(
        self,
        tx: Tx,
        now: SagaRecord,
        row: StepRecord,
        context: StepContext[Any, Any],
        result: Mapping[str, Any] | None,
    ) -> tuple[Step, StepRecord] | None:
        known = next(s for s in now.steps if (s.name, s.round) == (row.name, row.round))
        if known.state == row.state:  # else an earlier try of this mark was committed unnoticed
            for write in context.writes:
                write(tx)
        at = self._store.clock()
        if row.state == records.STEP_UNDOING:
            values: dict[str, Any] = {"state": records.STEP_UNDONE, "undone_at": at}
        else:
            values = {
                "state": records.STEP_DONE,
                "finished_at": at,
                "result": dict(result or {}),
                "error_code": None,
                "error_text": None,
                "error_detail": None,
            }
        self._set_step(tx, row.round, row.name, **values)
        if row.name == END:
            self._end(tx, now)
            return None
        return self._next(tx, self._now)

    def _next(self, tx: Tx, now: SagaRecord) -> tuple[Step, StepRecord] | None:
        """Mark the next step as begun; None when the saga ends or is handed back here."""
        if self._stopping.is_set():
            self._wait(tx, now, 0.0)
            return None
        ending = any(row.name == END for row in now.steps)
        goes_on = now.state == records.RUNNING or now.unwind_to is not None
        if self._cancelled(now) and goes_on and not ending:
            return self._turn(tx, now, None, CANCELLED)
        return self._forward(tx, now) if now.state == records.RUNNING else self._back(tx, now)

    def _stop_wanted(self) -> bool:
        """Whether the saga was cancelled or lost since the step began."""
        with self._database.read() as tx:
            now = self._store.load(tx, self.record.id)
        if now is None or (now.generation, now.runner) != (self.record.generation, self.record.runner):
            return True
        return now.state == records.RUNNING and self._cancelled(now)

    def _cancelled(self, now: SagaRecord) -> bool:
        return now.cancel and self._saga.cancellable

    def _forward(self, tx: Tx, now: SagaRecord) -> tuple[Step, StepRecord] | None:
        latest = now.latest()
        for position, step in enumerate(self._saga.steps):
            row = next((latest[n] for n in (step.name, *step.aliases) if n in latest), None)
            if row is not None and row.state in (records.STEP_DONE, records.STEP_SKIPPED):
                continue
            if row is not None and row.state == records.STEP_UNDONE:
                row = None  # a new round
            if row is None and step.when is not None:
                blank = StepRecord(step.name, now.round, position, records.STEP_STARTED)
                if not step.when(self._context(now, step, blank)):
                    self._begin(tx, now, replace(blank, state=records.STEP_SKIPPED), step)
                    continue
            started = row or StepRecord(step.name, now.round, position, records.STEP_STARTED)
            return step, self._begin(tx, now, started, step)
        return self._closing(tx, now, failed=False)

    def _begin(self, tx: Tx, now: SagaRecord, row: StepRecord, step: Step) -> StepRecord:
        """Write that a step starts (again)."""
        at = self._store.clock()
        fresh = row.tries == 0
        begun = replace(
            row, tries=row.tries + 1, runner=now.runner, started_at=row.started_at or at
        )
        if fresh:
            self._add_step(tx, begun)
        else:
            self._set_step(tx, row.round, row.name, tries=begun.tries, runner=now.runner)
        if step.task_state not in (None, now.task_state) and row.state == records.STEP_STARTED:
            self._set_saga(tx, task_state=step.task_state)
        return begun

    def _back(self, tx: Tx, now: SagaRecord) -> tuple[Step, StepRecord] | None:
        stop_at = 0 if now.unwind_to is None else self._saga.index(now.unwind_to)
        at = self._store.clock()
        may_have_run = (records.STEP_STARTED, records.STEP_DONE, records.STEP_UNDOING)
        for row in sorted(now.latest().values(), key=lambda known: -known.position):
            position = self._saga.index(row.name)
            step = self._saga.steps[position]
            if position < stop_at or row.state not in may_have_run:
                continue
            if step.undo is None:
                self._set_step(
                    tx, row.round, row.name, state=records.STEP_UNDONE, undone_at=at
                )
                continue
            undoing = replace(
                row,
                state=records.STEP_UNDOING,
                undo_tries=row.undo_tries + 1,
                undo_started_at=row.undo_started_at or at,
            )
            self._set_step(
                tx,
                row.round,
                row.name,
                state=undoing.state,
                runner=now.runner,
                undo_tries=undoing.undo_tries,
                undo_started_at=undoing.undo_started_at,
            )
            return step, undoing
        if now.unwind_to is None:
            return self._closing(tx, now, failed=True)
        self._set_saga(
            tx,
            state=records.RUNNING,
            unwind_to=None,
            round=now.round + 1,
            error_step=None,
            error_code=None,
            error_text=None,
            error_detail=None,
        )
        return self._next(tx, self._now)

    def _closing(self, tx: Tx, now: SagaRecord, *, failed: bool) -> tuple[Step, StepRecord] | None:
        step = self._saga.end_step(failed=failed)
        if step is None:
            self._end(tx, now)
            return None
        known = next((row for row in now.steps if row.name == END), None)
        blank = StepRecord(END, now.round, len(self._saga.steps), records.STEP_STARTED)
        return step, self._begin(tx, now, known or blank, step)

    def _end(self, tx: Tx, now: SagaRecord) -> None:
        if now.state == records.RUNNING:
            state = records.DONE
        else:
            cancelled = now.error_code == records.CANCEL_CODE
            state = records.CANCELLED if cancelled else records.FAILED
        params = None
        if self._saga.secrets:
            params = msgspec.json.decode(now.params)
            for secret in self._saga.secrets:
                params.pop(secret, None)
        self._store.finish(tx, now, state, params)
        self._now = replace(self._now, state=state, runner=None, lease_until=0.0, task_state=None)
        tx.after_commit(lambda: self._tell(f"saga.{state}", None, now.error_code))
        tx.after_commit(lambda: self._told(state, now))

    def _told(self, state: str, now: SagaRecord) -> None:
        self.span.end(
            state, failed=state == records.FAILED, resource_id=now.resource_id, code=now.error_code
        )

    # -- failures -----------------------------------------------------------------------------

    def _stumbled(
        self, tx: Tx, now: SagaRecord, step: Step, row: StepRecord, failure: Failure
    ) -> tuple[Step, StepRecord] | None:
        self._set_step(
            tx,
            row.round,
            row.name,
            error_code=failure.code,
            error_text=failure.text,
            error_detail=failure.detail[:4000],
        )
        if row.state == records.STEP_UNDOING:
            self._undo_failed(tx, now, step, row, failure)
            return None
        if row.name == END:
            self._wait(tx, now, _backoff_s(END_BACKOFF_S, row.tries))
            return None
        spent_s = self._store.clock() - (row.started_at or 0.0)
        may_try = step.tries is None or row.tries < step.tries
        if failure.retryable and may_try and spent_s < step.timeout_s and not self._cancelled(now):
            self._wait(tx, now, _backoff_s(step.backoff_s, row.tries))
            return None
        return self._turn(tx, now, step.name, failure)

    def _undo_failed(
        self, tx: Tx, now: SagaRecord, step: Step, row: StepRecord, failure: Failure
    ) -> None:
        if row.undo_tries < step.undo_tries:
            self._wait(tx, now, _backoff_s(step.backoff_s, row.undo_tries))
            return
        LOG.error(
            "saga is stuck",
            saga=now.name,
            step=step.name,
            resource_id=now.resource_id,
            detail=failure.detail,
        )
        self._set_saga(tx, state=records.STUCK)
        self._wait(tx, now, STUCK_RETRY_S)
        tx.after_commit(lambda: self._tell("saga.stuck", step.name, failure.code))

    def _turn(
        self, tx: Tx, now: SagaRecord, step_name: str | None, failure: Failure
    ) -> tuple[Step, StepRecord] | None:
        """Go back from here on. The new generation fences commands of the way forward."""
        if self._cancelled(now):
            failure = replace(CANCELLED, detail=failure.detail)
        back_to = failure.retry_to if now.round + 1 < self._saga.max_rounds else None
        self._set_saga(
            tx,
            state=records.UNWINDING,
            generation=now.generation + 1,
            unwind_to=back_to,
            error_step=step_name,
            error_code=failure.code,
            error_text=failure.text,
            error_detail=failure.detail[:4000],
        )
        return self._next(tx, self._now)

    def _wait(self, tx: Tx, now: SagaRecord, seconds: float) -> None:
        """Give the lease back until `seconds` have passed."""
        self._set_saga(
            tx, runner=None, lease_until=0.0, wake_at=self._store.clock() + seconds
        )

    def _tell(self, what: str, step: str | None = None, code: str | None = None) -> None:
        record = self.record
        self._observe(SagaEvent(what, record.id, record.name, record.resource_id, step, code))


def span_id(saga_id: str) -> str:
    """Return the id of a saga's span: 16 hex digits that follow from its own."""
    return f"{zlib.crc32(saga_id.encode()):08x}{zlib.adler32(saga_id.encode()) or 1:08x}"


def _backoff_s(bounds: tuple[float, float], tries: int) -> float:
    least, most = bounds
    return float(min(most, least * 2 ** min(tries - 1, 30)) * random.uniform(0.5, 1.0))
