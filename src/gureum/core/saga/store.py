"""The saga log: tables, submitting, cancelling, leasing, marking, asking.

Owns: `sagas` and `saga_steps` of one service's database. Every mark goes through `guard`, which compares
and renews the runner's lease in the same transaction. Must not: call a step.

`lock_key` is what makes a verb exclusive: it is unique, holds the resource's id while a saga is under way,
and is NULL afterwards.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.db.errors import Conflict, Stale
from gureum.core.saga import records
from gureum.core.saga.model import LeaseLost, Requester, Saga, SagaBusy
from gureum.core.saga.records import SagaRecord, StepRecord
from gureum.core.saga.statements import Statements, times

KEEP_S = 90 * 24 * 3600
"""Finished sagas are kept longer than agents keep their fences (gureum.core.bus.journal.KEEP_S), because
the next saga of a resource takes a generation above the last one's."""

_ID = sa.String(64)
_TIME = sa.Float(53)
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_BIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def saga_tables(metadata: sa.MetaData) -> None:
    """Declare the tables of the saga log in a service's metadata."""
    sa.Table(
        "sagas",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("resource_id", _ID, nullable=False),
        sa.Column("lock_key", sa.String(96), unique=True),
        sa.Column("after_id", _ID, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("round", sa.Integer, nullable=False, default=0),
        sa.Column("params", _LONG, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("runner", sa.String(128)),
        sa.Column("lease_until", _TIME, nullable=False, default=0.0),
        sa.Column("wake_at", _TIME, nullable=False, default=0.0),
        sa.Column("cancel", sa.Boolean, nullable=False, default=False),
        sa.Column("unwind_to", sa.String(48)),
        sa.Column("task_state", sa.String(48)),
        sa.Column("error_step", sa.String(48)),
        sa.Column("error_code", sa.String(96)),
        sa.Column("error_text", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Index("sagas_due", "state", "wake_at"),
        sa.Index("sagas_resource", "resource_id", "created_at"),
        **_BIN,
    )
    sa.Table(
        "saga_steps",
        metadata,
        sa.Column("saga_id", _ID, sa.ForeignKey("sagas.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(48), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False, default=0),
        sa.Column("undo_tries", sa.Integer, nullable=False, default=0),
        sa.Column("result", sa.Text),
        sa.Column("error_code", sa.String(96)),
        sa.Column("error_text", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("progress", sa.String(255)),
        sa.Column("runner", sa.String(128)),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("undo_started_at", _TIME),
        sa.Column("undone_at", _TIME),
        **_BIN,
    )


class SagaStore:
    """The saga log of one database.

    `metadata` must hold the tables of `saga_tables`. `wake` is called after a commit that made work: a
    hint only, engines also look by themselves. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        metadata: sa.MetaData,
        *,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sagas = metadata.tables["sagas"]
        self.steps = metadata.tables["saga_steps"]
        self._ready = Statements(self.sagas, self.steps)
        self.wake = wake
        self.clock = clock

    # -- asked by logic -----------------------------------------------------------------------

    def submit(
        self,
        tx: Tx,
        saga: Saga,
        *,
        resource_id: str,
        params: Any,
        ctx: Context,
        saga_id: str | None = None,
        exclusive: bool = True,
        supersede: bool = False,
        task_state: str | None = None,
    ) -> str:
        """Write the intent to run a saga, in the caller's transaction; returns its id.

        `supersede`: a saga that holds the resource is cancelled, and this one starts when that one has
        ended; when the same verb already runs or waits, its id is returned. `task_state` is shown until
        a step says otherwise (default: the first step's).

        Raises: SagaBusy (also for a `saga_id` that exists), Stale (two met; in a new transaction one of
        them sees the other).
        """
        if not isinstance(params, saga.params):
            raise TypeError(
                f"{saga.name} takes {saga.params.__name__}, not {type(params).__name__}"
            )
        state, lock_key, after_id = records.RUNNING, resource_id if exclusive else None, None
        holder = self._holder(tx, resource_id) if exclusive else None
        if holder is not None:
            if not supersede:
                raise SagaBusy(resource_id, holder.id, holder.name)
            if holder.name == saga.name:
                return str(holder.id)
            waiting = self._holder(tx, _queued(resource_id))
            if waiting is not None:
                if waiting.name == saga.name:
                    return str(waiting.id)
                raise SagaBusy(resource_id, waiting.id, waiting.name)
            if self.cancel(tx, holder.id):
                state, lock_key, after_id = records.QUEUED, _queued(resource_id), holder.id
        now = self.clock()
        new_id = saga_id or str(uuid.uuid4())
        try:
            tx.insert(
                self.sagas,
                id=new_id,
                name=saga.name,
                resource_id=resource_id,
                lock_key=lock_key,
                after_id=after_id,
                state=state,
                generation=self._next_generation(tx, resource_id),
                params=msgspec.json.encode(params).decode(),
                requester=msgspec.json.encode(Requester.of(ctx)).decode(),
                task_state=task_state or saga.steps[0].task_state,
                wake_at=now,
                created_at=now,
                updated_at=now,
            )
        except Conflict as error:
            if saga_id is not None:
                raise SagaBusy(resource_id, saga_id, "") from error
            # Another one took the resource in the same moment; this transaction cannot look who it was.
            raise Stale(f"{resource_id} was taken meanwhile") from error
        tx.after_commit(self.wake)
        return new_id

    def _holder(self, tx: Tx, lock_key: str) -> sa.Row[Any] | None:
        return tx.one(self._ready.holder, {"key": lock_key})

    def _next_generation(self, tx: Tx, resource_id: str) -> int:
        newest = tx.scalar(self._ready.newest_generation, {"resource": resource_id})
        return int(newest or 0) + 1

    def cancel(self, tx: Tx, saga_id: str) -> bool:
        """Ask a saga to stop at its next step border and unwind; False when it has ended already."""
        table, now = self.sagas, self.clock()
        matched = tx.update(
            table,
            sa.and_(table.c.id == saga_id, table.c.state.in_(records.RUNNABLE)),
            cancel=True,
            wake_at=now,
            updated_at=now,
        )
        if not matched:
            matched = tx.update(
                table,
                sa.and_(table.c.id == saga_id, table.c.state == records.QUEUED),
                cancel=True,
                state=records.CANCELLED,
                lock_key=None,
                after_id=None,
                task_state=None,
                error_code=records.CANCEL_CODE,
                finished_at=now,
                updated_at=now,
            )
        tx.after_commit(self.wake)
        return matched == 1

    def retry(self, tx: Tx, saga_id: str) -> bool:
        """Try a stuck saga, or one that waits after an error, now; False when it does neither."""
        table, now = self.sagas, self.clock()
        matched = tx.update(
            table,
            sa.and_(
                table.c.id == saga_id, table.c.state.in_(records.RUNNABLE), table.c.runner.is_(None)
            ),
            wake_at=now,
            updated_at=now,
        )
        tx.after_commit(self.wake)
        return matched == 1

    def skip(self, tx: Tx, saga_id: str) -> str | None:
        """Pass over the undo that a saga is stuck at: an operator cleaned up by hand.

        Returns the step's name; None when the saga is not stuck.
        """
        record = self.load(tx, saga_id)
        if record is None or record.state != records.STUCK:
            return None
        undoing = [row for row in record.steps if row.state == records.STEP_UNDOING]
        table, now = self.sagas, self.clock()
        matched = tx.update(
            table,
            sa.and_(
                table.c.id == saga_id,
                table.c.generation == record.generation,
                table.c.state == records.STUCK,
            ),
            state=records.UNWINDING,
            generation=record.generation + 1,
            runner=None,
            lease_until=0.0,
            wake_at=now,
            updated_at=now,
        )
        if matched != 1 or not undoing:
            return None
        row = undoing[-1]
        self.set_step(tx, saga_id, row.round, row.name, state=records.STEP_UNDONE, undone_at=now)
        tx.after_commit(self.wake)
        return row.name

    # -- asked by readers ---------------------------------------------------------------------

    def load(self, tx: Tx, saga_id: str) -> SagaRecord | None:
        """Return a saga with its steps, or None."""
        row = tx.by(self.sagas.c.id, saga_id)
        return None if row is None else self._records(tx, [row])[0]

    def of_resource(
        self, tx: Tx, resource_id: str, *, limit: int | None = None
    ) -> list[SagaRecord]:
        """Return the sagas of a resource with their steps, newest first."""
        wanted = sa.select(self.sagas).where(self.sagas.c.resource_id == resource_id)
        wanted = wanted.order_by(self.sagas.c.created_at.desc(), self.sagas.c.generation.desc())
        return self._records(tx, tx.all(wanted.limit(limit)))

    def active(self, tx: Tx, resource_ids: Iterable[str]) -> dict[str, SagaRecord]:
        """Return the exclusive saga under way of each resource that has one, without its steps."""
        found = tx.among(self.sagas.c.lock_key, resource_ids)
        return {row.resource_id: _saga_record(row, ()) for row in found}

    def in_state(self, tx: Tx, states: Sequence[str], *, limit: int = 1000) -> list[SagaRecord]:
        """Return sagas in the given states with their steps, longest unchanged first."""
        wanted = sa.select(self.sagas).where(self.sagas.c.state.in_(states))
        return self._records(tx, tx.all(wanted.order_by(self.sagas.c.updated_at).limit(limit)))

    def counts(self, tx: Tx) -> dict[tuple[str, str], int]:
        """Return how many sagas there are by (name, state)."""
        table = self.sagas.c
        count = sa.func.count().label("sagas")
        wanted = sa.select(table.name, table.state, count).group_by(table.name, table.state)
        return {(row.name, row.state): row.sagas for row in tx.all(wanted)}

    def _records(self, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[SagaRecord]:
        steps: dict[str, list[StepRecord]] = {row.id: [] for row in rows}
        if rows:
            c = self.steps.c
            for row in tx.among(c.saga_id, list(steps), c.round, c.position):
                steps[row.saga_id].append(_step_record(row))
        return [_saga_record(row, steps[row.id]) for row in rows]

    def prune(self, tx: Tx, *, older_than_s: float = KEEP_S) -> int:
        """Forget sagas that ended so long ago; returns how many."""
        table = self.sagas.c
        ended = sa.and_(
            table.state.in_(records.FINISHED), table.finished_at < self.clock() - older_than_s
        )
        tx.delete(self.steps, self.steps.c.saga_id.in_(sa.select(table.id).where(ended)))
        return tx.delete(self.sagas, ended)

    # -- asked by the engine ------------------------------------------------------------------

    def due(
        self, tx: Tx, names: Sequence[str], *, but: Sequence[str], limit: int
    ) -> list[sa.Row[Any]]:
        """Return (id, generation) of sagas that nobody runs and whose time has come."""
        asked = {**times(self.clock()), "names": names, "but": but, "most": limit}
        return list(tx.all(self._ready.due, asked))

    def next_wake(self, tx: Tx, names: Sequence[str]) -> float | None:
        """Return when the next saga that waits after an error is due."""
        at = tx.scalar(self._ready.next_wake, {"names": names})
        return None if at is None else float(at)

    def lease(
        self, tx: Tx, saga_id: str, generation: int, runner: str, lease_s: float
    ) -> SagaRecord | None:
        """Take a saga that is at `generation`; None when another runner was faster.

        A new lease is a new generation: what the runner before still does is fenced from here on.
        """
        now = self.clock()
        asked = {
            **times(now),
            "saga": saga_id,
            "known": generation,
            "by": runner,
            "until": now + lease_s,
        }
        matched = tx.execute(self._ready.lease, asked).rowcount
        return self.load(tx, saga_id) if matched == 1 else None

    def release_runner(self, tx: Tx, prefix: str, *, but: str) -> int:
        """End the leases of earlier processes of the same name; returns how many."""
        table = self.sagas
        return tx.update(
            table,
            sa.and_(
                table.c.runner.like(f"{prefix}/%"),
                table.c.runner != but,
                table.c.state.in_(records.RUNNABLE),
            ),
            lease_until=0.0,
        )

    def heartbeat(self, tx: Tx, saga_id: str, runner: str, lease_s: float) -> bool:
        """Renew a lease; False when it is another runner's now."""
        table = self.sagas
        held = sa.and_(table.c.id == saga_id, table.c.runner == runner)
        return tx.update(table, held, lease_until=self.clock() + lease_s) == 1

    def guard(
        self, tx: Tx, record: SagaRecord, lease_s: float, *, reread: bool = True
    ) -> SagaRecord:
        """Check, in the transaction of a mark, that the lease still holds; returns the saga as it is.

        reread: read the saga and its steps. Else they are as in `record`, unless someone wishes to cancel:
        that is all that another one may write, and then they are read.

        Raises: LeaseLost.
        """
        now = self.clock()
        asked = {
            "saga": record.id,
            "known": record.generation,
            "by": record.runner,
            "until": now + lease_s,
            "now": now,
        }
        if not reread:
            as_known = {**asked, "wish": record.cancel}
            if tx.execute(self._ready.guard_wish, as_known).rowcount == 1:
                return replace(record, lease_until=now + lease_s, updated_at=now)
        if tx.execute(self._ready.guard, asked).rowcount == 1:
            fresh = self.load(tx, record.id)
            if fresh is not None:
                return fresh
        raise LeaseLost(f"saga {record.id} is no longer at generation {record.generation}")

    def set_saga(self, tx: Tx, saga_id: str, **values: Any) -> None:
        """Write columns of a saga that `guard` has just checked."""
        tx.update_by(self.sagas.c.id, saga_id, updated_at=self.clock(), **values)

    def add_step(self, tx: Tx, saga_id: str, row: StepRecord) -> None:
        """Write the row of a step that begins."""
        tx.insert(
            self.steps,
            saga_id=saga_id,
            round=row.round,
            name=row.name,
            position=row.position,
            state=row.state,
            tries=row.tries,
            undo_tries=row.undo_tries,
            runner=row.runner,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )

    def set_step(self, tx: Tx, saga_id: str, round: int, name: str, **values: Any) -> None:
        """Write columns of a step."""
        if "result" in values:
            values["result"] = msgspec.json.encode(values["result"]).decode()
        of = {"saga_": saga_id, "round_": round, "step_": name}
        tx.execute(self._ready.set_step(frozenset(values)), {**values, **of})

    def finish(
        self, tx: Tx, record: SagaRecord, state: str, params: Mapping[str, Any] | None
    ) -> None:
        """End a saga, free its resource and start the saga that waits behind it."""
        now = self.clock()
        kept = {} if params is None else {"params": msgspec.json.encode(params).decode()}
        self.set_saga(
            tx,
            record.id,
            state=state,
            lock_key=None,
            runner=None,
            lease_until=0.0,
            task_state=None,
            finished_at=now,
            **kept,
        )
        following = {
            "saga": record.id,
            "key": record.resource_id,
            "now": now,
            "next": record.generation + 1,
        }
        tx.execute(self._ready.follow, following)


def _queued(resource_id: str) -> str:
    return f"queued:{resource_id}"


def _step_record(row: sa.Row[Any]) -> StepRecord:
    values = dict(row._mapping)
    del values["saga_id"]
    values["result"] = msgspec.json.decode(row.result) if row.result else {}
    return StepRecord(**values)


def _saga_record(row: sa.Row[Any], steps: Sequence[StepRecord]) -> SagaRecord:
    values = dict(row._mapping)
    del values["lock_key"], values["after_id"]
    values["params"] = row.params.encode()
    values["requester"] = msgspec.json.decode(row.requester, type=Requester)
    return SagaRecord(**values, steps=steps)
