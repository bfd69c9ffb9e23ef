"""Three Keystone processes on one database, each with folders of its own, behind HAProxy.

Keys rotate and one process after the other is killed while clients log in and check each other's tokens. The
database is one SQLite file, or a MariaDB server.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "real"))

import dblab

from gureum.provision import databases

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]
NODES = 3
PASSWORD = "secret-of-admin"
AUTH = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {
                "user": {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
            },
        },
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
    }
}


def _free(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _answers(port: int) -> None:
    """Wait until Keystone answers at a port."""
    deadline = time.monotonic() + 120
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v3").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "the node does not answer"
        time.sleep(0.1)


class Node:
    """One process with its own folder and the common database."""

    def __init__(
        self, top: Path, number: int, port: int, cluster_key: bytes | None, database: str = ""
    ) -> None:
        url = database or f"sqlite:///{top}/{{service}}.sqlite"
        self.folder, self.port = top / f"node{number}", port
        (self.folder / "etc").mkdir(parents=True)
        names = (("state", ""), ("run", "/run"), ("config", "/etc"), ("log", "/log"))
        lines = ["[gureum]", *(f'{name}_dir = "{self.folder}{end}"' for name, end in names)]
        lines += [
            'address = "127.0.0.1"',
            f"port_offset = {port - 5000}",
            "[install]",
            f'admin_password = "{PASSWORD}"',
            "[database]",
            f'connection = "{url}"',
            "[keystone]",
            "hash_time_cost = 1",
            "hash_memory_kib = 8192",
            "[keystone.token]",
            'key_source = "database"',
        ]
        (self.folder / "etc/gureum.toml").write_text("\n".join(lines))
        if cluster_key is None:
            self.command("keystone", "keys", "cluster-key")
        else:
            (self.folder / "etc/keystone-cluster.key").write_bytes(cluster_key)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def cluster_key(self) -> bytes:
        return (self.folder / "etc/keystone-cluster.key").read_bytes()

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gureum", *words, "--state-dir", str(self.folder)]

    def command(self, *words: str) -> str:
        done = subprocess.run(self._words(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words: str) -> None:
        log = (self.folder / "log.txt").open("ab")
        self.process = subprocess.Popen(self._words("run", "keystone", *words), stderr=log)
        _answers(self.port)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()


def _haproxy(top: Path, port: int, nodes: list[Node]) -> "subprocess.Popen[bytes]":
    lines = [
        "defaults",
        "  mode http",
        "  timeout connect 1s",
        "  timeout client 20s",
        "  timeout server 20s",
        "  option redispatch 1",
        "  retries 4",
        "  retry-on conn-failure empty-response response-timeout 502 503",
        f"listen keystone\n  bind 127.0.0.1:{port}",
        "  option httpchk GET /v3",
        "  default-server check inter 300ms fall 2 rise 1",
        *(f"  server n{i} 127.0.0.1:{node.port}" for i, node in enumerate(nodes)),
    ]
    config = top / "haproxy.cfg"
    config.write_text("\n".join(lines) + "\n")
    return subprocess.Popen(["haproxy", "-db", "-q", "-f", str(config)])


@pytest.fixture(params=["sqlite", "mariadb"])
def database(request: Any) -> Iterator[str]:
    """The connection of the nodes' settings; empty for a file beside them."""
    if request.param == "sqlite":
        yield ""
        return
    if dblab.missing(request.param):
        pytest.skip(dblab.missing(request.param))
    with dblab.running(request.param) as server:
        for name in databases.names():
            server.empty(name)
        yield server.url("{service}")


@pytest.fixture
def nodes(tmp_path: Path, database: str) -> Iterator[tuple[list[Node], str]]:
    ports = _free(NODES + 1)
    made: list[Node] = []
    proxy = None
    try:
        for number, port in enumerate(ports[:NODES]):
            key = made[0].cluster_key if made else None
            made.append(Node(tmp_path, number, port, key, database))
            made[-1].start(*(["--bootstrap"] if number == 0 else []))
        proxy = _haproxy(tmp_path, ports[-1], made)
        _answers(ports[-1])
        yield made, f"http://127.0.0.1:{ports[-1]}/v3"
    finally:
        for node in made:
            node.stop()
        if proxy is not None:
            proxy.terminate()
            proxy.wait(10)


class Client(threading.Thread):
    """Logs in through the proxy and lets every node that answers check the token."""

    def __init__(self, url: str, nodes: list[Node]) -> None:
        super().__init__(daemon=True)
        self.url, self.nodes = url, nodes
        self.ended = threading.Event()
        self.logins = self.checks = 0
        self.wrong: list[Any] = []

    def run(self) -> None:
        with httpx.Client(timeout=30) as http:
            while not self.ended.is_set():
                self._round(http)

    def _round(self, http: httpx.Client) -> None:
        answer = http.post(f"{self.url}/auth/tokens", json=AUTH)
        if answer.status_code != 201:
            self.wrong.append(("login", answer.status_code, answer.text[:200]))
            return
        self.logins += 1
        token = answer.headers["x-subject-token"]
        headers = {"x-auth-token": token, "x-subject-token": token}
        for _ in range(3):
            found = http.get(f"{self.url}/auth/tokens", headers=headers).status_code
            self.checks += 1
            if found != 200:
                self.wrong.append(("check", found))
        for node in self.nodes:  # who issued it does not matter
            try:
                found = httpx.get(f"http://127.0.0.1:{node.port}/v3/auth/tokens", headers=headers)
            except httpx.TransportError:
                continue  # it is being killed
            self.checks += 1
            if found.status_code != 200:
                self.wrong.append(("node", node.port, found.status_code))


def test_nodes_share_keys_through_rotation_and_the_death_of_each(nodes):
    made, url = nodes
    client = Client(url, made)
    client.start()
    try:
        first = made[0].command("keystone", "keys", "list")
        for node in (made[1], made[2], made[0]):
            node.command("keystone", "keys", "rotate", "fernet")
            done = client.logins
            _wait(lambda done=done: client.logins > done + 2)
        listed = [node.command("keystone", "keys", "list") for node in made]
        assert listed[0] == listed[1] == listed[2] != first
        assert "primary 4, staged 0, older 3" in listed[0]
        for node in made:
            node.kill()
            done = client.logins
            _wait(lambda done=done: client.logins > done + 3)
            node.start()
    finally:
        client.ended.set()
        client.join(60)
    assert client.wrong == []
    assert client.logins > 15 and client.checks > 60
    for node in made:
        for place in ("fernet-keys", "credential-keys", "receipt-keys"):
            assert not (node.folder / place).exists(), "a node has keys of its own"


def _wait(true: Any) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_node_without_the_cluster_key_says_what_to_do(tmp_path):
    node = Node(tmp_path, 0, 5000, b"")
    os.unlink(node.folder / "etc/keystone-cluster.key")
    words = node._words("keystone", "keys", "list")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "cluster-key" in done.stderr
