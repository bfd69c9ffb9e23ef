"""What the saga tests share: a database file, a clock that is moved by hand, a saga that builds a hut."""

from dataclasses import dataclass, field

import sqlalchemy as sa
from databases import fresh

from gureum.core.context import Context
from gureum.core.saga import Engine, Saga, SagaStore, Step, saga_tables


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@dataclass(frozen=True, slots=True)
class Hut:
    hut_id: str
    size: int = 1
    secret: str | None = None


class Oops(Exception):
    retryable = True


metadata = sa.MetaData()
saga_tables(metadata)
huts = sa.Table("huts", metadata, sa.Column("id", sa.String(64), primary_key=True),
                sa.Column("state", sa.String(16)))

CTX = Context(request_id="req-1", user_id="u1", project_id="p1", token="secret-token",
              roles=("member",))


@dataclass
class Site:
    """The outside: what was done, in order, and what to raise when."""

    done: list[str] = field(default_factory=list)
    raises: dict[str, list] = field(default_factory=dict)
    contexts: dict[str, object] = field(default_factory=dict)

    def act(self, what, step):
        self.contexts[what] = step
        waiting = self.raises.get(what)
        if waiting:
            error = waiting.pop(0)
            if error is not None:
                raise error
        self.done.append(what)


def doing(what, result=None):
    def do(step):
        step.deps.act(what, step)
        return result

    return do


def hut_saga(name="hut.create", **kwargs):
    return Saga(
        name,
        Step("dig", do=doing("dig", {"depth": 2}), undo=doing("fill"), task_state="digging",
             tries=3),
        Step("wall", do=doing("wall"), undo=doing("raze"), task_state="walling", undo_tries=2),
        Step("roof", do=doing("roof"), task_state="roofing"),
        params=Hut,
        **kwargs,
    )


class World:
    def __init__(self, directory, *sagas, **options):
        self.clock = Clock()
        self.path = directory / "huts.sqlite"
        self.database = fresh("sagas", f"sqlite:///{self.path}")
        metadata.create_all(self.database.engine)
        self.store = SagaStore(metadata, clock=self.clock)
        self.site = Site()
        self.sagas = sagas or (hut_saga(),)
        self.events = []
        self.engine = self.new_engine(**options)

    def new_engine(self, name="test", **options):
        return Engine(self.database, self.store, self.sagas, deps=self.site, name=name,
                      observers=[self.events.append], **options)

    def submit(self, saga=None, *, hut_id="hut-1", size=1, secret=None, **options):
        with self.database.write() as tx:
            return self.store.submit(tx, saga or self.sagas[0], resource_id=hut_id,
                                     params=Hut(hut_id, size, secret), ctx=CTX, **options)

    def load(self, saga_id):
        with self.database.read() as tx:
            return self.store.load(tx, saga_id)

    def cancel(self, saga_id):
        with self.database.write() as tx:
            return self.store.cancel(tx, saga_id)

    def run(self, *, later_s=0.0):
        self.clock.now += later_s
        return self.engine.run_due()

    def run_long(self, rounds=60, step_s=40.0):
        """Let time pass until nothing is under way any more."""
        for _ in range(rounds):
            self.run(later_s=step_s)

    def steps(self, saga_id):
        return [(row.name, row.state) for row in self.load(saga_id).steps]
