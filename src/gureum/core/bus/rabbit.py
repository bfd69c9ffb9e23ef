"""The RabbitMQ transport, for control planes and nodes on different machines.

Owns: quorum queues per topic and per host (calls and jobs apart), a fan-out exchange per topic, one
reply queue a process, publisher confirms, reconnection, acknowledging after the work
(at-least-once; `Service` drops duplicates by message id). Deadlines travel as the message's time to
live, so clocks are never compared. Must not: let two threads use one channel. Follows
docs/adr/0004-bus.md.
"""

# mypy: disable-error-code="no-untyped-call,import-untyped"

import contextlib
import os
import queue
import random
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from amqp.exceptions import AMQPError, MessageNacked, NotFound
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.message import Message
from kombu.messaging import Consumer, Producer

from gureum.core import log
from gureum.core.bus.base import EVERY_HOST, Bus, Reply, Request, Service, accept
from gureum.core.bus.contract import BusTimeout, NoServer

LOG = log.get(__name__)

HEARTBEAT_S = 15.0
BACKOFF_S = (0.1, 5.0)
REPLY_QUEUE_KEPT_MS = 10 * 60 * 1000
ACK_LATEST_S = 20 * 60
"""A job is acknowledged after so long even if it still runs: RabbitMQ closes channels at 30
minutes. Its runner asks again by key when the agent dies later."""

CONFIRM_S = 5.0
"""How long others wait for one message: then it is sent again over a new connection."""
CONSUME_S = 15.0
"""Within this a broker hands over its queues. A queue that it does not hand over twice is made anew."""

_FAILURES = (OperationalError, OSError, AMQPError, MessageNacked)


def broker_urls(transport_url: str) -> list[str]:
    """Return one AMQP URL per host of `rabbit://user:password@a:5672,b:5672/vhost`."""
    scheme, _, rest = transport_url.partition("://")
    scheme = "amqps" if scheme == "amqps" else "amqp"
    authority, _, vhost = rest.partition("/")
    login, at, hosts = authority.rpartition("@")
    return [f"{scheme}://{login}{at}{host}/{vhost}" for host in hosts.split(",")]


def call_queue(topic: str, host: str | None, kind: str) -> Queue:
    """Return the queue of a topic, or of a topic on one host; jobs have their own."""
    name = ".".join(
        part for part in ("gureum", topic, host, "jobs" if kind == "job" else None) if part
    )
    return Queue(name, durable=True, queue_arguments={"x-queue-type": "quorum"})


def fanout(topic: str) -> Exchange:
    """Return the exchange that reaches every server of a topic."""
    return Exchange(f"gureum.{topic}.fanout", type="fanout", durable=True)


class Routed(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """A request with the queue that waits for its answer ("" for a cast)."""

    reply_to: str
    request: Request


class _Publisher:
    """One connection for sending, shared under a lock; every message is confirmed by the broker."""

    def __init__(self, urls: list[str], closing: threading.Event) -> None:
        self._urls = urls
        self._closing = closing
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._declared: set[str] = set()

    def send(
        self,
        body: bytes,
        *,
        deadline: float,
        routing_key: str,
        exchange: Exchange | None = None,
        declare: Queue | None = None,
    ) -> None:
        """Send, again over new connections until `deadline` (monotonic). Raises: BusTimeout."""
        backoff_s = BACKOFF_S[0]
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._closing.is_set():
                raise BusTimeout("the broker could not be reached in time")
            if self._lock.acquire(timeout=left_s):
                try:
                    self._send(body, left_s, routing_key, exchange, declare)
                    return
                except _FAILURES as error:
                    LOG.warning("publishing again", error=str(error))
                    self._drop()
                finally:
                    self._lock.release()
                self._closing.wait(min(left_s, backoff_s * random.uniform(0.5, 1.0)))
                backoff_s = min(backoff_s * 2, BACKOFF_S[1])

    def _send(
        self,
        body: bytes,
        left_s: float,
        routing_key: str,
        exchange: Exchange | None,
        declare: Queue | None,
    ) -> None:
        if self._connection is None:
            self._connection = connect(self._urls)
            self._declared.clear()
        channel = self._connection.default_channel
        for entity in (declare, exchange):
            if entity is not None and entity.name not in self._declared:
                entity(channel).declare()
                self._declared.add(entity.name)
        Producer(channel).publish(
            body,
            routing_key=routing_key,
            exchange=exchange or "",
            content_type="application/msgpack",
            content_encoding="binary",
            delivery_mode=2,
            expiration=left_s,
            timeout=left_s,
            confirm_timeout=min(left_s, CONFIRM_S),
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*_FAILURES):
                connection.release()

    def close(self) -> None:
        with self._lock:
            self._drop()


def connect(urls: list[str]) -> Connection:
    """Return an open connection to the first broker that answers. Raises: OperationalError,
    OSError.
    """
    connection = Connection(
        urls,
        heartbeat=HEARTBEAT_S,
        connect_timeout=5,
        failover_strategy="shuffle",
        transport_options={"confirm_publish": True, "read_timeout": 30, "write_timeout": 30},
    )
    connection.ensure_connection(max_retries=len(urls), interval_start=0, interval_step=0)
    return connection


@contextlib.contextmanager
def _answered(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut a connection whose broker does not answer in time; the client's own waits have no end."""
    stream = connection.connection.sock

    def cut() -> None:
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Consumer:
    """A thread with its own connection that reads queues and acknowledges what was worked off.

    A broker that was killed may come back with a quorum queue that has no leader and never gets one. Such a
    queue is deleted and declared again; what it held is asked for again, like all that is lost on the way.
    """

    def __init__(
        self,
        name: str,
        urls: list[str],
        queues: list[Queue],
        *,
        prefetch: int,
        on_message: Callable[[Message, Callable[[], None]], None],
    ) -> None:
        self._urls = urls
        self._queues = queues
        self._prefetch = prefetch
        self._on_message = on_message
        self._closing = threading.Event()
        self._in_vain = 0  # times in a row that a broker was there, and did not hand over the queues
        self.ready = threading.Event()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def later(self, action: Callable[[], None]) -> None:
        """Run an action on the thread that owns the channel."""
        self._done.put(action)
        with contextlib.suppress(OSError):
            os.write(self._wake, b"x")

    def _run(self) -> None:
        backoff_s = BACKOFF_S[0]
        while not self._closing.is_set():
            try:
                with connect(self._urls) as connection:
                    backoff_s = BACKOFF_S[0]
                    self._consume(connection)
            except _FAILURES as error:
                if not self._closing.is_set():
                    LOG.warning("broker lost, connecting again", error=str(error))
            self.ready.clear()
            self._closing.wait(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(backoff_s * 2, BACKOFF_S[1])
        os.close(self._woken)

    def _consume(self, connection: Connection) -> None:
        channel = connection.default_channel
        channel.basic_qos(0, self._prefetch, False)
        while not self._done.empty():  # acknowledgements of a channel that is gone
            self._done.get()
        self._in_vain += 1
        if self._in_vain > 2:
            self._renew(connection)

        def received(message: Message) -> None:
            self._on_message(message, lambda: self.later(lambda: _ack(message, channel)))

        consumer = Consumer(
            channel, self._queues, on_message=received, accept=["application/msgpack"]
        )
        with contextlib.ExitStack() as open_ones:
            with _answered(connection, CONSUME_S):
                open_ones.enter_context(consumer)
            self._in_vain = 0
            self.ready.set()
            checked = time.monotonic()
            while not self._closing.is_set():
                stream = connection.connection.sock
                readable, _, _ = select.select([stream, self._woken], [], [], 1.0)
                if self._woken in readable:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                while not self._done.empty():
                    self._done.get()()
                if stream in readable:
                    with contextlib.suppress(socket.timeout):
                        connection.drain_events(timeout=5.0)
                if time.monotonic() - checked > HEARTBEAT_S / 4:
                    checked = time.monotonic()
                    connection.heartbeat_check()

    def _renew(self, connection: Connection) -> None:
        for entity in self._queues:
            if entity.durable:
                LOG.warning("queue does not answer and is made anew", queue=entity.name)
                with _answered(connection, CONSUME_S):
                    entity(connection.default_channel).delete()

    def close(self) -> None:
        self._closing.set()
        self.later(lambda: None)
        self._thread.join(10.0)


def _ack(message: Message, channel: Any) -> None:
    if message.channel is channel and not message.acknowledged:
        message.ack()


class RabbitBus(Bus):
    """Services and clients over RabbitMQ."""

    def __init__(self, transport_url: str) -> None:
        self._urls = broker_urls(transport_url)
        self._closing = threading.Event()
        self._publisher = _Publisher(self._urls, self._closing)
        self._lock = threading.Lock()
        self._consumers: dict[int, list[_Consumer]] = {}
        self._services: list[Service] = []
        self._answers: dict[str, queue.SimpleQueue[Reply]] = {}
        self._reply_name = f"gureum.reply.{uuid.uuid4().hex}"
        self._reply_consumer: _Consumer | None = None
        self._decode = msgspec.msgpack.Decoder(Routed | Reply)

    def _attach(self, service: Service) -> None:
        hosts = [None] if service.host is None else [None, service.host]
        made = []
        for kind in ("call", "job"):
            queues = [call_queue(service.topic, host, kind) for host in hosts]
            if kind == "call":
                name = f"{fanout(service.topic).name}.{uuid.uuid4().hex}"
                queues.append(
                    Queue(
                        name, fanout(service.topic), exclusive=True, auto_delete=True, durable=False
                    )
                )
            made.append(
                _Consumer(
                    f"rabbit-{service.topic}-{kind}",
                    self._urls,
                    queues,
                    prefetch=service.workers * (1 if kind == "job" else 4),
                    on_message=lambda message, ack: self._received(service, message, ack),
                )
            )
        with self._lock:
            self._services.append(service)
            self._consumers[id(service)] = made

    def _detach(self, service: Service) -> None:
        with self._lock:
            consumers = self._consumers.pop(id(service), [])
            self._services = [known for known in self._services if known is not service]
        for consumer in consumers:
            consumer.close()

    def depths(self) -> list[tuple[tuple[str], float]]:
        """Ask the broker about the queues that this process reads. Raises: OSError."""
        names = {
            call_queue(service.topic, host, kind).name
            for service in list(self._services)
            for host in (None, service.host)
            for kind in ("call", "job")
        }
        try:
            with connect(self._urls) as connection:
                found: list[tuple[tuple[str], float]] = []
                for name in sorted(names):
                    channel = connection.channel()
                    with contextlib.suppress(NotFound):  # its reader has not made it yet
                        count = channel.queue_declare(name, passive=True).message_count
                        found.append(((name,), float(count)))
                        channel.close()
                return found
        except _FAILURES as error:
            raise OSError(str(error)) from error

    def _received(self, service: Service, message: Message, ack: Callable[[], None]) -> None:
        routed = self._frame(message)
        if not isinstance(routed, Routed):
            ack()
            return
        request, reply_to = routed.request, routed.reply_to
        expiration = message.properties.get("expiration")
        if expiration:  # what the broker counted down from when it last queued the message
            request = msgspec.structs.replace(request, ttl_s=float(expiration) / 1000)
        early = threading.Timer(ACK_LATEST_S, ack) if request.kind == "job" else None
        if early is not None:
            early.daemon = True
            early.start()

        def answer(reply: Reply) -> None:
            if early is not None:
                early.cancel()
            if reply_to:
                self._reply(reply_to, reply, request.ttl_s)
            ack()

        service.deliver(accept(request, answer))

    def _reply(self, reply_to: str, reply: Reply, ttl_s: float) -> None:
        try:
            self._publisher.send(
                msgspec.msgpack.encode(reply),
                deadline=time.monotonic() + max(ttl_s, 5.0),
                routing_key=reply_to,
            )
        except BusTimeout:
            LOG.warning("answer could not be sent", request=reply.id)

    def _frame(self, message: Message) -> Routed | Reply | None:
        body = message.body
        try:
            frame: Routed | Reply = self._decode.decode(
                body if isinstance(body, bytes) else bytes(body)
            )
            return frame
        except msgspec.MsgspecError as error:
            LOG.warning("unreadable message dropped", error=str(error))
            return None

    def _call(self, request: Request) -> Reply:
        deadline = time.monotonic() + request.ttl_s
        consumer = self._replies()
        if not consumer.ready.wait(request.ttl_s):
            raise NoServer("the broker could not be reached in time")
        answers: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        with self._lock:
            self._answers[request.id] = answers
        where = f"{request.topic}{'@' + request.host if request.host else ''}.{request.method}"
        try:
            self._publish(request, deadline)
            reply = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise BusTimeout(f"no answer from {where} within {request.ttl_s:g} s") from None
        finally:
            with self._lock:
                self._answers.pop(request.id, None)
        if reply.code == "expired":
            raise BusTimeout(f"{where}: {reply.text}")
        return reply

    def _publish(self, request: Request, deadline: float) -> None:
        target = call_queue(request.topic, request.host, request.kind)
        self._publisher.send(
            msgspec.msgpack.encode(Routed(self._reply_name, request)),
            deadline=deadline,
            routing_key=target.name,
            declare=target,
        )

    def _cast(self, request: Request) -> None:
        body = msgspec.msgpack.encode(Routed("", request))
        deadline = time.monotonic() + min(request.ttl_s, 5.0)
        try:
            if request.host == EVERY_HOST:
                self._publisher.send(
                    body, deadline=deadline, routing_key="", exchange=fanout(request.topic)
                )
            else:
                target = call_queue(request.topic, request.host, "call")
                self._publisher.send(
                    body, deadline=deadline, routing_key=target.name, declare=target
                )
        except BusTimeout as error:
            LOG.warning("cast lost", topic=request.topic, method=request.method, error=str(error))

    def _replies(self) -> _Consumer:
        with self._lock:
            if self._reply_consumer is None:
                reply_queue = Queue(
                    self._reply_name,
                    durable=True,
                    queue_arguments={"x-expires": REPLY_QUEUE_KEPT_MS},
                )
                self._reply_consumer = _Consumer(
                    "rabbit-replies",
                    self._urls,
                    [reply_queue],
                    prefetch=200,
                    on_message=self._answered,
                )
            return self._reply_consumer

    def _answered(self, message: Message, ack: Callable[[], None]) -> None:
        reply = self._frame(message)
        if isinstance(reply, Reply):
            with self._lock:
                answers = self._answers.get(reply.id)
            if answers is not None:
                answers.put(reply)
        ack()

    def trouble(self) -> str:
        """Say that a connection to the broker is missing."""
        replies = self._replies()
        replies.ready.wait(1.0)  # asked for the first time, it is being made
        with self._lock:
            consumers = [replies, *(one for made in self._consumers.values() for one in made)]
        down = sum(1 for consumer in consumers if not consumer.ready.is_set())
        return f"the bus is gone: {down} of {len(consumers)} connections are down" if down else ""

    def close(self) -> None:
        """Stop every service and connection."""
        for service in list(self._services):
            service.close(wait=False)
        self._closing.set()
        if self._reply_consumer is not None:
            self._reply_consumer.close()
        self._publisher.close()
