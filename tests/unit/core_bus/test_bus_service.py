"""What a service and a contract refuse, and what a repeated message gets."""

import queue
import threading
import time

import pytest

from gureum.core.bus import BusTimeout, Contract, call, cast, job, open_bus
from gureum.core.bus.base import Reply, Request, Service, accept
from gureum.core.bus.contract import AgentBusy, AgentError, BadMessage, error_from_wire
from gureum.core.bus.testing import BOX, Depot, DepotImpl
from gureum.core.db import Database

UNKNOWN = Request("r2", "depot", "h1", "explode", 1, "call", b"", 10.0)


@pytest.fixture
def service():
    service = Service(Depot, DepotImpl(), "h1", workers=2)
    yield service
    service.close(wait=False)


def request(method="where", *, args=(), ttl_s=10.0, request_id="r1"):
    declared = Depot.methods[method]
    return Request(request_id, "depot", "h1", method, 1, declared.kind,
                   declared.encode_args(args, {}), ttl_s)


def ask(service, asked):
    answers = queue.SimpleQueue()
    service.deliver(accept(asked, answers.put))
    return answers.get(timeout=10)


def test_repeated_message_gets_the_same_answer_without_work(service):
    first = ask(service, request("build", args=("k", 2, BOX)))
    service._impl.build = None
    assert ask(service, request("build", args=("k", 2, BOX))) == first


def test_message_repeated_while_at_work_is_answered_once_to_the_latest(service):
    old, new = queue.SimpleQueue(), queue.SimpleQueue()
    asked = request("sleep_until_told")
    service.deliver(accept(asked, old.put))
    assert service._impl.asleep.acquire(timeout=10)
    service.deliver(accept(asked, new.put))
    service._impl.told.set()
    assert new.get(timeout=10).id == "r1"
    assert old.empty()


def test_request_past_its_deadline_is_not_started(service):
    assert ask(service, request(ttl_s=-1.0)).code == "expired"


def test_expired_answer_is_a_timeout_for_the_caller():
    bus = open_bus("local://")
    bus.serve(Depot, DepotImpl(), "h1")
    with pytest.raises(BusTimeout):
        bus.client(Depot, "h1", timeout_s=-1.0).where()
    bus.close()


def test_full_queue_refuses_as_busy(service, monkeypatch):
    monkeypatch.setattr("gureum.core.bus.base.MAX_WAITING", 0)
    assert ask(service, request()).code == AgentBusy.code


def test_unknown_method_is_refused(service):
    assert ask(service, UNKNOWN).code == "bad_message"


def test_remembered_answers_are_bounded(service, monkeypatch):
    monkeypatch.setattr("gureum.core.bus.base.REMEMBERED", 3)
    for number in range(10):
        ask(service, request(request_id=f"r{number}"))
    deadline = time.monotonic() + 10
    while len(service._seen) > 4:
        assert time.monotonic() < deadline


def test_closed_service_takes_nothing(service):
    answers = queue.SimpleQueue()
    service.close()
    service.deliver(accept(request(), answers.put))
    service.deliver(accept(UNKNOWN, answers.put))  # refused at once by one that is open
    assert answers.empty()


def test_unencodable_arguments_and_results_are_bad_messages():
    with pytest.raises(BadMessage):
        Depot.methods["where"].encode_result(object())
    with pytest.raises(BadMessage):
        Depot.methods["nudge"].encode_args((object(),), {})
    with pytest.raises(BadMessage):
        Depot.methods["where"].decode_result(b"\xc1")
    with pytest.raises(TypeError):
        Depot.methods["nudge"].encode_args((), {"wrong": 1})


def test_call_inside_a_transaction_is_refused():
    bus, database = open_bus("local://"), Database("sqlite://")
    with database.write(), pytest.raises(RuntimeError):
        bus.client(Depot).where()
    bus.close()


def test_impl_that_misses_a_method_is_not_served():
    class Half(Depot):
        def where(self) -> str:
            return "half"

    bus = open_bus("local://")
    with pytest.raises(TypeError, match="build"):
        bus.serve(Depot, Half())
    bus.close()


def test_contract_mistakes_are_told_at_import():
    with pytest.raises(TypeError, match="topic"):
        type("NoTopic", (Contract,), {})

    def declare(function):
        type("Wrong", (Contract,), {"wrong": function}, topic="x")

    @call()
    def untyped(self, a) -> int: ...

    @call()
    def no_result(self, a: int): ...

    @call()
    def starred(self, *a: int) -> int: ...

    @job()
    def keyless(self, name: str) -> int: ...

    @cast()
    def answering(self) -> int: ...

    for wrong in (untyped, no_result, starred, keyless, answering):
        with pytest.raises(TypeError, match="Wrong"):
            declare(wrong)


def test_errors_keep_code_and_text():
    assert str(AgentError("full", "no room")) == "full: no room"
    unknown = error_from_wire("never_declared", "text")
    assert (type(unknown), unknown.code, unknown.text) == (AgentError, "never_declared", "text")


@pytest.mark.parametrize("url", ["http://x", "local:///x.sock?role=king"])
def test_unknown_transport_is_refused(url):
    with pytest.raises(ValueError, match="must"):
        open_bus(url)


def test_answer_to_nobody_is_dropped():
    from gureum.core.bus.hub import _Far

    _Far().answered(Reply("unknown"))


def test_hub_that_restarts_is_joined_again_and_asked_again(tmp_path):
    url = f"local://{tmp_path}/bus.sock"
    hub, leaf = open_bus(url, role="hub"), open_bus(url)
    impl = DepotImpl("leaf")
    leaf.serve(Depot, impl, "h1")
    assert hub.client(Depot, "h1").where() == "leaf"
    hub.close()
    hub = open_bus(url, role="hub")
    assert hub.client(Depot, "h1").where() == "leaf"
    leaf.close()
    hub.close()


def test_call_under_way_survives_a_restart_of_the_hub(tmp_path):
    url = f"local://{tmp_path}/bus.sock"
    hub, leaf = open_bus(url, role="hub"), open_bus(url)
    first, second = DepotImpl("first"), DepotImpl("second")
    hub.serve(Depot, first, "h1")
    sleeper = threading.Thread(target=leaf.client(Depot, "h1").sleep_until_told)
    sleeper.start()
    assert first.asleep.acquire(timeout=10)
    hub.close()
    second.told.set()
    hub = open_bus(url, role="hub")
    hub.serve(Depot, second, "h1")
    assert second.asleep.acquire(timeout=10)
    sleeper.join(10)
    assert not sleeper.is_alive()
    first.told.set()
    leaf.close()
    hub.close()


def test_call_to_a_leaf_that_dies_goes_to_its_successor(tmp_path):
    url = f"local://{tmp_path}/bus.sock"
    hub, leaf = open_bus(url, role="hub"), open_bus(url)
    first, second = DepotImpl("first"), DepotImpl("second")
    leaf.serve(Depot, first, "h1")
    sleeper = threading.Thread(target=hub.client(Depot, "h1").sleep_until_told)
    sleeper.start()
    assert first.asleep.acquire(timeout=10)
    second.told.set()
    leaf.close()
    successor = open_bus(url)
    successor.serve(Depot, second, "h1")
    assert second.asleep.acquire(timeout=10)
    sleeper.join(10)
    assert not sleeper.is_alive()
    first.told.set()
    successor.close()
    hub.close()


def test_second_hub_on_a_socket_is_refused(tmp_path):
    url = f"local://{tmp_path}/bus.sock"
    hub = open_bus(url, role="hub")
    with pytest.raises(RuntimeError, match="already"):
        open_bus(url, role="hub")
    hub.close()


def test_socket_is_open_to_its_owner_only(tmp_path):
    hub = open_bus(f"local://{tmp_path}/bus.sock", role="hub")
    assert (tmp_path / "bus.sock").stat().st_mode & 0o777 == 0o600
    hub.close()
