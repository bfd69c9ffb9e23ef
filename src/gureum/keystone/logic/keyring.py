"""Rings of keys that rotate: one staged, one primary, some older ones; in files or shared in the database.

Key 0 is staged: every node has it before it becomes the primary one, which is the highest number. So a
rotation never makes a token that another node cannot read.
Must not: know what a key is for; each user brings how a key is made.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken

from gureum.core.db import Conflict, Database
from gureum.core.db.engine import translate
from gureum.core.db.types import utc_now
from gureum.keystone.store import tables

Make = Callable[[], bytes]
_LOOK_EVERY_S = 1.0


class KeySource(Protocol):
    """Where the keys of one ring lie."""

    def setup(self, make: Make) -> None:
        """Make a staged and a primary key if there are none."""
        ...

    def stamp(self) -> object:
        """Return something that differs when a key was added or taken away."""
        ...

    def read(self) -> dict[int, bytes]:
        """Return the secrets by number."""
        ...

    def rotate(self, make: Make, keep: int) -> None:
        """Make the staged key the primary one, stage a new one, keep `keep` keys in all."""
        ...


def dropped(numbers: list[int], keep: int) -> list[int]:
    """Return which keys go after a rotation: the oldest beyond the limit, never the staged one."""
    return sorted(numbers)[1 : len(numbers) - keep + 1]


class FolderKeys:
    """A folder of key files named 0, 1, 2, …"""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def setup(self, make: Make) -> None:
        """Make a staged and a primary key if there are none."""
        self._path.mkdir(parents=True, exist_ok=True)
        os.chmod(self._path, 0o700)
        if not self._numbers():
            self._write(0, make())
            self._write(1, make())

    def stamp(self) -> object:
        """Return numbers and times of the files."""
        return tuple((n, (self._path / str(n)).stat().st_mtime_ns) for n in self._numbers())

    def read(self) -> dict[int, bytes]:
        """Return the secrets by number."""
        return {n: (self._path / str(n)).read_bytes().strip() for n in self._numbers()}

    def rotate(self, make: Make, keep: int) -> None:
        """Rename the staged key, write a new one, remove old ones."""
        os.rename(self._path / "0", self._path / str(max(self._numbers()) + 1))
        self._write(0, make())
        for number in dropped(self._numbers(), keep):
            (self._path / str(number)).unlink()

    def _numbers(self) -> list[int]:
        return sorted(int(entry.name) for entry in self._path.iterdir() if entry.name.isdigit())

    def _write(self, number: int, secret: bytes) -> None:
        temporary = self._path / f".{number}.new"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self._path / str(number))


class DatabaseKeys:
    """Keys that the nodes of a cloud share, encrypted with the key that each of them has in a file."""

    def __init__(self, database: Database, purpose: str, cluster_key: bytes) -> None:
        self._database = database
        self._purpose = purpose
        self._cluster = Fernet(cluster_key)

    def setup(self, make: Make) -> None:
        """Make a staged and a primary key if there are none; another node may be faster."""
        if self.stamp():
            return
        try:
            with self._database.write() as tx:
                rows = [self._row(number, make()) for number in (0, 1)]
                tx.insert_many(tables.shared_keys, rows)
        except Conflict:
            return

    def adopt(self, keys: Mapping[int, bytes]) -> bool:
        """Take over keys from elsewhere; False when others are here already."""
        if self.stamp():
            return self.read() == keys
        with self._database.write() as tx:
            rows = [self._row(number, secret) for number, secret in keys.items()]
            tx.insert_many(tables.shared_keys, rows)
        return True

    def _row(self, number: int, secret: bytes) -> dict[str, object]:
        return {
            "purpose": self._purpose,
            "number": number,
            "encrypted_secret": self._cluster.encrypt(secret).decode(),
            "created_at": utc_now(),
        }

    def stamp(self) -> object:
        """Return numbers and times of the rows."""
        k = tables.shared_keys.c
        wanted = sa.select(k.number, k.created_at).where(k.purpose == self._purpose)
        return tuple((row.number, row.created_at) for row in self._all(wanted.order_by(k.number)))

    def _all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """Read on a connection of its own: keys are also asked for in the middle of a transaction."""
        try:
            with self._database.engine.connect() as connection:
                return connection.execute(query).all()
        except sa.exc.DBAPIError as error:
            raise translate(error) from error

    def read(self) -> dict[int, bytes]:
        """Return the secrets by number. Raises: ValueError when the cluster key does not fit."""
        k = tables.shared_keys
        rows = self._all(sa.select(k).where(k.c.purpose == self._purpose))
        try:
            return {row.number: self._cluster.decrypt(row.encrypted_secret) for row in rows}
        except InvalidToken:
            raise ValueError("the cluster key of this node is not that of the cloud") from None

    def rotate(self, make: Make, keep: int) -> None:
        """All in one transaction: no node sees a ring without a staged key."""
        k = tables.shared_keys
        mine = k.c.purpose == self._purpose
        with self._database.write() as tx:
            query = sa.select(k.c.number).where(mine).with_for_update()
            numbers = [row.number for row in tx.all(query)]
            top = max(numbers) + 1
            tx.update(k, sa.and_(mine, k.c.number == 0), number=top, created_at=utc_now())
            tx.insert(k, **self._row(0, make()))
            gone = dropped([*numbers, top], keep)
            tx.delete(k, sa.and_(mine, k.c.number.in_(gone)))


class KeyRing:
    """The keys of one purpose, read again when they change; looked at once a second at most."""

    def __init__(self, source: KeySource, make: Make, max_active_keys: int = 3) -> None:
        self._source = source
        self._make = make
        self._max_active_keys = max_active_keys
        self._lock = threading.Lock()
        self._stamp: object = None
        self._keys: Mapping[int, bytes] = {}
        self._next_look = 0.0
        self.version = 0

    def setup(self) -> None:
        """Make the first keys if there are none."""
        self._source.setup(self._make)

    def rotate(self) -> None:
        """Make the staged key the primary one, stage a new one, drop the oldest beyond the limit."""
        with self._lock:
            self._source.rotate(self._make, self._max_active_keys)
            self._next_look = 0.0

    def look(self, *, fresh: bool = False) -> int:
        """Read the keys when they may have changed; returns a number that grows with each change."""
        if not fresh and self.version and time.monotonic() < self._next_look:
            return self.version
        with self._lock:
            stamp = self._source.stamp()
            if stamp != self._stamp or not self.version:
                self._keys = self._source.read()
                self._stamp = stamp
                self.version += 1
            self._next_look = time.monotonic() + _LOOK_EVERY_S
            return self.version

    def ordered(self) -> list[bytes]:
        """Return the secrets: the primary first, then older ones, the staged one last."""
        keys = self._keys
        order = [*sorted((n for n in keys if n), reverse=True), *([0] if 0 in keys else [])]
        return [keys[number] for number in order]
