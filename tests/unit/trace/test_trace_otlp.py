"""Spans reach an OpenTelemetry collector, over OTLP/HTTP, when that is switched on."""

import builtins
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from gureum.core import log, trace, trace_otlp
from gureum.core.bus.contract import FAST, AgentError, Contract, call, job
from gureum.core.bus.local import LocalBus
from gureum.core.config import ConfigError
from gureum.core.context import log_ids
from gureum.core.trace_otlp import TracingOptions

ONE = "req-11111111-1111-4111-8111-111111111111"
LOG = log.get("gureum.nova.api")


class Collector:
    """Takes what an exporter posts, as a collector does."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.services: dict[str, str] = {}
        self.paths: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                outer.take(self.path, body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        self.paths.add(path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans[span.name] = span
                    self.services[span.name] = about["service.name"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otel`")
    made = Collector()
    yield made
    trace.export_to(None)
    made.close()


def started(collector: Collector, ratio: float = 1.0) -> trace_otlp.OtlpExporter:
    found = trace_otlp.start(
        TracingOptions(collector.url, ratio), process="control", host="one",
        name_of={"gureum.nova.api": "nova-api"}.get,
    )  # fmt: skip
    assert found is not None
    return found


class Diggers(Contract, topic="traced-diggers", version=1):
    @call(timeout=FAST)
    def depth(self) -> int:
        raise NotImplementedError

    @job(timeout=FAST)
    def dig(self, key: str, generation: int) -> None:
        raise NotImplementedError


class Worker(Diggers):
    def depth(self) -> int:
        return 3

    def dig(self, key: str, generation: int) -> None:
        raise AgentError("rock", "hard")


def test_api_step_bus_call_and_job_arrive_as_one_trace(collector):
    exporter = started(collector)
    bus = LocalBus()
    bus.serve(Diggers, Worker(), "one")
    with log_ids(request_id=ONE, project_id="p1"), trace.Span("api", "nova create", LOG) as api:
        with trace.Span("step", "claim", LOG):
            bus.client(Diggers, "one").depth()
            with pytest.raises(AgentError):
                bus.client(Diggers, "one").dig("k", 1)
        api.end("answered", status=202, method="POST", path="/servers")
    bus.close()
    exporter.stop()
    assert collector.paths == {"/v1/traces"}
    spans = collector.spans
    assert set(spans) == {
        "nova create", "step claim", "ask traced-diggers.depth", "call traced-diggers.depth",
        "ask traced-diggers.dig", "job traced-diggers.dig",
    }  # fmt: skip
    assert {span.trace_id.hex() for span in spans.values()} == {ONE[4:].replace("-", "")}
    chain = ["job traced-diggers.dig", "ask traced-diggers.dig", "step claim", "nova create"]
    for inner, outer in itertools.pairwise(chain):
        assert spans[inner].parent_span_id == spans[outer].span_id
    assert not spans["nova create"].parent_span_id
    told = {one.key: one.value for one in spans["nova create"].attributes}
    assert told["gureum.request_id"].string_value == ONE
    assert told["gureum.project_id"].string_value == "p1"
    assert told["http.response.status_code"].int_value == 202
    assert spans["job traced-diggers.dig"].status.code == 2  # STATUS_CODE_ERROR
    assert spans["call traced-diggers.depth"].status.code == 1
    assert collector.services["nova create"] == "nova-api"
    assert collector.services["ask traced-diggers.dig"] == "nova-api"  # it is the one that asks
    assert collector.services["job traced-diggers.dig"] == "control"


def test_callers_decision_not_to_sample_is_kept(collector):
    exporter = started(collector)
    remote = f"00-{'a' * 32}-{'b' * 16}-00"
    with log_ids(request_id=ONE), trace.Span("api", "quiet", LOG, remote=remote):
        pass
    exporter.stop()
    assert collector.spans == {}


def test_background_work_is_not_exported(collector):
    exporter = started(collector)
    with trace.Span("call", "heartbeat", LOG) as span:
        assert not span.sampled
    exporter.stop()
    assert collector.spans == {}


def test_ratio_decides_by_trace_so_that_processes_agree(collector):
    half = started(collector, 0.5)
    assert half.wants("a" * 16 + "7" + "f" * 15) and not half.wants("a" * 16 + "8" + "0" * 15)
    half.stop()
    none = started(collector, 0.0)
    with log_ids(request_id=ONE), trace.Span("api", "quiet", LOG):
        pass
    none.stop()
    assert collector.spans == {}


def test_off_by_default_and_imports_nothing():
    import subprocess
    import sys

    code = (
        "import sys; from gureum.core import trace_otlp as t;"
        "assert t.start(t.TracingOptions(), process='x', host='y', name_of=str) is None;"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_missing_packages_are_a_config_error_that_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as caught:
        trace_otlp.start(TracingOptions("http://127.0.0.1:1"), process="x", host="y", name_of=str)
    assert "otlp_endpoint" in str(caught.value)
    assert "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http" in str(caught.value)
    assert not trace.exports()
