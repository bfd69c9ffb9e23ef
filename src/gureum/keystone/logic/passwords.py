"""Password hashes: argon2id on a few threads of its own, behind a queue that is bounded.

The threads have a lower priority than those that answer requests, so that a flood of logins slows down
logins, not the checks of tokens. A user who does not exist costs as much as a wrong password.
Follows: docs/adr/0018-password-hashing.md.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from gureum.keystone.config import KeystoneOptions
from gureum.keystone.errors import TooManyLogins

T = TypeVar("T")


class Hasher:
    """Hashes and verifies: at most `hash_workers` at a time and `hash_queue` waiting."""

    def __init__(self, options: KeystoneOptions) -> None:
        self._argon2 = PasswordHasher(
            time_cost=options.hash_time_cost,
            memory_cost=options.hash_memory_kib,
            parallelism=1,
            type=Type.ID,
        )
        self._nice = options.hash_nice
        self._threads = ThreadPoolExecutor(
            options.hash_workers, "password", initializer=self._step_back
        )
        self._places = options.hash_workers + options.hash_queue
        self._taken = 0
        self._lock = threading.Lock()
        self._max = options.max_password_length
        self._dummy = self.hash("no user has this password")

    def _step_back(self) -> None:
        """Lower the priority of this thread: on Linux it belongs to the thread, not to the process."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)

    def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._taken >= self._places:
                raise TooManyLogins()
            self._taken += 1
        try:
            return self._threads.submit(work).result()
        finally:
            with self._lock:
                self._taken -= 1

    def hash(self, password: str) -> str:
        """Return the hash text of a password. Raises: TooManyLogins."""
        return self._run(lambda: self._argon2.hash(password))

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password belongs to the hash; None costs the same time and is False.

        Raises: TooManyLogins.
        """
        if len(password) > self._max:
            return False
        matches = self._run(lambda: self._matches(hashed or self._dummy, password))
        return matches and hashed is not None

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._argon2.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def is_old(self, hashed: str) -> bool:
        """Whether a hash was made at another cost than a new one would be."""
        return self._argon2.check_needs_rehash(hashed)
