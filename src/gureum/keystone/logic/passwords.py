"""Password hashes: argon2id in a bounded queue, and a check that takes as long for unknown users."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from gureum.keystone.config import KeystoneOptions


class Hasher:
    """Hashes and verifies. At most `hash_workers` at a time; hashing releases the interpreter lock."""

    def __init__(self, options: KeystoneOptions) -> None:
        self._argon2 = PasswordHasher(
            time_cost=options.hash_time_cost,
            memory_cost=options.hash_memory_kib,
            parallelism=1,
            type=Type.ID,
        )
        self._slots = threading.BoundedSemaphore(options.hash_workers)
        self._max = options.max_password_length
        self._dummy = self.hash("no user has this password")

    def hash(self, password: str) -> str:
        """Return the hash text of a password."""
        with self._slots:
            return self._argon2.hash(password)

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password belongs to the hash; None costs the same time and is False."""
        if len(password) > self._max:
            return False
        with self._slots:
            try:
                matches = self._argon2.verify(hashed or self._dummy, password)
            except (VerificationError, InvalidHashError):
                return False
        return matches and hashed is not None
