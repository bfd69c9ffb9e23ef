"""Notifications to RabbitMQ, for what reads the notifications of other clouds, such as a telemetry service.

Owns: the sink `EventExchange`. A service's topic exchange gets a message with the routing key
`TOPIC.PRIORITY` (`notifications.info`), and a queue of that name is bound to it, so that nothing is lost
before its first reader comes. Must not: use the channels of the bus, or hold up who tells.
Follows: the notification format of oslo.messaging, version 2.0 (`driver = messagingv2`): a JSON object with
`oslo.version` and, as text, `oslo.message`.
"""

# mypy: disable-error-code="no-untyped-call,import-untyped"

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from amqp.exceptions import AMQPError, NotFound
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Producer

from gureum.core import log
from gureum.core.bus.rabbit import broker_urls, connect
from gureum.core.events import CLOSE_S, CONTEXT_IDS, Event, Pipe, encode

LOG = log.get(__name__)

_FAILURES = (OperationalError, OSError, AMQPError)
_RETRY_S = (0.5, 10.0)


def envelope(event: Event) -> bytes:
    """Return the body of an event's message."""
    ids = {f"_context_{name}": event.ids.get(name) for name in CONTEXT_IDS}
    inner = {**event.message(), **ids, "_unique_id": event.message_id.replace("-", "")}
    return encode({"oslo.version": "2.0", "oslo.message": encode(inner).decode()})


class EventExchange:
    """Sends events from a thread of its own, again until the broker took them.

    durable: how an exchange or a queue is made that is not there; one that is there is used as it is.
    """

    def __init__(self, transport_url: str, topics: Sequence[str], *, durable: bool) -> None:
        self._urls = broker_urls(transport_url)
        self._topics = tuple(topics)
        self._durable = durable
        self._closing = threading.Event()
        self._connection: Connection | None = None
        self._known: set[tuple[str, str]] = set()
        self._pipe: Pipe[Event] = Pipe("events-amqp", self._send)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._pipe.put(event)

    def close(self) -> None:
        """Send what waits if the broker is there, then leave it."""
        stopper = threading.Timer(CLOSE_S / 2, self._closing.set)
        stopper.daemon = True
        stopper.start()
        self._pipe.close()
        stopper.cancel()
        self._drop()

    def _send(self, event: Event) -> None:
        wait_s = _RETRY_S[0]
        while not self._closing.is_set():
            try:
                self._publish(event)
                return
            except _FAILURES as error:
                LOG.warning("event is sent again", error=str(error), retry_s=wait_s)
                self._drop()
            self._closing.wait(wait_s)
            wait_s = min(wait_s * 2, _RETRY_S[1])
        LOG.error("event not sent: the broker did not answer", type=event.event_type)

    def _publish(self, event: Event) -> None:
        if self._connection is None:
            self._connection = connect(self._urls)
            self._known.clear()
        body = envelope(event)
        for topic in self._topics:
            key = f"{topic}.{event.priority.lower()}"
            if (event.exchange, key) not in self._known:
                self._declare(self._connection, event.exchange, key)
                self._known.add((event.exchange, key))
            Producer(self._connection.default_channel).publish(
                body,
                exchange=event.exchange,
                routing_key=key,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                timeout=10.0,
            )

    def _declare(self, connection: Connection, exchange_name: str, key: str) -> None:
        exchange = Exchange(exchange_name, type="topic", durable=self._durable)
        self._ensure(connection, exchange)
        self._ensure(connection, Queue(key, durable=self._durable))
        with connection.channel() as channel:
            Queue(key, exchange, routing_key=key, no_declare=True)(channel).queue_bind()

    @staticmethod
    def _ensure(connection: Connection, entity: Any) -> None:
        """Make an exchange or a queue unless it is there, in whatever form its reader wanted it."""
        channel = connection.channel()
        try:
            _declared(entity(channel), passive=True)
        except NotFound:  # the broker closes the channel with it
            with connection.channel() as fresh:
                _declared(entity(fresh), passive=False)
        else:
            channel.close()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*_FAILURES):
                connection.release()


def _declared(entity: Any, *, passive: bool) -> None:
    if isinstance(entity, Queue):
        entity.queue_declare(passive=passive)
    else:
        entity.declare(passive=passive)
