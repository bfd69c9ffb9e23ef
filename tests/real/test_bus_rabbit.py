"""RabbitMQ passes the same conformance suite, and a broker restart loses nothing but time.

Starts a broker of its own on loopback, with private directories, ports and cookie.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid

import pytest
from loopback import free_port

from gureum.core.bus import BusTimeout, open_bus
from gureum.core.bus.testing import BOX, WAIT_S, Depot, DepotImpl, TransportSuite

SERVER = shutil.which("rabbitmq-server") or "/usr/sbin/rabbitmq-server"

pytestmark = [
    pytest.mark.skipif(not os.path.exists(SERVER), reason="Debian's rabbitmq-server is missing"),
    pytest.mark.timeout(300),
]


class Broker:
    """One private node; Debian's own wrapper is passed by, since it switches the user."""

    def __init__(self, directory):
        self.port, self._dist = free_port(), free_port()
        self._home = directory / "home"
        self._home.mkdir()
        config = directory / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        self._env = {
            **os.environ,
            "HOME": str(self._home),
            "RABBITMQ_NODENAME": f"gureum-{uuid.uuid4().hex[:8]}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"
            " -start_epmd true +S 2:2",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }
        self._log = (directory / "broker.log").open("wb")
        self._process = None

    @property
    def url(self):
        return f"rabbit://guest:guest@127.0.0.1:{self.port}//"

    def start(self):
        programs = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        program = programs if os.path.exists(programs) else SERVER
        self._process = subprocess.Popen(
            [program], env=self._env, stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the broker ended; see broker.log"
            with contextlib.suppress(OSError), socket.create_connection(
                ("127.0.0.1", self.port), 1
            ):
                return
            self._process_wait(0.2)
        raise AssertionError("the broker did not listen in time")

    def _process_wait(self, seconds):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, 15)
            self._process_wait(60)
            if self._process.poll() is None:
                os.killpg(self._process.pid, 9)
                self._process.wait()

    def close(self):
        self.stop()
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["epmd", "-kill"], env=self._env, timeout=10, capture_output=True, check=False
            )
        self._log.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("rabbit"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def pair(broker):
    with (
        contextlib.closing(open_bus(broker.url)) as server,
        contextlib.closing(open_bus(broker.url)) as client,
    ):
        yield server, client


class TestRabbit(TransportSuite):
    pass


def test_request_sent_before_the_server_exists_is_kept(pair):
    answers = []
    depot = pair[1].client(Depot, "kept")
    asking = threading.Thread(target=lambda: answers.append(depot.store(BOX).name))
    asking.start()
    pair[0].serve(Depot, DepotImpl(), "kept")
    asking.join(WAIT_S)
    assert answers == ["a@1"]


def test_broker_restart_costs_time_only(broker, pair):
    impl = DepotImpl("again")
    pair[0].serve(Depot, impl, "again")
    depot = pair[1].client(Depot, "again")
    assert depot.where() == "again"
    broker.stop()
    with pytest.raises(BusTimeout):
        pair[1].client(Depot, "again", timeout_s=1.0).where()
    broker.start()
    assert pair[1].client(Depot, "again", timeout_s=60.0).where() == "again"


def test_what_waits_is_counted_at_the_worker_and_at_the_broker(pair):
    impl = DepotImpl("full")
    pair[0].serve(Depot, impl, "full", workers=1)
    assert pair[1].client(Depot, "full").where() == "full"
    assert dict(pair[0].depths())[("gureum.depot.full",)] == 0
    sleeper = pair[1].client(Depot, "full", timeout_s=WAIT_S)
    threading.Thread(target=sleeper.sleep_until_told, daemon=True).start()
    assert impl.asleep.acquire(timeout=WAIT_S)
    for _ in range(10):  # a worker takes four ahead of its work; the others stay at the broker
        pair[1].client(Depot, "full").nudge("still?")
    deadline = time.monotonic() + WAIT_S
    while dict(pair[0].depths())[("gureum.depot.full",)] == 0:
        assert time.monotonic() < deadline
    assert dict(pair[0].loads())[("depot", "full")] >= 1
    impl.told.set()
    while dict(pair[0].depths())[("gureum.depot.full",)] or dict(pair[0].loads())[("depot", "full")]:
        assert time.monotonic() < deadline
    assert len(impl.words) == 10
    assert pair[1].depths() == []
