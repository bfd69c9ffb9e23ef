"""Spans: what was done for a request, for how long, and for which span before it.

Owns: `Span`, its place in a trace (W3C Trace Context, `traceparent`), its line in the log, handing it to
an exporter when there is one. A span's line is what `gureum trace` puts a story together from.
Must not: know a service or a transport, or import an exporter; `trace_otlp.py` is one.

Work that belongs to a request is logged at info when it ends; what runs by itself (heartbeats, loops) at
debug. The trace id is the UUID of the request id, unless a client sent a traceparent of its own.
"""

import contextvars
import logging
import random
import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from gureum.core import log
from gureum.core.context import IdsToken, current_ids, enter_ids, leave_ids, story_id

HEADER = "traceparent"
STATE_HEADER = "tracestate"
LOOK = "gureum=look"
"""The trace state of a request that only looks: it, and what it asks of others, is logged at debug."""

API = "api"
STEP = "step"
SAGA = "saga"
ASK = "ask"
"""What the asker of another process sees; only told while there is an exporter."""
PASS = "pass"
"""One round of an agent that makes its host as it is wanted."""

_TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")
_REQUEST_ID = re.compile(r"^req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


class Exporter(Protocol):
    """Takes finished spans; must be quick."""

    def wants(self, trace_id: str) -> bool:
        """Whether a trace that begins here is to be exported."""

    def export(
        self, span: "Span", ended_at: float, outcome: str, failed: bool, fields: Mapping[str, Any]
    ) -> None:
        """Take a span that ended."""


_module: contextvars.ContextVar[str] = contextvars.ContextVar("gureum_module", default="")
"""Whose work this task does; only kept while there is an exporter, for spans of what it asks of others."""


class _Here:
    """The exporter of this process; like the handlers of `logging`, it is set once at the start."""

    exporter: Exporter | None = None


def export_to(exporter: Exporter | None) -> None:
    """Hand every span that ends from now on to an exporter; None: to nobody."""
    _Here.exporter = exporter


def exports() -> bool:
    """Whether somebody takes spans."""
    return _Here.exporter is not None


def valid(traceparent: str | None) -> str | None:
    """Return a traceparent if it is one of version 00, else None."""
    return traceparent if traceparent and _TRACEPARENT.match(traceparent) else None


def headers() -> dict[str, str]:
    """Return the headers that carry the story of this task to another service."""
    found = {}
    request_id = story_id()
    if request_id:
        found["x-openstack-request-id"] = request_id
    traceparent = current_ids().get(HEADER)
    if traceparent:
        found[HEADER] = traceparent
    if current_ids().get(STATE_HEADER) == LOOK:
        found[STATE_HEADER] = LOOK
    return found


def is_look(method: str, global_id: str | None, tracestate: str | None) -> bool:
    """Whether a request only looks, and belongs to no story that changes something or that a client names."""
    return method in ("GET", "HEAD") and (global_id is None or tracestate == LOOK)


def usual_level() -> int:
    """The level of a line about work that went well: info when it changes something for a request."""
    ids = current_ids()
    look = ids.get(STATE_HEADER) == LOOK
    return logging.INFO if ids.get("request_id") and not look else logging.DEBUG


class Span:
    """Some work with a beginning and an end. Use it in a `with`; log lines inside carry its id.

    kind: api, saga, step, call, job, pass, ask. name: what is done, without ids. logger: whose line it is.
    remote: the traceparent that came with a request. Times are seconds since 1970.
    """

    __slots__ = (
        "_asker", "_began", "_logger", "_module_token", "_token", "ended", "id", "kind", "name", "parent_id",
        "started_at", "traceparent",
    )  # fmt: skip

    def __init__(
        self, kind: str, name: str, logger: log.Logger, *, remote: str | None = None
    ) -> None:
        parent = valid(remote) or current_ids().get(HEADER)
        self.kind = kind
        self.name = name
        self.id = f"{random.getrandbits(64) or 1:016x}"  # names a line, guards nothing
        self.parent_id = parent[log.SPAN_ID] if parent else None
        if parent:
            self.traceparent = f"{parent[:36]}{self.id}{parent[52:]}"
        else:
            trace_id = _trace_id()
            exporter = _Here.exporter
            # heartbeats and loops are no stories: a collector would drown in them
            sampled = exporter is not None and bool(story_id()) and exporter.wants(trace_id)
            self.traceparent = f"00-{trace_id}-{self.id}-0{int(sampled)}"
        self.started_at = time.time()
        self.ended = False
        self._began = time.perf_counter()
        self._logger = logger
        self._token: IdsToken | None = None
        self._module_token: contextvars.Token[str] | None = None
        self._asker = _module.get() if kind == ASK else ""

    @classmethod
    def known(
        cls, kind: str, name: str, logger: log.Logger, *, id: str, parent: str | None,
        started_at: float,
    ) -> "Span":  # fmt: skip
        """Return a span whose id follows from what it is about and that began some time ago.

        So several processes, one after the other, can work inside it.
        """
        span = cls(kind, name, logger, remote=parent)
        span.id = id
        span.traceparent = f"{span.traceparent[:36]}{id}{span.traceparent[52:]}"
        span._began -= time.time() - started_at
        span.started_at = started_at
        return span

    @property
    def module(self) -> str:
        """The module that does the work."""
        return self._asker or self._logger.name

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self.traceparent[3:35]

    @property
    def sampled(self) -> bool:
        """Whether the trace is to be exported."""
        return self.traceparent.endswith("1")

    def __enter__(self) -> "Span":
        self._token = enter_ids(traceparent=self.traceparent)
        if _Here.exporter is not None:
            self._module_token = _module.set(self.module)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self.ended:
            self.end("done" if kind is None else "failed", failed=kind is not None,
                     error=None if kind is None else kind.__name__)  # fmt: skip
        if self._module_token is not None:
            _module.reset(self._module_token)
        if self._token is not None:
            leave_ids(self._token)

    def end(
        self, outcome: str = "done", *, failed: bool = False, level: int | None = None, **fields: Any
    ) -> None:
        """Say how it went, once: in the log, and to the exporter. `fields` go to both."""
        if self.ended:
            return
        self.ended = True
        seconds = time.perf_counter() - self._began
        if level is None:
            level = usual_level()
        if self._logger.says(level):
            self._logger.at(
                level, f"{self.kind} {outcome}", what=self.name, **fields,
                ms=seconds * 1000, parent=self.parent_id, span=self.id,
            )  # fmt: skip
        exporter = _Here.exporter
        if exporter is not None and self.sampled:
            exporter.export(self, self.started_at + seconds, outcome, failed, fields)


def _trace_id() -> str:
    request_id = story_id()
    if request_id and _REQUEST_ID.match(request_id):
        return request_id[4:].replace("-", "")
    return f"{random.getrandbits(128) or 1:032x}"
