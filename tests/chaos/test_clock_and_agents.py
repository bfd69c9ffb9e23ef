"""The clock jumps by an hour; compute hosts are cut off, flap, are there twice, and come back too late.

The clock is the one that the saga log and the leases are given: no libfaketime is at hand, so the clocks of
the database servers and of the processes themselves do not jump here.
"""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from faulty_bus import FaultyBus
from stranded import assert_nothing_stranded
from whole_cloud import WholeCloud

from gureum.core.bus import BusTimeout
from gureum.core.db import Database
from gureum.core.db.types import utc_now
from gureum.core.reconcile import Leases
from gureum.core.saga.testing import HandClock, Killed
from gureum.nova.conductor import compute_state
from gureum.nova.drivers.fake import FakeDriver
from gureum.nova.store.tables import API, services

HOUR_S = 3600.0


@pytest.fixture
def bus():
    return FaultyBus()


@pytest.fixture
def cloud(tmp_path, bus):
    made = WholeCloud(tmp_path, ("h1", "h2"), bus=bus)
    yield made
    made.close()


# -- the clock -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
@pytest.mark.parametrize("verb", ["create", "delete", "stop"])
def test_clock_that_jumps_in_the_middle_of_a_verb_strands_nothing(cloud, monkeypatch, verb, jump_s):
    network = cloud.furnish()
    server_id = None if verb == "create" else cloud.server(network)
    jumped = []

    def jump(*args, **kwargs):
        if not jumped:
            jumped.append(cloud.clock.now)
            cloud.clock.now += jump_s
        return real(*args, **kwargs)

    name = {"create": "spawn", "delete": "destroy", "stop": "power"}[verb]
    real = getattr(FakeDriver, name)
    monkeypatch.setattr(FakeDriver, name, jump)
    if verb == "create":
        server_id = cloud.create(network)["server"]["id"]
    elif verb == "delete":
        assert cloud.ask("DELETE", f"/servers/{server_id}").status == 204
    else:
        assert cloud.act(server_id, "os-stop").status == 202
    cloud.run()
    assert jumped
    assert_nothing_stranded(cloud)
    assert cloud.status(server_id) == {"create": "ACTIVE", "delete": None, "stop": "SHUTOFF"}[verb]


def test_lease_of_a_dead_runner_whose_clock_was_ahead_is_taken_over_soon(cloud, monkeypatch):
    network = cloud.furnish()
    cloud.clock.now += HOUR_S
    answer = cloud.create(network)

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(cloud.ports), "create", die)
        with pytest.raises(Killed):
            cloud.engine().run_due()
    cloud.clock.now -= HOUR_S  # the clock is set right; the dead one's lease ends in an hour
    cloud.run(rounds=3, step_s=1.0)
    assert cloud.status(answer["server"]["id"]) == "ACTIVE"
    assert_nothing_stranded(cloud)


def test_saga_that_rests_by_a_clock_that_was_ahead_goes_on_soon(cloud):
    network = cloud.furnish()
    cloud.session.down.add("placement")
    cloud.clock.now += HOUR_S
    answer = cloud.create(network)
    cloud.run(rounds=1)
    cloud.session.down.clear()
    cloud.clock.now -= HOUR_S
    cloud.run(rounds=3, step_s=1.0)
    assert cloud.status(answer["server"]["id"]) == "ACTIVE"
    assert_nothing_stranded(cloud)


def test_reconcilers_lease_by_a_clock_that_was_ahead_is_free(tmp_path):
    database, clock = Database(f"sqlite:///{tmp_path / 'api.sqlite'}"), HandClock()
    API.create_all(database.engine)
    first, second = (Leases(database, API, holder=who, clock=clock) for who in "ab")
    clock.now += HOUR_S
    assert first.take("x", 300, longest_s=600)
    clock.now -= HOUR_S
    assert second.take("x", 300, longest_s=600)
    assert not first.take("x", 300, longest_s=600)


# -- compute hosts ---------------------------------------------------------------------------------


class Cut:
    """Hosts that cannot be reached: requests to them are lost, and they do not report."""

    def __init__(self, cloud, bus, monkeypatch):
        self.cloud, self.hosts = cloud, set()
        real, cut = bus._call, self

        def call(request):
            if request.host in cut.hosts:
                raise BusTimeout(f"{request.host} is cut off")
            return real(request)

        monkeypatch.setattr(bus, "_call", call)
        self._report = cloud.report
        monkeypatch.setattr(cloud, "report", lambda host: host in self.hosts or self._report(host))

    def off(self, host, *, long=False):
        """Cut a host off; `long`: so long ago that it counts as down."""
        self.hosts.add(host)
        if long:
            with self.cloud.cells["cell1"].write() as tx:
                tx.update(services, sa.and_(services.c.host == host,
                                            services.c.binary == "nova-compute"),
                          last_seen_at=utc_now() - timedelta(hours=1))
            object.__setattr__(self.cloud.deps, "started_at", utc_now() - timedelta(hours=2))

    def back(self, host):
        self.hosts.discard(host)
        self.cloud.report(host)


@pytest.fixture
def cut(cloud, bus, monkeypatch):
    monkeypatch.setattr(compute_state, "SETTLE_S", 0.0)
    return Cut(cloud, bus, monkeypatch)


def test_host_that_comes_back_after_its_servers_were_deleted_is_cleaned(cloud, cut):
    network = cloud.furnish()
    ids = [cloud.server(network) for _ in range(4)]
    for host in ("h1", "h2"):
        cut.off(host, long=True)
    for one in ids:
        assert cloud.ask("DELETE", f"/servers/{one}").status == 204
    cloud.run()
    assert [cloud.status(one) for one in ids] == [None] * 4
    assert sorted(cloud.guests()) == sorted(ids), "the guests went on without anybody who knew"
    for host in ("h1", "h2"):
        cut.back(host)
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {}


def test_host_that_is_cut_off_in_a_build_is_left_and_cleaned_later(cloud, cut, monkeypatch):
    network = cloud.furnish()
    lost = []
    real = FakeDriver.spawn

    def spawn(driver, order):
        made = real(driver, order)
        if not lost:  # the first guest is made, and nobody hears of it
            lost.append(driver.host.name.split(".")[0])
            cut.off(lost[0], long=True)
            raise OSError("the network is gone")
        return made

    monkeypatch.setattr(FakeDriver, "spawn", spawn)
    answer = cloud.create(network)
    cloud.run()
    server_id = answer["server"]["id"]
    assert cloud.status(server_id) == "ACTIVE"
    assert cloud.row(server_id).host != lost[0]
    held = [host for host, driver in cloud.drivers.items() if driver.guest_states()]
    assert sorted(held) == ["h1", "h2"], "the guest lives twice while its first host is away"
    cut.back(lost[0])
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {server_id: cloud.row(server_id).host}


def test_host_that_flaps_loses_nothing(cloud, cut):
    network, ids = cloud.furnish(), []
    for number in range(10):
        cut.off("h1") if number % 2 else cut.back("h1")
        ids.append(cloud.create(network)["server"]["id"])
        cloud.run(rounds=2)
        if number % 3 == 2:
            cloud.ask("DELETE", f"/servers/{ids[number - 1]}")
    cut.back("h1")
    assert_nothing_stranded(cloud)
    states = {cloud.status(one) for one in ids}
    assert states <= {"ACTIVE", "ERROR", None}
    for one in ids:
        assert cloud.ask("DELETE", f"/servers/{one}").status in (204, 404)
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {}


def test_full_instance_directory_fails_the_build_elsewhere_and_leaves_nothing(cloud):
    network = cloud.furnish()
    for host in ("h1", "h2"):
        cloud.drivers[host].faults.fail("spawn", error=lambda: OSError(28, "No space left on device"))
    answer = cloud.create(network)
    cloud.run()
    assert cloud.status(answer["server"]["id"]) == "ERROR"
    assert_nothing_stranded(cloud)
    assert cloud.effects(answer["server"]["id"]) == []
    assert cloud.status(cloud.server(network)) == "ACTIVE"
