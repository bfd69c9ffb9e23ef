"""Rules and their enforcement, on oslo.policy.

Owns: the declaration of a rule (check, text, scopes), reading an operator's `policy.yaml`, and the decision.
The names and the language are OpenStack's; scope is always enforced.
Must not: load a target or know what a rule means.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg
from oslo_policy import opts, policy

from gureum.core.context import Context
from gureum.core.spec.errors import PolicyForbidden

ADMIN = "role:admin"
SERVICE = "role:service"
MANAGER = "role:manager and project_id:%(project_id)s"
MEMBER = "role:member and project_id:%(project_id)s"
READER = "role:reader and project_id:%(project_id)s"
ADMIN_OR_MEMBER = f"({ADMIN}) or ({MEMBER})"
ADMIN_OR_READER = f"({ADMIN}) or ({READER})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One named rule. scopes: the token scopes that may use it; () means it is only a building block."""

    name: str
    check: str
    text: str
    scopes: tuple[str, ...] = ("project",)


_RELOAD_S = 1.0
_REMEMBERED = 8192


class Policy:
    """The rules of one service, as declared and as its operator's file overrides them."""

    def __init__(self, rules: Iterable[Rule], policy_file: str | None = None) -> None:
        self.rules: dict[str, Rule] = {}
        conf = cfg.ConfigOpts()
        opts._register(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override("policy_file", policy_file or "/nonexistent/policy.yaml", "oslo_policy")
        conf.set_override("enforce_new_defaults", True, "oslo_policy")
        self._enforcer = policy.Enforcer(conf)
        for rule in rules:
            if rule.name in self.rules:
                raise ValueError(f"policy rule {rule.name} is declared twice")
            self.rules[rule.name] = rule
            self._enforcer.register_default(policy.RuleDefault(rule.name, rule.check, rule.text))
        self._lock = threading.Lock()
        self._decided: dict[Any, bool] = {}
        self._pure = False
        self._look_again_at = 0.0
        self._reload()

    def allows(self, rule: str, ctx: Context, target: Mapping[str, Any]) -> bool:
        """Whether the caller passes a rule for a target. An unknown rule is a programming error."""
        declared = self.rules[rule]
        if declared.scopes and ctx.scope not in declared.scopes:
            return False
        if time.monotonic() > self._look_again_at:
            self._reload()
        # None would match a caller who has no such attribute either: "None" equals "None"
        known = {name: value for name, value in target.items() if value is not None}
        if not self._pure:
            return self._decide(rule, ctx, known)
        # types too: True equals 1 as a key, but not as the text that a check compares
        key = (rule, ctx.caller, tuple(known.items()), tuple(map(type, known.values())))
        decided = self._decided
        try:
            found = decided.get(key)
        except TypeError:  # a target with objects inside
            return self._decide(rule, ctx, known)
        if found is None:
            if len(decided) >= _REMEMBERED:
                decided.clear()
            found = decided[key] = self._decide(rule, ctx, known)
        return found

    def _decide(self, rule: str, ctx: Context, known: Mapping[str, Any]) -> bool:
        # the enforcer's own entry reads all rules again each time, at fifty times the cost of a check
        check: Any = self._enforcer.rules[rule]
        return bool(check(known, credentials(ctx), self._enforcer, rule))

    def _reload(self) -> None:
        """Read an operator's file again when it changed; asked about once a second."""
        with self._lock:
            self._look_again_at = time.monotonic() + _RELOAD_S
            self._enforcer.load_rules()
            # what a remote server decides may differ the next time; all other checks only compare
            self._pure = not any(
                "http:" in text or "https:" in text
                for text in map(str, self._enforcer.rules.values())
            )
            self._decided = {}

    def enforce(self, rule: str, ctx: Context, target: Mapping[str, Any]) -> None:
        """Refuse a caller who does not pass. Raises: PolicyForbidden."""
        if not self.allows(rule, ctx, target):
            raise PolicyForbidden(rule=rule)


def credentials(ctx: Context) -> dict[str, Any]:
    """Return the attributes that a rule's checks may name."""
    return {
        "user_id": ctx.user_id,
        "project_id": ctx.project_id,
        "tenant_id": ctx.project_id,
        "domain_id": ctx.domain_id,
        "user_domain_id": ctx.user_domain_id,
        "project_domain_id": ctx.project_domain_id,
        "system_scope": "all" if ctx.system else None,
        "roles": list(ctx.roles),
        "service_roles": list(ctx.service_roles),
        "is_admin": False,
        "is_admin_project": ctx.is_admin_project,
        "system": "all" if ctx.system else None,
        "token": {
            "user": {"id": ctx.user_id, "domain": {"id": ctx.user_domain_id}},
            "project": {"id": ctx.project_id, "domain": {"id": ctx.project_domain_id}},
        },
    }


def scoped(rules: Sequence[Rule], *scopes: str) -> list[Rule]:
    """Return the same rules for other token scopes."""
    return [Rule(rule.name, rule.check, rule.text, scopes) for rule in rules]
