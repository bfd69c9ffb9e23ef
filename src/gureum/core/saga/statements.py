"""What the saga log asks its database, as statements made once: making one costs more than running it.

Owns: the statements of every step and every look for work. Must not: run one; `store.py` does.
"""

from functools import cached_property
from typing import Any

import sqlalchemy as sa

from gureum.core.saga import records

FARTHEST_WAKE_S = 1200.0
FARTHEST_LEASE_S = 300.0
"""A time farther ahead than any runner writes one comes from a clock that was wrong and was set back since;
it does not hold a saga up."""


def times(now: float) -> dict[str, float]:
    """Return the parameters that say what counts as due, and as free."""
    return {"now": now, "too_late": now + FARTHEST_WAKE_S, "too_long": now + FARTHEST_LEASE_S}


class Statements:
    """The statements on one pair of tables. Parameters are named as in the methods of the store."""

    def __init__(self, sagas: sa.Table, steps: sa.Table) -> None:
        self._sagas = sagas
        self._steps = steps
        self._step_updates: dict[frozenset[str], sa.Update] = {}

    @cached_property
    def holder(self) -> sa.Select[Any]:
        """Which saga has the lock `key`."""
        c = self._sagas.c
        return sa.select(c.id, c.name).where(c.lock_key == sa.bindparam("key"))

    @cached_property
    def newest_generation(self) -> sa.Select[Any]:
        """The highest generation of the resource `resource`."""
        c = self._sagas.c
        newest = sa.select(sa.func.max(c.generation))
        return newest.where(c.resource_id == sa.bindparam("resource"))

    @cached_property
    def due(self) -> sa.Select[Any]:
        """What nobody runs, and whose time has come; takes `times`, `names`, `but` and `most`."""
        c = self._sagas.c
        return (
            sa.select(c.id, c.generation)
            .where(
                c.state.in_(records.RUNNABLE),
                sa.or_(c.wake_at <= sa.bindparam("now"), c.wake_at > sa.bindparam("too_late")),
                c.name.in_(sa.bindparam("names", expanding=True)),
                self._is_free,
                c.id.not_in(sa.bindparam("but", expanding=True)),
            )
            .order_by(c.wake_at)
            .limit(sa.bindparam("most", type_=sa.Integer))
        )

    @cached_property
    def next_wake(self) -> sa.Select[Any]:
        """When the first saga of `names` that rests is due."""
        c = self._sagas.c
        return sa.select(sa.func.min(c.wake_at)).where(
            c.state.in_(records.RUNNABLE),
            c.runner.is_(None),
            c.name.in_(sa.bindparam("names", expanding=True)),
        )

    @cached_property
    def lease(self) -> sa.Update:
        """Take the saga `saga` at generation `known`; takes `times`, `by` and `until`."""
        c = self._sagas.c
        return (
            sa.update(self._sagas)
            .where(
                c.id == sa.bindparam("saga"),
                c.generation == sa.bindparam("known"),
                c.state.in_(records.RUNNABLE),
                self._is_free,
            )
            .values(
                runner=sa.bindparam("by"),
                lease_until=sa.bindparam("until"),
                generation=c.generation + 1,
                updated_at=sa.bindparam("now"),
            )
        )

    @cached_property
    def guard(self) -> sa.Update:
        """Renew the lease of `by` on the saga `saga` at generation `known`."""
        c = self._sagas.c
        return (
            sa.update(self._sagas)
            .where(
                c.id == sa.bindparam("saga"),
                c.generation == sa.bindparam("known"),
                c.runner == sa.bindparam("by"),
            )
            .values(lease_until=sa.bindparam("until"), updated_at=sa.bindparam("now"))
        )

    @cached_property
    def guard_wish(self) -> sa.Update:
        """The same, unless the wish to cancel is not `wish` any more."""
        return self.guard.where(self._sagas.c.cancel == sa.bindparam("wish", type_=sa.Boolean))

    @cached_property
    def follow(self) -> sa.Update:
        """Start what waits behind the saga `saga`, at generation `next`."""
        c = self._sagas.c
        return (
            sa.update(self._sagas)
            .where(c.after_id == sa.bindparam("saga"), c.state == records.QUEUED)
            .values(
                state=records.RUNNING,
                lock_key=sa.bindparam("key"),
                after_id=None,
                wake_at=sa.bindparam("now"),
                generation=sa.bindparam("next"),
                updated_at=sa.bindparam("now"),
            )
        )

    def set_step(self, names: frozenset[str]) -> sa.Update:
        """Write columns, by their names, of the step `step_` of round `round_` of the saga `saga_`."""
        made = self._step_updates.get(names)
        if made is None:
            c = self._steps.c
            made = self._step_updates[names] = (
                sa.update(self._steps)
                .where(
                    c.saga_id == sa.bindparam("saga_"),
                    c.round == sa.bindparam("round_"),
                    c.name == sa.bindparam("step_"),
                )
                .values({name: sa.bindparam(name) for name in sorted(names)})
            )
        return made

    @cached_property
    def _is_free(self) -> sa.ColumnElement[bool]:
        """Whether nobody holds a lease on a saga that counts."""
        c = self._sagas.c
        return sa.or_(
            c.runner.is_(None),
            c.lease_until < sa.bindparam("now"),
            c.lease_until > sa.bindparam("too_long"),
        )
