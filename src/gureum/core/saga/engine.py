"""Who runs sagas: a bounded pool of threads that lease due sagas and keep their leases.

Owns: leasing, heartbeats, waking, taking over what a dead runner left. Must not: know what a saga does;
`run.py` goes through the steps. Several engines, in one process or many, may serve the same tables.
"""

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gureum.core import log
from gureum.core.context import log_ids
from gureum.core.db.engine import Database
from gureum.core.db.errors import DatabaseError
from gureum.core.saga.model import LeaseLost, Saga
from gureum.core.saga.records import SagaRecord
from gureum.core.saga.run import SagaEvent, SagaRun
from gureum.core.saga.store import SagaStore

LOG = log.get(__name__)

LEASE_S = 15.0
POLL_S = 1.0
_BROKEN_WAIT_S = 30.0
"""How long a saga rests that this program cannot run at all (a step that it does not know)."""


class Engine:
    """Runs the sagas it is given, at most `workers` at once.

    `deps` is handed to every step. `name` says which process this is: a new engine of the same name takes
    over at once what the one before left, instead of waiting for its leases to end. `observers` are told
    what was committed; they must be quick.
    """

    def __init__(
        self,
        database: Database,
        store: SagaStore,
        sagas: Iterable[Saga],
        *,
        deps: Any,
        name: str,
        workers: int = 8,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
        observers: Sequence[Callable[[SagaEvent], None]] = (),
    ) -> None:
        self._database = database
        self._store = store
        self._sagas = {saga.name: saga for saga in sagas}
        self._names = list(self._sagas)
        self._deps = deps
        self._name = name
        self.runner = f"{name}/{uuid.uuid4().hex[:12]}"
        self._workers = workers
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._observers = tuple(observers)
        self._runs: dict[str, SagaRun] = {}
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._threads: list[threading.Thread] = []

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to lease and run sagas, in threads of its own."""
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="saga")
        self._threads = [
            threading.Thread(target=self._dispatch, name="saga-dispatch", daemon=True),
            threading.Thread(target=self._keep_leases, name="saga-leases", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for due sagas now."""
        self._due.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop at the next step borders and give the leases back.

        A step that is still at work after `timeout_s` goes on for as long as the process lives.
        """
        self._stopping.set()
        self._due.set()
        for thread in self._threads[:1]:
            thread.join(timeout_s)
        if self._pool is not None:
            closer = threading.Thread(target=self._pool.shutdown, daemon=True)
            closer.start()
            closer.join(timeout_s)
        self._stopped.set()

    def running(self) -> list[str]:
        """Return the ids of the sagas that this engine runs now."""
        with self._lock:
            return list(self._runs)

    # -- threads ------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self._take_over()
        while not self._stopping.is_set():
            self._due.clear()
            wait_s = self._poll_s
            try:
                free = self._workers - len(self.running())
                taken = self._lease(free)
                for record in taken:
                    assert self._pool is not None
                    self._pool.submit(self._run_quietly, self._add(record))
                if len(taken) < free:  # else the first that ends looks for the next
                    wait_s = self._wait_s()
            except DatabaseError as error:
                LOG.warning("saga database does not answer", error=str(error))
            self._due.wait(wait_s)

    def _take_over(self) -> None:
        try:
            with self._database.write() as tx:
                count = self._store.release_runner(tx, self._name, but=self.runner)
        except DatabaseError as error:  # the leases will end by themselves
            LOG.warning("saga database does not answer", error=str(error))
        else:
            if count:
                LOG.info("sagas of an earlier process taken over", count=count)

    def _wait_s(self) -> float:
        with self._database.read() as tx:
            at = self._store.next_wake(tx, self._names)
        if at is None:
            return self._poll_s
        return min(self._poll_s, max(0.01, at - self._store.clock()))

    def _keep_leases(self) -> None:
        while not self._stopped.wait(self._lease_s / 3):
            with self._lock:
                runs = list(self._runs.items())
            for saga_id, run in runs:
                try:
                    with self._database.write() as tx:
                        held = self._store.heartbeat(tx, saga_id, self.runner, self._lease_s)
                except DatabaseError as error:
                    LOG.warning("lease not renewed", saga_id=saga_id, error=str(error))
                    continue
                if not held and self._runs.get(saga_id) is run:
                    run.lost.set()

    # -- one saga -----------------------------------------------------------------------------

    def _lease(self, limit: int) -> list[SagaRecord]:
        if limit <= 0:
            return []
        with self._database.read() as tx:
            due = self._store.due(tx, self._names, but=self.running(), limit=limit)
        taken: list[SagaRecord] = []
        for row in due:
            try:
                with self._database.write() as tx:
                    record = self._store.lease(
                        tx, row.id, row.generation, self.runner, self._lease_s
                    )
            except DatabaseError:
                if not taken:
                    raise
                break  # what was leased before is run; the rest is looked for again
            if record is not None:
                taken.append(record)
        return taken

    def _add(self, record: SagaRecord) -> SagaRun:
        run = SagaRun(
            self._database, self._store, self._sagas[record.name], record, deps=self._deps,
            lease_s=self._lease_s, stopping=self._stopping, observe=self._observe,
        )
        with self._lock:
            self._runs[record.id] = run
        return run

    def _run(self, run: SagaRun) -> None:
        record = run.record
        try:
            asked = record.requester
            with log_ids(saga_id=record.id, request_id=asked.request_id or None,
                         global_request_id=asked.global_request_id,
                         project_id=asked.project_id, user_id=asked.user_id,
                         traceparent=run.span.traceparent):
                run.run()
        except LeaseLost:
            LOG.warning("saga was taken over by another runner", saga_id=record.id)
        finally:
            with self._lock:
                self._runs.pop(record.id, None)
            self._due.set()

    def _run_quietly(self, run: SagaRun) -> None:
        try:
            self._run(run)
        except Exception:  # border: the saga runner
            LOG.error("saga cannot be run now", saga_id=run.record.id, exc_info=True)
            self._rest(run.record)

    def _rest(self, record: SagaRecord) -> None:
        try:
            with self._database.write() as tx:
                now = self._store.guard(tx, record, self._lease_s)
                self._store.set_saga(tx, now.id, runner=None, lease_until=0.0,
                                     wake_at=self._store.clock() + _BROKEN_WAIT_S)
        except (DatabaseError, LeaseLost) as error:  # the lease ends by itself
            LOG.warning("lease not given back", saga_id=record.id, error=str(error))

    def run_due(self, limit: int = 1000) -> int:
        """Run what is due in the calling thread, until nothing is; returns how many runs. For tests."""
        count = 0
        while count < limit:
            records = self._lease(1)
            if not records:
                break
            self._run(self._add(records[0]))
            count += 1
        return count

    def _observe(self, event: SagaEvent) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # border: the saga runner
                LOG.error("observer failed", what=event.what, exc_info=True)
