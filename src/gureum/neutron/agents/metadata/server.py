"""The Unix socket that the proxies in the namespaces talk to.

Owns: the socket's file and rights, HTTP/1.1 on it, a bounded number of threads. Must not: decide
anything about a request. One request a connection: what a guest sends after it is never read.
"""

import contextlib
import grp
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from gureum.core import log as logs
from gureum.neutron.agents.metadata.forward import (
    MAX_BODY_BYTES,
    Request,
    Response,
    refusal,
)

log = logs.get(__name__)

_READ_S = 15.0


class _Handler(BaseHTTPRequestHandler):
    """Reads one request and writes one answer."""

    protocol_version = "HTTP/1.1"
    server_version = "gureum"
    sys_version = ""
    timeout = _READ_S

    def __init__(self, connection: socket.socket, answer: Callable[[Request], Response]) -> None:
        self._answer = answer
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]

    def handle(self) -> None:
        """Read and answer exactly one request."""
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or len(self.raw_requestline) > 65536:
            return
        if self.parse_request():
            self._write(self._respond())

    def _respond(self) -> Response:
        if self.headers.get("Transfer-Encoding"):
            return refusal(HTTPStatus.LENGTH_REQUIRED)
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit():
            return refusal(HTTPStatus.BAD_REQUEST)
        if int(length) > MAX_BODY_BYTES:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(length))
        headers = [(str(key), str(value)) for key, value in self.headers.items()]
        return self._answer(Request(self.command, self.path, headers, body))

    def _write(self, response: Response) -> None:
        self.send_response(response.status)
        for key, value in response.headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: guests' requests are not news."""


class SocketServer:
    """Listens on a Unix socket and answers with a function, in a bounded number of threads."""

    def __init__(
        self,
        path: str,
        group: str,
        answer: Callable[[Request], Response],
        workers: int,
        backlog: int,
    ) -> None:
        self._path = Path(path)
        self._group = group
        self._answer = answer
        self._backlog = backlog
        self._free = threading.Semaphore(workers)
        self._pool = ThreadPoolExecutor(workers, "metadata")
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._inode = (0, 0)

    def start(self) -> None:
        """Listen, unless that is so already."""
        if not self.is_reachable():
            self.listen()

    def is_reachable(self) -> bool:
        """Return whether the file in the folder is the socket that we listen on."""
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        return self._listening is not None and (found.st_dev, found.st_ino) == self._inode

    def listen(self) -> None:
        """Listen anew. A socket that a former agent left is replaced in one step."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_mask = os.umask(0o177)
        try:
            listening.bind(str(new))
        finally:
            os.umask(old_mask)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(new, -1, grp.getgrnam(self._group).gr_gid)
            os.chmod(new, 0o660)
        listening.listen(self._backlog)
        status = os.stat(new)
        os.replace(new, self._path)
        former, self._listening = self._listening, listening
        self._inode = (status.st_dev, status.st_ino)
        if former is not None:
            with contextlib.suppress(OSError):
                former.shutdown(socket.SHUT_RDWR)
            former.close()
        self._thread = threading.Thread(
            target=self._accept, args=(listening,), name="metadata-accept", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; running answers end by themselves."""
        self._stopping = True
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _accept(self, listening: socket.socket) -> None:
        while not self._stopping and listening is self._listening:
            self._free.acquire()  # full: the next ones wait in the kernel's queue
            try:
                connection, _ = listening.accept()
                self._pool.submit(self._serve, connection)
            except (OSError, RuntimeError) as error:
                self._free.release()
                if not self._stopping and listening is self._listening:
                    log.warning("metadata connection not taken", error=error)
                    threading.Event().wait(0.1)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                _Handler(connection, self._answer)
        except OSError as error:
            log.debug("metadata connection broke", error=error)
        finally:
            self._free.release()
