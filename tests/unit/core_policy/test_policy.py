"""Decisions: what a rule says, remembered or not, and an operator's file that changes."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gureum.core.context import Context
from gureum.core.policy import Policy, Rule
from gureum.core.policy import rules as module
from gureum.core.spec.errors import PolicyForbidden

MINE = Context("req-1", user_id="u", project_id="p", roles=("member",))
RULES = [
    Rule("thing:get", "role:member and project_id:%(project_id)s", "See a thing."),
    Rule("thing:flag", "True:%(shared)s", "See a shared thing."),
    Rule("thing:admin", "role:admin", "Do anything."),
    Rule("thing:deep", "user_id:%(target.user.id)s", "One's own."),
]


def test_the_owner_passes_and_another_project_does_not() -> None:
    policy = Policy(RULES)
    for _ in range(2):  # the second time from memory
        assert policy.allows("thing:get", MINE, {"project_id": "p"})
        assert not policy.allows("thing:get", MINE, {"project_id": "other"})
        assert not policy.allows("thing:get", replace(MINE, project_id="q"), {"project_id": "p"})
        assert not policy.allows("thing:get", replace(MINE, roles=("reader",)), {"project_id": "p"})


def test_a_target_without_the_attribute_never_matches_a_caller_without_it() -> None:
    policy = Policy(RULES)
    nobody = Context("req-2", system=True, roles=("member",))
    assert not policy.allows("thing:get", nobody, {"project_id": None})


def test_true_and_one_are_different_targets() -> None:
    policy = Policy(RULES)
    for _ in range(2):
        assert policy.allows("thing:flag", MINE, {"shared": True})
        assert not policy.allows("thing:flag", MINE, {"shared": 1})


def test_a_target_with_objects_inside_is_decided_each_time() -> None:
    policy = Policy(RULES)
    for user, passes in (("u", True), ("v", False), ("u", True)):
        target = {"target": {"user": {"id": user}}, "target.user.id": user}
        assert policy.allows("thing:deep", MINE, target) is passes


def test_a_scope_that_the_rule_does_not_name_is_refused() -> None:
    policy = Policy(RULES)
    with pytest.raises(PolicyForbidden):
        policy.enforce("thing:admin", Context("req-3", system=True, roles=("admin",)), {})


def test_a_changed_file_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RELOAD_S", 0.0)
    path = tmp_path / "policy.yaml"
    path.write_text('"thing:get": "role:reader"\n')
    policy = Policy(RULES, str(path))
    assert not policy.allows("thing:get", MINE, {"project_id": "p"})
    path.write_text('"thing:get": "role:member"\n')
    later = time.time() + 10
    os.utime(path, (later, later))
    assert policy.allows("thing:get", MINE, {"project_id": "other"})


def test_the_memory_of_decisions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    policy = Policy(RULES)
    for number in range(50):
        assert not policy.allows("thing:get", MINE, {"project_id": f"p{number}"})
    assert len(policy._decided) <= 10
