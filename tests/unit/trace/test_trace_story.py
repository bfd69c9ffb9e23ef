"""Spans in the log, and the story that is read from them."""

import io
import json
import logging

import pytest

from gureum.core import log, trace
from gureum.core.context import Stories, current_ids, log_ids
from gureum.core.trace_story import Line, node_of, only, parse, tree

ONE = "req-11111111-1111-4111-8111-111111111111"
TWO = "req-22222222-2222-4222-8222-222222222222"
LOG = log.get("test.trace")


@pytest.fixture
def written():
    """What the processes' formatter writes; the root logger is as before afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.setup("INFO", stream)
    yield lambda: [parse(text, "one") for text in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)


def nodes(lines: list[Line]):
    return [node_of(line, lambda one: one.logger) for line in lines]


def test_line_is_read_back_as_it_was_meant(written):
    with log_ids(request_id=ONE):
        LOG.info("disk moved", text='a "b" c\nd = e', path="/x/y", empty="", nothing=None)
    (line,) = written()
    assert line.event == "disk moved"
    assert line.fields == {
        "request_id": ONE, "text": 'a "b" c\nd = e', "path": "/x/y", "empty": "",
    }  # fmt: skip
    assert line.level == "INFO" and line.logger == "test.trace" and line.source == "one"


def test_text_that_strangers_chose_ends_no_line_and_steers_no_terminal(written):
    bad = "a\r2026-01-01T00:00:00Z ERROR x forged\u2028\x1b[2J 구름"
    with log_ids(request_id=ONE):
        LOG.info("named", name=bad, short="plain\n")
    (line,) = written()
    assert line.fields["request_id"] == ONE
    assert "\x1b" not in line.fields["name"] and "\r" not in line.fields["name"]
    assert line.fields["name"].endswith("구름")


def test_lines_of_a_traceback_are_not_lines_of_the_log():
    assert parse('  File "x.py", line 3, in f') is None
    assert parse("") is None
    assert parse("2026-99-99T00:00:00.000000Z INFO a b") is None


def test_trace_id_is_the_uuid_of_the_clients_request_id():
    with log_ids(request_id=TWO, global_request_id=ONE), trace.Span("api", "x", LOG) as span:
        assert span.trace_id == ONE[4:].replace("-", "")
        assert trace.headers()["x-openstack-request-id"] == ONE


def test_traceparent_of_a_caller_is_taken_over_and_a_bad_one_is_not():
    remote = f"00-{'a' * 32}-{'b' * 16}-01"
    with log_ids(request_id=ONE), trace.Span("api", "x", LOG, remote=remote) as span:
        assert (span.trace_id, span.parent_id, span.sampled) == ("a" * 32, "b" * 16, True)
        assert trace.headers()["traceparent"] == span.traceparent
    for bad in ("", "00-0-0-0", f"00-{'0' * 32}-{'b' * 16}-01", f"01-{'a' * 32}-{'b' * 16}-01"):
        with log_ids(request_id=ONE), trace.Span("api", "x", LOG, remote=bad) as span:
            assert span.parent_id is None


def test_spans_become_a_tree_with_the_lines_that_were_written_inside(written):
    with log_ids(request_id=ONE), trace.Span("api", "outer", LOG) as outer:
        with trace.Span("step", "first", LOG):
            LOG.warning("tried again", why="busy")
        with trace.Span("step", "second", LOG) as second:
            second.end("failed", failed=True, code="nope")
        outer.end("answered", status=202)
    (root,) = tree(nodes(written()))
    assert (root.what, root.outcome, root.fields["status"]) == ("outer", "answered", "202")
    assert [(child.what, child.outcome, child.failed) for child in root.children] == [
        ("first", "done", False),
        ("second", "failed", True),
    ]
    assert [(note.what, note.fields) for note in root.children[0].children] == [
        ("tried again", {"why": "busy"})
    ]
    assert root.started_at <= root.children[0].started_at <= root.children[1].started_at
    assert json.loads(json.dumps(root.plain(root.started_at)))["children"][1]["failed"] is True


def test_exception_ends_a_span_as_failed(written):
    with pytest.raises(ValueError), log_ids(request_id=ONE), trace.Span("step", "x", LOG):
        raise ValueError("no")
    (line,) = written()
    assert (line.event, line.fields["error"]) == ("step failed", "ValueError")
    assert current_ids() == {}


def test_span_whose_parent_nobody_logged_goes_into_the_one_around_it(written):
    with log_ids(request_id=ONE), trace.Span("api", "outer", LOG):
        lost = trace.Span("ask", "never told", LOG)
        with trace.Span("job", "inner", LOG, remote=lost.traceparent):
            pass
    (root,) = tree(nodes(written()))
    assert [child.what for child in root.children] == ["inner"]


def test_background_work_and_looks_are_not_in_the_log_at_info(written):
    with trace.Span("call", "heartbeat", LOG):
        pass
    with log_ids(request_id=ONE, tracestate=trace.LOOK), trace.Span("call", "list", LOG):
        pass
    assert written() == []


def test_a_look_is_a_story_when_the_client_names_it():
    assert trace.is_look("GET", None, None)
    assert trace.is_look("GET", ONE, trace.LOOK)
    assert not trace.is_look("GET", ONE, None)
    assert not trace.is_look("POST", None, None)


def test_only_the_trees_of_one_request_are_kept(written):
    for request in (ONE, TWO):
        with log_ids(request_id=request), trace.Span("api", request, LOG):
            pass
    assert [root.what for root in only(tree(nodes(written())), TWO)] == [TWO]


def test_gathered_work_names_every_request_that_it_is_for(written):
    stories = Stories()
    for request in (ONE, TWO, ONE):
        with log_ids(request_id=request):
            stories.note()
    stories.note()  # nobody asked for this one
    with log_ids(**stories.take()):
        LOG.info("converged")
    (line,) = written()
    assert line.names(ONE) and line.names(TWO) and not line.names("req-3")
    assert stories.take() == {}
