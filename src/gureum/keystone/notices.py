"""The events of the identity service: `identity.user.created` and so on, as audit records.

Follows the administrator guide's "Keystone Event Notifications": a CADF event with `resource_info`. Logins
are no events. Must not: put more than ids into a payload.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gureum.core.announce import Done, Notice, Notices, id_of
from gureum.core.events import Fact, Source
from gureum.core.spec import Operation

_TYPES = {
    "domains": "domain",
    "projects": "project",
    "users": "user",
    "groups": "group",
    "roles": "role",
    "regions": "region",
    "services": "service",
    "endpoints": "endpoint",
    "policies": "policy",
    "credentials": "credential",
    "OS-TRUST/trusts": "trust",
    "OS-EP-FILTER/endpoint_groups": "endpoint_group",
    "OS-OAUTH1/consumers": "OS-OAUTH1:consumer",
    "OS-FEDERATION/identity_providers": "identity_provider",
    "OS-FEDERATION/mappings": "mapping",
    "OS-FEDERATION/service_providers": "service_provider",
    "registered_limits": "registered_limit",
    "limits": "limit",
    "application_credentials": "application_credential",
    "protocols": "federated_protocol",
}
_VERBS = {"POST": "created", "PUT": "created", "PATCH": "updated", "DELETE": "deleted"}
_ACCOUNT = "data/security/account/user"


def of(op: Operation) -> Notice | None:
    """Return the notice of an operation; those that make tokens have none."""
    verb = _VERBS.get(op.method)
    if verb is None:
        return None
    if op.name in ("create_grant", "revoke_grant"):
        return _grant(op, "created" if op.name == "create_grant" else "deleted")
    if op.name in ("add_user", "remove_user"):
        return _membership("added" if op.name == "add_user" else "removed")
    if op.name == "change_password":
        return _audit("user", "updated")
    kind = _type(op.path)
    return _audit(kind, verb) if kind is not None else None


def _type(path: str) -> str | None:
    """Return the type of resource that a path makes, changes or deletes; None for a part of one."""
    words = path.strip("/").split("/")
    if words[-1].startswith("{"):
        words = words[:-1]
    if any(word.startswith("{") for word in words):
        return (
            _TYPES.get(words[-1]) if words[-1] in ("application_credentials", "protocols") else None
        )
    return _TYPES.get("/".join(words))


def _audit(kind: str, verb: str) -> Notice:
    place = _ACCOUNT if kind == "user" else f"data/security/{kind}"

    def facts(done: Done) -> Iterable[Fact]:
        ids = [item.get("id") for item in done.answer] if isinstance(done.answer, list) else None
        for id in ids if ids is not None else [_id(done)]:
            yield _fact(done, kind, verb, place, {"resource_info": id})

    return facts


def _id(done: Done) -> str:
    """Return the id; of something made in a PUT it is the path's last one."""
    known = id_of(done)
    if known or not done.target:
        return known
    last = done.target[-1]
    return str(last[-1] if isinstance(last, tuple) else last)


def _grant(op: Operation, verb: str) -> Notice:
    words = op.path.strip("/").split("/")
    inherited = words[0] == "OS-INHERIT"
    words = words[1:] if inherited else words
    scope = words[0].removesuffix("s") if words[0] != "system" else "system"
    actor = "user" if "users" in words else "group"

    def facts(done: Done) -> Iterable[Fact]:
        grant = done.target[0]
        told = {"role": grant.role.id, actor: grant.actor.id, "inherited_to_projects": inherited}
        told[scope] = "all" if scope == "system" else grant.target.id
        yield _fact(done, "role_assignment", verb, _ACCOUNT, told)

    return facts


def _membership(how: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        group, user = done.target[0]
        told = {
            "resource_info": group.id,
            "actor_id": user.id,
            "actor_type": "user",
            "actor_operation": how,
        }
        yield _fact(done, "group", "updated", "data/security/group", told)

    return facts


def _fact(done: Done, kind: str, verb: str, place: str, told: Mapping[str, Any]) -> Fact:
    payload = {
        "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
        "id": str(uuid.uuid4()),
        "eventType": "activity",
        "eventTime": datetime.now(UTC).isoformat(),
        "action": f"{verb}.{kind}",
        "outcome": "success",
        "initiator": {
            "typeURI": "service/security/account/user",
            "id": done.ctx.user_id,
            "user_id": done.ctx.user_id,
            "project_id": done.ctx.project_id,
            "domain_id": done.ctx.domain_id,
            "request_id": done.ctx.request_id,
        },
        "target": {"typeURI": place, "id": told.get("resource_info") or str(uuid.uuid4())},
        "observer": {"typeURI": "service/security", "id": "identity"},
        **told,
    }
    return Fact(f"identity.{kind}.{verb}", payload)


NOTICES = Notices(Source("identity", "keystone"), of)
