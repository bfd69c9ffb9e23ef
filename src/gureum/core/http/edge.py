"""The asynchronous edge: ASGI on one side, the synchronous dispatcher in two bounded pools on the other.

Owns: reading bodies within a size limit, streaming uploads and downloads with back-pressure, dropping
headers that a client must not set. Must not: know any operation.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import BodyStream, Request, Response
from gureum.core.spec.errors import TooLarge
from gureum.core.spec.operations import File

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CHUNK_BYTES = 1 << 20
_PIECE_BYTES = 1 << 21
"""Of a file at once: a thread is asked for each."""
_FORGED = frozenset(
    {"x-roles", "x-user-id", "x-project-id", "x-user-roles", "x-tenant-id", "x-identity-status"}
)


class Pools:
    """Two bounded thread pools of a process: short database work, and work that waits."""

    def __init__(self, short: int = 8, slow: int = 32) -> None:
        self.short = ThreadPoolExecutor(short, "short")
        self.slow = ThreadPoolExecutor(slow, "slow")

    def close(self) -> None:
        """Let running work end."""
        self.short.shutdown(wait=True, cancel_futures=True)
        self.slow.shutdown(wait=True, cancel_futures=True)


class App:
    """An ASGI application in front of one dispatcher."""

    def __init__(self, dispatcher: Dispatcher, pools: Pools) -> None:
        self._dispatcher = dispatcher
        self._pools = pools

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # names are lower case already, as ASGI wants them
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        if not _FORGED.isdisjoint(headers):
            headers = {name: value for name, value in headers.items() if name not in _FORGED}
        raw_path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        request = Request(
            method=scope["method"],
            path=raw_path.decode("latin-1").partition("?")[0],
            query=parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else [],
            headers=headers,
            base=f"{scope['scheme']}://{headers.get('host', 'localhost')}",
            peer=(scope.get("client") or ("",))[0],
        )
        needs = self._dispatcher.needs(request)
        if needs.at_once and request.method in ("GET", "HEAD"):
            await self._answer_at_once(request, send)
            return
        loop = asyncio.get_running_loop()
        if needs.upload:
            request.stream = _body_stream(headers, receive, loop)
        else:
            body = await self._read(headers, receive)
            if body is None:
                await self._too_large(send)
                return
            request.body = body
        if needs.at_once:
            response = self._dispatcher.handle(request)
        else:
            pool = self._pools.slow if needs.slow else self._pools.short
            response = await loop.run_in_executor(pool, self._dispatcher.handle, request)
        await self._send(request, response, send, loop)

    async def _answer_at_once(self, request: Request, send: Send) -> None:
        """Answer what has no body and cannot wait; a body that a client sends anyway is not read."""
        response = self._dispatcher.handle(request)
        if response.file is None and response.stream is None:
            await _start(response, send, len(response.body))
            await send({"type": "http.response.body", "body": response.body})
            return
        await self._send(request, response, send, asyncio.get_running_loop())

    async def _read(self, headers: dict[str, str], receive: Receive) -> bytes | None:
        limit = self._dispatcher.service.max_body_bytes
        if int(headers.get("content-length") or 0) > limit:
            return None
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"".join(parts)
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                return None
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts) if len(parts) > 1 else part

    async def _too_large(self, send: Send) -> None:
        error = TooLarge()
        body = msgspec.json.encode(self._dispatcher.service.error_body(error, ""))
        response = Response(
            error.status, [("Content-Type", "application/json"), ("Connection", "close")], body
        )
        await _start(response, send, len(body))
        await send({"type": "http.response.body", "body": body})

    async def _send(
        self, request: Request, response: Response, send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        if response.file is None and response.stream is None:
            await _start(response, send, len(response.body))
            await send({"type": "http.response.body", "body": response.body})
            return
        await _start(response, send, response.file.length if response.file else None)
        chunks = _file_chunks(response.file) if response.file else response.stream
        if request.method != "HEAD" and chunks is not None:
            pool = self._pools.slow
            coming = loop.run_in_executor(pool, next, chunks, b"")
            while chunk := await coming:
                coming = loop.run_in_executor(pool, next, chunks, b"")  # read on while this leaves
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _file_chunks(file: File) -> Iterator[bytes]:
    left = file.length
    with open(file.path, "rb", buffering=0) as source:
        source.seek(file.offset)
        while left is None or left > 0:
            chunk = source.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES))
            if not chunk:
                return
            if left is not None:
                left -= len(chunk)
            yield chunk


async def _start(response: Response, send: Send, length: int | None) -> None:
    headers = [(n.lower().encode("latin-1"), v.encode("utf-8")) for n, v in response.headers]
    # 204 and 304 have no body and no length (RFC 9110, 8.6)
    if (
        length is not None
        and response.status not in (204, 304)
        and all(name != b"content-length" for name, _ in headers)
    ):
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})


def _body_stream(
    headers: dict[str, str], receive: Receive, loop: asyncio.AbstractEventLoop
) -> BodyStream:
    ended = False
    coming: concurrent.futures.Future[bytes | None] | None = None

    async def gather() -> bytes | None:
        nonlocal ended
        parts: list[bytes] = []
        size = 0
        while not ended and size < _CHUNK_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            ended = not message.get("more_body")
            if part:
                parts.append(part)
                size += len(part)
        return b"".join(parts)

    def next_chunk() -> bytes:
        nonlocal coming
        if coming is None:
            if ended:
                return b""
            coming = asyncio.run_coroutine_threadsafe(gather(), loop)
        chunk, coming = coming.result(), None
        if chunk is None:
            raise ConnectionError("the client went away")
        if not ended:  # the next piece comes in while this one is worked on
            coming = asyncio.run_coroutine_threadsafe(gather(), loop)
        return chunk

    length = headers.get("content-length")
    return BodyStream(next_chunk, int(length) if length and length.isdigit() else None)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
