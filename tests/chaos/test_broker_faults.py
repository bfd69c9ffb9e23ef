"""A real RabbitMQ fails while servers are made: it costs time, and nothing else.

The broker is a private node of this module (see tests/real/test_bus_rabbit.py), on loopback.
"""

import contextlib
import os
import signal
import threading
import time

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import pytest
from kombu import Connection
from stranded import assert_nothing_stranded
from test_bus_rabbit import SERVER, Broker
from whole_cloud import WAIT_S, WholeCloud
from wires import Wire

from gureum.core.bus import open_bus
from gureum.nova.drivers.fake import FakeDriver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(SERVER), reason="Debian's rabbitmq-server is missing"),
    pytest.mark.timeout(400),
]
SERVERS = 6


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("rabbit"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


def kill(broker):
    """SIGKILL the node."""
    os.killpg(broker._process.pid, signal.SIGKILL)
    broker._process.wait()


class Gate:
    """Holds spawns in the middle: `reached` counts those that came, `open` lets them go on."""

    def __init__(self, monkeypatch):
        self.reached, self.open = threading.Semaphore(0), threading.Event()
        real, gate = FakeDriver.spawn, self

        def spawn(driver, order):
            gate.reached.release()
            assert gate.open.wait(WAIT_S * 3)
            return real(driver, order)

        monkeypatch.setattr(FakeDriver, "spawn", spawn)


@pytest.fixture
def gate(monkeypatch):
    made = Gate(monkeypatch)
    yield made
    made.open.set()


@contextlib.contextmanager
def running_cloud(directory, control_url, agent_url):
    with (
        contextlib.closing(open_bus(control_url)) as control,
        contextlib.closing(open_bus(agent_url)) as agents,
    ):
        cloud = WholeCloud(directory, ("h1", "h2"), bus=control, agent_bus=agents)
        cloud.start(patience_s=120.0)
        try:
            yield cloud
        finally:
            cloud.close()


def begun(cloud, gate):
    """Ask for servers and wait until hosts work on some of them."""
    network = cloud.furnish()
    ids = [cloud.create(network)["server"]["id"] for _ in range(SERVERS)]
    for _ in range(2):
        assert gate.reached.acquire(timeout=WAIT_S), "no host was asked"
    return ids


def ended(cloud, ids):
    """Everything that was asked for is there; then it is deleted without a trace."""
    cloud.wait_idle(timeout_s=240)
    states = [cloud.row(one).vm_state for one in ids]
    assert states == ["active"] * SERVERS, [cloud.story(one) for one in ids]
    for one in ids:
        assert cloud.ask("DELETE", f"/servers/{one}").status == 204
    cloud.wait_idle(timeout_s=120)
    cloud.stop()
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {}


@pytest.mark.parametrize("how", ["killed", "restarted"])
def test_broker_that_goes_and_comes_back_costs_time_only(how, broker, gate, tmp_path):
    with running_cloud(tmp_path, broker.url, broker.url) as cloud:
        ids = begun(cloud, gate)
        kill(broker) if how == "killed" else broker.stop()
        gate.open.set()
        threading.Event().wait(1.0)  # answers find no broker
        broker.start()
        ended(cloud, ids)


def queues_of(connection):
    """Return the names of the cloud's queues that can hold requests."""
    names = ["gureum.scheduler"]
    for host in ("h1", "h2"):
        names += [f"gureum.compute.{host}", f"gureum.compute.{host}.jobs"]
    return [*names, "gureum.compute", "gureum.compute.jobs"]


@pytest.mark.parametrize("how", ["purged", "deleted"])
def test_queues_that_lose_all_they_hold_cost_time_only(how, broker, gate, tmp_path):
    with running_cloud(tmp_path, broker.url, broker.url) as cloud:
        ids = begun(cloud, gate)
        count = 0
        with Connection(broker.url.replace("rabbit://", "amqp://")) as connection:
            for name in queues_of(connection):
                with contextlib.suppress(connection.channel_errors):
                    channel = connection.channel()
                    if how == "purged":
                        channel.queue_purge(name)
                    else:
                        channel.queue_delete(name)
                    count += 1
        assert count >= 3
        gate.open.set()
        ended(cloud, ids)


def test_connections_that_are_alive_while_nobody_reads_are_found_out(broker, gate, tmp_path):
    wire = Wire(broker.port)
    url = broker.url.replace(str(broker.port), str(wire.port))
    try:
        with running_cloud(tmp_path, broker.url, url) as cloud:
            ids = begun(cloud, gate)
            assert wire.freeze() >= 2
            gate.open.set()
            begun_at = time.monotonic()
            ended(cloud, ids)
            assert time.monotonic() - begun_at < 200
    finally:
        wire.close()


def test_agents_whose_connections_are_cut_again_and_again_lose_nothing(broker, gate, tmp_path):
    wire = Wire(broker.port)
    url = broker.url.replace(str(broker.port), str(wire.port))
    try:
        with running_cloud(tmp_path, broker.url, url) as cloud:
            ids = begun(cloud, gate)
            gate.open.set()
            for _ in range(6):
                threading.Event().wait(0.5)
                wire.cut()
            ended(cloud, ids)
    finally:
        wire.close()
