"""Authorisation: oslo.policy's rule language, rule names and files."""

from gureum.core.policy.rules import Policy, Rule

__all__ = ["Policy", "Rule"]
