"""A handful of servers that are made while something fails, held in the middle of their spawns."""

import threading
import time

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
from stranded import assert_nothing_stranded
from whole_cloud import WAIT_S

from gureum.nova.drivers.fake import FakeDriver

SERVERS = 6


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


def begun(cloud, gate):
    """Ask a running cloud for servers and wait until hosts work on some of them."""
    network = cloud.furnish()
    ids = [cloud.create(network)["server"]["id"] for _ in range(SERVERS)]
    for _ in range(2):
        assert gate.reached.acquire(timeout=WAIT_S), "no host was asked"
    return ids


def worked(cloud, count=2):
    """Wait until hosts have done so much of what they were at, whether it can be marked or not."""
    deadline = time.monotonic() + WAIT_S
    while len(cloud.guests()) < count:
        assert time.monotonic() < deadline, "the hosts do not go on"
        threading.Event().wait(0.02)


def ended(cloud, ids, *, timeout_s=150):
    """Everything that was asked for is there; then it is deleted without a trace."""
    cloud.wait_idle(timeout_s=timeout_s)
    failed = [(cloud.row(one), cloud.story(one)) for one in ids
              if getattr(cloud.row(one), "vm_state", None) != "active"]
    assert failed == []
    for one in ids:
        assert cloud.ask("DELETE", f"/servers/{one}").status == 204
    cloud.wait_idle(timeout_s=timeout_s)
    cloud.stop()
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {}
