"""The hub of an all-in-one fails while servers are made: it costs time, and nothing else.

Hosts are on a bus of their own that joins the hub through its socket, as the node process does.
"""

import contextlib
import threading

import pytest
from bursts import begun, ended
from whole_cloud import WholeCloud

from gureum.core.bus import open_bus
from gureum.nova.agent.contract import ComputeAgent
from gureum.nova.scheduler.contract import Scheduler

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


def hub(directory):
    return open_bus(f"local://{directory}/bus.sock?role=hub")


@pytest.fixture
def cloud(tmp_path):
    with (
        contextlib.closing(hub(tmp_path)) as control,
        contextlib.closing(open_bus(f"local://{tmp_path}/bus.sock?role=leaf")) as node,
    ):
        made = WholeCloud(tmp_path, ("h1", "h2"), bus=control, agent_bus=node)
        made.start()
        yield made
        made.close()


def test_hub_that_is_replaced_in_the_middle_costs_time_only(cloud, gate, tmp_path):
    """The control process ends and starts again while hosts are at work."""
    ids = begun(cloud, gate)
    before, scheduler = cloud.bus, cloud.services[0]
    chooser = scheduler._impl
    cloud.stop()
    before.close()
    gate.open.set()
    with contextlib.closing(hub(tmp_path)) as after:
        after.serve(Scheduler, chooser)
        cloud.bus = after
        cloud.deps = cloud.replaced(scheduler=after.client(Scheduler))
        cloud.start()
        ended(cloud, ids, timeout_s=120)


def test_hosts_that_come_back_under_the_same_name_go_on(cloud, gate, tmp_path):
    """The node process is killed and starts again: its journal knows what was begun."""
    ids = begun(cloud, gate)
    for service in cloud.services[1:]:
        service.close(wait=False)
    cloud.agent_bus.close()
    gate.open.set()
    threading.Event().wait(0.3)
    with contextlib.closing(open_bus(f"local://{tmp_path}/bus.sock?role=leaf")) as node:
        for host, worker in cloud.workers.items():
            node.serve(ComputeAgent, worker, host)
        ended(cloud, ids, timeout_s=120)


def test_two_agents_under_one_name_make_nothing_twice(cloud, gate, tmp_path):
    """A second process serves the same host beside the first: requests go to either."""
    gate.open.set()
    with contextlib.closing(open_bus(f"local://{tmp_path}/bus.sock?role=leaf")) as twin:
        for host, worker in cloud.workers.items():
            twin.serve(ComputeAgent, worker, host)
        ids = begun(cloud, gate)
        ended(cloud, ids, timeout_s=120)
