"""The end of a switch and its return are seen at once."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gureum.neutron.agents.ovs.watch import SwitchWatch, bridge_socket

ECHO = struct.pack("!BBHI", 5, 2, 8, 77)


class Switch:
    """Accepts connections at a socket, as ovs-vswitchd does for a bridge."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(5.0)
        self.listener.bind(str(path))
        self.listener.listen(1)

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(5.0)
        assert connection.recv(8)[1] == 0  # hello
        return connection

    def end(self, connection: socket.socket) -> None:
        connection.close()
        self.listener.close()


@pytest.fixture
def came() -> threading.Event:
    return threading.Event()


@pytest.fixture
def watch(tmp_path: Path, came: threading.Event) -> Iterator[SwitchWatch]:
    made = SwitchWatch(str(tmp_path / "br.mgmt"), came.set)
    yield made
    made.stop()


def test_new_switch_is_told_and_the_first_one_is_not(
    tmp_path: Path, came: threading.Event, watch: SwitchWatch
) -> None:
    switch = Switch(tmp_path / "br.mgmt")
    watch.start()
    connection = switch.accept()
    connection.sendall(ECHO)
    assert connection.recv(8)[:4] == struct.pack("!BBH", 5, 3, 8)  # it lives on by answering
    assert not came.is_set()
    switch.end(connection)
    again = Switch(tmp_path / "br.mgmt")
    connection = again.accept()
    assert came.wait(5.0)
    again.end(connection)


def test_socket_of_a_bridge_is_beside_the_database() -> None:
    assert bridge_socket("unix:/run/x/db.sock", "br-int") == "/run/x/br-int.mgmt"
    assert bridge_socket("tcp:127.0.0.1:6640", "b") == "/var/run/openvswitch/b.mgmt"
