"""What Keystone's verbs are handed besides the caller and the transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gureum.core.db import Database
from gureum.keystone.config import (
    AuthOptions,
    ComplianceOptions,
    CredentialOptions,
    FederationOptions,
    KeystoneOptions,
    LimitOptions,
)
from gureum.keystone.logic.certificates import Certificates
from gureum.keystone.logic.claims import TokenProvider
from gureum.keystone.logic.directories import Directories
from gureum.keystone.logic.known import KnownNow
from gureum.keystone.logic.passwords import Hasher
from gureum.keystone.logic.receipts import Receipts
from gureum.keystone.logic.saml import Saml
from gureum.keystone.logic.vault import Vault

_DIRECTORY_ID = 64  # digits of the id of a user of a directory; others have 32


@dataclass(slots=True)
class Deps:
    """One object a process. `tokens` remembers checked tokens of the present epoch."""

    db: Database
    options: KeystoneOptions
    compliance: ComplianceOptions
    provider: TokenProvider
    hasher: Hasher
    vault: Vault
    credential_options: CredentialOptions = field(default_factory=CredentialOptions)
    auth: AuthOptions = field(default_factory=AuthOptions)
    federation: FederationOptions = field(default_factory=FederationOptions)
    limits: LimitOptions = field(default_factory=LimitOptions)
    receipts: Receipts | None = None
    saml: Saml | None = None
    certificates: Certificates | None = None
    directories: Directories | None = None
    cache: TokenCache = field(default_factory=lambda: TokenCache())  # noqa: PLW0108 (defined below)
    known: KnownNow = field(default_factory=KnownNow)
    epoch: EpochWatch = field(default_factory=lambda: EpochWatch())  # noqa: PLW0108 (defined below)

    def knows(self, *tokens: str | None) -> bool:
        """Whether all these tokens can be checked without the database."""
        number = self.epoch.peek()
        return number is not None and all(self._knows(token, number) for token in tokens)

    def _knows(self, token: str | None, number: int) -> bool:
        found = self.cache.get(token, number) if token is not None else None
        return found is not None and not self.refresh_due(found)

    def refresh_due(self, checked: Checked) -> bool:
        """Whether a token's user comes from a directory that must be asked again."""
        user_id = checked.context.user_id
        return (
            self.directories is not None
            and len(user_id or "") == _DIRECTORY_ID
            and self.directories.due(user_id)
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A token that was found valid, as it is shown, without and with the catalogue.

    encoded: the answer of `GET /auth/tokens`, ready to send, without and with the catalogue.
    """

    epoch: int
    expires_at: datetime
    body: dict[str, Any]
    catalog: list[dict[str, Any]]
    context: Any
    encoded: tuple[bytes, bytes] = (b"", b"")


class EpochWatch:
    """The number of the present epoch, for readers that hold no transaction.

    A change in this process counts at once: writers call `forget` when they have committed. A change in
    another process counts after `max_age_s` at the latest.
    """

    def __init__(self, max_age_s: float = 0.1) -> None:
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._forgotten = 0
        self._known: tuple[int, float] | None = None

    def forget(self) -> None:
        """The number has changed: the next reader looks at the database."""
        with self._lock:
            self._forgotten += 1
            self._known = None

    def peek(self) -> int | None:
        """Return the number if it is known well enough."""
        known = self._known
        return known[0] if known is not None and known[1] > time.monotonic() else None

    def number(self, read: Callable[[], int]) -> int:
        """Return the number, asking `read` when the one that is known is too old."""
        known = self._known
        if known is not None and known[1] > time.monotonic():
            return known[0]
        before = self._forgotten
        found = read()
        with self._lock:
            if before == self._forgotten:  # else `found` may be from before the change
                self._known = (found, time.monotonic() + self._max_age_s)
        return found


class TokenCache:
    """Checked tokens by their text, bounded. An entry counts only in the epoch it was made in."""

    def __init__(self, capacity: int = 5000) -> None:
        self._capacity = capacity
        self._entries: dict[str, Checked] = {}

    def get(self, token: str, epoch: int) -> Checked | None:
        """Return the entry if nothing has changed since."""
        entry = self._entries.get(token)
        return entry if entry is not None and entry.epoch == epoch else None

    def put(self, token: str, entry: Checked) -> None:
        """Remember; the whole cache is dropped when it is full."""
        if len(self._entries) >= self._capacity:
            self._entries.clear()
        self._entries[token] = entry
