"""Uvicorn's protocol, with the head and the body of an answer in one packet.

Owns: the transport between uvicorn and the socket. Must not: know what is sent.
Uvicorn writes them apart, and the event loop sends each write at once: two system calls and two packets here,
two reads at the client.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http import httptools_impl

_JOIN_BYTES = 1 << 16
"""Up to here joining is cheaper than a second call; a larger body is not copied."""


_READ_AHEAD_BYTES = 1 << 20
"""How much of a body may wait; uvicorn's 64 KiB stop and start an upload sixteen times a MiB."""
httptools_impl.HIGH_WATER_LIMIT = _READ_AHEAD_BYTES


class CorkedProtocol(httptools_impl.HttpToolsProtocol):
    """HTTP/1.1 whose answers leave in one piece."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the cork on a new connection."""
        super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop)))


class Corked:
    """A transport that keeps a write back until the next one, or until the loop comes round."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send after what is held, or hold."""
        held = self._held
        if len(data) > _JOIN_BYTES:
            self._flush()
            self._transport.write(data)
        elif held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._held = None
            self._transport.write(held + data)

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._transport.is_closing():
            self._transport.write(held)

    def close(self) -> None:
        """Close once everything is sent."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
