"""The tests that every registered saga passes: repeat, fail, undo, cancel, take over, at every step.

Owns: the scenarios and how they are driven. A service describes each of its sagas once as a `SagaCase`:

    @pytest.mark.parametrize("scenario", scenarios(CREATE), ids=str)
    def test_create(scenario, tmp_path):
        check(CreateCase(tmp_path), scenario)

Must not: know a saga, or be imported outside of tests. Every scenario asserts that the step it aims at was
the one that was hit: a disturbance that misses its step proves nothing.
"""

import dataclasses
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gureum.core.db.engine import Database
from gureum.core.saga import records
from gureum.core.saga.engine import LEASE_S, Engine
from gureum.core.saga.model import Result, Saga, SagaAbort, Step, StepContext
from gureum.core.saga.store import SagaStore

WAIT_S = 30.0
_ROUNDS = 300
_ROUND_S = 45.0

RUN = "run"
REPEAT = "repeat"
LOST_REPLY = "lost-reply"
FAIL_BEFORE = "fail-before"
FAIL_AFTER = "fail-after"
REPEAT_UNDO = "repeat-undo"
FAIL_UNDO = "fail-undo"
CANCEL = "cancel"
TAKEOVER = "takeover"
LATE = "late"
"""The first runner is paused before the step acts; it acts after another one has ended the saga."""
LATE_UNDONE = "late-undone"
"""The same, and the saga was cancelled meanwhile."""
REPEAT_DONE = "repeat-done-hook"
REPEAT_FAILED = "repeat-failed-hook"

Act = Callable[[StepContext[Any, Any]], Any]


class HandClock:
    """Seconds since 1970, moved by the tests."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now


class Killed(BaseException):
    """The process ended here, as by SIGKILL: nothing after it runs, nothing is marked."""


class LostReply(Exception):
    """The step acted, and its runner did not learn of it."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """One disturbance of one step."""

    kind: str
    step: str = ""

    def __str__(self) -> str:
        return f"{self.kind}-{self.step}" if self.step else self.kind


class SagaCase(ABC):
    """A saga in a world of its own: what the harness must know of it."""

    saga: Saga
    others: Sequence[Saga] = ()
    """Sagas that `recover` submits."""
    never: frozenset[str] = frozenset()
    """Optional steps that this case does not reach."""
    database: Database
    store: SagaStore
    clock: HandClock
    deps: Any

    @abstractmethod
    def submit(self) -> str:
        """Submit the saga in a transaction and return its id."""

    @abstractmethod
    def missing(self) -> list[str]:
        """After success: say what is not as it should be."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """After failure: name every row and outside effect that is left."""

    def mend(self) -> int:
        """Run what converges (reconcilers): they clear away what a runner did that woke too late.
        Returns how many changes were made."""
        return 0

    def recover(self) -> bool:
        """After failure: do what its user would do, such as deleting again; True when a saga was
        submitted. For verbs that only go forward."""
        return False


def scenarios(saga: Saga, *, never: frozenset[str] = frozenset()) -> list[Scenario]:
    """Return every disturbance that makes sense for a saga."""
    found = [Scenario(RUN)]
    for step in saga.steps:
        if step.name in never:
            continue
        kinds = [REPEAT, LOST_REPLY, FAIL_BEFORE, FAIL_AFTER, CANCEL, TAKEOVER, LATE]
        if saga.cancellable:
            kinds.append(LATE_UNDONE)
        if step.undo is not None:
            kinds += [REPEAT_UNDO, FAIL_UNDO]
        found += [Scenario(kind, step.name) for kind in kinds]
    if saga.on_done is not None:
        found.append(Scenario(REPEAT_DONE))
    if saga.on_failed is not None:
        found.append(Scenario(REPEAT_FAILED))
    return found


def check(case: SagaCase, scenario: Scenario) -> None:
    """Run one scenario. Raises: AssertionError."""
    _Check(case, scenario).run()


@dataclass
class _Check:
    case: SagaCase
    scenario: Scenario
    hits: list[str] = field(default_factory=list)
    saga_id: str = ""

    def run(self) -> None:
        kind = self.scenario.kind
        if kind == RUN:
            self._drive(self._engine(self.case.saga))
            self._expect_success([])
        elif kind in (REPEAT, LOST_REPLY):
            self._repeat(Killed if kind == REPEAT else LostReply)
        elif kind in (FAIL_BEFORE, FAIL_AFTER):
            self._fail(before=kind == FAIL_BEFORE)
        elif kind in (REPEAT_UNDO, FAIL_UNDO):
            self._undo(Killed if kind == REPEAT_UNDO else LostReply)
        elif kind == CANCEL:
            self._cancel()
        elif kind == TAKEOVER:
            self._takeover()
        elif kind in (LATE, LATE_UNDONE):
            self._late(undone=kind == LATE_UNDONE)
        elif kind in (REPEAT_DONE, REPEAT_FAILED):
            self._repeat_hook(failed=kind == REPEAT_FAILED)
        else:
            raise AssertionError(f"unknown scenario {kind}")

    # -- disturbances -------------------------------------------------------------------------

    def _step(self) -> Step:
        return self.case.saga.steps[self.case.saga.index(self.scenario.step)]

    def _once(self, name: str, act: Act | None, error: BaseException) -> Act:
        """Act and count; the first time the result is lost to `error`."""

        def acting(context: StepContext[Any, Any]) -> Any:
            result = act(context) if act is not None else None
            self.hits.append(name)
            if self.hits.count(name) == 1:
                raise error
            return result

        return acting

    def _changed(self, **acts: Any) -> Saga:
        step = self._step()
        saga = self.case.saga.changed(**{step.name: dataclasses.replace(step, **acts)})
        return saga

    def _repeat(self, error: type[BaseException]) -> None:
        step = self._step()
        disturbed = self._changed(do=self._once("do", step.do, error()))
        self._drive(self._engine(disturbed))
        self._expect_success(["do", "do"])

    def _aborting(self, *, before: bool) -> Act:
        step = self._step()

        def do(context: StepContext[Any, Any]) -> Result:
            if not before:
                step.do(context)
            self.hits.append("do")
            raise SagaAbort("harness", "The harness made this step fail.")

        return do

    def _fail(self, *, before: bool) -> None:
        self._drive(self._engine(self._changed(do=self._aborting(before=before))))
        self._expect_failure(records.FAILED, ["do"])

    def _undo(self, error: type[BaseException]) -> None:
        undo = self._once("undo", self._step().undo, error())
        self._drive(self._engine(self._changed(do=self._aborting(before=False), undo=undo)))
        self._expect_failure(records.FAILED, ["do", "undo", "undo"])

    def _cancel(self) -> None:
        step, store = self._step(), self.case.store

        def do(context: StepContext[Any, Any]) -> Result:
            result = step.do(context)
            self.hits.append("do")
            with self.case.database.write() as tx:
                store.cancel(tx, self.saga_id)
            return result

        self._drive(self._engine(self._changed(do=do)))
        if self.case.saga.cancellable:
            self._expect_failure(records.CANCELLED, ["do"])
        else:
            self._expect_success(["do"])

    def _repeat_hook(self, *, failed: bool) -> None:
        saga = self.case.saga
        hook = self._once("hook", saga.on_failed if failed else saga.on_done, Killed())
        last = saga.steps[-1]
        steps = list(saga.steps)
        if failed:
            self.scenario = Scenario(self.scenario.kind, last.name)
            steps[-1] = dataclasses.replace(last, do=self._aborting(before=False))
        disturbed = Saga(
            saga.name, *steps, params=saga.params, cancellable=saga.cancellable,
            max_rounds=saga.max_rounds, secrets=saga.secrets,
            on_done=saga.on_done if failed else hook, on_failed=hook if failed else saga.on_failed,
        )
        self._drive(self._engine(disturbed))
        if failed:
            self._expect_failure(records.FAILED, ["do", "hook", "hook"])
        else:
            self._expect_success(["hook", "hook"])

    def _takeover(self) -> None:
        """The first runner is paused inside the step; the second one takes the saga to its end."""
        self._pass_on(acts_before_pause=True)
        self._expect_success(["do", "do"])

    def _late(self, *, undone: bool) -> None:
        """The first runner is paused before it acts, and acts when the second one has ended the saga."""
        self._pass_on(acts_before_pause=False, cancel=undone)
        self.case.mend()
        if undone:
            self._expect_failure(records.CANCELLED, ["do"])
        else:
            self._expect_success(["do", "do"])

    def _pass_on(self, *, acts_before_pause: bool, cancel: bool = False) -> None:
        """Pause the first runner at the step until the second one has ended the saga."""
        step = self._step()
        paused, go_on = threading.Event(), threading.Event()

        def pause() -> None:
            paused.set()
            assert go_on.wait(WAIT_S), "the paused runner was never woken"

        def do(context: StepContext[Any, Any]) -> Result:
            first = not self.hits
            self.hits.append("do")
            if first and not acts_before_pause:
                pause()
            result = step.do(context)
            if first and acts_before_pause:
                pause()
            return result

        disturbed = self._changed(do=do)
        first_engine = self._engine(disturbed, "first")
        self.saga_id = self.case.submit()
        first = threading.Thread(target=first_engine.run_due)
        first.start()
        try:
            assert paused.wait(WAIT_S), f"{self.scenario} was never reached"
            if cancel:
                with self.case.database.write() as tx:
                    self.case.store.cancel(tx, self.saga_id)
            self._finish(self._engine(disturbed, "second"))
            before = self._record()
        finally:
            go_on.set()
            first.join(WAIT_S)
        assert not first.is_alive(), "the runner that was woken did not end"
        assert self._record() == before, "the runner that had lost its lease wrote a mark"

    # -- driving ------------------------------------------------------------------------------

    def _engine(self, saga: Saga, name: str = "first") -> Engine:
        return Engine(
            self.case.database, self.case.store, [saga, *self.case.others],
            deps=self.case.deps, name=name,
        )

    def _drive(self, engine: Engine) -> None:
        self.saga_id = self.case.submit()
        self._finish(engine)

    def _finish(self, engine: Engine) -> None:
        for _ in range(_ROUNDS):
            try:
                engine.run_due()
            except Killed:
                self.case.clock.now += LEASE_S
            if self._settled():
                return
            self.case.clock.now += _ROUND_S
        record = self._record()
        raise AssertionError(
            f"{self.scenario} did not end: {record.state} after {record.error_step}"
            f" {record.error_detail}; {[(s.name, s.state, s.error_detail) for s in record.steps]}"
        )

    def _settled(self) -> bool:
        with self.case.database.read() as tx:
            return not self.case.store.in_state(tx, records.ACTIVE)

    def _record(self) -> records.SagaRecord:
        with self.case.database.read() as tx:
            record = self.case.store.load(tx, self.saga_id)
        assert record is not None
        return record

    # -- judging ------------------------------------------------------------------------------

    def _expect_success(self, hits: list[str]) -> None:
        record = self._record()
        assert record.state == records.DONE, (record.state, record.error_step, record.error_detail)
        assert self.hits == hits, f"{self.scenario} hit {self.hits}"
        problems = self.case.missing()
        assert not problems, problems

    def _expect_failure(self, state: str, hits: list[str]) -> None:
        record = self._record()
        assert self.hits == hits, f"{self.scenario} hit {self.hits}"
        assert record.state == state, (record.state, record.error_step, record.error_detail)
        if state == records.FAILED:
            assert (record.error_step, record.error_code) == (self.scenario.step, "harness")
        if self.case.recover():
            self._finish(self._engine(self.case.saga, "recovery"))
        left = self.case.leftovers()
        assert not left, left
