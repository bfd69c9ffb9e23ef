"""Secrets at rest: credentials, consumer secrets and domain options are stored encrypted.

Follows: the Fernet specification. Keys rotate as token keys do; what is read with an older key is
encrypted anew when it is next written.
"""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.fernet import InvalidToken

from gureum.keystone.logic.fernet import KeyRepository


class Vault:
    """Encrypts small JSON values."""

    def __init__(self, keys: KeyRepository) -> None:
        self._keys = keys

    def lock(self, value: Any) -> str:
        """Return the encrypted form of a JSON value."""
        return self._keys.fernet().encrypt(msgspec.json.encode(value)).decode()

    def open(self, text: str) -> Any:
        """Return what was locked. Raises: ValueError when no key fits any more."""
        for fresh in (False, True):  # another node may have rotated a moment ago
            try:
                return msgspec.json.decode(self._keys.fernet(fresh=fresh).decrypt(text.encode()))
            except InvalidToken:
                continue
        raise ValueError("a stored secret cannot be read with any key")
