"""The loop of every networking agent: full and delta answers, problems, backoff, stopping."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gureum.core.bus.local import LocalBus
from gureum.core.machine import HostNameTaken, taken
from gureum.neutron.agents.base import Agent, AgentOptions
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    AgentAck,
    AgentReport,
    L2Network,
    L2State,
    NetworkAgent,
    poke_address,
)

RED, BLUE = L2Network("red", "local"), L2Network("blue", "local")
FAST = AgentOptions(poll_interval_s=60.0, report_interval_s=0.05)


class Recorder(Agent):
    """An agent that notes what it is asked to converge."""

    binary, agent_type, topic = "test-agent", "Test agent", "test"

    def __init__(self, options: AgentOptions = FAST) -> None:
        super().__init__("host", options, self)
        self.answers: list[L2State | Exception] = []
        self.asked: list[int] = []
        self.seen: list[dict[str, set[str]]] = []
        self.reports: list[AgentReport] = []
        self.refusal: HostNameTaken | None = None
        self.act: Callable[[StateBook, Changes], list[Problem]] = lambda book, changes: []
        self._happened = threading.Condition()

    def fetch(self, since: int) -> L2State:
        self._happen(self.asked, since)
        answer = self.answers.pop(0) if self.answers else L2State(self.book.revision, full=False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        problems = self.act(book, changes)
        self._happen(
            self.seen,
            {
                "+": changes.changed.get("networks", set()).copy(),
                "-": changes.removed.get("networks", set()).copy(),
            },
        )
        return problems

    def report(self, report: AgentReport) -> AgentAck:
        self._happen(self.reports, report)
        if self.refusal is not None:
            raise self.refusal
        return AgentAck(0)

    def _happen(self, into: list[Any], value: Any) -> None:
        with self._happened:
            into.append(value)
            self._happened.notify_all()

    def until(self, fact: Callable[[], bool]) -> None:
        with self._happened:
            assert self._happened.wait_for(fact, 5.0)


@pytest.fixture
def agent() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.stop()


def test_full_answer_lists_changes_and_what_is_gone() -> None:
    book = StateBook()
    assert book.take(L2State(1, networks=(RED, BLUE))).changed == {"networks": {"red", "blue"}}
    assert not book.take(L2State(1, networks=(RED, BLUE)))
    changes = book.take(L2State(2, networks=(L2Network("red", "local", 1400),)))
    assert changes.changed == {"networks": {"red"}}
    assert changes.removed == {"networks": {"blue"}}
    assert set(book.all("networks")) == {"red"}


def test_delta_answer_leaves_alone_what_it_does_not_list() -> None:
    book = StateBook()
    book.take(L2State(1, networks=(RED, BLUE)))
    changes = book.take(L2State(5, full=False, removed={"networks": ["red", "unknown"]}))
    assert changes.removed == {"networks": {"red"}}
    assert set(book.all("networks")) == {"blue"}
    assert book.revision == 5


def test_late_delta_changes_nothing() -> None:
    book = StateBook()
    book.take(L2State(5, networks=(RED,)))
    assert not book.take(L2State(4, full=False, removed={"networks": ["red"]}))
    assert book.revision == 5


def test_nothing_is_converged_before_the_first_answer(agent: Recorder) -> None:
    agent.answers = [ConnectionError("away"), L2State(3, networks=(RED,))]
    agent.start()
    agent.until(lambda: bool(agent.seen))
    assert agent.seen == [{"+": {"red"}, "-": set()}]
    assert agent.asked == [0, 0]


def test_empty_cloud_with_revision_0_is_converged(agent: Recorder) -> None:
    agent.answers = [L2State(0)]
    agent.start()
    agent.until(lambda: bool(agent.seen))
    assert not agent.trouble()


def test_failed_converge_gets_the_same_changes_again(agent: Recorder) -> None:
    failures = iter([OSError("switch is away")])

    def act(book: StateBook, changes: Changes) -> list[Problem]:
        for error in failures:
            raise error
        return []

    agent.act = act
    agent.answers = [L2State(3, networks=(RED,))]
    agent.start()
    agent.until(lambda: bool(agent.seen))
    assert agent.seen[0]["+"] == {"red"}


def test_problem_is_tried_again_alone_and_reported(agent: Recorder) -> None:
    bad = [Problem("networks", "red", "no bridge")]
    agent.act = lambda book, changes: bad if len(agent.seen) == 0 else []
    agent.answers = [L2State(3, networks=(RED, BLUE))]
    agent.start()
    told = ("networks red: no bridge",)
    agent.until(lambda: any(report.problems == told for report in agent.reports))
    agent.until(lambda: len(agent.seen) >= 2)
    assert agent.seen[1] == {"+": {"red"}, "-": set()}
    agent.until(lambda: agent.reports[-1].problems == ())


def test_poke_over_the_bus_asks_with_the_known_revision(agent: Recorder) -> None:
    bus = LocalBus()
    agent.answers = [L2State(3, networks=(RED,)), L2State(4, full=False, networks=(BLUE,))]
    agent.serve(bus)
    agent.start()
    agent.until(lambda: len(agent.seen) == 1)
    client = bus.client(NetworkAgent, poke_address(agent.binary, "host"))
    client.changed(3, ["networks"])  # known already
    client.changed(4, ["networks"])
    agent.until(lambda: len(agent.seen) == 2)
    assert agent.asked == [0, 3]
    assert agent.seen[1] == {"+": {"blue"}, "-": set()}
    bus.close()


def test_poll_asks_without_a_poke() -> None:
    agent = Recorder(AgentOptions(poll_interval_s=0.05, report_interval_s=60.0))
    agent.answers = [L2State(3)]
    agent.start()
    agent.until(lambda: len(agent.asked) >= 3)
    agent.stop()
    assert agent.asked[:3] == [0, 3, 3]


def test_heartbeat_goes_on_and_stop_returns_while_converge_is_stuck(agent: Recorder) -> None:
    entered, release = threading.Event(), threading.Event()

    def act(book: StateBook, changes: Changes) -> list[Problem]:
        entered.set()
        release.wait(10.0)
        return []

    agent.act = act
    agent.answers = [L2State(3)]
    agent.start()
    assert entered.wait(5.0)
    count = len(agent.reports)
    agent.until(lambda: len(agent.reports) >= count + 3)
    assert agent.reports[-1].configurations["converging_for_seconds"] > 0
    started = time.monotonic()
    agent.stop()
    assert time.monotonic() - started < 1.0
    release.set()


def test_agent_whose_host_name_is_anothers_fetches_nothing_and_takes_no_pokes(
    agent: Recorder,
) -> None:
    bus = LocalBus()
    agent.machine_id = "ours"
    agent.refusal = taken("host", "another", None)
    agent.answers.append(L2State(revision=3, full=True, networks=(RED,)))
    agent.serve(bus)
    agent.start()
    agent.wake(fetch=True)
    agent.until(lambda: len(agent.reports) > 3)
    assert agent.reports[-1].machine_id == "ours"
    assert "belongs to another machine" in agent.trouble()
    assert (agent.asked, agent.seen, bus.loads()) == ([], [], [])
    agent.refusal = None
    agent.until(lambda: agent.seen == [{"+": {"red"}, "-": set()}])
    assert [key for key, _ in bus.loads()] == [("neutron-agent", "test-agent.host")]
    agent.refusal = taken("host", "another", None)
    count = len(agent.reports)
    agent.until(lambda: len(agent.reports) > count + 2)
    assert bus.loads() == []
    asked = len(agent.asked)
    agent.wake(fetch=True)
    count = len(agent.reports)
    agent.until(lambda: len(agent.reports) > count + 2)
    assert len(agent.asked) == asked
