"""Structured logs: one line per event, key=value, with the request id of the current context.

Owns: formatting and secret hiding. Levels mean: info = a state changed, warning = something is being
retried, error = a human must act.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

from gureum.core.context import current_ids

SPAN_ID = slice(36, 52)
"""Where the id of the span stands in a traceparent (W3C Trace Context, 3.2)."""

_PLAIN = re.compile(r"^[\w./:@+\-\[\]]+$")
_SECRET_KEYS = frozenset(
    {
        "password",
        "token",
        "secret",
        "key",
        "adminpass",
        "x_auth_token",
        "private_key",
        "authorization",
    }
)


def _render(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if not text.isprintable():  # what strangers chose must not end a line or steer a terminal
        text = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)
    return f'"{text}"'


def _ids_shown() -> dict[str, str | None]:
    """The ids of the work at hand; of its place in a trace only the span that it is part of."""
    ids = dict(current_ids())
    traceparent = ids.pop("traceparent", None)
    ids.pop("tracestate", None)
    if traceparent and ids.get("request_id"):
        ids["span"] = traceparent[SPAN_ID]
    return ids


class Logger:
    """A named logger whose fields are keyword arguments."""

    __slots__ = ("_log",)

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    @property
    def name(self) -> str:
        """The module whose lines these are."""
        return self._log.name

    def _emit(self, level: int, event: str, fields: dict[str, Any], exc_info: Any = None) -> None:
        if not self._log.isEnabledFor(level):
            return
        shown = {
            key: "***" if key.lower() in _SECRET_KEYS else value
            for key, value in {**_ids_shown(), **fields}.items()
            if value is not None
        }
        tail = " ".join(f"{key}={_render(value)}" for key, value in shown.items())
        self._log.log(level, "%s %s", event, tail, exc_info=exc_info)

    def debug(self, event: str, **fields: Any) -> None:
        """Say something only a developer wants to know."""
        self._emit(logging.DEBUG, event, fields)

    def says(self, level: int) -> bool:
        """Whether a line of this level would be written."""
        return self._log.isEnabledFor(level)

    def at(self, level: int, event: str, **fields: Any) -> None:
        """Say something at a level that the caller worked out."""
        self._emit(level, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Say that a state changed."""
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Say that something failed and is tried again."""
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, *, exc_info: Any = None, **fields: Any) -> None:
        """Say that a human must act."""
        self._emit(logging.ERROR, event, fields, exc_info)


def get(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(name)


class _Formatter(logging.Formatter):
    """Times in UTC with microseconds, so that lines of several machines sort."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self._second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record; the part down to seconds is made once a second."""
        second, text = self._second
        whole = int(record.created)
        if whole != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._second = (whole, text)
        return f"{text}.{int((record.created - whole) * 1e6):06d}Z"


def setup(level: str = "INFO", stream: Any = None) -> None:
    """Send all logs to one stream, one line each."""
    # no line shows where in the source it was written, nor by which thread ("Optimization" of its manual)
    logging._srcfile = None  # type: ignore[attr-defined]
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "amqp", "kombu"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
