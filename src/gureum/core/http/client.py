"""HTTP calls to other services: over a socket, or straight to the dispatcher in the same process.

Owns: choosing the way by the URL's host and port, time-outs, retries of idempotent calls. Both ways
serialise. A call inside an open database transaction is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from gureum.core import log, reading, trace
from gureum.core.guard import assert_no_transaction
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import Request

if TYPE_CHECKING:
    import httpx

LOG = log.get(__name__)


class RemoteError(Exception):
    """The other service answered with an error. `status` and `text` are its own."""

    def __init__(self, method: str, url: str, status: int, text: str) -> None:
        super().__init__(f"{method} {url}: {status} {text[:300]}")
        self.status = status
        self.text = text


class RemoteUnavailable(Exception):
    """The other service cannot be reached or did not answer in time."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer with its body in memory."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body; None when it is empty."""
        return msgspec.json.decode(self.body) if self.body else None


class HttpClient:
    """Calls any URL; dispatches in-process where a service of this process answers there."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        self._local: dict[tuple[str, int], Dispatcher] = {}
        self._timeout_s = timeout_s
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def bind(self, base_url: str, dispatcher: Dispatcher) -> None:
        """Answer calls to this base URL with a dispatcher of this process."""
        self._local[_place(base_url)] = dispatcher

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        attempts: int = 3,
    ) -> HttpReply:
        """Call and return the answer, whatever its status.

        Raises: RemoteUnavailable (after `attempts` for GET, PUT, DELETE and HEAD; one for others).
        """
        assert_no_transaction(f"{method} {url}")
        if not trace.exports():
            return self._request(method, url, json, headers, params, attempts)
        with trace.Span(trace.ASK, f"{method} {urlsplit(url).netloc}", LOG) as span:
            reply = self._request(method, url, json, headers, params, attempts)
            span.end("answered", failed=reply.status >= 500, status=reply.status)
            return reply

    def _request(
        self,
        method: str,
        url: str,
        json: Any,
        headers: Mapping[str, str] | None,
        params: Mapping[str, Any] | None,
        attempts: int,
    ) -> HttpReply:
        sent = {
            "content-type": "application/json",
            "accept": "application/json",
            **trace.headers(),
            **(headers or {}),
        }
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
        body = msgspec.json.encode(json) if json is not None else b""
        dispatcher = self._local.get(_place(url))
        if dispatcher is not None:
            return _dispatch(dispatcher, method, url, sent, body)
        reading.elsewhere()
        import httpx  # where everything is in one process, nothing is called over a socket

        tries = attempts if method in ("GET", "PUT", "DELETE", "HEAD") else 1
        for attempt in range(tries):
            try:
                answer = self._remote.request(method, url, content=body, headers=sent)
                return HttpReply(answer.status_code, answer.headers, answer.content)
            except httpx.TransportError as error:
                if attempt == tries - 1:
                    raise RemoteUnavailable(f"{method} {url}: {error}") from error
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def stream(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Yield the body of a GET in pieces. Raises: RemoteError, RemoteUnavailable."""
        import httpx

        assert_no_transaction(f"GET {url}")
        reading.elsewhere()
        try:
            sent = {**trace.headers(), **(headers or {})}
            with self._remote.stream("GET", url, headers=sent) as answer:
                if answer.status_code >= 300:
                    raise RemoteError(
                        "GET", url, answer.status_code, answer.read().decode(errors="replace")
                    )
                yield from answer.iter_bytes(1 << 20)
        except httpx.TransportError as error:
            raise RemoteUnavailable(f"GET {url}: {error}") from error

    def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            self._client.close()

    @property
    def _remote(self) -> httpx.Client:
        """The connections, made when the first call leaves this process."""
        import httpx

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(timeout=self._timeout_s, trust_env=False)
            return self._client


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _dispatch(
    dispatcher: Dispatcher, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> HttpReply:
    parts = urlsplit(url)
    request = Request(
        method=method,
        path=parts.path,
        query=parse_qsl(parts.query, keep_blank_values=True),
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        base=f"{parts.scheme}://{parts.netloc}",
        peer="local",
    )
    response = dispatcher.handle(request)
    content = response.body
    if response.stream is not None:
        content = b"".join(response.stream)
    elif response.file is not None:
        with open(response.file.path, "rb") as source:
            source.seek(response.file.offset)
            content = source.read(response.file.length if response.file.length is not None else -1)
    return HttpReply(response.status, {n.lower(): v for n, v in response.headers}, content)
