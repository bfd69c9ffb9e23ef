"""The conformance suite that every transport of the bus passes.

Owns: a sample contract and `TransportSuite`, subclassed by the tests of each transport with a
fixture `pair` that gives (bus of the server, bus of the client). Must not: be imported by anything
but tests.
"""

# mypy: disable-error-code="empty-body"

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gureum.core.bus.base import Bus, Service
from gureum.core.bus.contract import (
    AgentError,
    AgentFailed,
    AgentUnavailable,
    BadMessage,
    BusTimeout,
    Contract,
    NoServer,
    call,
    cast,
    job,
)
from gureum.core.context import current_ids, log_ids
from gureum.core.db.errors import Unavailable

WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Box:
    """Something to send."""

    name: str
    size_gib: int
    made_at: datetime
    labels: dict[str, str] = field(default_factory=dict)
    inner: "tuple[Box, ...]" = ()


class TooBig(AgentError):
    """The box does not fit."""

    code = "too_big"


class Depot(Contract, topic="depot", version=1):
    """A contract with one method of each kind."""

    @call(timeout=WAIT_S)
    def store(self, box: Box, shelf: int = 1) -> Box: ...

    @call(timeout=WAIT_S)
    def where(self) -> str: ...

    @call(timeout=WAIT_S)
    def sleep_until_told(self) -> None: ...

    @call(timeout=WAIT_S)
    def request_id(self) -> str | None: ...

    @call(timeout=WAIT_S)
    def fail(self, how: str) -> None: ...

    @job(timeout=WAIT_S)
    def build(self, key: str, generation: int, box: Box) -> int: ...

    @cast()
    def nudge(self, word: str) -> None: ...


class DepotV2(Contract, topic="depot", version=2):
    """What a caller from an incompatible future asks."""

    @call(timeout=WAIT_S)
    def where(self) -> str: ...


class DepotImpl(Depot):
    """Serves Depot and remembers."""

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.told = threading.Event()
        self.asleep = threading.Semaphore(0)
        self.words: list[str] = []
        self.heard = threading.Semaphore(0)

    def store(self, box: Box, shelf: int = 1) -> Box:
        if box.size_gib > 1000:
            raise TooBig(f"{box.name} is {box.size_gib} GiB")
        assert isinstance(box, Box)
        return Box(f"{box.name}@{shelf}", box.size_gib, box.made_at, box.labels, (box,))

    def where(self) -> str:
        return self.name

    def sleep_until_told(self) -> None:
        self.asleep.release()
        self.told.wait(WAIT_S)

    def request_id(self) -> str | None:
        return current_ids().get("request_id")

    def fail(self, how: str) -> None:
        if how == "plain":
            raise AgentError("very_special", "a code without a class")
        if how == "database":
            raise Unavailable("the server has gone away")
        raise ZeroDivisionError("a defect")

    def build(self, key: str, generation: int, box: Box) -> int:
        return box.size_gib * generation

    def nudge(self, word: str) -> None:
        self.words.append(word)
        self.heard.release()


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOX = Box("a", 3, NOW, {"color": "blue"})


def raises(kind: type[BaseException], action: Any, *args: Any) -> Any:
    """Return the exception that `action` raises; anything else is a failure."""
    try:
        action(*args)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


class TransportSuite:
    """Facts that hold on every transport. `pair` is (server's bus, client's bus)."""

    def serve(self, pair: tuple[Bus, Bus], host: str | None = "h1", **kwargs: Any) -> DepotImpl:
        """Serve a depot and return it."""
        impl = DepotImpl(host or "any")
        self.service: Service = pair[0].serve(Depot, impl, host, **kwargs)
        return impl

    def test_arguments_and_results_are_typed(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        stored = pair[1].client(Depot, "h1").store(BOX, shelf=7)
        assert stored == Box("a@7", 3, NOW, {"color": "blue"}, (BOX,))

    def test_job_carries_key_and_generation(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        assert pair[1].client(Depot, "h1").build("r/s/step", 5, BOX) == 15

    def test_declared_error_arrives_as_its_class(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        error = raises(TooBig, pair[1].client(Depot, "h1").store, Box("b", 2000, NOW))
        assert (error.code, error.text) == ("too_big", "b is 2000 GiB")

    def test_undeclared_code_and_defect_arrive_as_agent_errors(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        depot = pair[1].client(Depot, "h1")
        assert raises(AgentError, depot.fail, "plain").code == "very_special"
        assert "ZeroDivisionError" in str(raises(AgentFailed, depot.fail, "defect"))

    def test_what_is_away_for_now_may_be_asked_again(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        error = raises(AgentUnavailable, pair[1].client(Depot, "h1").fail, "database")
        assert error.retryable and "gone away" in error.text

    def test_wrong_type_is_refused_by_the_server(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        wrong: Any = "not a box"
        assert "store" in str(raises(BadMessage, pair[1].client(Depot, "h1").store, wrong))

    def test_other_version_is_refused(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        assert "version 2" in str(raises(BadMessage, pair[1].client(DepotV2, "h1").where))

    def test_request_goes_to_the_host_that_was_named(self, pair: tuple[Bus, Bus]) -> None:
        for host in ("h1", "h2"):
            self.serve(pair, host)
        assert [pair[1].client(Depot, host).where() for host in ("h2", "h1", "h2")] == [
            "h2",
            "h1",
            "h2",
        ]

    def test_request_without_a_host_goes_to_any_server(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair, "h1")
        self.serve(pair, None)
        assert pair[1].client(Depot).where() in ("h1", "any")

    def test_cast_to_every_host_reaches_all(self, pair: tuple[Bus, Bus]) -> None:
        depots = [self.serve(pair, host) for host in ("h1", "h2")]
        for host in ("h1", "h2"):  # both are ready
            pair[1].client(Depot, host).where()
        pair[1].client(Depot, "*").nudge("up")
        for depot in depots:
            assert depot.heard.acquire(timeout=WAIT_S)
            assert depot.words == ["up"]
        raises(TypeError, pair[1].client(Depot, "*").where)

    def test_call_to_nobody_ends_at_its_deadline(self, pair: tuple[Bus, Bus]) -> None:
        raises(BusTimeout, pair[1].client(Depot, "nobody", timeout_s=0.2).where)

    def test_call_waits_for_a_server_that_comes_later(self, pair: tuple[Bus, Bus]) -> None:
        answers: list[str] = []
        depot = pair[1].client(Depot, "h3")
        asking = threading.Thread(target=lambda: answers.append(depot.where()))
        asking.start()
        self.serve(pair, "h3")
        asking.join(WAIT_S)
        assert answers == ["h3"]

    def test_slow_call_is_a_timeout_and_not_no_server(self, pair: tuple[Bus, Bus]) -> None:
        depot = self.serve(pair)
        pair[1].client(Depot, "h1").where()
        error = raises(BusTimeout, pair[1].client(Depot, "h1", timeout_s=0.3).sleep_until_told)
        assert not isinstance(error, NoServer)
        depot.told.set()

    def test_busy_calls_do_not_keep_jobs_waiting(self, pair: tuple[Bus, Bus]) -> None:
        depot = self.serve(pair, workers=1)
        sleeper = threading.Thread(target=pair[1].client(Depot, "h1").sleep_until_told)
        sleeper.start()
        assert depot.asleep.acquire(timeout=WAIT_S)
        assert pair[1].client(Depot, "h1").build("k", 2, BOX) == 6
        depot.told.set()
        sleeper.join(WAIT_S)

    def test_request_id_follows_the_call(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        with log_ids(request_id="req-1"):
            assert pair[1].client(Depot, "h1").request_id() == "req-1"

    def test_large_message_arrives_whole(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        big = Box("b" * 3_000_000, 1, NOW)
        assert len(pair[1].client(Depot, "h1").store(big).name) == 3_000_002

    def test_closed_service_is_served_by_its_successor(self, pair: tuple[Bus, Bus]) -> None:
        self.serve(pair)
        depot = pair[1].client(Depot, "h1")
        depot.where()
        self.service.close()
        self.serve(pair)
        assert depot.where() == "h1"
