"""Notifications: what happened to which resource, for billing, audit and telemetry.

Owns: `Event`, `Events`, which hands them to sinks on a thread of its own, and the file as a sink (the message
broker is in events_amqp.py). Must not: hold up or fail what it tells about; the truth is in the databases,
and a lost event changes nothing. What services tell is declared in their notices.py.
"""

import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from gureum.core import log
from gureum.core.context import current_ids

LOG = log.get(__name__)

INFO, ERROR = "INFO", "ERROR"
CAPACITY = 10_000
"""Events that wait for a sink; what comes beyond them is lost, and said to be."""
CLOSE_S = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Who tells. publisher: `network` in `network.HOST`. exchange: the broker's, such as `neutron`."""

    publisher: str
    exchange: str


@dataclass(frozen=True, slots=True)
class Fact:
    """What is told. type: such as `network.create.end`. payload: what becomes JSON."""

    type: str
    payload: Mapping[str, Any]
    priority: str = INFO


@dataclass(frozen=True, slots=True)
class Event:
    """A fact with who told it, when, and on whose behalf."""

    event_type: str
    payload: Mapping[str, Any]
    publisher_id: str
    exchange: str
    priority: str = INFO
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ids: Mapping[str, str | None] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """Return it in the words of the common notification format."""
        return {
            "message_id": self.message_id,
            "publisher_id": self.publisher_id,
            "event_type": self.event_type,
            "priority": self.priority,
            "timestamp": self.at.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "payload": self.payload,
        }


class Sink(Protocol):
    """Where events go."""

    def __call__(self, event: Event) -> None:
        """Take an event. Raises: OSError."""

    def close(self) -> None:
        """Let go of what is open."""


class Pipe(Generic[T]):
    """A bounded queue and the thread that works it off, in order."""

    def __init__(self, name: str, work: Callable[[T], None], capacity: int = CAPACITY) -> None:
        self._name = name
        self._work = work
        self._items: queue.Queue[tuple[T] | None] = queue.Queue(capacity)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand over an item; it is lost when too many wait."""
        try:
            self._items.put_nowait((item,))
        except queue.Full:
            if not self._lost:
                LOG.error("events are lost: too many wait", queue=self._name)
            self._lost += 1

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            self._work(item[0])
            if self._lost and self._items.empty():
                LOG.error("events were lost", queue=self._name, count=self._lost)
                self._lost = 0

    def close(self) -> None:
        """Work off what waits, for as long as a stop may take."""
        try:
            self._items.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)


@dataclass(frozen=True, slots=True)
class _Told:
    source: Source
    facts: Callable[[], Iterable[Fact]]
    ids: Mapping[str, str | None]
    at: datetime


class Events:
    """Takes what is told and gives it to sinks. A sink that fails is logged and passed over."""

    def __init__(self, host: str, sinks: Sequence[Sink]) -> None:
        self._host = host
        self._sinks = tuple(sinks)
        self._pipe: Pipe[_Told] = Pipe("events", self._give)

    def tell(self, source: Source, facts: Callable[[], Iterable[Fact]]) -> None:
        """Tell what `facts` returns, which is called later; the ids of this task are added."""
        self._pipe.put(_Told(source, facts, current_ids(), datetime.now(UTC)))

    def _give(self, told: _Told) -> None:
        try:
            facts = list(told.facts())
        except Exception as error:  # border: nothing that was done may suffer from being told
            LOG.error("event not told", source=told.source.publisher, exc_info=error)
            return
        for fact in facts:
            event = Event(
                fact.type,
                fact.payload,
                f"{told.source.publisher}.{self._host}",
                told.source.exchange,
                fact.priority,
                at=told.at,
                ids=told.ids,
            )
            for sink in self._sinks:
                try:
                    sink(event)
                except OSError as error:
                    LOG.error("event not written", type=fact.type, error=str(error))

    def close(self) -> None:
        """Tell what waits, then close the sinks."""
        self._pipe.close()
        for sink in self._sinks:
            sink.close()


CONTEXT_IDS = ("request_id", "global_request_id", "project_id", "user_id")


def encode(value: Any) -> bytes:
    """Return JSON; what has no form there is written as text."""
    return msgspec.json.encode(value, enc_hook=str)


class EventFile:
    """A sink that appends one JSON object a line to a file, which may be renamed away any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, event: Event) -> None:
        """Raises: OSError."""
        ids = {name: event.ids.get(name) for name in CONTEXT_IDS}
        line = encode({**event.message(), **ids}) + b"\n"
        # in one write, since several processes append to one file
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def close(self) -> None:
        """Nothing is open."""
