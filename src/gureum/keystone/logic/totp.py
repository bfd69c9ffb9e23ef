"""Time-based one-time passcodes, and codes that count only once.

Follows: RFC 6238 and RFC 4226 (SHA-1, six digits, windows of 30 seconds). The secret of a user is a
credential of type `totp` whose blob is base32.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import time
from collections.abc import Sequence
from datetime import timedelta

from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.keystone.store import entities, tables

WINDOW_S = 30


def passcode(secret: bytes, window: int) -> str:
    """Return the six digits of a window (seconds since 1970 divided by 30)."""
    digest = hmac.new(secret, struct.pack(">Q", window), hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def secrets_of(tx: Tx, user_id: str) -> list[bytes]:
    """Return the secrets of a user; one that is not base32 is left out."""
    c = tables.credentials
    found = []
    for row in entities.listed(tx, c, [c.c.user_id == user_id, c.c.type == "totp"]):
        text = str(tx.deps.vault.open(row.encrypted_blob)).strip().replace(" ", "").upper()
        try:
            found.append(base64.b32decode(text + "=" * (-len(text) % 8)))
        except (binascii.Error, ValueError):
            continue
    return found


def matches(
    secrets: Sequence[bytes], given: str, previous_windows: int, now: float | None = None
) -> str | None:
    """Return what names the matching secret and window, or None."""
    present = int(time.time() if now is None else now) // WINDOW_S
    found = None
    for index, secret in enumerate(secrets):
        for window in range(present - previous_windows, present + 1):
            wanted = passcode(secret, window).encode()
            if hmac.compare_digest(wanted, given.encode("utf-8", "replace")):
                found = f"{index}:{window}"
    return found


def use_once(tx: Tx, kind: str, code: str, keep_s: int) -> bool:
    """Mark a code as used; False when it was before."""
    used = tables.used_codes
    key = hashlib.sha256(code.encode()).hexdigest()
    tx.delete(used, used.c.drop_at < utc_now())
    if entities.find(tx, used, kind=kind, code=key) is not None:
        return False
    tx.insert(used, kind=kind, code=key, drop_at=utc_now() + timedelta(seconds=keep_s))
    return True
