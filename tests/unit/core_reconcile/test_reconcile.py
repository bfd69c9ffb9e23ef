"""Reconcilers run one at a time across processes, rest longer after failures, and never stop."""

import threading

import pytest
import sqlalchemy as sa

from gureum.core.db import Conflict, Database, Unavailable
from gureum.core.reconcile import Leases, Reconciler, Reconcilers, lease_tables


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Counting(Reconciler):
    interval_s = 10.0
    limit_s = 50.0

    def __init__(self, name="count", *errors):
        self.name = name
        self.passes = 0
        self.errors = list(errors)
        self.passed = threading.Event()

    def reconcile(self):
        self.passes += 1
        self.passed.set()
        if self.errors:
            raise self.errors.pop(0)
        return 1


metadata = sa.MetaData()
lease_tables(metadata)


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'leases.sqlite'}")
    metadata.create_all(database.engine)
    return database


def test_reconciler_runs_at_its_interval():
    clock, counting = Clock(), Counting()
    loop = Reconcilers([counting], None, clock=clock)
    assert 9 <= loop.run_due() <= 11
    loop.run_due()
    assert counting.passes == 1
    clock.now += 11
    loop.run_due()
    assert counting.passes == 2


def test_failing_reconciler_rests_longer_and_does_not_stop_others():
    clock, failing, other = Clock(), Counting("bad", *[ValueError("x")] * 3), Counting("good")
    loop = Reconcilers([failing, other], None, clock=clock)
    loop.run_due()
    assert (failing.passes, other.passes) == (1, 1)
    clock.now += 11.1
    loop.run_due()
    clock.now += 11.1
    loop.run_due()
    assert (failing.passes, other.passes) == (2, 3)
    clock.now += 700
    loop.run_due()
    clock.now += 700
    loop.run_due()
    assert failing.passes == 4
    clock.now += 11.1
    loop.run_due()
    assert failing.passes == 5


def test_unreachable_database_is_waited_for():
    clock, waiting = Clock(), Counting("waits", Unavailable("gone"))
    loop = Reconcilers([waiting], None, clock=clock)
    loop.run_due()
    clock.now += 11.1
    loop.run_due()
    assert waiting.passes == 2


def test_one_process_at_a_time_reconciles(database):
    clock = Clock()
    first, second = Counting(), Counting()
    here = Reconcilers([first], Leases(database, metadata, clock=clock), clock=clock)
    there = Reconcilers([second], Leases(database, metadata, clock=clock), clock=clock)
    here.run_due()
    there.run_due()
    assert (first.passes, second.passes) == (1, 0)
    clock.now += 20
    there.run_due()
    here.run_due()
    assert (first.passes, second.passes) == (1, 1)


def test_lease_of_a_dead_process_ends(database):
    clock = Clock()
    dead, alive = (Leases(database, metadata, holder=h, clock=clock) for h in ("dead", "alive"))
    assert dead.take("x", 30)
    assert not alive.take("x", 30)
    clock.now += 31
    assert alive.take("x", 30)
    dead.give_back("x")
    assert not dead.take("x", 30)
    alive.give_back("x")
    clock.now += 1
    assert dead.take("x", 30)


def test_lease_that_two_make_at_once_goes_to_one(database, monkeypatch):
    leases = Leases(database, metadata)

    def insert(*args, **kwargs):
        raise Conflict("twice")

    monkeypatch.setattr("gureum.core.db.engine.Tx.insert", insert)
    assert leases.take("x", 30) is False


def test_thread_runs_wakes_and_stops():
    counting = Counting()
    loop = Reconcilers([counting], None)
    loop.start()
    assert counting.passed.wait(10)
    counting.passed.clear()
    loop.wake("count")
    assert counting.passed.wait(10)
    loop.stop()


def test_nothing_to_reconcile_is_fine():
    assert Reconcilers([], None).run_due() > 0
