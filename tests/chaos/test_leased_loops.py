"""Only one of several conductors runs a reconciler; another one takes over when it dies."""

import pytest
from whole_cloud import WholeCloud

from gureum import components
from gureum.core.config import loads
from gureum.core.run import Runtime
from gureum.core.saga.testing import HandClock
from gureum.nova.conductor.component import NovaConductor
from gureum.provision.databases import migrate_all


@pytest.fixture
def cloud(tmp_path):
    made = WholeCloud(tmp_path, ("h1",))
    yield made
    made.close()


def counted(loops, passes, who):
    for turn in loops._turns:
        real = turn.reconciler.reconcile
        turn.reconciler.reconcile = lambda real=real, name=turn.reconciler.name: (
            passes.append((who, name)), real())[1]
    return loops


def test_one_conductor_at_a_time_reconciles(cloud):
    clock, passes = HandClock(), []
    first, second = (counted(cloud.leased_loops(clock=clock), passes, who) for who in "ab")
    first.run_due()
    second.run_due()
    assert {who for who, _ in passes} == {"a"} and len(passes) == 4
    clock.now += 3600  # the first one is not heard of again
    second.run_due()
    assert [who for who, _ in passes] == ["a"] * 4 + ["b"] * 4


def test_reconcilers_of_a_conductor_are_leased(tmp_path):
    config = loads(f"""
        [gureum]
        state_dir = "{tmp_path}"
        run_dir = "{tmp_path}"
        config_dir = "{tmp_path}"
        log_dir = "{tmp_path}"
        """, components.sections())
    runtime = Runtime(config)
    migrate_all(runtime)
    conductor = NovaConductor()
    try:
        conductor.start(runtime)
        everywhere = {turn.reconciler.name: turn.reconciler.everywhere
                      for turn in conductor._loops._turns}
        assert conductor._loops._leases is not None
        assert everywhere.pop("nova-conductor.sign-of-life") and not any(everywhere.values())
        assert len(everywhere) >= 5
    finally:
        conductor.stop()
        runtime.close()
