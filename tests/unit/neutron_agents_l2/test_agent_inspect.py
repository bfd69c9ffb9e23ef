"""What an agent answers an audit: between two passes, from what is there and not from memory."""

import threading
from collections.abc import Iterator

import pytest

from gureum.core.bus.contract import AgentError
from gureum.core.bus.local import LocalBus
from gureum.core.runner import FakeRunner
from gureum.neutron.agents import base
from gureum.neutron.agents.base import Agent, AgentOptions
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    MISSING,
    AgentAck,
    AgentReport,
    FoundItem,
    L2Network,
    L2State,
    NetworkAgent,
    poke_address,
)
from gureum.neutron.agents.ovs.flows import Flow, FlowTable

RED = L2Network("red", "local")


class Looking(Agent):
    """An agent that finds one thing missing until it doubts what it knows."""

    binary, agent_type, topic = "looking-agent", "Test agent", "test"

    def __init__(self) -> None:
        super().__init__("host", AgentOptions(poll_interval_s=60.0), self)
        self.found = [FoundItem("device", "tap1", "red", MISSING)]
        self.passed = threading.Event()
        self.looked_in = ""

    def fetch(self, since: int) -> L2State:
        return L2State(7, networks=(RED,))

    def report(self, report: AgentReport) -> AgentAck:
        return AgentAck(0)

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        self.looked_in = threading.current_thread().name
        return list(self.found), 3

    def doubt(self) -> None:
        self.found.clear()

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        self.passed.set()
        return [] if not self.found else [Problem("networks", "red", "tap1 is missing")]


@pytest.fixture
def bus() -> Iterator[LocalBus]:
    made = LocalBus()
    yield made
    made.close()


@pytest.fixture
def agent(bus: LocalBus) -> Iterator[Looking]:
    made = Looking()
    made.serve(bus)
    made.start()
    assert made.passed.wait(5.0)
    yield made
    made.stop()


def test_agent_looks_at_its_host_between_two_polls(
    bus: LocalBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What died meanwhile is not found only when the server is asked again, a minute later."""
    monkeypatch.setattr(base, "_LOOK_S", 0.05)
    agent = Looking()
    fetched: list[int] = []
    fetch = agent.fetch
    monkeypatch.setattr(agent, "fetch", lambda since: fetched.append(since) or fetch(since))
    agent.start()
    try:
        for _ in range(3):
            assert agent.passed.wait(5.0)
            agent.passed.clear()
        assert len(fetched) == 1
    finally:
        agent.stop()


def test_inspect_and_mend_over_the_bus(bus: LocalBus, agent: Looking) -> None:
    client = bus.client(NetworkAgent, poke_address(agent.binary, "host"))
    seen = client.inspect()
    assert (seen.revision, seen.looked_at) == (7, 3)
    assert seen.wanted["networks"] == ["red"]
    assert [item.name for item in seen.items] == ["tap1"]
    assert agent.looked_in == "looking-agent-loop"
    assert client.mend() == []
    assert client.inspect().items == ()


def test_look_that_fails_is_told_and_the_agent_goes_on(agent: Looking) -> None:
    def fail(book: StateBook) -> tuple[list[FoundItem], int]:
        raise OSError("no such device")

    agent.look = fail  # type: ignore[method-assign]
    with pytest.raises(AgentError, match="no such device"):
        agent.inspect()
    assert agent.mend() == []


def test_agent_that_does_not_run_says_so() -> None:
    with pytest.raises(AgentError, match="does not run"):
        Looking().inspect()


def test_flows_are_compared_with_the_switch_and_not_with_memory() -> None:
    one, two = Flow(0, 1, "in_port=1", "drop"), Flow(0, 1, "in_port=2", "drop")
    stray = Flow(9, 9, "in_port=9", "drop")
    installed: list[Flow] = []

    def answer(args: tuple[str, ...], body: bytes | None) -> str:
        text = "".join(f" cookie={flow.cookie:#x}, table=0\n" for flow in installed)
        return text if "dump-flows" in args else ""

    table = FlowTable("br", FakeRunner(answer))
    table.stage(("ports", "a"), [one])
    table.stage(("ports", "b"), [one, two])
    table.commit()
    installed[:] = [one, two]
    assert table.differences() == ({}, set())
    installed[:] = [one, stray]
    assert table.differences() == ({("ports", "b"): 1}, {stray.cookie})
