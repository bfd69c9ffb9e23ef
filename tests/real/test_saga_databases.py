"""Sagas on MariaDB and PostgreSQL: races of runners and submitters end as on SQLite."""

import threading
import time
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from dblab import available, running

from gureum.core.context import Context
from gureum.core.db import Database
from gureum.core.reconcile import Leases, lease_tables
from gureum.core.saga import Engine, Saga, SagaAbort, SagaBusy, SagaStore, Step, saga_tables

WAIT_S = 60.0
CTX = Context(request_id="req-1")

metadata = sa.MetaData()
saga_tables(metadata)
lease_tables(metadata)

pytestmark = [
    pytest.mark.skipif(not available(), reason="neither MariaDB nor PostgreSQL is installed"),
    pytest.mark.timeout(300),
]


@dataclass(frozen=True, slots=True)
class Job:
    name: str


class Site:
    def __init__(self):
        self.lock, self.log = threading.Lock(), []

    def act(self, *what):
        with self.lock:
            self.log.append(what)


def do(step):
    step.deps.act(step.resource_id, step.step)
    return {"text": "é🦉" * 20}


def fail_odd(step):
    if int(step.resource_id) % 2:
        raise SagaAbort("odd", "Odd ones fail. ☂")
    do(step)


def undo(step):
    step.deps.act(step.resource_id, f"undo {step.step}")


SAGA = Saga("job.run", Step("one", do=do, undo=undo), Step("two", do=fail_odd, undo=undo),
            Step("three", do=do), params=Job)
DELETE = Saga("job.delete", Step("gone", do=do), params=Job, cancellable=False)


@pytest.fixture(scope="module", params=available() or ["none"])
def make(request):
    with running(request.param) as server:
        yield server.empty


@pytest.fixture
def world(make):
    class World:
        database = Database(make("sagas"))
        store = SagaStore(metadata)
        site = Site()
        engines = []

        def engine(self, name, **options):
            made = Engine(self.database, self.store, [SAGA, DELETE], deps=self.site, name=name,
                          poll_s=0.05, **options)
            self.engines.append(made)
            return made

        def submit(self, name, saga=SAGA, **options):
            return self.database.retrying(lambda tx: self.store.submit(
                tx, saga, resource_id=name, params=Job(name), ctx=CTX, **options))

        def until(self, wanted):
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                with self.database.read() as tx:
                    counts = self.store.counts(tx)
                if wanted(counts):
                    return
                threading.Event().wait(0.05)
            raise AssertionError(counts)

    world = World()
    metadata.create_all(world.database.engine)
    yield world
    for engine in world.engines:
        engine.stop()
    world.database.close()


def test_three_engines_share_the_work_and_do_nothing_twice(world):
    for number in range(40):
        world.submit(str(number))
    for name in ("a", "b", "c"):
        world.engine(name).start()
    world.until(lambda counts: sum(counts.values()) == 40 == counts.get(("job.run", "done"), 0)
                + counts.get(("job.run", "failed"), 0))
    assert len(world.site.log) == len(set(world.site.log)) == 20 * 3 + 20 * 3
    with world.database.read() as tx:
        failed = world.store.in_state(tx, ["failed"])
        done = world.store.in_state(tx, ["done"])
    assert len(failed) == 20
    assert {record.error_text for record in failed} == {"Odd ones fail. ☂"}
    assert done[0].results()["one"] == {"text": "é🦉" * 20}


def race(count, work):
    results, start = [], threading.Barrier(count)

    def run():
        start.wait(WAIT_S)
        try:
            results.append(work())
        except SagaBusy:
            results.append("busy")

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return results


def test_one_of_many_submitters_gets_the_resource(world):
    results = race(8, lambda: world.submit("1"))
    assert results.count("busy") == 7


def test_deletes_and_the_end_of_a_verb_race_without_losing_a_delete(world):
    world.engine("a").start()
    for number in range(0, 60, 2):
        world.submit(str(number))

    def delete_all():
        ids = []
        for number in range(0, 60, 2):
            for _ in range(20):
                try:
                    ids.append(world.submit(str(number), DELETE, supersede=True))
                    break
                except SagaBusy:  # another delete was written in the same moment
                    continue
        return ids

    first, second = race(2, delete_all)
    assert len(first) == len(second) == 30
    world.until(lambda counts: all(state in ("done", "cancelled") for _, state in counts))
    for number in range(0, 60, 2):
        assert (str(number), "gone") in world.site.log


def test_lease_goes_to_one(world):
    leases = [Leases(world.database, metadata, holder=str(number)) for number in range(6)]
    taken = race(6, lambda: leases.pop().take("x", 60))
    assert sorted(taken) == [False] * 5 + [True]
