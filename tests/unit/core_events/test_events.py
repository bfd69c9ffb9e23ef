"""Events are one JSON object a line, and a full disk harms nobody."""

import json

from gureum.core.context import log_ids
from gureum.core.events import EventFile, Events


def test_event_is_one_line_with_ids_and_payload(tmp_path):
    path = tmp_path / "log" / "events.jsonl"
    events = Events([EventFile(path)])
    with log_ids(request_id="req-1", project_id="p1"):
        events.emit("server.create.end", "s1", host="h1")
    events.emit("server.delete.end", "s1")
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["type"] == "server.create.end"
    assert (first["request_id"], first["project_id"], first["payload"]) == (
        "req-1", "p1", {"host": "h1"}
    )
    assert second["request_id"] is None and second["id"] != first["id"]


def test_sink_that_fails_is_passed_over():
    seen = []

    def full(event):
        raise OSError("no space")

    Events([full, seen.append]).emit("server.create.end", "s1")
    assert len(seen) == 1
