"""Events reach RabbitMQ as telemetry services read them, before and after a reader is there."""

import contextlib
import json
import os
import queue
import threading

import pytest
from kombu import Connection, Consumer, Exchange, Queue
from test_bus_rabbit import SERVER, Broker

from gureum.core.bus.rabbit import broker_urls
from gureum.core.config import loads
from gureum.core.context import log_ids
from gureum.core.events import ERROR, Fact, Source
from gureum.core.events_open import open_events
from gureum.core.options import CORE_SECTIONS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(SERVER), reason="Debian's rabbitmq-server is missing"),
    pytest.mark.timeout(300),
]
THINGS = Source("network", "neutron")
LATER = Source("volume", "volumes")
WAIT_S = 30.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("rabbit"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@contextlib.contextmanager
def telling(broker, more=""):
    text = f'[notifications]\ndriver = ["messagingv2"]\ntransport_url = "{broker.url}"\n{more}\n'
    events = open_events(loads(text, CORE_SECTIONS), "host1")
    assert events is not None
    try:
        yield events
    finally:
        events.close()


def read(broker, key, count, *, exchange="neutron", durable=False):
    """Read messages as a telemetry service does: declare, bind, consume."""
    found: queue.SimpleQueue = queue.SimpleQueue()
    topic = Exchange(exchange, type="topic", durable=durable)
    wanted = Queue(key, topic, routing_key=key, durable=durable, auto_delete=False)

    def received(body, message):
        found.put((message.content_type, body))
        message.ack()

    with Connection(broker_urls(broker.url)[0]) as connection, Consumer(
        connection, [wanted], callbacks=[received], accept=["json"]
    ):
        while found.qsize() < count:
            connection.drain_events(timeout=WAIT_S)
    return [found.get() for _ in range(count)]


def test_message_is_in_the_common_format_2_0(broker):
    with telling(broker) as events, log_ids(request_id="req-1", project_id="p1", user_id="u1"):
        events.tell(THINGS, lambda: [Fact("network.create.end", {"network": {"id": "n1"}})])
        [(kind, body)] = read(broker, "notifications.info", 1)
    assert kind == "application/json"
    assert set(body) == {"oslo.version", "oslo.message"} and body["oslo.version"] == "2.0"
    message = json.loads(body["oslo.message"])
    assert message["event_type"] == "network.create.end"
    assert message["payload"] == {"network": {"id": "n1"}}
    assert (message["publisher_id"], message["priority"]) == ("network.host1", "INFO")
    assert {"message_id", "timestamp", "_unique_id"} <= set(message)
    assert (message["_context_request_id"], message["_context_project_id"]) == ("req-1", "p1")


def test_errors_and_further_topics_have_queues_of_their_own(broker):
    with telling(broker, 'topics = ["billing", "audit"]') as events:
        events.tell(THINGS, lambda: [Fact("thing.create.error", {}, ERROR), Fact("thing.update", {})])
        for key in ("billing.error", "audit.error", "billing.info", "audit.info"):
            assert len(read(broker, key, 1)) == 1


def test_queue_that_a_reader_made_in_another_form_is_used_as_it_is(broker):
    with Connection(broker_urls(broker.url)[0]) as connection:
        channel = connection.channel()
        topic = Exchange("glance", type="topic", durable=True)
        Queue("kept.info", topic, routing_key="kept.info", durable=True,
              queue_arguments={"x-queue-type": "quorum"})(channel).declare()  # fmt: skip
    with telling(broker, 'topics = ["kept"]') as events:
        events.tell(Source("image", "glance"), lambda: [Fact("image.create", {"id": "i1"})])
        with Connection(broker_urls(broker.url)[0]) as connection:
            wanted = connection.SimpleQueue(
                Queue("kept.info", durable=True, no_declare=True), no_ack=True
            )
            body = wanted.get(timeout=WAIT_S).payload
    assert "image.create" in body["oslo.message"]


def test_events_of_an_outage_come_afterwards_and_hold_up_nobody(broker):
    with telling(broker, 'topics = ["later"]\namqp_durable_queues = true') as events:
        told = threading.Event()
        events.tell(LATER, lambda: [Fact("first", {})])
        read(broker, "later.info", 1, exchange="volumes", durable=True)
        broker.stop()
        events.tell(LATER, lambda: [Fact("second", {}), told.set()][:1])
        assert told.wait(WAIT_S), "who tells waits for the broker"
        broker.start()
        [(_, body)] = read(broker, "later.info", 1, exchange="volumes", durable=True)
    assert json.loads(body["oslo.message"])["event_type"] == "second"
