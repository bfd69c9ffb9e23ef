"""What a saga is: named steps, each with `do` and `undo`, and what they are handed.

Owns: `Saga`, `Step`, `StepContext`, the exceptions that steer a saga. Must not: touch a database.
Follows docs/adr/0003-sagas.md.

    CREATE = Saga(
        "nova.server.create",
        Step("claim", do=claim_host, undo=release_claim, task_state="scheduling"),
        Step("spawn", do=spawn_guest, undo=destroy_guest, task_state="spawning", timeout_s=1800),
        Step("finish", do=mark_active),
        params=ServerCreate,
        on_failed=mark_error,
    )

Rules for the writer of a step: it may be repeated, from the start, in another process; an undo may be asked
of a step that never did anything; outside effects carry `step.key` or a name that follows from the ids;
ids are made when the saga is submitted; results are small.
"""

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gureum.core.context import Context, current_ids
from gureum.core.db.engine import Tx
from gureum.core.shapes import ready

P = TypeVar("P")
D = TypeVar("D")

_SAGA_NAME = re.compile(r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$")
_STEP_NAME = re.compile(r"^[a-z0-9_-]{1,48}$")

Result = Mapping[str, Any] | None


class SagaAbort(Exception):
    """A step cannot succeed: undo everything. `text` may be shown to the user, `detail` to operators."""

    def __init__(self, code: str, text: str, *, detail: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.detail = detail


class Retry(SagaAbort):
    """Undo back to and including the step `to`, then go forward from there again.

    Counted against `Saga.max_rounds`; beyond it the saga is aborted with this code and text.
    """

    def __init__(self, to: str, code: str, text: str, *, detail: str | None = None) -> None:
        super().__init__(code, text, detail=detail)
        self.to = to


class LeaseLost(Exception):
    """Another runner took the saga over: stop, and leave everything to it."""


class SagaBusy(Exception):
    """The resource is in the hands of another exclusive saga."""

    def __init__(self, resource_id: str, saga_id: str, name: str) -> None:
        super().__init__(f"{resource_id} is busy with {name or 'another saga'} {saga_id}".rstrip())
        self.resource_id = resource_id
        self.saga_id = saga_id
        self.name = name


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked for the saga: what is kept of the request's context. Never a token."""

    request_id: str = ""
    global_request_id: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    user_domain_id: str | None = None
    user_domain_name: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None
    domain_id: str | None = None
    system: bool = False
    roles: tuple[str, ...] = ()
    traceparent: str | None = None

    @classmethod
    def of(cls, ctx: Context) -> "Requester":
        """Return what is kept of a context, and of the span that the request is in."""
        names = [known.name for known in dataclasses.fields(cls) if known.name != "traceparent"]
        kept = {name: getattr(ctx, name) for name in names}
        return cls(**kept, traceparent=current_ids().get("traceparent"))


ready(Requester)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A step of an earlier round of the same saga (see `Retry`)."""

    round: int
    result: Mapping[str, Any]
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class Setback:
    """An error of a step in an earlier round, which led to this round."""

    step: str
    round: int
    code: str
    text: str
    detail: str


@dataclass(slots=True)
class StepContext(Generic[P, D]):
    """What `do`, `undo`, `when`, `on_done` and `on_failed` are handed.

    `results` maps the names of finished steps to their results. `key` and `generation` go with every
    command to an agent. `deps` is the object that the service gave to its engine. `tries` counts from 1.
    In an undo, `done` says whether the step is known to have finished; `result` is empty when it is not.
    A step that waits for long asks `stop_wanted()` now and then, and looks at `lost`.
    """

    saga_id: str
    saga: str
    step: str
    resource_id: str
    params: P
    results: Mapping[str, Mapping[str, Any]]
    key: str
    generation: int
    requester: Requester
    deps: D
    round: int = 0
    tries: int = 1
    done: bool = False
    error_code: str | None = None
    error_text: str | None = None
    error_detail: str | None = None
    cancelled: bool = False
    deadline: float = 0.0
    clock: Callable[[], float] = time.time
    earlier: Sequence[Earlier] = ()
    setbacks: Sequence[Setback] = ()
    lost: threading.Event = field(default_factory=threading.Event)
    report: Callable[[str], None] = lambda text: None
    stop_wanted: Callable[[], bool] = lambda: False
    writes: list[Callable[[Tx], None]] = field(default_factory=list)

    @property
    def result(self) -> Mapping[str, Any]:
        """The result of this step's `do` (for its undo); empty when it did not finish."""
        return self.results.get(self.step, {})

    def at_mark(self, write: Callable[[Tx], None]) -> None:
        """Run `write(tx)` in the transaction that marks this step as done (or undone).

        So the step's own rows and its mark are committed together or not at all.
        """
        self.writes.append(write)

    def progress(self, text: str) -> None:
        """Show a short text, such as "40 %", beside the running step. Raises: LeaseLost."""
        self.report(text)

    def left_s(self) -> float:
        """Seconds that this step has left; at least one, so that it can be used as a timeout."""
        return max(1.0, self.deadline - self.clock())


Do = Callable[[StepContext[Any, Any]], Result]
Undo = Callable[[StepContext[Any, Any]], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Its name is stored: to rename it, keep the old one in `aliases`.

    Errors with a true `retryable` attribute are retried with exponential backoff, at most `tries` times
    (None: without limit) and no longer than `timeout_s` after the first try; every other error unwinds the
    saga. Errors of an undo are all retried `undo_tries` times, then the saga is stuck (and is still tried
    again now and then). `when` is a quick question without side effects: False skips the step.
    """

    name: str
    do: Do
    undo: Undo | None = None
    task_state: str | None = None
    timeout_s: float = 300.0
    tries: int | None = 8
    undo_tries: int = 12
    backoff_s: tuple[float, float] = (0.5, 30.0)
    when: Callable[[StepContext[Any, Any]], bool] | None = None
    aliases: tuple[str, ...] = ()


END = "@end"
"""The name under which `on_done` or `on_failed` is recorded."""


class Saga:
    """A verb of several steps.

    `params` is the frozen dataclass that `submit` takes. `on_done` and `on_failed` run like a step before
    the saga ends, and are retried until they succeed. A saga with `cancellable=False` goes on when it is
    cancelled. `secrets` are names of parameters that are forgotten when the saga ends; they have defaults.
    """

    __slots__ = (
        "cancellable",
        "max_rounds",
        "name",
        "on_done",
        "on_failed",
        "params",
        "secrets",
        "steps",
    )

    def __init__(
        self,
        name: str,
        *steps: Step,
        params: type,
        on_done: Do | None = None,
        on_failed: Do | None = None,
        cancellable: bool = True,
        max_rounds: int = 3,
        secrets: Sequence[str] = (),
    ) -> None:
        if not _SAGA_NAME.match(name):
            raise ValueError(f"a saga is named like nova.server.create, not {name!r}")
        names = [known for step in steps for known in (step.name, *step.aliases)]
        if not steps or len(set(names)) != len(names):
            raise ValueError(f"{name} needs steps with different names")
        wrong = [known for known in names if not _STEP_NAME.match(known)]
        if wrong:
            raise ValueError(f"{name}: {wrong[0]!r} is no name of a step")
        self.name = name
        self.steps = steps
        self.params = params
        ready(params)  # runners are threads
        self.on_done = on_done
        self.on_failed = on_failed
        self.cancellable = cancellable
        self.max_rounds = max_rounds
        self.secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, {', '.join(step.name for step in self.steps)})"

    def index(self, step_name: str) -> int:
        """Return the position of a step by its name or an old one. Raises: KeyError."""
        for position, step in enumerate(self.steps):
            if step_name == step.name or step_name in step.aliases:
                return position
        raise KeyError(f"{self.name} has no step {step_name}")

    def end_step(self, *, failed: bool) -> Step | None:
        """Return the closing hook as a step that is retried without limit."""
        hook = self.on_failed if failed else self.on_done
        if hook is None:
            return None
        return Step(END, do=hook, tries=None, timeout_s=float("inf"))

    def changed(self, **replaced: Step) -> "Saga":
        """Return a copy in which the named steps are others; for tests."""
        steps = [replaced.get(step.name, step) for step in self.steps]
        return Saga(
            self.name,
            *steps,
            params=self.params,
            on_done=self.on_done,
            on_failed=self.on_failed,
            cancellable=self.cancellable,
            max_rounds=self.max_rounds,
            secrets=self.secrets,
        )
