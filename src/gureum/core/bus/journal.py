"""The agent's journal of keys: why a job that is asked twice is done once.

Owns: a small SQLite file on the node with the state of each key and the newest generation of each
resource. Must not: know what a job does. Follows docs/adr/0004-bus.md.

A key is `resource/…`: everything before the first slash is the resource that generations fence.
Jobs of one resource run one after another. An unfinished key (the agent was killed) runs again, so
a job looks first for what an earlier run of it left.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gureum.core import log
from gureum.core.bus.contract import Fenced

LOG = log.get(__name__)

T = TypeVar("T")

KEEP_S = 14 * 24 * 3600
"""How long finished keys and fences are kept; sagas are kept longer (gureum.core.saga.store)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, resource TEXT NOT NULL, generation INTEGER NOT NULL,
    result BLOB, done INTEGER NOT NULL DEFAULT 0, updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (
    resource TEXT PRIMARY KEY, generation INTEGER NOT NULL, updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_updated ON keys (updated_at);
"""


class Journal:
    """Thread-safe; one per agent. `path` may be ":memory:" in tests."""

    def __init__(self, path: str | Path) -> None:
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(str(path), check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _SCHEMA)
        self._lock = threading.Lock()
        self._busy: dict[str, tuple[threading.Lock, int]] = {}
        self.prune()

    def run(
        self,
        key: str,
        generation: int,
        work: Callable[[], T],
        *,
        result: Any = Any,
        resource: str | None = None,
    ) -> T:
        """Do `work` for `key` once, and return its result every time.

        `result` is the type of the result, to read a stored one; give it when it is not plain JSON.
        A second caller of a running key waits for it. An exception leaves the key unfinished.

        Raises: Fenced (a newer generation of the resource was seen), whatever `work` raises.
        """
        fenced_by = resource or key.split("/", 1)[0]
        lock = self._enter(fenced_by)
        try:
            if not lock.acquire(blocking=False):
                self._fence(fenced_by, generation)  # whoever works may stop early
                lock.acquire()
            try:
                return self._alone(key, fenced_by, generation, work, result)
            finally:
                lock.release()
        finally:
            self._leave(fenced_by)

    def _alone(
        self, key: str, resource: str, generation: int, work: Callable[[], T], result: Any
    ) -> T:
        with self._lock, self._one_commit():
            self._raise_fence(resource, generation)
            stored = self._begin(key, resource, generation)
        if stored is not None:
            value: T = msgspec.msgpack.decode(stored, type=result)
            return value
        done = work()
        self._finish(key, done)
        return done

    @contextlib.contextmanager
    def _one_commit(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk ends it by itself
                self._db.execute("ROLLBACK")
            raise

    def _enter(self, resource: str) -> threading.Lock:
        with self._lock:
            lock, users = self._busy.get(resource, (threading.Lock(), 0))
            self._busy[resource] = (lock, users + 1)
            return lock

    def _leave(self, resource: str) -> None:
        with self._lock:
            lock, users = self._busy[resource]
            if users == 1:
                del self._busy[resource]
            else:
                self._busy[resource] = (lock, users - 1)

    def _fence(self, resource: str, generation: int) -> None:
        with self._lock:
            self._raise_fence(resource, generation)

    def _raise_fence(self, resource: str, generation: int) -> None:
        """The caller holds the lock of the database. Raises: Fenced."""
        row = self._db.execute(
            "SELECT generation FROM fences WHERE resource = ?", (resource,)
        ).fetchone()
        if row is not None and generation < row[0]:
            raise Fenced(f"{resource} is at generation {row[0]}, {generation} is too old")
        if row is None or generation > row[0]:
            self._db.execute(
                "INSERT INTO fences VALUES (?, ?, ?) ON CONFLICT (resource) DO UPDATE"
                " SET generation = excluded.generation, updated_at = excluded.updated_at",
                (resource, generation, time.time()),
            )

    def _begin(self, key: str, resource: str, generation: int) -> bytes | None:
        """The caller holds the lock of the database."""
        row = self._db.execute("SELECT done, result FROM keys WHERE key = ?", (key,)).fetchone()
        if row is not None and row[0]:
            result: bytes = row[1]
            return result
        if row is not None:
            LOG.info("unfinished job runs again", journal_key=key)
        self._db.execute(
            "INSERT INTO keys (key, resource, generation, updated_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET generation = excluded.generation,"
            " updated_at = excluded.updated_at",
            (key, resource, generation, time.time()),
        )
        return None

    def _finish(self, key: str, value: Any) -> None:
        body = msgspec.msgpack.encode(value)
        with self._lock:
            self._db.execute(
                "UPDATE keys SET done = 1, result = ?, updated_at = ? WHERE key = ?",
                (body, time.time(), key),
            )

    def superseded(self, key: str, generation: int) -> bool:
        """Whether a newer generation asked for the key's resource: long work may stop early."""
        with self._lock:
            row = self._db.execute(
                "SELECT generation FROM fences WHERE resource = ?", (key.split("/", 1)[0],)
            ).fetchone()
        return row is not None and row[0] > generation

    def unfinished(self) -> list[str]:
        """Return the keys that were begun and not finished, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT key FROM keys WHERE done = 0 ORDER BY updated_at")
            return [row[0] for row in rows.fetchall()]

    def prune(self, *, older_than_s: float = KEEP_S) -> int:
        """Forget keys and fences that nothing touched for so long; returns how many keys."""
        before = time.time() - older_than_s
        with self._lock:
            gone = self._db.execute("DELETE FROM keys WHERE updated_at < ?", (before,)).rowcount
            self._db.execute("DELETE FROM fences WHERE updated_at < ?", (before,))
        return gone

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
