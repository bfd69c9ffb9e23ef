"""One kept HTTP/1.1 connection that costs the load program as little as it can.

Owns: writing a request and reading an answer by Content-Length or chunks. Standard library only. Must not:
know OpenStack. A connection that the server closed while it was idle is opened again, once a request.
"""

import io
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """A connection to the host and port of a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._host = f"{self._place[0]}:{self._place[1]}"
        self._socket: socket.socket | None = None
        self._reader: io.BufferedReader | None = None

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._reader is not None:
            self._reader.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._reader = None

    def open(self) -> None:
        """Connect."""
        self._socket = socket.create_connection(self._place, TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb", buffering=1 << 18)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request and read its answer. Raises: OSError, ValueError."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        message = "\r\n".join((*lines, "", "")).encode() + body
        kept = self._socket is not None
        try:
            return self._exchange(message, method)
        except ConnectionError:
            self.close()
            if not kept:
                raise
            return self._exchange(message, method)

    def _exchange(self, message: bytes, method: str) -> Answer:
        if self._socket is None:
            self.open()
        assert self._socket is not None and self._reader is not None
        self._socket.sendall(message)
        first = self._reader.readline()
        if not first:
            raise ConnectionResetError("closed by the server")
        status = int(first.split(b" ", 2)[1])
        headers = self._headers()
        body = b"" if method == "HEAD" or status in (204, 304) else self._body(headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)

    def _headers(self) -> dict[str, str]:
        assert self._reader is not None
        headers: dict[str, str] = {}
        while line := self._reader.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return headers

    def _body(self, headers: Mapping[str, str]) -> bytes:
        assert self._reader is not None
        if "content-length" in headers:
            return self._reader.read(int(headers["content-length"]))
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self._reader.read()
        parts = []
        while size := int(self._reader.readline().split(b";")[0], 16):
            parts.append(self._reader.read(size))
            self._reader.readline()
        self._reader.readline()
        return b"".join(parts)
