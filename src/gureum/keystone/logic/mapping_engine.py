"""What a mapping makes of the attributes that a provider asserts. Pure: no database, no request.

Follows: Identity API v3, "OS-FEDERATION", mappings, and the operators' guide to mapping combinations. All
rules are looked at; the first one that names a user names the user, groups and projects add up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Attributes = Mapping[str, Sequence[str]]
"""Values by name, as `normal` writes names."""

_PLACE = re.compile(r"\{(\d+)\}")


def normal(name: str) -> str:
    """Return the one spelling of an attribute: `HTTP_OIDC_ISS`, `oidc-iss` and `OIDC_ISS` are the same."""
    return name.upper().replace("-", "_").removeprefix("HTTP_")


@dataclass(frozen=True, slots=True)
class GroupName:
    """A group by its name; domain: {"id": …} or {"name": …}, or None for the provider's."""

    name: str
    domain: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ProjectRoles:
    """Roles that a login is to find in a project, which is made when it is missing."""

    name: str
    roles: tuple[str, ...]
    domain: Mapping[str, str] | None = None


@dataclass(slots=True)
class Mapped:
    """What the rules said together."""

    user: dict[str, Any] = field(default_factory=dict)
    group_ids: list[str] = field(default_factory=list)
    groups: list[GroupName] = field(default_factory=list)
    projects: list[ProjectRoles] = field(default_factory=list)


def apply(rules: Iterable[Mapping[str, Any]], attributes: Attributes) -> Mapped | None:
    """Return what the rules make of attributes, or None when no rule fits."""
    out = Mapped()
    fits = False
    for rule in rules:
        values = _direct(rule["remote"], attributes)
        if values is None:
            continue
        fits = True
        for part in rule["local"]:
            _add(out, part, values)
    return out if fits else None


# -- remote ----------------------------------------------------------------------------------------


def _direct(remote: Sequence[Mapping[str, Any]], attributes: Attributes) -> list[list[str]] | None:
    """Return the values that `{0}`, `{1}` … stand for, or None when a requirement fails.

    Conditions (`any_one_of`, `not_any_of`) only decide; they have no place.
    """
    found: list[list[str]] = []
    for wanted in remote:
        values = list(attributes.get(normal(wanted["type"]), ()))
        if not values:
            return None
        like = _comparison(bool(wanted.get("regex")))
        if "any_one_of" in wanted:
            if not any(like(p, v) for p in wanted["any_one_of"] for v in values):
                return None
        elif "not_any_of" in wanted:
            if any(like(p, v) for p in wanted["not_any_of"] for v in values):
                return None
        elif "whitelist" in wanted:
            found.append([v for v in values if any(like(p, v) for p in wanted["whitelist"])])
        elif "blacklist" in wanted:
            found.append([v for v in values if not any(like(p, v) for p in wanted["blacklist"])])
        else:
            found.append(values)
    return found


def _comparison(regex: bool) -> Callable[[str, str], bool]:
    if regex:
        return lambda pattern, value: re.search(pattern, value) is not None
    return lambda wanted, value: wanted == value


# -- local -----------------------------------------------------------------------------------------


def _add(out: Mapped, part: Mapping[str, Any], values: Sequence[Sequence[str]]) -> None:
    if "user" in part and not out.user:
        out.user = _filled(part["user"], values)
    if "group" in part:
        group = _filled(part["group"], values)
        if group.get("id"):
            out.group_ids.append(group["id"])
        elif group.get("name"):
            out.groups.append(GroupName(group["name"], group.get("domain")))
    if "groups" in part:
        domain = _filled(part["domain"], values) if "domain" in part else None
        out.groups += [GroupName(name, domain) for name in _several(part["groups"], values)]
    if "group_ids" in part:
        out.group_ids += _several(part["group_ids"], values)
    for project in part.get("projects", ()):
        domain = project.get("domain", part.get("domain"))
        roles = tuple(_text(role["name"], values) for role in project.get("roles", ()))
        name = _text(project["name"], values)
        if name:
            out.projects.append(ProjectRoles(name, roles, domain and _filled(domain, values)))


def _text(template: str, values: Sequence[Sequence[str]]) -> str:
    """Fill in a text; several values stand beside each other with a semicolon."""

    def value(match: re.Match[str]) -> str:
        index = int(match[1])
        return ";".join(values[index]) if index < len(values) else ""

    return _PLACE.sub(value, template)


def _several(template: Any, values: Sequence[Sequence[str]]) -> list[str]:
    """Fill in a text that is one place, as a list: one item for each value."""
    if isinstance(template, list):
        return [item for one in template for item in _several(one, values)]
    match = _PLACE.fullmatch(str(template).strip())
    if match is not None:
        index = int(match[1])
        return list(values[index]) if index < len(values) else []
    filled = _text(str(template), values)
    return [filled] if filled else []


def _filled(value: Any, values: Sequence[Sequence[str]]) -> Any:
    if isinstance(value, str):
        return _text(value, values)
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    return value
