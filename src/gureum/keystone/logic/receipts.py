"""Rules about several methods, and the receipts that keep what was proven on the way.

Follows: Identity API v3, "Authentication receipts"; the user options `multi_factor_auth_enabled` and
`multi_factor_auth_rules`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.fernet import InvalidToken

from gureum.core.shapes import ready
from gureum.core.spec import BadRequest, show_time
from gureum.keystone.logic.fernet import KeyRepository

ENABLED = "multi_factor_auth_enabled"
RULES = "multi_factor_auth_rules"


class Receipt(msgspec.Struct, frozen=True):
    """What was proven. Times are seconds since 1970."""

    user_id: str
    methods: tuple[str, ...]
    issued_at: float
    expires_at: float


ready(Receipt)


class Receipts:
    """Makes and reads receipts, with keys of their own: a receipt can never pass as a token."""

    def __init__(self, keys: KeyRepository, life_s: int) -> None:
        self._keys = keys
        self._life_s = life_s

    def issue(self, user_id: str, methods: Sequence[str]) -> tuple[str, Receipt]:
        """Return a receipt and what it says."""
        now = time.time()
        receipt = Receipt(user_id, tuple(methods), now, float(int(now + self._life_s)))
        packed = msgspec.msgpack.encode(receipt)
        return self._keys.fernet().encrypt(packed).decode().rstrip("="), receipt

    def read(self, text: str) -> Receipt | None:
        """Return what a receipt says, or None when it is not ours or over."""
        padded = text + "=" * (-len(text) % 4)
        for fresh in (False, True):
            try:
                packed = self._keys.fernet(fresh=fresh).decrypt(padded.encode("utf-8", "replace"))
                receipt = msgspec.msgpack.decode(packed, type=Receipt)
            except InvalidToken:
                continue
            except (msgspec.DecodeError, msgspec.ValidationError):
                return None
            return receipt if receipt.expires_at > time.time() else None
        return None


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse rules that have not the form of rules. Raises: BadRequest."""
    if not isinstance(options.get(ENABLED) or False, bool):
        raise BadRequest(f"{ENABLED} must be true or false.")
    rules = options.get(RULES)
    if rules is None:
        return
    good = isinstance(rules, list) and all(
        isinstance(rule, list)
        and rule
        and all(isinstance(method, str) for method in rule)
        and len(set(rule)) == len(rule)
        for rule in rules
    )
    if not good:
        raise BadRequest(f"{RULES} must be a list of lists of different methods.")
    if len({frozenset(rule) for rule in rules}) != len(rules):
        raise BadRequest(f"{RULES} names the same rule twice.")


def missing(
    options: Mapping[str, Any] | None, proven: Sequence[str], offered: Sequence[str]
) -> list[list[str]]:
    """Return the rules of which none is fulfilled yet; empty when one is, or when there are none.

    A method that is not offered counts as not asked for; a rule of such methods alone does not count.
    """
    options = options or {}
    if not options.get(ENABLED):
        return []
    rules = [[name for name in rule if name in offered] for rule in options.get(RULES) or []]
    rules = [rule for rule in rules if rule]
    if any(set(rule) <= set(proven) for rule in rules):
        return []
    return rules


def shown(receipt: Receipt, user: Any, domain: Any) -> dict[str, Any]:
    """Return a receipt as an answer shows it."""
    return {
        "methods": list(receipt.methods),
        "user": {
            "id": user.id,
            "name": user.name,
            "domain": {"id": domain.id, "name": domain.name},
        },
        "issued_at": show_time(datetime.fromtimestamp(receipt.issued_at, UTC), "usz"),
        "expires_at": show_time(datetime.fromtimestamp(receipt.expires_at, UTC), "usz"),
    }
