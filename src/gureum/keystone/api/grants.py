"""Grants: a user or group holds a role on a project, a domain or the system.

The twelve path shapes of the API differ only in words, so their operations are made from one pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden, Operation, operation
from gureum.keystone.api.roles import Role
from gureum.keystone.api.shapes import shown
from gureum.keystone.errors import Missing
from gureum.keystone.logic import tokens
from gureum.keystone.logic.common import load
from gureum.keystone.store import assignments, entities, tables

_TABLES = {
    "user": tables.users,
    "group": tables.groups,
    "project": tables.projects,
    "domain": tables.domains,
}


class _Loaded:
    """The two or three rows that a path of grants names."""

    def __init__(self, actor: Any, target: Any, role: Any = None) -> None:
        self.actor, self.target, self.role = actor, target, role


def _loader(kind: str, actor_kind: str) -> Callable[..., _Loaded]:
    def load_all(ctx: Context, tx: Tx, *ids: str) -> _Loaded:
        rest = list(ids)
        target = None if kind == "system" else load(tx, _TABLES[kind], kind, rest.pop(0))
        actor = load(tx, _TABLES[actor_kind], actor_kind, rest.pop(0))
        role = load(tx, tables.roles, "role", rest[0]) if rest else None
        return _Loaded(actor, target, role)

    return load_all


def _targeter(kind: str, actor_kind: str) -> Callable[..., dict[str, Any]]:
    def target_of(ctx: Context, loaded: _Loaded | None, new: Any) -> dict[str, Any]:
        if loaded is None:
            return {}
        out = {f"target.{actor_kind}.domain_id": loaded.actor.domain_id}
        if kind == "project":
            out["target.project.domain_id"] = loaded.target.domain_id
        if kind == "domain":
            out["target.domain.id"] = loaded.target.id
        if loaded.role is not None:
            out["target.role.name"] = loaded.role.name
            out["target.role.domain_id"] = loaded.role.domain_id or "None"
        return out

    return target_of


def _check_domain(kind: str, loaded: _Loaded) -> None:
    """Refuse a role of a domain outside of that. Raises: BadRequest, Forbidden."""
    own = loaded.role.domain_id
    if not own:
        return
    if kind == "system":
        raise BadRequest("A role of a domain cannot be granted on the system.")
    if own != (loaded.target.id if kind == "domain" else loaded.target.domain_id):
        raise Forbidden("A role of a domain can be granted in that domain only.")


def _make(kind: str, actor_kind: str, inherited: bool) -> list[Operation]:
    base = "/system" if kind == "system" else f"/{kind}s/{{{kind}_id}}"
    base = f"{base}/{actor_kind}s/{{{actor_kind}_id}}/roles"
    tail = ""
    if inherited:
        base, tail = f"/OS-INHERIT{base}", "/inherited_to_projects"
    where = f"a {kind}" if kind != "system" else "the system"
    how = ", inherited by the projects below" if inherited else ""
    suffix = f"_for_{actor_kind}" if kind == "system" else ""
    grant = "system_grant" if kind == "system" else "grant"
    common: dict[str, Any] = {
        "load": _loader(kind, actor_kind),
        "target": _targeter(kind, actor_kind),
        "errors": (Missing,),
    }

    def key(loaded: _Loaded) -> tuple[tuple[str, str], tuple[str, str]]:
        target_id = "all" if kind == "system" else loaded.target.id
        return (actor_kind, loaded.actor.id), (kind, target_id)

    def list_grants(ctx: Context, tx: Tx, loaded: _Loaded) -> Any:
        ids = assignments.role_ids(tx, *key(loaded), inherited)
        rows = entities.by_ids(tx, tables.roles, ids).values()
        return [{**shown(ctx, "roles", row), "domain_id": row.domain_id or None} for row in rows]

    def check_grant(ctx: Context, tx: Tx, loaded: _Loaded) -> None:
        if not assignments.granted(tx, *key(loaded), loaded.role.id, inherited):
            raise Missing(kind="role assignment with role", id=loaded.role.id)

    def create_grant(ctx: Context, tx: Tx, loaded: _Loaded) -> None:
        _check_domain(kind, loaded)
        assignments.grant(tx, *key(loaded), loaded.role.id, inherited)
        entities.bump(tx)

    def revoke_grant(ctx: Context, tx: Tx, loaded: _Loaded) -> None:
        if not assignments.revoke(tx, *key(loaded), loaded.role.id, inherited):
            raise Missing(kind="role assignment with role", id=loaded.role.id)
        if actor_kind == "user":
            scope = {} if kind == "system" or inherited else {f"{kind}_id": loaded.target.id}
            tokens.revoke(tx, tx.deps, user_id=loaded.actor.id, **scope)
        entities.bump(tx)

    for handler, text in (
        (list_grants, f"List the roles of a {actor_kind} on {where}{how}."),
        (check_grant, f"Ask whether a {actor_kind} has a role on {where}{how}."),
        (create_grant, f"Grant a role to a {actor_kind} on {where}{how}."),
        (revoke_grant, f"Take a role from a {actor_kind} on {where}{how}."),
    ):
        handler.__doc__ = text
    one = f"{base}/{{role_id}}{tail}"

    def declare(method: str, path: str, rule: str, handler: Any, **more: Any) -> Operation:
        return operation(method, path, policy=f"identity:{rule}{suffix}", **common, **more)(handler)

    return [
        declare(
            "GET", base + tail, f"list_{grant}s", list_grants, items=Role, response_wrap="roles"
        ),
        declare("GET", one, f"check_{grant}", check_grant, status=204),
        declare("PUT", one, f"create_{grant}", create_grant, status=204),
        declare("DELETE", one, f"revoke_{grant}", revoke_grant),
    ]


OPERATIONS: list[Operation] = [
    made
    for kind, inherited in (
        ("project", False),
        ("domain", False),
        ("system", False),
        ("project", True),
        ("domain", True),
    )
    for actor_kind in ("user", "group")
    for made in _make(kind, actor_kind, inherited)
]
