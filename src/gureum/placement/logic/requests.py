"""Reading what a request for providers or candidates asks for into a typed form.

Follows: Placement API reference, "Allocation candidates" (granular groups, microversions 1.10 to 1.39).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gureum.placement.errors import BadQuery

_SUFFIXED = re.compile(r"^(resources|required|member_of|in_tree)([a-zA-Z0-9_-]{1,64})?$")


@dataclass(frozen=True, slots=True)
class Group:
    """What one provider (or with suffix "" one tree) must offer.

    required: every inner tuple is a choice of which one is needed. member_of: likewise for aggregates.
    """

    suffix: str
    resources: Mapping[str, int] = field(default_factory=dict)
    required: tuple[tuple[str, ...], ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[tuple[str, ...], ...] = ()
    not_member_of: frozenset[str] = frozenset()
    in_tree: str | None = None

    @property
    def traits(self) -> set[str]:
        """Every trait that is named."""
        return {name for choice in self.required for name in choice} | set(self.forbidden)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A whole request for candidates."""

    groups: tuple[Group, ...]
    limit: int | None
    isolate: bool
    root_required: frozenset[str]
    root_forbidden: frozenset[str]
    same_subtree: tuple[frozenset[str], ...]


def read_groups(pairs: Mapping[str, Sequence[str]]) -> dict[str, Group]:
    """Read every group by suffix. Raises: BadQuery."""
    parts: dict[str, dict[str, Sequence[str]]] = {}
    for key, values in pairs.items():
        match = _SUFFIXED.match(key)
        if match is not None:
            parts.setdefault(match[2] or "", {})[match[1]] = values
    return {suffix: _group(suffix, given) for suffix, given in parts.items()}


def _group(suffix: str, given: Mapping[str, Sequence[str]]) -> Group:
    required, forbidden = _traits(given.get("required", ()))
    member_of, not_member_of = _aggregates(given.get("member_of", ()))
    in_tree = given.get("in_tree", (None,))[-1]
    if in_tree is not None:
        _uuid(in_tree, "in_tree")
    resources = read_resources(given["resources"][-1]) if "resources" in given else {}
    clash = forbidden & {choice[0] for choice in required if len(choice) == 1}
    if clash:
        raise BadQuery(f"Conflicting required and forbidden traits found: {sorted(clash)}")
    return Group(suffix, resources, required, forbidden, member_of, not_member_of, in_tree)


def read_resources(text: str) -> dict[str, int]:
    """Read "VCPU:2,MEMORY_MB:512". Raises: BadQuery."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, amount = part.partition(":")
        if not name or not amount.isdigit() or not 0 < int(amount) < 2**31:
            raise BadQuery(
                "Badly formed resources parameter. Expected resources query string parameter in form:"
                f" ?resources=VCPU:2,MEMORY_MB:1024. Got: {text[:200]}."
            )
        found[name] = int(amount)
    return found


def _traits(values: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], frozenset[str]]:
    required: list[tuple[str, ...]] = []
    forbidden: set[str] = set()
    for value in values:
        if value.startswith("in:"):
            required.append(tuple(_names(value[3:])))
            continue
        for name in _names(value):
            if name.startswith("!"):
                forbidden.add(name[1:])
            else:
                required.append((name,))
    return tuple(required), frozenset(forbidden)


def _names(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise BadQuery(
            "Invalid query string parameters: Expected 'required' parameter value of the form:"
            f" HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {text[:200]}"
        )
    return names


def _aggregates(values: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], frozenset[str]]:
    member_of: list[tuple[str, ...]] = []
    refused: set[str] = set()
    for value in values:
        negated = value.startswith("!")
        rest = value.removeprefix("!")
        ids = rest[3:].split(",") if rest.startswith("in:") else [rest]
        for id in ids:
            _uuid(id, "member_of")
        if negated:
            refused |= set(ids)
        else:
            member_of.append(tuple(ids))
    return tuple(member_of), frozenset(refused)


def _uuid(text: str, name: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError:
        raise BadQuery(f"Expected {name} to be a UUID. Got: {text[:80]}") from None


def read_wanted(pairs: Mapping[str, Sequence[str]]) -> Wanted:
    """Read a request for candidates. Raises: BadQuery."""
    groups = read_groups(pairs)
    if not any(group.resources for group in groups.values()):
        raise BadQuery("At least one group of resources must be requested.")
    same_subtree = tuple(
        frozenset(part for part in value.split(",")) for value in pairs.get("same_subtree", ())
    )
    known = {suffix for suffix in groups if suffix}
    for subtree in same_subtree:
        if not subtree <= known:
            raise BadQuery("Real suffixes should be specified in same_subtree.")
    within = {suffix for subtree in same_subtree for suffix in subtree}
    for suffix, group in groups.items():
        if suffix and not group.resources and suffix not in within:
            raise BadQuery(f"All traits and aggregates of group {suffix} need resources{suffix}.")
    policy = pairs.get("group_policy", ("",))[-1]
    if policy not in ("", "none", "isolate"):
        raise BadQuery("group_policy is 'none' or 'isolate'.")
    numbered = [g for s, g in groups.items() if s and g.resources]
    if len(numbered) > 1 and not policy:
        raise BadQuery(
            "The 'group_policy' parameter is required when specifying more than one group."
        )
    limit = pairs.get("limit", (None,))[-1]
    if limit is not None and (not limit.isdigit() or int(limit) < 1):
        raise BadQuery("limit must be a whole number of at least 1.")
    root_required, root_forbidden = _traits(pairs.get("root_required", ()))
    order = sorted(groups.values(), key=lambda group: group.suffix)
    return Wanted(
        tuple(order),
        None if limit is None else int(limit),
        policy == "isolate",
        frozenset(name for choice in root_required for name in choice),
        root_forbidden,
        same_subtree,
    )
