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
from bursts import begun, ended
from kombu import Connection
from test_bus_rabbit import SERVER, Broker
from whole_cloud import WholeCloud
from wires import Wire

from gureum.core.bus import open_bus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(SERVER), reason="Debian's rabbitmq-server is missing"),
    pytest.mark.timeout(400),
]


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


@pytest.mark.parametrize("how", ["killed", "restarted"])
def test_broker_that_goes_and_comes_back_costs_time_only(how, broker, gate, tmp_path):
    with running_cloud(tmp_path, broker.url, broker.url) as cloud:
        ids = begun(cloud, gate)
        kill(broker) if how == "killed" else broker.stop()
        gate.open.set()
        threading.Event().wait(1.0)  # answers find no broker
        broker.start()
        ended(cloud, ids, timeout_s=240)


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
        ended(cloud, ids, timeout_s=240)


def test_connections_that_are_alive_while_nobody_reads_are_found_out(broker, gate, tmp_path):
    wire = Wire(broker.port)
    url = broker.url.replace(str(broker.port), str(wire.port))
    try:
        with running_cloud(tmp_path, broker.url, url) as cloud:
            ids = begun(cloud, gate)
            assert wire.freeze() >= 2
            gate.open.set()
            begun_at = time.monotonic()
            ended(cloud, ids, timeout_s=240)
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
            ended(cloud, ids, timeout_s=240)
    finally:
        wire.close()
