"""The HTTP listeners of one process: all ports in one event loop, in one thread.

Owns: sockets, uvicorn servers, draining, and `/healthz`, `/readyz`, `/healthcheck` and `/metrics` beside
each application.
Must not: know what an application does. Follows: ASGI 3.0 (https://asgi.readthedocs.io).
"""

import asyncio
import ipaddress
import json
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import uvicorn

from gureum.core import log
from gureum.core.http.cork import CorkedProtocol
from gureum.core.metrics import CONTENT_TYPE, Metrics

LOG = log.get(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Health:
    """How a component is. `ok` says whether it can do its work now."""

    ok: bool = True
    text: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and where it is reached."""

    name: str
    host: str
    port: int
    app: App
    websockets: bool = False
    shared: bool = False


class AddressInUse(Exception):
    """A port is taken; the text says which and by whom to ask."""


class HttpListeners:
    """The applications of this process. `mount` them, then `open`, `serve`, `drain`."""

    def __init__(
        self,
        metrics: Metrics,
        health: Callable[[], dict[str, Health]],
        *,
        drain_s: float = 10.0,
        disabled_file: str = "",
    ) -> None:
        self.share_ports = False
        self._metrics = metrics
        self._health = health
        self._drain_s = drain_s
        self._disabled_file = disabled_file
        self._listeners: list[Listener] = []
        self._sockets: list[socket.socket] = []
        self._servers: list[uvicorn.Server] = []
        self._thread: threading.Thread | None = None
        self._ready = False
        metrics.gauge_from(
            "gureum_requests_in_progress", "API requests under way, by the component that has the port.",
            ("component",), self.in_progress, max_age_s=0.0,
        )  # fmt: skip

    def mount(self, name: str, host: str, port: int, app: App, *, websockets: bool = False) -> None:
        """Serve an ASGI application at a port. A `host` that begins with `/` is a Unix socket.

        With `share_ports` set, other processes of this machine may serve it at the same port too.
        """
        self._listeners.append(Listener(name, host, port, app, websockets, self.share_ports))

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What was mounted."""
        return tuple(self._listeners)

    def open(self) -> None:
        """Bind every port. Raises: AddressInUse."""
        for listener in self._listeners:
            self._sockets.append(_bind(listener))

    def serve(self) -> None:
        """Answer requests, in a thread, until `drain`; returns once every port answers."""
        if not self._listeners:
            self._ready = True
            return
        for listener in self._listeners:
            config = uvicorn.Config(
                _Beside(listener, self),
                http="httptools" if listener.websockets else CorkedProtocol,
                ws="websockets-sansio" if listener.websockets else "none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=int(self._drain_s),
            )
            self._servers.append(uvicorn.Server(config))
        up = threading.Event()
        self._thread = threading.Thread(target=self._loop, args=(up,), name="http", daemon=True)
        self._thread.start()
        up.wait()
        self._ready = True

    def in_progress(self) -> list[tuple[tuple[str], float]]:
        """Return how many requests each port is answering; a process's own socket is left out."""
        running = zip(self._listeners, self._servers, strict=False)
        return [
            ((listener.name,), float(len(server.server_state.tasks)))
            for listener, server in running
            if not listener.host.startswith("/")
        ]

    def _loop(self, up: threading.Event) -> None:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve_all(up))

    async def _serve_all(self, up: threading.Event) -> None:
        tasks = [
            asyncio.create_task(server.serve(sockets=[bound]))
            for server, bound in zip(self._servers, self._sockets, strict=True)
        ]
        while not all(server.started for server in self._servers):
            done = [task for task in tasks if task.done()]
            if done:
                done[0].result()
                break
            await asyncio.sleep(0.005)
        up.set()
        await asyncio.gather(*tasks)

    def drain(self) -> None:
        """Say "not ready", let running requests end (bounded), close the ports."""
        self._ready = False
        for server in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(self._drain_s + 2)
            if self._thread.is_alive():
                LOG.warning("requests were still running at the end of the drain time")
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()

    def answer(
        self, name: str, path: str, peer: str | None, *, as_json: bool = False
    ) -> tuple[int, str, bytes] | None:
        """Status, content type and body of the paths that every port answers; None for others.

        A port is ready when the component that mounted it is; a process's own port when all are. The
        body tells of the others too.
        """
        if path == "/healthz":
            return 200, "text/plain", b"ok\n"
        if path == "/readyz":
            states = self._health()
            reasons = self._reasons(name, states)
            body = {
                "ready": not reasons,
                "reasons": reasons,
                "components": {
                    name: {"ok": state.ok, "text": state.text} for name, state in states.items()
                },
            }
            return 503 if reasons else 200, "application/json", json.dumps(body).encode()
        if path == "/healthcheck":
            return self._healthcheck(self._reasons(name, self._health()), as_json)
        if path == "/metrics":
            if not _is_local(peer):
                return 403, "text/plain", b"metrics are read from this machine\n"
            return 200, CONTENT_TYPE, self._metrics.render()
        return None

    def _reasons(self, name: str, states: dict[str, Health]) -> list[str]:
        """Why a port is not ready; nothing when it is."""
        if self._disabled_file and os.path.exists(self._disabled_file):
            return ["DISABLED BY FILE"]
        if not self._ready:
            return ["stopping or starting"]
        concerned = {name: states[name]} if name in states else states
        return [f"{one}: {state.text}" for one, state in concerned.items() if not state.ok]

    @staticmethod
    def _healthcheck(reasons: list[str], as_json: bool) -> tuple[int, str, bytes]:
        """As load balancers in front of OpenStack's APIs ask: OK, or 503 with the reasons."""
        status, words = (503, reasons) if reasons else (200, ["OK"])
        if as_json:
            body = {"detailed": False, "reasons": words}
            return status, "application/json", json.dumps(body).encode()
        return status, "text/plain", "\n".join(words).encode()


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of a process's own socket: there is nothing but the paths beside it."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class _Beside:
    """An application with the paths of `HttpListeners.answer` beside it."""

    _PATHS = frozenset({"/healthz", "/readyz", "/healthcheck", "/metrics"})

    def __init__(self, listener: Listener, owner: HttpListeners) -> None:
        self._app = listener.app
        self._name = listener.name
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self._PATHS:
            await self._app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else None
        as_json = any(
            name == b"accept" and b"application/json" in value for name, value in scope["headers"]
        )
        answer = await asyncio.to_thread(
            self._owner.answer, self._name, scope["path"], peer, as_json=as_json
        )
        status, kind, body = answer or (404, "text/plain", b"")
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop


def _is_local(peer: str | None) -> bool:
    if not peer:  # a Unix socket
        return True
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _bind(listener: Listener) -> socket.socket:
    if listener.host.startswith("/"):
        return _bind_unix(listener.host)
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.shared:  # the kernel spreads connections over the processes that listen
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((listener.host, listener.port))
    except OSError as error:
        bound.close()
        raise AddressInUse(
            f"{listener.name} cannot listen at {listener.host}:{listener.port}: {error.strerror};"
            f" see who does with: ss -ltnp 'sport = :{listener.port}', or choose other ports with"
            " [gureum] port_offset (up --port-offset N)"
        ) from error
    bound.listen(2048)
    bound.setblocking(False)
    return bound


def _bind_unix(path: str) -> socket.socket:
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        os.unlink(path)  # of a process that ended; a running one holds the process's lock
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(path)
    os.chmod(path, 0o660)
    bound.listen(2048)
    bound.setblocking(False)
    return bound
