"""nova-novncproxy: from a browser's WebSocket to a guest's screen.

Owns: who may open a console (token, Origin, Host), and pumping bytes both ways with backpressure.
Must not: read a database, understand RFB, or write a token anywhere.
Follows: RFC 6455; RFC 6454 (origins); noVNC's `path` parameter. Abuse case 25: a token opens one
server's screen; the pages that may open it are those of the configured addresses, never of what the
request's own Host header claims; nothing redirects.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from gureum.core import log
from gureum.core.bus.contract import AgentError, BusError
from gureum.nova.console.config import NovncProxyOptions
from gureum.nova.console.contract import ConsoleAuth, ConsoleTarget
from gureum.nova.console.static import StaticFiles

LOG = log.get(__name__)

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CHUNK_BYTES = 65536
MAX_TOKEN_CHARS = 128
AUTH_THREADS = 8
CLOSE_NORMAL = 1000
CLOSE_NOT_BINARY = 1003
CLOSE_REFUSED = 1008
CLOSE_TRY_LATER = 1013
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_PAGE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


class NovncProxy:
    """The ASGI application; mount it with WebSockets on.

    `base_url` is where browsers reach it. `auth` may be a bus client or the logic itself.
    """

    def __init__(self, options: NovncProxyOptions, base_url: str, auth: ConsoleAuth) -> None:
        self._options = options
        self._auth = auth
        self._files = StaticFiles(Path(options.web))
        base = urlsplit(base_url)
        port = base.port or _DEFAULT_PORTS.get(base.scheme, 80)
        self._own = (base.hostname or "", port)
        self._frames = f"{base.scheme}://{base.netloc}"
        self._allowed = {_host_and_port(one) for one in options.allowed_origins}
        self._pool = ThreadPoolExecutor(AUTH_THREADS, thread_name_prefix="console-auth")
        self._sessions = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a file, or pump a console until an end closes."""
        if scope["type"] == "http":
            await self._page(scope, send)
        elif scope["type"] == "websocket":
            await self._console(scope, receive, send)

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _page(self, scope: Scope, send: Send) -> None:
        status, body, kind = 404, b"no such page\n", "text/plain"
        if scope["method"] not in ("GET", "HEAD"):
            status, body = 405, b"only GET and HEAD\n"
        else:
            raw_path = scope.get("raw_path") or scope["path"].encode()
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(
                self._pool, self._files.find, raw_path.decode("latin-1")
            )
            if found is not None:
                status, body, kind = 200, found.body, found.content_type
        ancestors = " ".join(["'self'", self._frames, *self._options.allowed_origins])
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"content-security-policy", f"frame-ancestors {ancestors}".encode()),
            *_PAGE_HEADERS,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        payload = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": payload})

    async def _console(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        refusal = self._refusal(scope)
        token = "" if refusal else _token(scope)
        if refusal or not token:
            LOG.warning("console refused", reason=refusal or "no token")
            await send({"type": "websocket.close", "code": CLOSE_REFUSED})
            return
        self._sessions += 1
        try:
            await self._open(token, scope, receive, send)
        finally:
            self._sessions -= 1

    def _refusal(self, scope: Scope) -> str:
        """Why a page may not open a console here, whatever its token; empty when it may.

        A program that is no browser sends no Origin: the token alone speaks for it. A browser always
        sends one, so another site's page cannot hide behind this.
        """
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return "another host was asked for"
        if len(origins) > 1 or (origins and not self._is_allowed_origin(origins[0])):
            return "the page is of another origin"
        if self._sessions >= self._options.max_sessions:
            return "too many consoles are open"
        return ""

    def _is_allowed_origin(self, origin: str) -> bool:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.path or parts.query or "@" in origin:
            return False
        return self._is_known(parts.netloc, _DEFAULT_PORTS[parts.scheme])

    def _is_known(self, netloc: str, default_port: int | None = None) -> bool:
        host, port = _host_and_port(netloc)
        if port is None:
            port = default_port if default_port is not None else self._default_port()
        return (host, port) == self._own or (
            bool(host) and ((host, port) in self._allowed or (host, None) in self._allowed)
        )

    def _default_port(self) -> int:
        return self._own[1] if self._own[1] in (80, 443) else 80

    async def _ask(self, question: Callable[..., T], *args: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, question, *args)

    async def _open(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            target = await self._ask(self._auth.validate, token)
            if target is None:
                LOG.warning("console refused", reason="the token is unknown or has expired")
                await send({"type": "websocket.close", "code": CLOSE_REFUSED})
                return
            reader, writer = await self._connect(target)
        except (AgentError, BusError, OSError, TimeoutError) as error:
            LOG.warning("console cannot be opened", error=str(error) or type(error).__name__)
            await send({"type": "websocket.close", "code": CLOSE_TRY_LATER})
            return
        try:
            # Between the answer and the connection the port may have become another guest's.
            if await self._ask(self._auth.validate, token) != target:
                await send({"type": "websocket.close", "code": CLOSE_TRY_LATER})
                return
            chosen = "binary" if "binary" in scope.get("subprotocols", ()) else None
            await send({"type": "websocket.accept", "subprotocol": chosen})
            LOG.info("console opened", server_id=target.server_id)
            code = await self._pump(target, reader, writer, receive, send)
            LOG.info("console closed", server_id=target.server_id, code=code)
            if code:
                with contextlib.suppress(RuntimeError, OSError):
                    await send({"type": "websocket.close", "code": code})
        except (AgentError, BusError) as error:
            LOG.warning("console cannot be opened", error=str(error))
            await send({"type": "websocket.close", "code": CLOSE_TRY_LATER})
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(
        self, target: ConsoleTarget
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(
            asyncio.open_connection(target.host, target.port, limit=CHUNK_BYTES),
            self._options.connect_timeout_s,
        )

    async def _pump(
        self,
        target: ConsoleTarget,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        receive: Receive,
        send: Send,
    ) -> int:
        """Carry bytes until an end closes; returns the code to close the WebSocket with (0: it is)."""
        tasks = [
            asyncio.create_task(_from_browser(receive, writer)),
            asyncio.create_task(_from_guest(reader, send)),
            asyncio.create_task(self._watch(target.server_id)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return max(_code_of(task) for task in done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, server_id: str) -> int:
        """Return when the server's consoles must close."""
        while True:
            await asyncio.sleep(self._options.session_check_s)
            try:
                if not await self._ask(self._auth.session_alive, server_id):
                    LOG.info("console of a deleted server is closed", server_id=server_id)
                    return CLOSE_REFUSED
            except (AgentError, BusError) as error:
                LOG.warning("console could not be checked, trying again", error=str(error))


def _code_of(task: "asyncio.Task[int]") -> int:
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, OSError | RuntimeError):  # an end is gone
        return CLOSE_NORMAL
    raise error


async def _from_browser(receive: Receive, writer: asyncio.StreamWriter) -> int:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return 0
        data = message.get("bytes")
        if data is None:
            return CLOSE_NOT_BINARY
        writer.write(data)
        await writer.drain()


async def _from_guest(reader: asyncio.StreamReader, send: Send) -> int:
    while True:
        data = await reader.read(CHUNK_BYTES)
        if not data:
            return CLOSE_NORMAL
        await send({"type": "websocket.send", "bytes": data})


def _token(scope: Scope) -> str:
    """Return the one token of the query, or nothing."""
    if scope["path"] not in ("/", "/websockify"):
        return ""
    query = scope.get("query_string", b"").decode("latin-1")
    try:
        found = parse_qs(query, max_num_fields=8).get("token", [])
    except ValueError:
        return ""
    if len(found) != 1 or len(found[0]) > MAX_TOKEN_CHARS or not found[0].isascii():
        return ""
    return str(found[0])


def _host_and_port(netloc: str) -> tuple[str, int | None]:
    """Return host in lower case and port (None: not said); ("", None) for nonsense."""
    try:
        parts = urlsplit(f"//{netloc}")
        if parts.netloc != netloc or "@" in netloc or parts.path:
            return "", None
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None
