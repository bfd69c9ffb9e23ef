"""Fernet tokens: the key repository, and packing what a token says into it.

A token carries who, how, for what scope and until when; roles and catalogue are worked out at every use.
Follows: the Fernet specification (https://github.com/fernet/spec).
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class TokenClaims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says. Times are seconds since 1970; scope is "p", "d", "s" or ""."""

    user_id: str
    methods: tuple[str, ...]
    scope: str
    scope_id: str
    issued_at: float
    expires_at: float
    audit_ids: tuple[str, ...]
    application_credential_id: str = ""
    trust_id: str = ""

    def moment(self, what: str) -> datetime:
        """Return `issued_at` or `expires_at` as a moment."""
        return datetime.fromtimestamp(getattr(self, what), UTC)


def new_audit_id() -> str:
    """Return a short random id of a token."""
    import base64

    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _Keys:
    fernet: MultiFernet
    stamp: tuple[tuple[str, int], ...]


class KeyRepository:
    """A folder of key files named 0, 1, 2, …; read again whenever a file changes."""

    def __init__(self, path: str, max_active_keys: int = 3) -> None:
        self._path = Path(path)
        self._max_active_keys = max_active_keys
        self._lock = threading.Lock()
        self._keys: _Keys | None = None
        self._next_look = 0.0

    def setup(self) -> None:
        """Make a staged and a primary key if there are none."""
        self._path.mkdir(parents=True, exist_ok=True)
        os.chmod(self._path, 0o700)
        if not self._numbers():
            self._write(0)
            self._write(1)

    def rotate(self) -> None:
        """Make the staged key the primary one, stage a new one, drop the oldest beyond the limit."""
        with self._lock:
            numbers = self._numbers()
            os.rename(self._path / "0", self._path / str(max(numbers) + 1))
            self._write(0)
            numbers = self._numbers()
            for number in numbers[1 : len(numbers) - self._max_active_keys + 1]:
                (self._path / str(number)).unlink()

    def _numbers(self) -> list[int]:
        return sorted(int(entry.name) for entry in self._path.iterdir() if entry.name.isdigit())

    def _write(self, number: int) -> None:
        temporary = self._path / f".{number}.new"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self._path / str(number))

    def fernet(self, *, fresh: bool = False) -> MultiFernet:
        """Return the keys, primary first. Looks at the folder at most once a second."""
        import time

        now = time.monotonic()
        keys = self._keys
        if keys is not None and not fresh and now < self._next_look:
            return keys.fernet
        with self._lock:
            numbers = self._numbers()
            stamp = tuple((str(n), (self._path / str(n)).stat().st_mtime_ns) for n in numbers)
            if self._keys is None or self._keys.stamp != stamp:
                order = [
                    *sorted((n for n in numbers if n), reverse=True),
                    *([0] if 0 in numbers else []),
                ]
                secrets = [(self._path / str(n)).read_bytes().strip() for n in order]
                self._keys = _Keys(MultiFernet([Fernet(secret) for secret in secrets]), stamp)
            self._next_look = now + 1.0
            return self._keys.fernet


_HEX = re.compile(r"[0-9a-f]{32}")
_METHODS = ("password", "token", "application_credential", "totp", "mapped", "oauth1", "oauth2")


def _small(value: Any) -> Any:
    """Halve the size of hexadecimal ids; name known methods by number."""
    if isinstance(value, tuple):
        return [_METHODS.index(item) if item in _METHODS else item for item in value]
    return bytes.fromhex(value) if isinstance(value, str) and _HEX.fullmatch(value) else value


def _large(value: Any) -> Any:
    if isinstance(value, list):
        return [_METHODS[item] if isinstance(item, int) else item for item in value]
    return value.hex() if isinstance(value, bytes) else value


class FernetProvider:
    """Issues and reads fernet tokens."""

    def __init__(self, keys: KeyRepository) -> None:
        self._keys = keys

    def issue(self, claims: TokenClaims) -> str:
        """Return the token, without padding."""
        packed = msgspec.msgpack.encode([_small(v) for v in msgspec.structs.astuple(claims)])
        return self._keys.fernet().encrypt(packed).decode().rstrip("=")

    def read(self, token: str) -> TokenClaims | None:
        """Return what a token says, or None when it is not ours. Says nothing about expiry."""
        if not 40 <= len(token) <= 2048 or not token.isascii():
            return None
        padded = token + "=" * (-len(token) % 4)
        for fresh in (False, True):  # another node may have rotated a moment ago
            try:
                packed = self._keys.fernet(fresh=fresh).decrypt(padded.encode())
                values = [_large(value) for value in msgspec.msgpack.decode(packed)]
                return msgspec.convert(values, TokenClaims)
            except InvalidToken:
                continue
            except (msgspec.DecodeError, msgspec.ValidationError, TypeError):
                return None
        return None
