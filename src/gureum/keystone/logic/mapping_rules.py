"""The form of mapping rules: what a remote side asserts, and what it makes of a user here.

Follows: Identity API v3, "OS-FEDERATION", mappings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gureum.core.spec import BadRequest

_CONDITIONS = frozenset({"any_one_of", "not_any_of", "whitelist", "blacklist"})
_REMOTE = frozenset({"type", "regex", *_CONDITIONS})
_LOCAL = frozenset({"user", "group", "group_ids", "groups", "domain", "projects"})


def check(rules: Sequence[Mapping[str, Any]]) -> None:
    """Refuse rules that cannot be applied. Raises: BadRequest."""
    for rule in rules:
        if set(rule) != {"local", "remote"}:
            raise BadRequest("A rule has exactly the keys local and remote.")
        for key, one in (("local", _check_local), ("remote", _check_remote)):
            parts = rule[key]
            if not isinstance(parts, list) or (key == "remote" and not parts):
                raise BadRequest(f"{key} of a rule must be a list.")
            for part in parts:
                if not isinstance(part, dict):
                    raise BadRequest(f"Each item of {key} must be an object.")
                one(part)


def _check_local(part: Mapping[str, Any]) -> None:
    unknown = set(part) - _LOCAL
    if unknown:
        raise BadRequest(f"A local part cannot have {sorted(unknown)}.")


def _check_remote(part: Mapping[str, Any]) -> None:
    unknown = set(part) - _REMOTE
    if unknown:
        raise BadRequest(f"A remote part cannot have {sorted(unknown)}.")
    if not isinstance(part.get("type"), str):
        raise BadRequest("A remote part needs a type.")
    conditions = _CONDITIONS & set(part)
    if len(conditions) > 1:
        raise BadRequest("A remote part has at most one condition.")
    for name in conditions:
        values = part[name]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise BadRequest(f"{name} must be a list of texts.")
    if not isinstance(part.get("regex", False), bool):
        raise BadRequest("regex must be true or false.")
