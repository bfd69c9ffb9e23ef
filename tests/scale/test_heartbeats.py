"""What the heartbeats of many hosts cost, and that nothing is lost by writing them together."""

import benchpath  # noqa: F401 (first: it makes counting's neighbours importable)
import pytest
from counting import Meter
from databases import fresh

from gureum.core.db.types import utc_now
from gureum.nova.agent.contract import HostReport
from gureum.nova.conductor import compute_state
from gureum.nova.conductor.compute_state import ComputeStateWorker
from gureum.nova.conductor.config import ConductorOptions
from gureum.nova.conductor.testing import MemoryPlacement
from gureum.nova.drivers.fake import FakeDriver, FakeHost
from gureum.nova.store import hosts, revisions
from gureum.nova.store import tables as t

HOSTS = 60


class Fleet:
    """A conductor, and hosts that report to it."""

    def __init__(self, directory):
        self.api = fresh("nova_api", f"sqlite:///{directory}/api.sqlite")
        self.cell = fresh("nova_cell1", f"sqlite:///{directory}/cell.sqlite")
        t.API.create_all(self.api.engine)
        t.CELL.create_all(self.cell.engine)
        self.conductor = ComputeStateWorker(
            self.api, self.cell, [], None, MemoryPlacement(), ConductorOptions()
        )
        self.drivers = [FakeDriver(FakeHost(name=f"h{number}")) for number in range(HOSTS)]

    def beat(self, number, **changed):
        driver = self.drivers[number]
        inventory, now = driver.inventory(), utc_now().isoformat()
        report = HostReport(f"h{number}", "2026-01-01T00:00:00+00:00", now, inventory,
                            driver.capabilities(), **changed)  # fmt: skip
        self.conductor.report(report)

    def seen(self):
        with self.cell.read() as tx:
            return {row.host: row.last_seen_at for row in hosts.list_services(tx)}

    def revision(self):
        with self.cell.read() as tx:
            return revisions.current(tx, t.cell_revisions)[0]


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path)
    for number in range(HOSTS):
        made.beat(number)
    return made


def test_heartbeats_with_no_news_are_written_together(fleet, monkeypatch):
    before, revision = fleet.seen(), fleet.revision()
    fleet.cell.close()
    meter = Meter([fleet.cell, fleet.api])
    with meter.counting() as work:
        for number in range(HOSTS):
            fleet.beat(number)
        monkeypatch.setattr(compute_state, "TOGETHER_S", 0.0)
        fleet.beat(0)
    assert work.queries < HOSTS / 2, "not one statement a host"
    assert all(at > before[host] for host, at in fleet.seen().items())
    assert fleet.revision() == revision, "schedulers need not look again"


def test_news_are_written_at_once(fleet):
    revision = fleet.revision()
    fleet.drivers[3].host = FakeHost(name="h3", vcpus=2)
    fleet.beat(3)
    with fleet.cell.read() as tx:
        assert hosts.get_node(tx, "h3").inventory["vcpus"] == 2
    assert fleet.revision() == revision + 1


def test_host_of_a_removed_service_comes_back(fleet, monkeypatch):
    monkeypatch.setattr(compute_state, "TOGETHER_S", 0.0)
    with fleet.cell.write() as tx:
        (row,) = hosts.list_services(tx, host="h7")
        hosts.delete_service(tx, row.id)
    fleet.beat(7)
    fleet.beat(7)
    assert "h7" in fleet.seen()
