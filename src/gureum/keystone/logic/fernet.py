"""Fernet: rings of its keys, and tokens that carry who, how, for what scope and until when.

Roles and catalogue are worked out at every use.
Follows: the Fernet specification (https://github.com/fernet/spec).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from gureum.core.db import Tx
from gureum.keystone.logic.claims import METHODS, TokenClaims
from gureum.keystone.logic.keyring import FolderKeys, KeyRing, KeySource

_HEX = re.compile(r"[0-9a-f]{32}")


class KeyRepository(KeyRing):
    """A ring of fernet keys; by default in a folder."""

    def __init__(self, source: str | KeySource, max_active_keys: int = 3) -> None:
        where = FolderKeys(source) if isinstance(source, str) else source
        super().__init__(where, Fernet.generate_key, max_active_keys)
        self._made: tuple[int, MultiFernet] | None = None

    def fernet(self, *, fresh: bool = False) -> MultiFernet:
        """Return the keys, primary first. Looks for changes at most once a second."""
        version = self.look(fresh=fresh)
        made = self._made
        if made is None or made[0] != version:
            made = (version, MultiFernet([Fernet(secret) for secret in self.ordered()]))
            self._made = made
        return made[1]


def _small(value: Any) -> Any:
    """Halve the size of hexadecimal ids; name known methods by number."""
    if isinstance(value, tuple):
        return [METHODS.index(item) if item in METHODS else _small(item) for item in value]
    return bytes.fromhex(value) if isinstance(value, str) and _HEX.fullmatch(value) else value


def _large(value: Any) -> Any:
    if isinstance(value, list):
        return [METHODS[item] if isinstance(item, int) else _large(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _packed(claims: TokenClaims) -> bytes:
    """Return the claims without the empty ones at the end."""
    values = [_small(value) for value in msgspec.structs.astuple(claims)]
    while values and values[-1] in ("", []):
        values.pop()
    return msgspec.msgpack.encode(values)


class FernetProvider:
    """Issues and reads fernet tokens."""

    name = "fernet"

    def __init__(self, keys: KeyRepository) -> None:
        self._keys = keys

    def issue(self, claims: TokenClaims, body: Mapping[str, Any]) -> str:
        """Return the token, without padding."""
        return self._keys.fernet().encrypt(_packed(claims)).decode().rstrip("=")

    def read(self, token: str, tx: Tx | None = None) -> TokenClaims | None:
        """Return what a token says, or None when it is not ours. Says nothing about expiry."""
        if not 40 <= len(token) <= 8192 or not token.isascii():
            return None
        padded = token + "=" * (-len(token) % 4)
        for fresh in (False, True):  # another node may have rotated a moment ago
            try:
                packed = self._keys.fernet(fresh=fresh).decrypt(padded.encode())
                values = [_large(value) for value in msgspec.msgpack.decode(packed)]
                return msgspec.convert(values, TokenClaims)
            except InvalidToken:
                continue
            except (msgspec.DecodeError, msgspec.ValidationError, TypeError, IndexError):
                return None
        return None
