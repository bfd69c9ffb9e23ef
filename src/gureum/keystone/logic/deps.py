"""What Keystone's verbs are handed besides the caller and the transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gureum.core.db import Database
from gureum.keystone.config import ComplianceOptions, CredentialOptions, KeystoneOptions
from gureum.keystone.logic.fernet import FernetProvider
from gureum.keystone.logic.passwords import Hasher
from gureum.keystone.logic.vault import Vault


@dataclass(slots=True)
class Deps:
    """One object a process. `tokens` remembers checked tokens of the present epoch."""

    db: Database
    options: KeystoneOptions
    compliance: ComplianceOptions
    provider: FernetProvider
    hasher: Hasher
    vault: Vault
    credential_options: CredentialOptions = field(default_factory=CredentialOptions)
    cache: TokenCache = field(default_factory=lambda: TokenCache())  # noqa: PLW0108 (defined below)


@dataclass(frozen=True, slots=True)
class Checked:
    """A token that was found valid, as it is shown, without and with the catalogue."""

    epoch: int
    expires_at: datetime
    body: dict[str, Any]
    catalog: list[dict[str, Any]]
    context: Any


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
