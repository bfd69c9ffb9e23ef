"""Sagas go forward, go back, wait, are cancelled, and end: with a clock that is moved by hand."""

import threading
import time

import msgspec
import pytest
from saga_world import CTX, Hut, Oops, World, doing, hut_saga, huts

from gureum.core.bus import AgentError, BusTimeout
from gureum.core.db import Stale, Unavailable
from gureum.core.saga import LeaseLost, Retry, Saga, SagaAbort, SagaBusy, Step
from gureum.core.saga.records import moment


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def fails(world, what, *errors):
    world.site.raises[what] = list(errors)


def test_steps_run_in_order_and_are_recorded(world):
    saga_id = world.submit()
    assert world.load(saga_id).task_state == "digging"
    assert world.run() == 1
    record = world.load(saga_id)
    assert (record.state, record.task_state, record.runner) == ("done", None, None)
    assert world.site.done == ["dig", "wall", "roof"]
    assert world.steps(saga_id) == [("dig", "done"), ("wall", "done"), ("roof", "done")]
    assert record.steps[0].result == {"depth": 2}
    assert record.steps[0].tries == 1 and record.steps[0].finished_at == world.clock.now
    assert record.finished_at == world.clock.now


def test_step_is_handed_params_results_key_and_requester(world):
    saga_id = world.submit(size=7)
    world.run()
    step = world.site.contexts["wall"]
    assert step.params == Hut("hut-1", 7)
    assert step.results == {"dig": {"depth": 2}}
    assert step.key == f"{saga_id}/wall"
    assert (step.resource_id, step.saga, step.step) == ("hut-1", "hut.create", "wall")
    assert (step.requester.user_id, step.requester.roles) == ("u1", ("member",))
    assert step.left_s() == 300
    world.clock.now += 400
    assert step.left_s() == 1


def test_token_is_not_stored(world):
    world.submit()
    if world.database.kind == "sqlite":
        assert b"secret-token" not in world.path.read_bytes()
    with world.database.read() as tx:
        row = tx.one(world.store.sagas.select())
    assert "secret-token" not in str(row)


def test_aborting_step_unwinds_what_was_begun_in_reverse(world):
    fails(world, "roof", SagaAbort("no_tiles", "There are no tiles.", detail="warehouse 3 is empty"))
    saga_id = world.submit()
    world.run()
    record = world.load(saga_id)
    assert world.site.done == ["dig", "wall", "raze", "fill"]
    assert (record.state, record.error_step, record.error_code) == ("failed", "roof", "no_tiles")
    assert record.error_text == "There are no tiles."
    assert record.error_detail == "warehouse 3 is empty"
    assert world.steps(saga_id) == [("dig", "undone"), ("wall", "undone"), ("roof", "undone")]


def test_failing_step_itself_is_undone_since_it_may_have_run(world):
    fails(world, "wall", SagaAbort("no_bricks", "There are no bricks."))
    world.submit()
    world.run()
    assert world.site.done == ["dig", "raze", "fill"]
    assert world.site.contexts["raze"].done is False
    assert world.site.contexts["fill"].done is True
    assert world.site.contexts["fill"].result == {"depth": 2}
    assert world.site.contexts["raze"].error_code == "no_bricks"


def test_undo_carries_a_newer_generation_than_do(world):
    fails(world, "wall", SagaAbort("no_bricks", "There are no bricks."))
    saga_id = world.submit()
    world.run()
    contexts = world.site.contexts
    assert contexts["raze"].generation > contexts["wall"].generation
    assert contexts["raze"].key == f"{saga_id}/wall/undo"


@pytest.mark.parametrize(
    "error",
    [Oops("try again"), BusTimeout("no answer"), Unavailable("locked"), Stale("row changed")],
)
def test_retryable_error_is_tried_again_after_a_rest(world, error):
    fails(world, "dig", error)
    saga_id = world.submit()
    world.run()
    record = world.load(saga_id)
    assert (record.state, record.runner, world.site.done) == ("running", None, [])
    assert record.wake_at > world.clock.now
    assert record.steps[0].error_detail.endswith(str(error))
    assert world.run() == 0
    world.run(later_s=1.0)
    assert world.load(saga_id).state == "done"
    assert world.load(saga_id).steps[0].tries == 2
    assert world.load(saga_id).steps[0].error_code is None


def test_tries_are_counted_then_the_saga_unwinds(world):
    fails(world, "dig", Oops("1"), Oops("2"), Oops("3"), Oops("4"))
    saga_id = world.submit()
    world.run_long(6)
    record = world.load(saga_id)
    assert (record.state, record.error_code) == ("failed", "internal")
    assert record.steps[0].tries == 3
    assert record.error_text == "The step dig failed."
    assert record.error_detail == "Oops: 3"


def test_timeout_of_a_step_ends_its_tries(tmp_path):
    saga = Saga("hut.slow", Step("dig", do=doing("dig"), tries=None, timeout_s=100), params=Hut)
    world = World(tmp_path, saga)
    fails(world, "dig", *[Oops(str(n)) for n in range(50)])
    saga_id = world.submit()
    world.run_long(10)
    assert world.load(saga_id).state == "failed"
    assert world.load(saga_id).steps[0].tries == 4


def test_agent_error_gives_its_code_and_a_harmless_text(world):
    fails(world, "wall", AgentError("disk_full", "/srv/vol on node7 is full"))
    saga_id = world.submit()
    world.run()
    record = world.load(saga_id)
    assert (record.error_code, record.error_text) == ("disk_full", "The step wall failed.")
    assert "node7" in record.error_detail


def test_retryable_agent_error_is_tried_again(world):
    class Busy(AgentError):
        code = "digger_busy"
        retryable = True

    fails(world, "dig", Busy("later"))
    saga_id = world.submit()
    world.run()
    world.run(later_s=2)
    assert world.load(saga_id).state == "done"


def test_defect_in_a_step_unwinds(world):
    fails(world, "wall", ZeroDivisionError("x"))
    saga_id = world.submit()
    world.run()
    assert world.load(saga_id).state == "failed"
    assert world.load(saga_id).error_detail == "ZeroDivisionError: x"


def test_failing_undo_is_retried_then_stuck_then_retried_by_command(world):
    fails(world, "roof", SagaAbort("no_tiles", "No tiles."))
    fails(world, "raze", ValueError("1"), ValueError("2"), ValueError("3"))
    saga_id = world.submit()
    world.run()
    world.run(later_s=1)
    record = world.load(saga_id)
    assert (record.state, record.steps[1].state) == ("stuck", "undoing")
    assert world.run(later_s=60) == 0
    with world.database.write() as tx:
        assert world.store.retry(tx, saga_id)
    world.run()
    assert world.load(saga_id).state == "stuck"
    world.run(later_s=700)  # without any command, too
    assert world.load(saga_id).state == "failed"
    assert world.site.done[-2:] == ["raze", "fill"]


def test_stuck_undo_can_be_skipped(world):
    fails(world, "roof", SagaAbort("no_tiles", "No tiles."))
    fails(world, "raze", *[ValueError("never")] * 9)
    saga_id = world.submit()
    with world.database.write() as tx:
        assert world.store.skip(tx, saga_id) is None
    world.run()
    world.run(later_s=1)
    with world.database.write() as tx:
        assert world.store.skip(tx, saga_id) == "wall"
    world.run()
    assert world.load(saga_id).state == "failed"
    assert world.site.done == ["dig", "wall", "fill"]
    with world.database.write() as tx:
        assert world.store.skip(tx, saga_id) is None
        assert not world.store.retry(tx, saga_id)


def test_cancel_takes_effect_at_the_next_step_border(tmp_path):
    def wall(step):
        world.cancel(step.saga_id)
        step.deps.act("wall", step)

    steps = hut_saga().changed(wall=Step("wall", do=wall, undo=doing("raze")))
    world = World(tmp_path, steps)
    saga_id = world.submit()
    world.run()
    assert world.site.done == ["dig", "wall", "raze", "fill"]
    assert (world.load(saga_id).state, world.load(saga_id).error_code) == ("cancelled", "cancelled")
    assert world.cancel(saga_id) is False


def test_long_step_can_ask_whether_it_shall_stop(tmp_path):
    asked = []

    def wall(step):
        asked.append(step.stop_wanted())
        world.cancel(step.saga_id)
        asked.append(step.stop_wanted())
        raise SagaAbort("stopped", "Stopped.")

    def raze(step):
        asked.append(step.stop_wanted())
        world.clock.now += 100
        world.new_engine("other").run_due()
        asked.append(step.stop_wanted())

    def raze_once(step):
        if len(asked) == 2:
            raze(step)

    steps = hut_saga().changed(wall=Step("wall", do=wall, undo=raze_once))
    world = World(tmp_path, steps)
    saga_id = world.submit()
    world.run()
    assert asked == [False, True, False, True]
    assert world.load(saga_id).state == "cancelled"


def test_cancel_ends_a_wait_between_tries(world):
    fails(world, "wall", Oops("1"))
    saga_id = world.submit()
    world.run()
    assert world.cancel(saga_id)
    world.run()
    assert world.load(saga_id).state == "cancelled"
    assert world.site.done == ["dig", "raze", "fill"]


def test_cancel_during_the_last_step_still_unwinds(tmp_path):
    def roof(step):
        world.cancel(step.saga_id)
        raise Oops("and it would have been retried")

    world = World(tmp_path, hut_saga().changed(roof=Step("roof", do=roof)))
    saga_id = world.submit()
    world.run()
    assert world.load(saga_id).state == "cancelled"
    assert world.load(saga_id).error_detail.startswith("Oops")


def test_saga_that_is_not_cancellable_goes_on(tmp_path):
    world = World(tmp_path, hut_saga(cancellable=False))
    saga_id = world.submit()
    assert world.cancel(saga_id)
    world.run()
    assert world.load(saga_id).state == "done"


def test_second_exclusive_saga_of_a_resource_is_refused(world):
    saga_id = world.submit()
    with pytest.raises(SagaBusy) as busy:
        world.submit()
    assert (busy.value.saga_id, busy.value.name) == (saga_id, "hut.create")
    world.submit(hut_id="hut-2")
    world.run()
    again = world.submit()
    assert world.load(again).generation > world.load(saga_id).generation


def test_saga_that_is_not_exclusive_runs_beside(world):
    world.submit()
    world.submit(exclusive=False)
    assert world.run() == 2


DELETE = Saga("hut.delete", Step("raze", do=doing("delete")), params=Hut, cancellable=False)


def test_delete_cancels_the_running_verb_then_runs(tmp_path):
    world = World(tmp_path, hut_saga(), DELETE)
    fails(world, "wall", Oops("waits"))
    create = world.submit()
    world.run()
    delete = world.submit(DELETE, supersede=True)
    assert world.load(delete).state == "queued"
    assert world.submit(DELETE, supersede=True) == delete
    world.run()
    assert (world.load(create).state, world.load(delete).state) == ("cancelled", "done")
    assert world.site.done == ["dig", "raze", "fill", "delete"]
    assert world.load(delete).generation > world.load(create).generation


def test_delete_of_what_is_being_deleted_is_the_same_delete(tmp_path):
    world = World(tmp_path, hut_saga(), DELETE)
    delete = world.submit(DELETE, supersede=True)
    assert world.submit(DELETE, supersede=True) == delete
    with pytest.raises(SagaBusy):
        world.submit()
    world.run()
    assert world.site.done == ["delete"]


def test_only_one_saga_waits_behind_another(tmp_path):
    other = Saga("hut.burn", Step("burn", do=doing("burn")), params=Hut)
    world = World(tmp_path, hut_saga(), DELETE, other)
    world.submit()
    delete = world.submit(DELETE, supersede=True)
    with pytest.raises(SagaBusy) as busy:
        world.submit(other, supersede=True)
    assert busy.value.saga_id == delete


def test_waiting_saga_can_be_cancelled(tmp_path):
    world = World(tmp_path, hut_saga(), DELETE)
    world.submit()
    delete = world.submit(DELETE, supersede=True)
    assert world.cancel(delete)
    world.run()
    assert world.load(delete).state == "cancelled"
    assert "delete" not in world.site.done


def test_delete_moves_a_stuck_saga_on(tmp_path):
    world = World(tmp_path, hut_saga(), DELETE)
    fails(world, "roof", SagaAbort("no_tiles", "No tiles."))
    fails(world, "raze", ValueError("1"), ValueError("2"))
    create = world.submit()
    world.run()
    world.run(later_s=1)
    assert world.load(create).state == "stuck"
    world.submit(DELETE, supersede=True)
    world.run()
    assert world.load(create).state == "failed"
    assert world.site.done[-1] == "delete"


def build(step):
    step.at_mark(lambda tx: tx.insert(huts, id=step.resource_id, state="built"))


def rows(world):
    with world.database.read() as tx:
        return [tuple(row) for row in tx.all(huts.select())]


def test_own_rows_are_written_with_the_mark(tmp_path):
    world = World(tmp_path, hut_saga().changed(roof=Step("roof", do=build)))
    saga_id = world.submit()
    world.run()
    assert rows(world) == [("hut-1", "built")]
    assert world.load(saga_id).state == "done"


def test_own_rows_that_cannot_be_written_fail_the_step(tmp_path):
    world = World(tmp_path, hut_saga().changed(roof=Step("roof", do=build)))
    with world.database.write() as tx:
        tx.insert(huts, id="hut-1", state="there already")
    saga_id = world.submit()
    world.run()
    assert rows(world) == [("hut-1", "there already")]
    assert world.load(saga_id).state == "failed"


def test_optional_step_is_skipped(tmp_path):
    small = Step("wall", do=doing("wall"), undo=doing("raze"),
                 when=lambda step: step.params.size > 1 and step.results["dig"]["depth"] == 2)
    world = World(tmp_path, hut_saga().changed(wall=small))
    saga_id = world.submit()
    world.run()
    assert world.steps(saga_id) == [("dig", "done"), ("wall", "skipped"), ("roof", "done")]
    world.submit(hut_id="hut-2", size=2)
    world.run()
    assert world.site.done == ["dig", "roof", "dig", "wall", "roof"]


def test_skipped_step_is_not_undone(tmp_path):
    small = Step("wall", do=doing("wall"), undo=doing("raze"), when=lambda step: False)
    world = World(tmp_path, hut_saga().changed(wall=small))
    fails(world, "roof", SagaAbort("no_tiles", "No tiles."))
    world.submit()
    world.run()
    assert world.site.done == ["dig", "fill"]


def site_saga(**kwargs):
    """Digs at another place when the wall does not hold there."""

    def dig(step):
        step.deps.act("dig", step)
        return {"place": [seen.result["place"] for seen in step.earlier].count("x") or "x"}

    return Saga(
        "hut.elsewhere",
        Step("plan", do=doing("plan"), undo=doing("unplan")),
        Step("dig", do=dig, undo=doing("fill")),
        Step("wall", do=doing("wall"), undo=doing("raze")),
        params=Hut,
        **kwargs,
    )


def test_retry_goes_back_to_a_step_and_forward_again(tmp_path):
    world = World(tmp_path, site_saga())
    fails(world, "wall", Retry("dig", "mud", "The ground is soft."))
    saga_id = world.submit()
    world.run()
    record = world.load(saga_id)
    assert world.site.done == ["plan", "dig", "raze", "fill", "dig", "wall"]
    assert (record.state, record.round, record.error_code) == ("done", 1, None)
    dig = world.site.contexts["dig"]
    assert [(seen.round, seen.result) for seen in dig.earlier] == [(0, {"place": "x"})]
    assert dig.key == f"{saga_id}/dig.1"
    (setback,) = dig.setbacks
    assert (setback.step, setback.code, setback.text) == ("wall", "mud", "The ground is soft.")
    assert [(row.name, row.round, row.state) for row in record.steps] == [
        ("plan", 0, "done"), ("dig", 0, "undone"), ("wall", 0, "undone"),
        ("dig", 1, "done"), ("wall", 1, "done"),
    ]
    assert record.steps[2].error_code == "mud"


def test_retries_are_bounded(tmp_path):
    world = World(tmp_path, site_saga(max_rounds=2))
    fails(world, "wall", *[Retry("dig", "mud", "The ground is soft.")] * 5)
    saga_id = world.submit()
    world.run()
    record = world.load(saga_id)
    assert world.site.done == ["plan", "dig", "raze", "fill", "dig", "raze", "fill", "unplan"]
    assert (record.state, record.error_code, record.round) == ("failed", "mud", 1)


def test_cancel_during_a_retry_unwinds_everything(tmp_path):
    world = World(tmp_path, site_saga())
    fails(world, "wall", Retry("dig", "mud", "The ground is soft."))
    fails(world, "fill", Oops("waits"))
    saga_id = world.submit()
    world.run()
    world.cancel(saga_id)
    world.run()
    assert world.load(saga_id).state == "cancelled"
    assert world.site.done == ["plan", "dig", "raze", "fill", "unplan"]


def test_closing_hook_runs_before_the_end_and_until_it_succeeds(tmp_path):
    world = World(tmp_path, hut_saga(on_done=doing("open"), on_failed=doing("sorry")))
    fails(world, "open", ValueError("1"), Oops("2"))
    saga_id = world.submit()
    world.run()
    assert world.load(saga_id).state == "running"
    world.run(later_s=1)
    world.run(later_s=2)
    assert world.load(saga_id).state == "done"
    assert world.site.done[-1] == "open"
    assert world.load(saga_id).steps[-1].name == "@end"


def test_failure_hook_knows_the_error(tmp_path):
    world = World(tmp_path, hut_saga(on_done=doing("open"), on_failed=doing("sorry")))
    fails(world, "wall", SagaAbort("no_bricks", "No bricks.", detail="none at all"))
    world.submit()
    world.run()
    assert world.site.done == ["dig", "raze", "fill", "sorry"]
    sorry = world.site.contexts["sorry"]
    assert (sorry.error_code, sorry.error_text) == ("no_bricks", "No bricks.")
    assert (sorry.error_detail, sorry.cancelled) == ("none at all", False)


def test_cancel_while_the_closing_hook_runs_is_too_late(tmp_path):
    world = World(tmp_path, hut_saga(on_done=doing("open")))
    fails(world, "open", Oops("1"))
    saga_id = world.submit()
    world.run()
    world.cancel(saga_id)
    world.run()
    assert world.load(saga_id).state == "done"


def test_secret_params_are_forgotten_at_the_end(tmp_path):
    world = World(tmp_path, hut_saga(secrets=("secret",)))
    saga_id = world.submit(secret="open sesame")
    world.run()
    assert world.site.contexts["roof"].params.secret == "open sesame"
    assert msgspec.json.decode(world.load(saga_id).params) == {"hut_id": "hut-1", "size": 1}


def test_progress_is_shown_beside_the_step(tmp_path):
    seen = []

    def roof(step):
        step.progress("half")
        seen.append(world.load(step.saga_id).steps[-1].progress)

    world = World(tmp_path, hut_saga().changed(roof=Step("roof", do=roof)))
    world.submit()
    world.run()
    assert seen == ["half"]


def test_renamed_step_goes_on_under_its_old_name(world):
    fails(world, "wall", Oops("1"))
    saga_id = world.submit()
    world.run()
    renamed = Step("bricks", do=doing("wall"), undo=doing("raze"), aliases=("wall",))
    old = hut_saga()
    world.sagas = (Saga("hut.create", old.steps[0], renamed, old.steps[2], params=Hut),)
    world.engine = world.new_engine()
    world.run(later_s=5)
    assert world.load(saga_id).state == "done"
    assert [name for name, _ in world.steps(saga_id)] == ["dig", "wall", "roof"]
    assert world.site.contexts["wall"].key == f"{saga_id}/wall"


def test_only_known_sagas_are_taken(tmp_path):
    world = World(tmp_path, hut_saga())
    world.submit(DELETE)
    assert world.run() == 0


def test_observers_are_told_and_cannot_do_harm(world):
    world.events = []

    def bad(event):
        raise ValueError("observer")

    world.engine._observers = (bad, world.events.append)
    saga_id = world.submit()
    world.run()
    assert [(event.what, event.step) for event in world.events] == [
        ("step.start", "dig"), ("step.start", "wall"), ("step.start", "roof"), ("saga.done", None)
    ]
    assert world.events[0].saga_id == saga_id


def test_stopping_engine_hands_back_at_the_border(tmp_path):
    def wall(step):
        world.engine.stop()
        step.deps.act("wall", step)

    world = World(tmp_path, hut_saga().changed(wall=Step("wall", do=wall)))
    saga_id = world.submit()
    world.run()
    record = world.load(saga_id)
    assert (record.state, record.runner, record.lease_until) == ("running", None, 0.0)
    world.engine = world.new_engine()
    world.run()
    assert world.site.done == ["dig", "wall", "roof"]


def test_database_that_is_busy_for_a_moment_does_not_fail_a_step(world, monkeypatch):
    real, left = world.store.guard, [3]

    def guard(*args, **options):
        left[0] -= 1
        if left[0] in (0, 1):
            raise Unavailable("locked")
        return real(*args, **options)

    monkeypatch.setattr(world.store, "guard", guard)
    monkeypatch.setattr("gureum.core.saga.run.time.sleep", lambda seconds: None)
    saga_id = world.submit()
    world.run()
    assert world.load(saga_id).state == "done"
    assert world.site.done == ["dig", "wall", "roof"]


def test_database_that_stays_away_ends_the_run_and_leaves_the_lease(world, monkeypatch):
    monkeypatch.setattr("gureum.core.saga.run.time.sleep", lambda seconds: None)
    real = world.store.guard

    def away(*args, **options):
        raise Unavailable("gone")

    saga_id = world.submit()
    monkeypatch.setattr(world.store, "guard", away)
    with pytest.raises(Unavailable):
        world.run()
    monkeypatch.setattr(world.store, "guard", real)
    assert world.run() == 0
    world.run(later_s=20)
    assert world.load(saga_id).state == "done"


def test_mark_that_was_committed_unnoticed_is_not_written_twice(tmp_path, monkeypatch):
    """A database that commits and loses the answer makes the mark run again."""
    world = World(tmp_path, hut_saga().changed(dig=Step("dig", do=build)))
    monkeypatch.setattr("gureum.core.saga.run.time.sleep", lambda seconds: None)
    real, fired = world.database.write, []

    class Losing:
        def __init__(self):
            self.inner = real()

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *error):
            self.inner.__exit__(*error)
            if rows(world) and not fired:
                fired.append(1)
                raise Unavailable("connection lost during commit")

    saga_id = world.submit()
    monkeypatch.setattr(world.database, "write", Losing)
    world.run()
    assert fired and world.load(saga_id).state == "done"
    assert rows(world) == [("hut-1", "built")]


def test_counts_by_state(world):
    fails(world, "wall", None, SagaAbort("x", "x"))
    for name in ("a", "b"):
        world.submit(hut_id=name)
    world.run()
    world.submit(hut_id="c")
    with world.database.read() as tx:
        counts = world.store.counts(tx)
    key = "hut.create"
    assert counts == {(key, "done"): 1, (key, "failed"): 1, (key, "running"): 1}


def test_sagas_of_a_resource_newest_first(world):
    first = world.submit()
    world.run()
    world.clock.now += 1
    second = world.submit()
    with world.database.read() as tx:
        found = world.store.of_resource(tx, "hut-1")
        assert [saga.id for saga in found] == [second, first]
        assert [saga.id for saga in world.store.of_resource(tx, "hut-1", limit=1)] == [second]
        assert list(world.store.active(tx, ["hut-1", "hut-2"])) == ["hut-1"]
        assert [saga.id for saga in world.store.in_state(tx, ["running"])] == [second]
        assert world.store.of_resource(tx, "nothing") == []


def test_old_sagas_are_pruned(world):
    old = world.submit()
    world.run()
    world.clock.now += 100 * 24 * 3600
    new = world.submit()
    with world.database.write() as tx:
        assert world.store.prune(tx) == 1
    assert world.load(old) is None and world.load(new) is not None


def test_params_of_the_wrong_type_are_refused(world):
    with world.database.write() as tx, pytest.raises(TypeError):
        world.store.submit(tx, world.sagas[0], resource_id="x", params={"hut_id": "x"}, ctx=CTX)


def test_refused_submit_leaves_nothing(world):
    with pytest.raises(ZeroDivisionError), world.database.write() as tx:
        world.store.submit(tx, world.sagas[0], resource_id="x", params=Hut("x"), ctx=CTX)
        raise ZeroDivisionError
    assert world.run() == 0


def test_lost_lease_stops_the_runner_without_a_mark(tmp_path):
    def wall(step):
        world.clock.now += 100  # as if this process had been paused
        other = world.new_engine("other")
        assert other.run_due() == 1
        with pytest.raises(LeaseLost):
            step.progress("too late")
        assert step.lost.is_set()

    calls = []

    def once(step):
        calls.append(step.generation)
        if len(calls) == 1:
            wall(step)

    world = World(tmp_path, hut_saga().changed(wall=Step("wall", do=once)))
    saga_id = world.submit()
    world.run()
    assert world.load(saga_id).state == "done"
    assert calls[1] > calls[0]
    assert world.site.done == ["dig", "roof"]


def test_saga_id_that_exists_is_refused(world):
    world.submit(saga_id="s1")
    with pytest.raises(SagaBusy):
        world.submit(hut_id="hut-2", saga_id="s1")


def test_lease_that_is_lost_while_giving_it_back_is_left_alone(world):
    world.submit()
    record = world.engine._lease(1)[0]
    world.clock.now += 100
    world.new_engine("other").run_due()
    before = world.load(record.id)
    world.engine._rest(record)
    assert world.load(record.id) == before


def test_moments_are_aware():
    assert moment(None) is None
    assert moment(0.0).isoformat() == "1970-01-01T00:00:00+00:00"


def test_engine_whose_workers_are_busy_asks_nothing(tmp_path):
    begun, go_on, asked = threading.Event(), threading.Event(), []

    def hold(step):
        begun.set()
        assert go_on.wait(30)

    world = World(tmp_path, Saga("hut.hold", Step("hold", do=hold), params=Hut), workers=1)
    ask = world.store.next_wake
    world.store.next_wake = lambda *words: asked.append(world.engine.running()) or ask(*words)
    world.submit()
    second = world.submit(hut_id="hut-2")
    world.engine.start()
    try:
        assert begun.wait(30)
        for _ in range(3):
            world.engine.wake()
            until(lambda: not world.engine._due.is_set())
        go_on.set()
        until(lambda: world.load(second).state == "done" and asked)
    finally:
        go_on.set()
        world.engine.stop()
    assert not any(asked)


def until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
