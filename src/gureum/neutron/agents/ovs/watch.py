"""Notices at once that ovs-vswitchd ended, and that a new one is there.

Owns: one OpenFlow connection to a bridge, kept open to see it break. Must not: change a flow.
The database's server outlives a restart of the switch and tells nothing about it, so the switch itself is
watched: its end closes the connection, and a new one accepts. Follows the OpenFlow Switch Specification
1.4, "Hello" and "Echo"; ovs-vswitchd(8) for the path of the socket.
"""

import socket
import struct
import threading
from collections.abc import Callable

from gureum.core import log as logs

log = logs.get(__name__)

_HEADER = struct.Struct("!BBHI")
_VERSION = 5
"""OpenFlow 1.4."""
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY = range(4)
_TRY_AGAIN_S = 0.1
_SILENT_S = 30.0
"""A connection that is dead without having been closed is found out after so long."""


def bridge_socket(ovsdb_remote: str, bridge: str) -> str:
    """Return the path at which a bridge takes OpenFlow, beside the database's own socket."""
    kind, _, path = ovsdb_remote.partition(":")
    folder = path.rpartition("/")[0] if kind == "unix" and "/" in path else "/var/run/openvswitch"
    return f"{folder}/{bridge}.mgmt"


class SwitchWatch:
    """Calls `came` whenever the switch accepts a connection after it had ended; never at the start."""

    def __init__(self, path: str, came: Callable[[], None]) -> None:
        self._path = path
        self._came = came
        self._stopping = threading.Event()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="switch-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch; started already is fine."""
        if not self._thread.is_alive() and not self._stopping.is_set():
            self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _run(self) -> None:
        first = True
        while not self._stopping.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.settimeout(_SILENT_S)
                    connection.connect(self._path)
                    connection.sendall(_HEADER.pack(_VERSION, _HELLO, _HEADER.size, 1))
                    self._connection = connection
                    if not first:
                        log.warning("the switch was restarted", socket=self._path)
                        self._came()
                    first = False
                    self._listen(connection)
            except OSError:
                self._stopping.wait(_TRY_AGAIN_S)
            finally:
                self._connection = None

    def _listen(self, connection: socket.socket) -> None:
        """Answer echoes until the connection ends. Raises: OSError (it broke, or is silent)."""
        asked = False
        while not self._stopping.is_set():
            try:
                head = _exactly(connection, _HEADER.size)
            except TimeoutError:
                if asked:
                    raise
                asked = True
                connection.sendall(_HEADER.pack(_VERSION, _ECHO_REQUEST, _HEADER.size, 2))
                continue
            if head is None:
                return
            asked = False
            _version, kind, length, number = _HEADER.unpack(head)
            body = _exactly(connection, max(0, length - _HEADER.size))
            if body is None:
                return
            if kind == _ECHO_REQUEST:
                connection.sendall(_HEADER.pack(_VERSION, _ECHO_REPLY, length, number) + body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    """Return so many bytes; None at the end of the connection."""
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            return None
        found += more
    return found
