"""The harness passes a sound saga and finds what is wrong with each unsound one."""

from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from databases import fresh
from saga_world import CTX, Hut

from gureum.core.saga import Saga, SagaStore, Step, saga_tables
from gureum.core.saga.testing import HandClock, SagaCase, Scenario, check, scenarios

metadata = sa.MetaData()
saga_tables(metadata)
huts = sa.Table("huts", metadata, sa.Column("id", sa.String(64), primary_key=True))


@dataclass
class Yard:
    """An outside world in which things have names."""

    things: set[str] = field(default_factory=set)
    letters: list[str] = field(default_factory=list)


def dig(step):
    step.deps.things.add(f"pit of {step.resource_id}")
    return {"pit": f"pit of {step.resource_id}"}


def fill(step):
    step.deps.things.discard(f"pit of {step.resource_id}")


def wall(step):
    step.deps.things.add(f"wall on {step.results['dig']['pit']}")


def raze(step):
    step.deps.things.discard(f"wall on pit of {step.resource_id}")


def register(step):
    step.at_mark(lambda tx: tx.insert(huts, id=step.resource_id))


def unregister(step):
    step.at_mark(lambda tx: tx.delete(huts, huts.c.id == step.resource_id))


def thank(step):
    if "thanks" not in step.deps.letters:
        step.deps.letters.append("thanks")


def apologise(step):
    if "sorry" not in step.deps.letters:
        step.deps.letters.append("sorry")


STEPS = (
    Step("dig", do=dig, undo=fill),
    Step("wall", do=wall, undo=raze),
    Step("cellar", do=dig, when=lambda step: step.params.size > 5),
    Step("register", do=register, undo=unregister),
)


def build(*, on_done=thank, on_failed=apologise, **steps):
    saga = Saga("hut.create", *STEPS, params=Hut, on_done=on_done, on_failed=on_failed)
    return saga.changed(**steps)


class HutCase(SagaCase):
    never = frozenset({"cellar"})

    def __init__(self, directory, saga):
        self.saga = saga
        self.clock = HandClock()
        self.database = fresh("sagas", f"sqlite:///{directory / 'harness.sqlite'}")
        metadata.create_all(self.database.engine)
        self.store = SagaStore(metadata, clock=self.clock)
        self.deps = Yard()

    def submit(self):
        with self.database.write() as tx:
            return self.store.submit(tx, self.saga, resource_id="h1", params=Hut("h1"), ctx=CTX)

    def _rows(self):
        with self.database.read() as tx:
            return [row.id for row in tx.all(sa.select(huts))]

    def missing(self):
        wanted = ({"pit of h1", "wall on pit of h1"}, ["h1"], ["thanks"])
        found = (self.deps.things, self._rows(), self.deps.letters)
        return [] if found == wanted else [f"{found} is not {wanted}"]

    def mend(self):
        gone = 0 if self._rows() else len(self.deps.things)
        if gone:
            self.deps.things.clear()
        return gone

    def leftovers(self):
        return [*self.deps.things, *self._rows(), *(w for w in self.deps.letters if w != "sorry")]


@pytest.mark.parametrize("scenario", scenarios(build(), never=HutCase.never), ids=str)
def test_sound_saga_passes(scenario, tmp_path):
    check(HutCase(tmp_path, build()), scenario)


def test_every_disturbance_is_tried_on_every_step():
    names = {str(scenario) for scenario in scenarios(build(), never=HutCase.never)}
    assert len(names) == 1 + 3 * 10 + 2
    assert {"takeover-wall", "repeat-undo-dig", "repeat-done-hook"} <= names


def dig_more(step):
    step.deps.things.add(f"pit of {step.resource_id} number {len(step.deps.things)}")
    return dig(step)


def fill_surely(step):
    step.deps.things.remove(f"pit of {step.resource_id}")


def raze_what_was_finished(step):
    if step.done:
        raze(step)


def register_at_once(step):
    step.deps.things.add("row outside of the mark")


UNSOUND = [
    (build(wall=Step("wall", do=wall)), "fail-after-wall"),
    (build(dig=Step("dig", do=dig_more, undo=fill)), "repeat-dig"),
    (build(dig=Step("dig", do=dig_more, undo=fill)), "takeover-dig"),
    (build(dig=Step("dig", do=dig, undo=fill_surely)), "repeat-undo-dig"),
    (build(wall=Step("wall", do=wall, undo=raze_what_was_finished)), "fail-after-wall"),
    (build(register=Step("register", do=register_at_once, undo=unregister)), "cancel-register"),
    (build(on_done=lambda step: step.deps.letters.append("thanks")), "repeat-done-hook"),
    (build(on_failed=lambda step: step.deps.things.add("ghost")), "repeat-failed-hook"),
]


@pytest.mark.parametrize(("saga", "name"), UNSOUND)
def test_unsound_saga_is_found(saga, name, tmp_path):
    scenario = next(known for known in scenarios(saga) if str(known) == name)
    with pytest.raises(AssertionError):
        check(HutCase(tmp_path, saga), scenario)


class UnmendedCase(HutCase):
    def mend(self):
        return 0


def test_what_a_late_runner_leaves_is_found(tmp_path):
    scenario = next(known for known in scenarios(build()) if str(known) == "late-undone-dig")
    with pytest.raises(AssertionError, match="pit of h1"):
        check(UnmendedCase(tmp_path, build()), scenario)


def test_disturbance_that_misses_its_step_is_found(tmp_path):
    with pytest.raises(AssertionError, match="hit"):
        check(HutCase(tmp_path, build()), Scenario("fail-before", "cellar"))
    with pytest.raises(AssertionError, match="unknown scenario"):
        check(HutCase(tmp_path, build()), Scenario("explode"))
