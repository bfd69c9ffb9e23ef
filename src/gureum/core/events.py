"""Notifications: what happened to which resource, one JSON object a line, for billing and audit.

Owns: `Event`, `Events` and its sinks. Must not: be what anything else relies on; the truth is in the
databases, and a lost event changes nothing.
"""

import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gureum.core import log
from gureum.core.context import current_ids

LOG = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `type` is like `server.create.end`; `payload` is plain JSON."""

    type: str
    resource_id: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    project_id: str | None = None
    request_id: str | None = None
    id: str = ""
    at: str = ""


Sink = Callable[[Event], None]


class Events:
    """Gives events to sinks. A sink that fails is logged and passed over."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = tuple(sinks)

    def emit(self, type: str, resource_id: str, **payload: Any) -> Event:
        """Tell that something happened; the ids of the current context are added."""
        ids = current_ids()
        event = Event(
            type,
            resource_id,
            payload,
            project_id=ids.get("project_id"),
            request_id=ids.get("request_id"),
            id=str(uuid.uuid4()),
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        for sink in self._sinks:
            try:
                sink(event)
            except OSError as error:
                LOG.error("event not written", type=type, error=str(error))
        return event


class EventFile:
    """A sink that appends one JSON object a line to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, event: Event) -> None:
        """Raises: OSError."""
        line = json.dumps(asdict(event), separators=(",", ":"), default=str) + "\n"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line)
