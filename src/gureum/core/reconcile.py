"""Reconcilers: loops without arguments that converge what is there to what should be.

Owns: `Reconciler`, `Reconcilers` (the thread that runs them), and the lease that lets one process at a time
run each. Must not: know what is reconciled. A reconciler that fails waits longer and longer, and never
stops the others.
"""

import random
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from gureum.core import log
from gureum.core.db.engine import Database
from gureum.core.db.errors import Conflict, DatabaseError

LOG = log.get(__name__)

JITTER = 0.1
MAX_BACKOFF_S = 600.0


def lease_tables(metadata: sa.MetaData) -> None:
    """Declare the table of leases in a service's metadata."""
    sa.Table(
        "leases",
        metadata,
        sa.Column("name", sa.String(96), primary_key=True),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("lease_until", sa.Float(53), nullable=False),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


class Leases:
    """Named leases in a database: who holds one may act until it ends."""

    def __init__(
        self,
        database: Database,
        metadata: sa.MetaData,
        *,
        holder: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._table = metadata.tables["leases"]
        self.holder = holder or uuid.uuid4().hex
        self._clock = clock

    def take(self, name: str, seconds: float, *, longest_s: float = 24 * 3600.0) -> bool:
        """Take or renew a lease; False when another one holds it.

        A lease that ends later than `longest_s` from now was taken by a clock that was wrong, and is free.
        """
        table, now = self._table, self._clock()
        free = sa.or_(
            table.c.holder == self.holder,
            table.c.lease_until < now,
            table.c.lease_until > now + longest_s,
        )
        where = sa.and_(table.c.name == name, free)
        try:
            with self._database.write() as tx:
                if tx.update(table, where, holder=self.holder, lease_until=now + seconds):
                    return True
                if tx.one(sa.select(table.c.name).where(table.c.name == name)) is not None:
                    return False
                tx.insert(table, name=name, holder=self.holder, lease_until=now + seconds)
                return True
        except Conflict:  # another one made the row in the same moment
            return False

    def give_back(self, name: str) -> None:
        """End a lease early; one that is another's stays."""
        table = self._table
        with self._database.write() as tx:
            held = sa.and_(table.c.name == name, table.c.holder == self.holder)
            tx.update(table, held, lease_until=0.0)


class Reconciler(ABC):
    """One loop. `interval_s` is from the end of a pass to the start of the next; a pass longer than
    `limit_s` may overlap with one in another process, so passes are safe to repeat. `everywhere`: each
    process does it for itself, without a lease."""

    name: str = ""
    everywhere: bool = False
    interval_s: float = 60.0
    limit_s: float = 300.0

    @abstractmethod
    def reconcile(self) -> int:
        """Converge once, in small idempotent changes; returns how many were made."""


@dataclass(slots=True)
class _Turn:
    reconciler: Reconciler
    due: float
    failures: int = 0


class Reconcilers:
    """Runs reconcilers one after another in one thread. `leases=None`: this process is the only one."""

    def __init__(
        self,
        reconcilers: Iterable[Reconciler],
        leases: Leases | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._turns = [_Turn(known, clock()) for known in reconcilers]
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._loop, name="reconcile", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the pass that is under way."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def wake(self, name: str) -> None:
        """Run a reconciler as soon as possible."""
        for turn in self._turns:
            if turn.reconciler.name == name:
                turn.due = self._clock()
        self._woken.set()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            wait_s = self.run_due()
            self._woken.wait(wait_s)

    def run_due(self) -> float:
        """Run every reconciler that is due; returns the seconds until the next one is."""
        for turn in self._turns:
            if turn.due <= self._clock() and not self._stopping.is_set():
                self._pass(turn)
        nearest = min((turn.due for turn in self._turns), default=self._clock() + MAX_BACKOFF_S)
        return max(0.0, nearest - self._clock())

    def _pass(self, turn: _Turn) -> None:
        reconciler = turn.reconciler
        leases = None if reconciler.everywhere else self._leases
        rest_s = reconciler.interval_s
        try:
            longest_s = 2 * max(reconciler.limit_s, reconciler.interval_s)
            if leases is None or leases.take(
                reconciler.name, reconciler.limit_s, longest_s=longest_s
            ):
                changes = reconciler.reconcile()
                if changes:
                    LOG.info("reconciled", reconciler=reconciler.name, changes=changes)
                if leases is not None:
                    leases.take(reconciler.name, reconciler.interval_s / 2)
            turn.failures = 0
        except DatabaseError as error:
            rest_s = self._failed(turn)
            LOG.warning("reconciler waits for a database", reconciler=reconciler.name,
                        error=str(error))
        except Exception:  # border: the reconciler
            rest_s = self._failed(turn)
            LOG.error("reconciler failed", reconciler=reconciler.name, exc_info=True)
        turn.due = self._clock() + rest_s * random.uniform(1 - JITTER, 1 + JITTER)

    @staticmethod
    def _failed(turn: _Turn) -> float:
        turn.failures += 1
        longer = turn.reconciler.interval_s * 2 ** min(turn.failures - 1, 10)
        return float(min(longer, max(MAX_BACKOFF_S, turn.reconciler.interval_s)))
