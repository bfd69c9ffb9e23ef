"""The loop every networking agent runs: fetch the wanted state, converge on it, tell how it went.

Owns: Agent (threads, polling, pokes, backoff, heartbeat); what it compares is in book.py. Must not: know
what is being converged. A converge acts on differences only and never flushes, so a restart of an agent
leaves traffic alone; one bad item is a Problem and never stops the others. With a `machine_id` nothing is
fetched until the server took a heartbeat, and nothing any more once it refused one: the host name is
another machine's.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from gureum.core import log as logs
from gureum.core import trace
from gureum.core.bus.contract import AgentError
from gureum.core.config import option
from gureum.core.context import Stories, log_ids
from gureum.core.machine import HostNameTaken
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    INSPECT_S,
    AgentAck,
    AgentInspection,
    AgentReport,
    FoundItem,
    NetworkAgent,
    StateAnswer,
    poke_address,
)

log = logs.get(__name__)

_STOP_WAIT_S = 0.9
_BACKOFF_FIRST_S = 0.5
_BACKOFF_MAX_S = 30.0
_WAIT_MAX_S = 3600.0
_LOOK_S = 10.0
"""How often an agent looks for what its host has lost (a daemon, a namespace), without asking the server."""
_REST_TIMES = 3.0
_REST_MAX_S = 0.5
"""An agent that is hinted again and again rests so many times as long as its last fetch took: what changes
in a burst is fetched together, and no burst makes the server look up the same network for every port."""


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What every networking agent can be told; each agent's config.py extends it."""

    poll_interval_s: float = option(
        "How often the wanted state is asked for without a hint; the answer to a heartbeat is one.",
        default=60.0,
        unit="s",
        min=0.05,
    )
    report_interval_s: float = option(
        "How often the agent says that it lives.", default=10.0, unit="s", min=0.05
    )
    availability_zone: str = option("Availability zone of this agent.", default="nova")


class Reports(Protocol):
    """The part of NetworkState that every agent uses for its heartbeat."""

    def report(self, report: AgentReport) -> AgentAck:
        """Take a heartbeat."""


class Backoff:
    """Waiting times that double with every failure in a row."""

    def __init__(self, first_s: float = _BACKOFF_FIRST_S, max_s: float = _BACKOFF_MAX_S) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._failures = 0

    def failed(self) -> float:
        """Return how long to wait after one more failure."""
        self._failures += 1
        return min(self._first_s * 2.0 ** min(self._failures - 1, 16), self._max_s)

    def passed(self) -> None:
        """Forget the failures."""
        self._failures = 0


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


class Agent(ABC):
    """A networking agent: subclasses say how to fetch and how to converge.

    Start with `start()`; serve it on the bus with `serve(bus)`; `stop()` returns within a second,
    whatever the agent is doing, and leaves the data plane as it is.
    """

    binary: ClassVar[str]
    agent_type: ClassVar[str]
    topic: ClassVar[str]

    machine_id: str = ""
    """Of this machine (core/machine.py); set before the start."""

    def __init__(self, host: str, options: AgentOptions, server: Reports) -> None:
        self.host = host
        self.book = StateBook()
        self.problems: tuple[Problem, ...] = ()
        self.last_converge_s = 0.0
        self.converged_revision = 0
        self.passes = 0
        self._base_options = options
        self._server = server
        self._pending = Changes()
        self._stories = Stories()
        self._woken = threading.Condition()
        self._wake_asked = False
        self._fetch_asked = True
        self._stopping = False
        self._retry_at = float("inf")
        self._fetch_at = 0.0
        self._look_at = 0.0
        self._rest_until = 0.0
        self._fetch_backoff = Backoff()
        self._converge_backoff = Backoff()
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._converging_since: float | None = None
        self._failing = {"converge": "not done yet", "fetch": "", "report": ""}
        self._threads: list[threading.Thread] = []
        self._bus: Any = None
        self._service: Any = None
        self._member = False
        self._asked: list[tuple[Callable[[], Any], Future[Any]]] = []

    # --- what a subclass gives -----------------------------------------------------------------

    @abstractmethod
    def fetch(self, since: int) -> StateAnswer:
        """Ask the server for the wanted state of this host."""

    @abstractmethod
    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Make `book` true on this host by differences; return what could not be done.

        Called with every id that changed since the last success (also the ids of earlier Problems),
        and with empty changes after a local wake or a poll. Raising means: nothing of `changes`
        counts as done.
        """

    def configurations(self) -> dict[str, Any]:
        """Return what the agents API shows about this agent."""
        return {}

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        """Return what is not as `book` says, and how many things were compared. Changes nothing."""
        return [], 0

    def doubt(self) -> None:  # noqa: B027 (an agent that remembers nothing has nothing to forget)
        """Forget what an earlier pass found, so that the next one looks at everything."""

    def on_start(self) -> None:  # noqa: B027 (most agents need none)
        """Prepare the host, in the agent's own thread; it is retried until it passes."""

    def on_stop(self) -> None:  # noqa: B027 (most agents need none)
        """Let go of sockets and threads; the data plane stays."""

    # --- outside -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the loop and the heartbeat."""
        for name, target in (("loop", self._loop), ("heartbeat", self._heartbeat)):
            thread = threading.Thread(target=target, name=f"{self.binary}-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop within a second; a stuck converge is left behind in its daemon thread."""
        with self._woken:
            self._stopping = True
            self._woken.notify_all()
        deadline = time.monotonic() + _STOP_WAIT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._service is not None:
            self._service.close(wait=False)
        self.on_stop()

    def serve(self, bus: Any) -> None:
        """Take pokes from the server, as soon as it knows this agent."""
        self._bus = bus
        if self._may_work():
            self._take_pokes()

    def _take_pokes(self) -> None:
        if self._bus is not None and self._service is None:
            self._service = self._bus.serve(
                NetworkAgent, self, poke_address(self.binary, self.host), workers=2
            )

    def _may_work(self) -> bool:
        return self._member or not self.machine_id

    def _be_member(self, member: bool) -> None:
        """Begin to work under the host name, or stop: it is another machine's."""
        if member == self._member or not self.machine_id:
            return
        self._member = member
        if member:
            self._take_pokes()
            self.wake(fetch=True)
        elif self._service is not None:
            self._service.close(wait=False)
            self._service = None

    def changed(self, revision: int, kinds: list[str]) -> None:
        """Take a poke: ask for the state now, unless it is known already."""
        if revision > self.book.revision or revision == 0:
            self._stories.note()
            self.wake(fetch=True)

    def wake(self, *, fetch: bool = False) -> None:
        """Run a pass now; with `fetch`, ask the server first."""
        with self._woken:
            self._wake_asked = self._wake_asked or not fetch
            self._fetch_asked = self._fetch_asked or fetch
            self._woken.notify_all()

    def inspect(self) -> AgentInspection:
        """Compare what is wanted with what is there. Raises: AgentError (it cannot look now)."""

        def work() -> AgentInspection:
            items, looked_at = self.look(self.book)
            return AgentInspection(
                binary=self.binary,
                host=self.host,
                revision=self.book.revision,
                wanted=self.book.ids(),
                items=tuple(items),
                problems=tuple(str(problem) for problem in self.problems[:100]),
                looked_at=looked_at,
            )

        found: AgentInspection = self._between_passes(work)
        return found

    def mend(self) -> list[str]:
        """Fetch, look at everything, converge; return the problems that are left."""

        def work() -> list[str]:
            self.doubt()
            with self._woken:
                self._fetch_asked, self._rest_until = True, 0.0
            self._fetch_if_due()
            self._converge_pending()
            failing = [f"{what}: {text}" for what, text in self._failing.items() if text]
            return [*failing, *(str(problem) for problem in self.problems)]

        left: list[str] = self._between_passes(work)
        return left

    def _between_passes(self, work: Callable[[], Any]) -> Any:
        """Run work in the loop's thread, where nothing changes meanwhile."""
        done: Future[Any] = Future()
        with self._woken:
            if self._stopping or not self._threads:
                raise AgentError("stopped", f"{self.binary} does not run")
            self._asked.append((work, done))
            self._woken.notify_all()
        try:
            return done.result(INSPECT_S - 5.0)
        except FutureTimeout as error:
            raise AgentError("busy", f"{self.binary} is busy with a pass") from error
        finally:
            done.cancel()

    def _answer_asked(self) -> None:
        with self._woken:
            asked, self._asked = self._asked, []
        for work, done in asked:
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(work())
            except Exception as error:  # border: an agent's worker
                log.error("look at the host failed", agent=self.binary, exc_info=True)
                done.set_exception(AgentError("look_failed", _said(error)))

    def trouble(self) -> str:
        """Return what keeps the whole agent from its work; nothing when all is well."""
        return "; ".join(f"{what}: {text}" for what, text in self._failing.items() if text)

    @property
    def stopping(self) -> bool:
        """Return whether stop() was called."""
        return self._stopping

    # --- the loop ------------------------------------------------------------------------------

    def _loop(self) -> None:
        if not self._started():
            return
        while self._wait_for_work():
            self._answer_asked()
            if not self._is_pass_due():
                continue
            ids = self._stories.take()
            if not ids:
                self._fetch_if_due()
                self._converge_pending()
                continue
            with log_ids(**ids), trace.Span(trace.PASS, self.binary, log) as span:
                self._fetch_if_due()
                self._converge_pending()
                span.end(failed=bool(self.trouble()), host=self.host)

    def _started(self) -> bool:
        backoff = Backoff()
        while not self._stopping:
            try:
                self.on_start()
                return True
            except Exception as error:  # border: an agent's worker
                wait_s = backoff.failed()
                self._failing["converge"] = _said(error)
                log.warning(
                    "agent cannot start yet", agent=self.binary, error=error, retry_s=wait_s
                )
                self._sleep(wait_s)
        return False

    def _sleep(self, seconds: float) -> None:
        with self._woken:
            if not self._stopping:
                self._woken.wait_for(lambda: self._stopping, timeout=seconds)

    def _wait_for_work(self) -> bool:
        """Wait for a wake, the poll time or a retry; return False when stopping."""
        with self._woken:
            while not self._stopping:
                now, due = time.monotonic(), self._due_at()
                if self._wake_asked or self._asked or now >= due:
                    break
                self._woken.wait(min(due - now, _WAIT_MAX_S))
            return not self._stopping

    def _due_at(self) -> float:
        """When the next pass is due by itself: a poll, a look, a retry, or a hint after the rest."""
        if not self._may_work():
            return float("inf")
        hinted_at = self._rest_until if self._fetch_asked else float("inf")
        return min(self._fetch_at, self._look_at, self._retry_at, hinted_at)

    def _is_pass_due(self) -> bool:
        """Whether a pass is due, and not only somebody who asks."""
        with self._woken:
            due, self._wake_asked = self._wake_asked and self._may_work(), False
            return due or time.monotonic() >= self._due_at()

    def _fetch_if_due(self) -> None:
        now = time.monotonic()
        with self._woken:
            hinted = self._fetch_asked and now >= self._rest_until
            if not (hinted or now >= self._fetch_at):
                return
            self._fetch_asked = False
        try:
            answer = self.fetch(self.book.revision)
        except Exception as error:  # border: an agent's worker
            wait_s = self._fetch_backoff.failed()
            self._fetch_at = time.monotonic() + wait_s
            self._failing["fetch"] = _said(error)
            log.warning("state not fetched", agent=self.binary, error=error, retry_s=wait_s)
            return
        took_s = time.monotonic() - now
        self._rest_until = time.monotonic() + min(_REST_MAX_S, _REST_TIMES * took_s)
        self._fetch_backoff.passed()
        self._failing["fetch"] = ""
        self._fetch_at = time.monotonic() + self._base_options.poll_interval_s
        self._pending.update(self.book.take(answer))

    def _converge_pending(self) -> None:
        if not self.book.known:
            self._look_at = self._fetch_at
            return  # nothing known must not become nothing wanted
        changes, self._pending = self._pending, Changes()
        self._look_at = time.monotonic() + _LOOK_S
        started = self._converging_since = time.monotonic()
        try:
            problems = self.converge(self.book, changes)
        except Exception as error:  # border: an agent's worker
            changes.update(self._pending)
            self._pending = changes
            self._retry_at = time.monotonic() + self._converge_backoff.failed()
            self._look_at = self._retry_at
            self.problems = (Problem("agent", self.host, str(error)),)
            self._failing["converge"] = _said(error)
            log.error("converge failed", exc_info=True, agent=self.binary, host=self.host)
            return
        finally:
            self._converging_since = None
        self.last_converge_s = time.monotonic() - started
        self.converged_revision = self.book.revision
        self._note(problems)
        self._failing["converge"] = ""
        self.passes += 1
        if changes:
            log.info(
                "converged",
                agent=self.binary,
                revision=self.book.revision,
                changed=sum(map(len, changes.changed.values())),
                removed=sum(map(len, changes.removed.values())),
                problems=len(problems),
                seconds=self.last_converge_s,
            )

    def _note(self, problems: list[Problem]) -> None:
        known = set(self.problems)
        for problem in problems:
            if problem not in known:
                log.error("not converged", agent=self.binary, problem=problem)
            gone = self.book.get(problem.kind, problem.id) is None
            self._pending.add(problem.kind, problem.id, gone=gone)
        self.problems = tuple(problems)
        if problems:
            self._retry_at = time.monotonic() + self._converge_backoff.failed()
        else:
            self._retry_at = float("inf")
            self._converge_backoff.passed()

    # --- the heartbeat -------------------------------------------------------------------------

    def _report(self) -> AgentReport:
        since = self._converging_since
        return AgentReport(
            binary=self.binary,
            agent_type=self.agent_type,
            host=self.host,
            topic=self.topic,
            started_at=self._started_at,
            availability_zone=self._base_options.availability_zone,
            configurations={
                **self.configurations(),
                "converge_seconds": round(self.last_converge_s, 3),
                "converging_for_seconds": round(time.monotonic() - since, 3) if since else 0.0,
            },
            revision=self.converged_revision,
            problems=tuple(str(problem) for problem in self.problems[:20]),
            machine_id=self.machine_id,
        )

    def _heartbeat(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            try:
                ack = self._server.report(self._report())
                backoff.passed()
                self._failing["report"] = ""
                self._be_member(True)
                wait_s = self._base_options.report_interval_s
                if ack.revision > self.book.revision:
                    self.wake(fetch=True)
            except HostNameTaken as error:
                wait_s = self._base_options.report_interval_s
                if self._failing["report"] != _said(error):
                    log.error("this host is refused", agent=self.binary, error=error.text)
                self._failing["report"] = _said(error)
                self._be_member(False)
            except Exception as error:  # border: an agent's worker
                wait_s = min(backoff.failed(), self._base_options.report_interval_s)
                self._failing["report"] = _said(error)
                log.warning("heartbeat not taken", agent=self.binary, error=error, retry_s=wait_s)
            self._sleep(wait_s)
