"""The Unix-socket transport: one process hosts the hub, others join it as leaves.

Owns: framing (four bytes of length, then MessagePack), the hub's listener, a leaf's reconnection
with backoff, its subscriptions, and asking again after a reconnection. The socket file is open to
its owner and to root only. Must not: decide who serves what; `Router` does.
"""

import contextlib
import os
import random
import socket
import struct
import threading
from pathlib import Path

import msgspec

from gureum.core import log
from gureum.core.bus.base import EVERY_HOST, Bus, Delivery, Reply, Request, Service, accept
from gureum.core.bus.local import LOG as ROUTER_LOG
from gureum.core.bus.local import Router, wait_reply

LOG = log.get(__name__)

MAX_FRAME_BYTES = 64 * 1024 * 1024
SEND_TIMEOUT_S = 20.0
BACKOFF_S = (0.05, 2.0)
_PEER = struct.Struct("3i")
_LENGTH = struct.Struct(">I")


class Serve(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A leaf says that it serves a topic on a host."""

    topic: str
    host: str | None


class Unserve(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """A leaf says that it stopped."""

    topic: str
    host: str | None


Frame = Request | Reply | Serve | Unserve


class Connection:
    """One stream of frames. Sending is thread-safe; one thread reads."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        seconds = int(SEND_TIMEOUT_S)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, 0))
        self._sending = threading.Lock()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Frame)

    def send(self, frame: Frame) -> bool:
        """Send a frame; False when the connection is gone (it is closed then)."""
        with self._sending:
            try:
                body = self._encoder.encode(frame)
                self._stream.sendall(_LENGTH.pack(len(body)) + body)
            except OSError:
                self.close()
                return False
            return True

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end of the connection."""
        try:
            head = self._exactly(_LENGTH.size)
            if head is None:
                return None
            size: int = _LENGTH.unpack(head)[0]
            body = self._exactly(size) if size <= MAX_FRAME_BYTES else None
            if body is None:
                return None
            frame: Frame = self._decoder.decode(body)
            return frame
        except (OSError, msgspec.MsgspecError) as error:
            LOG.warning("bus connection ended", error=str(error))
            return None

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self._stream.recv(min(size - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def close(self) -> None:
        """End the connection; the reading thread wakes up."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()


class _Far:
    """What both ends keep of requests that were sent and not answered yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Delivery] = {}

    def add(self, delivery: Delivery) -> None:
        with self._lock:
            for request_id in [key for key, known in self._open.items() if known.left_s() < 0]:
                del self._open[request_id]
            self._open[delivery.request.id] = delivery

    def answered(self, reply: Reply) -> None:
        with self._lock:
            delivery = self._open.pop(reply.id, None)
        if delivery is not None:
            delivery.reply_to(reply)

    def take_all(self) -> list[Delivery]:
        with self._lock:
            deliveries = list(self._open.values())
            self._open.clear()
        return [delivery for delivery in deliveries if delivery.left_s() > 0]

    def alive(self) -> list[Delivery]:
        with self._lock:
            return [delivery for delivery in self._open.values() if delivery.left_s() > 0]

    def forget(self, request_id: str) -> None:
        with self._lock:
            self._open.pop(request_id, None)


class _LeafEndpoint:
    """In the hub: a service behind a leaf's connection."""

    def __init__(self, connection: Connection, far: _Far, topic: str, host: str | None) -> None:
        self.connection = connection
        self.topic = topic
        self.host = host
        self._far = far

    def matches(self, topic: str, host: str | None) -> bool:
        return self.topic == topic and host in (None, EVERY_HOST, self.host)

    def deliver(self, delivery: Delivery) -> None:
        if delivery.request.kind != "cast":
            self._far.add(delivery)
        self.connection.send(delivery.for_wire())


class _RoutedBus(Bus):
    """What hub and leaf have in common: own services and a router."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._router = Router()
        self._services: list[Service] = []
        self._closing = threading.Event()

    def _call(self, request: Request) -> Reply:
        return wait_reply(self._router, request)

    def _cast(self, request: Request) -> None:
        if not self._router.spread(accept(request, _no_reply)):
            ROUTER_LOG.debug("cast to nobody", topic=request.topic, method=request.method)


class HubBus(_RoutedBus):
    """The process that hosts the hub; its services and clients need no socket."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        self._listener = self._listen()
        threading.Thread(target=self._accept, name="bus-hub", daemon=True).start()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                try:
                    probe.connect(str(self._path))
                except OSError:
                    self._path.unlink(missing_ok=True)
                else:
                    raise RuntimeError(f"another process already hosts the bus at {self._path}")
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(128)
        return listener

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            peer = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            uid = _PEER.unpack(peer)[1]
            if uid not in (0, os.getuid()):
                LOG.warning("bus connection refused", uid=uid)
                stream.close()
                continue
            threading.Thread(
                target=self._serve_leaf, args=(Connection(stream),), name="bus-leaf", daemon=True
            ).start()

    def _serve_leaf(self, connection: Connection) -> None:
        far = _Far()
        served: dict[tuple[str, str | None], _LeafEndpoint] = {}
        with self._lock:
            self._connections.add(connection)
        while (frame := connection.read()) is not None:
            match frame:
                case Request(kind="cast"):
                    self._router.spread(accept(frame, _no_reply), but=connection)
                case Request():
                    self._router.route(accept(frame, connection.send))
                case Reply():
                    far.answered(frame)
                case Serve(topic, host):
                    endpoint = served[topic, host] = _LeafEndpoint(connection, far, topic, host)
                    self._router.add(endpoint)
                    LOG.info("leaf serves", topic=topic, host=host)
                case Unserve(topic, host):
                    if (topic, host) in served:
                        self._router.remove(served.pop((topic, host)))
        for endpoint in served.values():
            self._router.remove(endpoint)
        connection.close()
        with self._lock:
            self._connections.discard(connection)
        for delivery in far.take_all():  # another server, or the same one once it is back
            self._router.route(delivery)

    def _attach(self, service: Service) -> None:
        self._services.append(service)
        self._router.add(service)

    def _detach(self, service: Service) -> None:
        self._router.remove(service)
        self._services = [known for known in self._services if known is not service]

    def close(self) -> None:
        """Stop listening and every service."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()
        for service in list(self._services):
            service.close(wait=False)


class _Uplink:
    """In a leaf: the hub as an endpoint that may serve anything this process does not."""

    def __init__(self) -> None:
        self.far = _Far()
        self.connection: Connection | None = None

    def matches(self, topic: str, host: str | None) -> bool:
        return True

    def deliver(self, delivery: Delivery) -> None:
        if delivery.request.kind != "cast":
            self.far.add(delivery)
        connection = self.connection
        if connection is not None:
            connection.send(delivery.for_wire())


class LeafBus(_RoutedBus):
    """A process that joins the hub, and joins it again for as long as it lives."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._uplink = _Uplink()
        self._lock = threading.Lock()
        self.connected = threading.Event()
        threading.Thread(target=self._stay_connected, name="bus-uplink", daemon=True).start()

    def _stay_connected(self) -> None:
        backoff_s = BACKOFF_S[0]
        while not self._closing.is_set():
            stream = socket.socket(socket.AF_UNIX)
            try:
                stream.connect(str(self._path))
            except OSError as error:
                stream.close()
                LOG.debug("no bus hub yet", path=str(self._path), error=str(error))
                self._closing.wait(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, BACKOFF_S[1])
                continue
            backoff_s = BACKOFF_S[0]
            self._talk(Connection(stream))

    def _talk(self, connection: Connection) -> None:
        with self._lock:
            for service in self._services:
                connection.send(Serve(service.topic, service.host))
            self._uplink.connection = connection
        LOG.info("joined the bus", path=str(self._path))
        for delivery in self._uplink.far.alive():
            connection.send(delivery.for_wire())
        self.connected.set()
        while (frame := connection.read()) is not None:
            match frame:
                case Reply():
                    self._uplink.far.answered(frame)
                case Request():
                    self._take(frame)
                case _:
                    LOG.warning("unexpected bus frame", frame=type(frame).__name__)
        self.connected.clear()
        self._uplink.connection = None
        connection.close()
        if not self._closing.is_set():
            LOG.warning("bus hub lost, joining again", path=str(self._path))
            self._closing.wait(BACKOFF_S[0])

    def _take(self, request: Request) -> None:
        delivery = accept(request, _no_reply if request.kind == "cast" else self._answer)
        if request.kind == "cast":
            self._router.spread(delivery)
        else:
            self._router.route(delivery)

    def _answer(self, reply: Reply) -> None:
        """Send to the hub of now; when it is gone, the one that comes asks again."""
        connection = self._uplink.connection
        if connection is not None:
            connection.send(reply)

    def _call(self, request: Request) -> Reply:
        if self._router.pick(request.topic, request.host) is not None:
            return super()._call(request)
        up = Router()
        up.add(self._uplink)
        try:
            return wait_reply(up, request)
        finally:
            self._uplink.far.forget(request.id)

    def _cast(self, request: Request) -> None:
        delivery = accept(request, _no_reply)
        if not self._router.spread(delivery) or request.host == EVERY_HOST:
            self._uplink.deliver(delivery)

    def _attach(self, service: Service) -> None:
        with self._lock:
            self._services.append(service)
            self._router.add(service)
            if self._uplink.connection is not None:
                self._uplink.connection.send(Serve(service.topic, service.host))

    def _detach(self, service: Service) -> None:
        self._router.remove(service)
        with self._lock:
            self._services = [known for known in self._services if known is not service]
            if self._uplink.connection is not None:
                self._uplink.connection.send(Unserve(service.topic, service.host))

    def trouble(self) -> str:
        """Say that the hub is not there."""
        return "" if self.connected.is_set() else f"the bus is gone: no hub at {self._path}"

    def close(self) -> None:
        """Leave the hub and stop every service."""
        self._closing.set()
        connection = self._uplink.connection
        if connection is not None:
            connection.close()
        for service in list(self._services):
            service.close(wait=False)


def _no_reply(_reply: Reply) -> None:
    return None
