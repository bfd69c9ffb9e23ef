"""Events are one JSON object a line, told after the fact, and no sink harms who tells."""

import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from gureum.core import events as core_events
from gureum.core import events_amqp
from gureum.core.announce import Done, Notices, announced, id_of
from gureum.core.api import announcing
from gureum.core.config import ConfigError, loads
from gureum.core.context import anonymous, log_ids
from gureum.core.db import Database
from gureum.core.events import EventFile, Events, Fact, Pipe, Source
from gureum.core.events_open import open_events
from gureum.core.options import CORE_SECTIONS
from gureum.core.service import Service
from gureum.core.spec import Reply, String, Struct, operation

SOURCE = Source("things", "toys")


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)

    def close(self):
        pass


class Full(Kept):
    """A sink on a full disk."""

    def __call__(self, event):
        raise OSError("no space")


def tell(events, *types):
    events.tell(SOURCE, lambda: [Fact(one, {"id": "t1"}) for one in types])


def test_event_is_one_line_with_ids_and_payload(tmp_path):
    path = tmp_path / "log" / "events.jsonl"
    events = Events("host1", [EventFile(path)])
    with log_ids(request_id="req-1", project_id="p1"):
        tell(events, "thing.create.end")
    tell(events, "thing.delete.end")
    events.close()
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["event_type"] == "thing.create.end"
    assert (first["publisher_id"], first["priority"]) == ("things.host1", "INFO")
    assert (first["request_id"], first["project_id"], first["payload"]) == (
        "req-1", "p1", {"id": "t1"}
    )  # fmt: skip
    assert second["request_id"] is None and second["message_id"] != first["message_id"]


def test_file_that_was_renamed_away_is_made_anew(tmp_path):
    sink = EventFile(tmp_path / "events.jsonl")
    events = Events("host1", [sink])
    tell(events, "one")
    events.close()
    (tmp_path / "events.jsonl").rename(tmp_path / "events.jsonl.1")
    again = Events("host1", [sink])
    tell(again, "two")
    again.close()
    assert json.loads((tmp_path / "events.jsonl").read_text())["event_type"] == "two"


def test_sink_that_fails_is_passed_over():
    kept = Kept()
    events = Events("host1", [Full(), kept])
    tell(events, "thing.create.end")
    events.close()
    assert [event.event_type for event in kept.events] == ["thing.create.end"]


def test_facts_that_cannot_be_found_harm_no_other_event():
    kept = Kept()
    events = Events("host1", [kept])
    events.tell(SOURCE, lambda: [Fact(*{}["nothing"])])
    tell(events, "thing.create.end")
    events.close()
    assert [event.event_type for event in kept.events] == ["thing.create.end"]


def test_too_many_events_are_lost_instead_of_holding_up():
    go_on, begun, worked = threading.Event(), threading.Event(), []

    def work(item):
        begun.set()
        assert go_on.wait(10)
        worked.append(item)

    pipe = Pipe("small", work, capacity=2)
    pipe.put(0)
    assert begun.wait(10)
    for item in range(1, 6):
        pipe.put(item)  # returns at once
    go_on.set()
    pipe.close()
    assert worked == [0, 1, 2]


def test_close_does_not_wait_for_a_stuck_sink(monkeypatch):
    monkeypatch.setattr(core_events, "CLOSE_S", 0.05)
    go_on = threading.Event()
    pipe = Pipe("stuck", lambda item: go_on.wait(10))
    pipe.put(1)
    pipe.close()
    go_on.set()


def test_end_does_not_wait_for_a_broker_that_is_gone(monkeypatch):
    monkeypatch.setattr(events_amqp, "CLOSE_S", 0.2)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"rabbit://guest:guest@127.0.0.1:{nobody.getsockname()[1]}//"
        sink = events_amqp.EventExchange(url, ["notifications"], durable=False)
        events = Events("host1", [sink])
        tell(events, "lost")
        begun = time.monotonic()
        events.close()
        assert time.monotonic() - begun < core_events.CLOSE_S + 2.0
    assert not sink._pipe._thread.is_alive()


# -- operations ------------------------------------------------------------------------------------


class Thing(Struct):
    """A thing."""

    id = String("Its id.")
    name = String("Its name.")
    secret = String("For few.", policy="see:secret")


class Wanted(Struct):
    """A new thing."""

    name = String("Its name.")


@operation("POST", "/things", policy="make", wrap="thing", request=Wanted, response=Thing)
def create_thing(ctx, tx, new):
    """Make a thing."""
    if new["name"] == "bad":
        raise ValueError("refused")
    return Reply({"id": "t1", "name": new["name"], "secret": "s"})


@operation("DELETE", "/things/{thing_id}", policy="make")
def delete_thing(ctx, tx, thing_id):
    """Delete a thing."""


@operation("PUT", "/things/{thing_id}/gate", policy="make", manual=True,
           load=lambda ctx, deps, thing_id: SimpleNamespace(id=thing_id))
def open_gate(ctx, deps, thing):
    """Open its gate, in transactions of its own."""


def _facts(done: Done):
    yield Fact(f"{done.operation.name}.end", {"id": id_of(done), "answer": done.answer, "deps": done.deps})


OPERATIONS = [create_thing, delete_thing, open_gate]
NOTICES = Notices(SOURCE, lambda op: _facts)


@pytest.fixture
def kept():
    return Kept()


def run(kept, op, given, *, fails=False):
    """Run an operation in a transaction as the dispatcher does; returns what was told."""
    events = Events("host1", [kept])
    by_name = {one.name: one for one in announced(OPERATIONS, NOTICES, events)}
    database = Database("sqlite://")
    database.deps = "deps"
    try:
        if op.manual:
            by_name[op.name].handler(anonymous(), "deps", *given)
        elif fails:
            with pytest.raises(ValueError), database.write() as tx:
                by_name[op.name].handler(anonymous(), tx, *given)
        else:
            with database.write() as tx:
                by_name[op.name].handler(anonymous(), tx, *given)
                assert kept.events == []
    finally:
        events.close()
        database.close()
    return [(event.event_type, dict(event.payload)) for event in kept.events]


def test_operation_is_told_after_its_commit_with_all_of_its_answer(kept):
    [(kind, payload)] = run(kept, create_thing, [{"name": "a"}])
    assert kind == "create_thing.end"
    assert payload == {
        "id": "t1", "answer": {"id": "t1", "name": "a", "secret": "s"}, "deps": "deps"
    }  # fmt: skip


def test_operation_that_fails_is_not_told(kept):
    assert run(kept, create_thing, [{"name": "bad"}], fails=True) == []


def test_operation_without_an_answer_is_told_with_the_id_of_its_path(kept):
    [(kind, payload)] = run(kept, delete_thing, ["t9"])
    assert (kind, payload["id"], payload["answer"]) == ("delete_thing.end", "t9", None)


def test_operation_with_transactions_of_its_own_is_told_after_it(kept):
    [(kind, payload)] = run(kept, open_gate, [SimpleNamespace(id="t3")])
    assert (kind, payload["id"], payload["deps"]) == ("open_gate.end", "t3", "deps")


def test_without_sinks_the_handlers_are_as_they_are():
    service = Service("toys", "toy", "Toys", OPERATIONS, [], lambda error, id: {}, notices=NOTICES)
    assert announcing(service, None) is service
    events = Events("host1", [])
    quiet = Notices(SOURCE, lambda op: None)
    assert announced(OPERATIONS, quiet, events) == OPERATIONS
    events.close()


# -- configuration ---------------------------------------------------------------------------------


def test_nobody_is_told_by_default():
    assert open_events(loads("", CORE_SECTIONS), "host1") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('driver = ["kafka"]', "notifications.driver.*messagingv2, log, noop"),
        ('driver = ["messagingv2"]', "notifications.transport_url: must be rabbit://"),
    ],
)
def test_driver_that_cannot_work_stops_the_start(text, said):
    with pytest.raises(ConfigError, match=said):
        open_events(loads(f"[notifications]\n{text}\n", CORE_SECTIONS), "host1")


def test_log_driver_writes_the_named_file(tmp_path):
    text = f'[notifications]\ndriver = ["log", "noop"]\nfile = "{tmp_path}/n.jsonl"\n'
    events = open_events(loads(text, CORE_SECTIONS), "host1")
    assert events is not None
    tell(events, "thing.create.end")
    events.close()
    assert "thing.create.end" in (tmp_path / "n.jsonl").read_text()
