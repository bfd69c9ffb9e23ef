"""Spans for OpenTelemetry: off unless `[tracing] otlp_endpoint` says where they go.

Owns: `TracingOptions`, turning spans into OpenTelemetry's, sending them in the background over OTLP/HTTP.
Must not: import OpenTelemetry before it is switched on (an optional extra, `otel`), or hold work up: spans
that the collector does not take in time are dropped.
Follows: OpenTelemetry's trace data model and semantic conventions; OTLP 1.x over HTTP.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gureum.core import trace
from gureum.core.config import ConfigError, option, section
from gureum.core.context import current_ids
from gureum.core.problems import Problem

_SHUTDOWN_MS = 2000
_ATTRIBUTES = {
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "host": "gureum.host",
    "code": "error.type",
}
_IDS = ("request_id", "global_request_id", "project_id", "saga_id")
_SERVERS = (trace.API, "call", "job")


@section("tracing", "OpenTelemetry export of what is done for each request.")
@dataclass(frozen=True, slots=True)
class TracingOptions:
    """Where spans go."""

    otlp_endpoint: str = option(
        "Base URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318; empty: nowhere.",
        default="",
    )
    sample_ratio: float = option(
        "The part of traces that is sent; a caller's own decision (traceparent) goes before it.",
        default=1.0,
        min=0.0,
        max=1.0,
    )


def start(
    options: TracingOptions, *, process: str, host: str, name_of: Callable[[str], str]
) -> "OtlpExporter | None":
    """Hand the spans of this process to a collector, if one is named; `stop` the result at the end.

    name_of: the name of the component that a module belongs to.
    Raises: ConfigError (the packages are not installed).
    """
    if not options.otlp_endpoint:
        return None
    try:
        exporter = OtlpExporter(options, process=process, host=host, name_of=name_of)
    except ImportError as error:
        raise ConfigError(
            [
                Problem(
                    "[tracing]",
                    "otlp_endpoint",
                    f"it needs packages that are not installed ({error.name}). Install them:"
                    f" {sys.executable} -m pip install opentelemetry-sdk"
                    " opentelemetry-exporter-otlp-proto-http (the extra `otel` of gureum),"
                    " or leave otlp_endpoint empty",
                )
            ]
        ) from error
    trace.export_to(exporter)
    return exporter


class OtlpExporter:
    """Sends spans in the background."""

    def __init__(
        self,
        options: TracingOptions,
        *,
        process: str,
        host: str,
        name_of: Callable[[str], str],
        sink: Any = None,
    ) -> None:
        """`sink`: an OpenTelemetry span processor to use instead, for tests."""
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if sink is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            url = options.otlp_endpoint.rstrip("/") + "/v1/traces"
            sink = BatchSpanProcessor(OTLPSpanExporter(endpoint=url))
        self._sink = sink
        self._threshold = int(options.sample_ratio * 2**64)
        self._about = {"host.name": host, "service.namespace": "gureum", "gureum.process": process}
        self._name_of = name_of
        self._resources: dict[str, Any] = {}

    def wants(self, trace_id: str) -> bool:
        """Decide by the trace id, so that every process decides alike."""
        return int(trace_id[16:], 16) < self._threshold

    def export(
        self,
        span: trace.Span,
        ended_at: float,
        outcome: str,
        failed: bool,
        fields: Mapping[str, Any],
    ) -> None:
        """Queue a span."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: str, *, remote: bool) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(int(span.trace_id, 16), int(span_id, 16), remote, flags)

        kind = SpanKind.INTERNAL
        if span.kind in _SERVERS:
            kind = SpanKind.SERVER
        elif span.kind == trace.ASK:
            kind = SpanKind.CLIENT
        status = Status(StatusCode.ERROR, outcome) if failed else Status(StatusCode.OK)
        self._sink.on_end(
            ReadableSpan(
                name=f"{span.kind} {span.name}" if span.kind != trace.API else span.name,
                context=context(span.id, remote=False),
                parent=context(span.parent_id, remote=True) if span.parent_id else None,
                resource=self._resource(self._name_of(span.module)),
                attributes=_attributes(span, outcome, fields),
                kind=kind,
                status=status,
                start_time=int(span.started_at * 1e9),
                end_time=int(ended_at * 1e9),
            )
        )

    def _resource(self, component: str) -> Any:
        from opentelemetry.sdk.resources import Resource

        found = self._resources.get(component)
        if found is None:
            name = component or self._about["gureum.process"]
            found = Resource.create({**self._about, "service.name": name})
            self._resources[component] = found
        return found

    def stop(self) -> None:
        """Send what is queued, for a moment, and take no more."""
        trace.export_to(None)
        self._sink.force_flush(_SHUTDOWN_MS)
        self._sink.shutdown()


def _attributes(
    span: trace.Span, outcome: str, fields: Mapping[str, Any]
) -> dict[str, str | int | float | bool]:
    ids = current_ids()
    found: dict[str, str | int | float | bool] = {
        f"gureum.{name}": value for name in _IDS if (value := ids.get(name))
    }
    found["gureum.outcome"] = outcome
    for name, value in fields.items():
        if value is not None:
            plain = value if isinstance(value, (str, int, float, bool)) else str(value)
            found[_ATTRIBUTES.get(name, f"gureum.{name}")] = plain
    return found
