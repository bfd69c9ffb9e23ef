"""Runners in threads and in another process: leases, heartbeats, taking over from who was stopped."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from databases import fresh

from gureum.core.context import Context
from gureum.core.db import Unavailable
from gureum.core.saga import Engine, Saga, SagaStore, Step, saga_tables

WAIT_S = 30.0
CTX = Context(request_id="req-1")

metadata = sa.MetaData()
saga_tables(metadata)


@dataclass(frozen=True, slots=True)
class Job:
    name: str


class Site:
    def __init__(self):
        self.lock = threading.Lock()
        self.log = []
        self.at_work = 0
        self.most = 0
        self.reached = threading.Semaphore(0)
        self.go_on = threading.Event()


def quick(step):
    with step.deps.lock:
        step.deps.log.append((step.resource_id, step.step))


def gate(step):
    with step.deps.lock:
        step.deps.at_work += 1
        step.deps.most = max(step.deps.most, step.deps.at_work)
    step.deps.reached.release()
    assert step.deps.go_on.wait(WAIT_S)
    with step.deps.lock:
        step.deps.at_work -= 1
    quick(step)


SAGA = Saga("job.run", Step("gate", do=gate), Step("end", do=quick), params=Job)


@pytest.fixture
def world(tmp_path):
    class World:
        path = tmp_path / "jobs.sqlite"
        database = fresh("sagas", f"sqlite:///{path}")
        site = Site()
        store = SagaStore(metadata)
        engines = []

        def engine(self, name="one", **options):
            made = Engine(self.database, self.store, [SAGA], deps=self.site, name=name, **options)
            self.engines.append(made)
            return made

        def submit(self, name):
            with self.database.write() as tx:
                return self.store.submit(tx, SAGA, resource_id=name, params=Job(name), ctx=CTX)

        def until(self, wanted):
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                with self.database.read() as tx:
                    if wanted(tx):
                        return
                threading.Event().wait(0.02)
            raise AssertionError("did not happen in time")

        def until_done(self, count):
            self.until(lambda tx: self.store.counts(tx).get(("job.run", "done")) == count)

    world = World()
    metadata.create_all(world.database.engine)
    yield world
    world.site.go_on.set()
    for engine in world.engines:
        engine.stop()


def test_woken_engine_runs_a_saga_at_once(world):
    engine = world.engine(poll_s=WAIT_S * 2)
    world.store.wake = engine.wake
    world.site.go_on.set()
    engine.start()
    world.submit("a")
    world.until_done(1)
    assert world.site.log == [("a", "gate"), ("a", "end")]


def test_polling_engine_finds_a_saga_that_nobody_told_of(world):
    world.site.go_on.set()
    world.engine(poll_s=0.05).start()
    world.submit("a")
    world.until_done(1)


def test_no_more_sagas_run_at_once_than_workers(world):
    for name in "abcdef":
        world.submit(name)
    engine = world.engine(workers=2, poll_s=0.05)
    engine.start()
    for _ in range(2):
        assert world.site.reached.acquire(timeout=WAIT_S)
    assert len(engine.running()) == 2
    world.site.go_on.set()
    world.until_done(6)
    assert world.site.most == 2


def test_two_engines_share_the_work_and_do_nothing_twice(world):
    world.site.go_on.set()
    for name in range(12):
        world.submit(str(name))
    for name in ("one", "two"):
        world.engine(name, poll_s=0.02).start()
    world.until_done(12)
    assert len(world.site.log) == 24 and len(set(world.site.log)) == 24


def test_heartbeat_keeps_the_lease_of_a_long_step(world):
    saga_id = world.submit("a")
    world.engine("one", lease_s=1.5, poll_s=0.05).start()
    assert world.site.reached.acquire(timeout=WAIT_S)
    with world.database.read() as tx:
        first = world.store.load(tx, saga_id)
    world.engine("two", lease_s=1.5, poll_s=0.05).start()
    world.until(lambda tx: world.store.load(tx, saga_id).lease_until > first.lease_until + 2.0)
    with world.database.read() as tx:
        assert world.store.load(tx, saga_id).generation == first.generation
    world.site.go_on.set()
    world.until_done(1)


def test_step_learns_that_its_lease_was_lost(world):
    saga_id = world.submit("a")
    world.engine(lease_s=0.3, poll_s=0.05).start()
    assert world.site.reached.acquire(timeout=WAIT_S)
    run = world.engines[0]._runs[saga_id]
    with world.database.write() as tx:
        world.store.set_saga(tx, saga_id, runner="someone else", generation=99)
    assert run.lost.wait(WAIT_S)


def test_stopped_engine_gives_its_sagas_back(world):
    saga_id = world.submit("a")
    engine = world.engine(poll_s=0.05)
    engine.start()
    assert world.site.reached.acquire(timeout=WAIT_S)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    world.site.go_on.set()
    stopping.join(WAIT_S)
    with world.database.read() as tx:
        record = world.store.load(tx, saga_id)
    assert (record.state, record.runner) == ("running", None)
    world.engine("two", poll_s=0.05).start()
    world.until_done(1)
    assert world.site.log == [("a", "gate"), ("a", "end")]


def test_successor_of_the_same_name_does_not_wait_for_leases(world):
    saga_id = world.submit("a")
    dead = world.engine("one", lease_s=3600)
    dead._lease(1)
    world.site.go_on.set()
    world.engine("one", lease_s=3600, poll_s=0.05).start()
    world.until_done(1)
    with world.database.read() as tx:
        assert world.store.load(tx, saga_id).generation > 2


def test_engine_survives_a_database_that_goes_away(world, monkeypatch):
    real, failed = world.store.due, threading.Event()

    def due(*args, **kwargs):
        if not failed.is_set():
            failed.set()
            raise Unavailable("gone")
        return real(*args, **kwargs)

    monkeypatch.setattr(world.store, "due", due)
    world.site.go_on.set()
    world.engine(poll_s=0.02).start()
    world.submit("a")
    world.until_done(1)
    assert failed.is_set()


def test_engine_survives_a_database_that_is_away_at_the_start_and_for_heartbeats(
    world, monkeypatch
):
    real, beats = world.store.heartbeat, threading.Semaphore(0)

    def heartbeat(*args):
        beats.release()
        raise Unavailable("gone")

    def release_runner(*args, **kwargs):
        raise Unavailable("gone")

    monkeypatch.setattr(world.store, "heartbeat", heartbeat)
    monkeypatch.setattr(world.store, "release_runner", release_runner)
    world.submit("a")
    world.engine(poll_s=0.05, lease_s=0.6).start()
    assert beats.acquire(timeout=WAIT_S)
    monkeypatch.setattr(world.store, "heartbeat", real)
    world.site.go_on.set()
    world.until_done(1)


def test_saga_that_this_version_cannot_run_rests_and_does_not_spin(world):
    saga_id = world.submit("a")
    with world.database.write() as tx:
        world.store.set_saga(tx, saga_id, params="[]")
    world.engine(poll_s=0.02).start()
    world.until(lambda tx: world.store.load(tx, saga_id).wake_at > time.time() + 10)
    with world.database.read() as tx:
        assert world.store.load(tx, saga_id).runner is None


CHILD = """
    import os, sys, threading
    sys.path[:0] = [{here!r}, os.path.dirname({here!r})]
    import test_saga_runners as t
    from gureum.core.db import Database
    from gureum.core.saga import Engine, SagaStore, Saga, Step

    begun = threading.Event()

    def gate(step):
        begun.set()
        print("reached", step.generation, flush=True)
        sys.stdin.readline()
        print("acted", flush=True)

    def end(step):
        print("end", flush=True)

    saga = Saga("job.run", Step("gate", do=gate), Step("end", do=end), params=t.Job)
    store = SagaStore(t.metadata)
    engine = Engine(Database({url!r}), store, [saga], deps=None, name="child", lease_s=1.0,
                    poll_s=0.05)
    engine.start()
    begun.wait()
    while engine.running():
        threading.Event().wait(0.02)
    engine.stop()
    print("idle", flush=True)
"""


def test_stopped_process_is_taken_over_and_writes_nothing_when_it_wakes(world):
    saga_id = world.submit("a")
    code = textwrap.dedent(CHILD).format(
        here=os.path.dirname(__file__), url=world.database.url.render_as_string(hide_password=False)
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline().startswith("reached")
        os.kill(child.pid, signal.SIGSTOP)
        world.site.go_on.set()
        world.engine("other", lease_s=1.0, poll_s=0.05).start()
        world.until_done(1)
        with world.database.read() as tx:
            before = world.store.load(tx, saga_id)
        child.stdin.write("\n")
        child.stdin.flush()
        os.kill(child.pid, signal.SIGCONT)
        assert child.stdout.readline() == "acted\n"
        assert child.stdout.readline() == "idle\n"
        with world.database.read() as tx:
            assert world.store.load(tx, saga_id) == before
        assert world.site.log == [("a", "gate"), ("a", "end")]
    finally:
        child.kill()
        child.communicate()
