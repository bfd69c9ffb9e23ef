"""Placement's rules: administrators and services; a project's reader sees its own usage."""

from __future__ import annotations

from gureum.core.policy.rules import ADMIN, READER, SERVICE, Rule

_OWN = f"({ADMIN}) or ({SERVICE})"
_NAMES = {
    "resource_providers": ("list", "create", "show", "update", "delete"),
    "resource_classes": ("list", "create", "show", "update", "delete"),
    "resource_providers:inventories": ("list", "create", "show", "update", "delete"),
    "resource_providers:aggregates": ("list", "update"),
    "resource_providers:traits": ("list", "update", "delete"),
    "resource_providers:allocations": ("list",),
    "traits": ("list", "show", "update", "delete"),
    "allocations": ("manage", "list", "update", "delete"),
    "allocation_candidates": ("list",),
    "reshaper": ("reshape",),
}

RULES = [
    Rule(f"placement:{noun}:{verb}", _OWN, f"{verb.title()} {noun.replace(':', ' ')}.")
    for noun, verbs in _NAMES.items()
    for verb in verbs
] + [
    Rule("placement:resource_providers:usages", _OWN, "Show the usage of a provider."),
    Rule("placement:usages", f"{_OWN} or ({READER})", "Show the usage of a project."),
]
