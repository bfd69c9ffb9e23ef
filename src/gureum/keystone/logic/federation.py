"""Logins of users that another party has authenticated: whom to believe, who it is here, which groups.

The web server in front speaks OpenID Connect or SAML with the provider and hands over what it learnt as
headers. They are read only when the request comes from a trusted proxy.
Follows: Identity API v3, "OS-FEDERATION".
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from gureum.core import log
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import Forbidden
from gureum.keystone.errors import Duplicate, Missing, NotTrusted
from gureum.keystone.logic import common, login, proofs, tokens
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.logic.mapping_engine import (
    Attributes,
    GroupName,
    Mapped,
    ProjectRoles,
    apply,
    normal,
)
from gureum.keystone.store import assignments, entities, tables

_log = log.get(__name__)
PEER = ":peer"
"""The name under which a request's headers also hold the address that it came from."""


def attributes_of(deps: Deps, headers: Mapping[str, str]) -> Attributes:
    """Return what the web server in front hands over. Raises: NotTrusted."""
    options = deps.federation
    peer = headers.get(PEER, "")
    if not _trusted(peer, options.trusted_proxies):
        _log.warning("attributes of an untrusted peer refused", peer=peer)
        raise NotTrusted(reason="This login needs a web server in front that is trusted here.")
    prefixes = tuple(normal(prefix) for prefix in options.attribute_prefixes)
    found: dict[str, list[str]] = {}
    for name, value in headers.items():
        key = normal(name)
        if name != PEER and key.startswith(prefixes) and value:
            text = value.encode("latin-1", "replace").decode("utf-8", "replace")
            parts = [part.strip() for part in text.split(options.attribute_separator)]
            found[key] = [part for part in parts if part]
    return found


def _trusted(peer: str, proxies: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(proxy, strict=False) for proxy in proxies)


def login_through(
    deps: Deps, idp_id: str, protocol_id: str, headers: Mapping[str, str]
) -> tuple[str, Checked]:
    """Return an unscoped token. Raises: Missing, Forbidden, NotTrusted, Unauthorized, MoreNeeded."""
    attributes = attributes_of(deps, headers)
    with deps.db.read() as tx:
        idp = common.load(tx, tables.identity_providers, "identity provider", idp_id)
        protocol = entities.find(tx, tables.protocols, idp_id=idp_id, id=protocol_id)
        if protocol is None:
            raise Missing(kind="protocol", id=protocol_id)
        if not idp.enabled:
            raise Forbidden(f"Identity Provider {idp_id} is disabled.")
        _check_remote_id(tx, idp, protocol, attributes)
        mapping = common.load(tx, tables.mappings, "mapping", protocol.mapping_id)
    mapped = apply(mapping.rules, attributes)
    if mapped is None:
        raise NotTrusted(reason="No rule of the mapping fits what the provider says.")
    proven = _prove(deps, idp, protocol, mapped, attributes)
    proven = login.require_enough(deps, proven, proofs.Caller(headers=headers))
    return login.issue(deps, proven, ("", ""))


def _remote_id_attribute(deps: Deps, protocol: Any) -> str:
    return str(protocol.remote_id_attribute or deps.federation.remote_id_attribute)


def _check_remote_id(tx: Tx, idp: Any, protocol: Any, attributes: Attributes) -> None:
    """Refuse what another provider says than the one of the path. Raises: Forbidden."""
    name = _remote_id_attribute(tx.deps, protocol)
    if not name:
        return
    ids = attributes.get(normal(name), ())
    table = tables.idp_remote_ids
    known = {row.remote_id for row in entities.rows_of(tx, table, table.c.idp_id == idp.id)}
    if not ids or not set(ids) <= known:
        raise Forbidden("Incoming identity provider identifier is not among the accepted ones.")


def provider_of(deps: Deps, protocol_id: str, headers: Mapping[str, str]) -> str:
    """Return which provider attributes come from. Raises: NotTrusted, Missing."""
    attributes = attributes_of(deps, headers)
    with deps.db.read() as tx:
        p = tables.protocols
        rows = tx.all(sa.select(p).where(p.c.id == protocol_id))
        names = {_remote_id_attribute(deps, row) for row in rows} - {""}
        for name in sorted(names):
            for remote_id in attributes.get(normal(name), ()):
                found = entities.find(tx, tables.idp_remote_ids, remote_id=remote_id)
                if found is not None:
                    return str(found.idp_id)
    raise NotTrusted(reason="It cannot be told which identity provider this login came through.")


def check_origin(deps: Deps, origin: str | None) -> str:
    """Return where a browser goes back to. Raises: NotTrusted."""
    allowed = {one.rstrip("/") for one in deps.federation.trusted_dashboard}
    wanted = unquote(origin or "")
    if not wanted or wanted.rstrip("/") not in allowed:
        raise NotTrusted(reason=f"{wanted[:200]} is not a trusted dashboard host.")
    return wanted


# -- who it is here --------------------------------------------------------------------------------


def _prove(
    deps: Deps, idp: Any, protocol: Any, mapped: Mapped, attributes: Attributes
) -> proofs.Proven:
    user = mapped.user
    remote_user = next(iter(attributes.get("REMOTE_USER", ())), "")
    name = user.get("name") or user.get("id") or remote_user
    unique = user.get("id") or user.get("name") or remote_user
    if not name or len(name) > 255:
        raise NotTrusted(reason="The mapping names no user.")
    with deps.db.write() as tx:
        if user.get("type") == "local":
            row = _local_user(tx, user)
        else:
            row = _shadow(tx, idp, protocol, unique, name, user.get("email") or None)
        if row is None or not proofs.usable(tx, row):
            raise NotTrusted(reason="The user is not known here or not enabled.")
        if user.get("type") == "local":
            return proofs.Proven(row.id, ("mapped",), default_project_id=None)
        group_ids = _groups(tx, idp, mapped)
        _grant_projects(tx, idp, row, mapped.projects)
        _renew(tx, idp, row, group_ids)
    return proofs.Proven(
        row.id,
        ("mapped",),
        idp_id=idp.id,
        protocol_id=protocol.id,
        group_ids=tuple(group_ids),
    )


def _domain(tx: Tx, domain: Mapping[str, str] | None, default_id: str) -> str | None:
    if not domain:
        return default_id
    if domain.get("id"):
        row = entities.get(tx, tables.domains, domain["id"])
    else:
        row = entities.find(tx, tables.domains, name=domain.get("name", ""))
    return row.id if row is not None else None


def _local_user(tx: Tx, user: Mapping[str, Any]) -> Any:
    """Return the user of this cloud that a mapping names; it must be there already."""
    if user.get("id"):
        return entities.get(tx, tables.users, user["id"])
    domain_id = _domain(tx, user.get("domain"), "")
    return entities.find(tx, tables.users, name=user["name"], domain_id=domain_id or "")


def _shadow(
    tx: Tx, idp: Any, protocol: Any, unique: str, name: str, email: str | None
) -> entities.Row | None:
    """Return the row that stands for a provider's user here; made at the first login."""
    table = tables.federated_users
    key = hashlib.sha256(unique.encode()).hexdigest()
    known = entities.find(tx, table, idp_id=idp.id, protocol_id=protocol.id, unique_hash=key)
    if known is not None:
        row = entities.get(tx, tables.users, known.user_id)
        if row is not None and email is not None and email != row.email:
            row = common.update(tx, tables.users, "user", row, {"email": email})
        return row
    for free in (name, f"{name} ({idp.id})"[:255], f"{key[:8]} ({idp.id})"[:255]):
        if entities.find(tx, tables.users, name=free, domain_id=idp.domain_id) is None:
            break
    else:
        raise Duplicate(kind="user", name=name)
    values = {
        "id": common.new_id(),
        "name": free,
        "domain_id": idp.domain_id,
        "enabled": True,
        "email": email,
        "options": {},
        "extra_values": {},
        "created_at": utc_now(),
        "failed_count": 0,
    }
    row = common.insert(tx, tables.users, "user", values)
    tx.insert(
        table,
        idp_id=idp.id,
        protocol_id=protocol.id,
        unique_hash=key,
        unique_id=unique,
        user_id=row.id,
    )
    return row


def _groups(tx: Tx, idp: Any, mapped: Mapped) -> list[str]:
    """Return the ids of the groups that exist; a mapping may name others."""
    found = list(entities.by_ids(tx, tables.groups, mapped.group_ids))
    for group in mapped.groups:
        row = _group(tx, idp, group)
        if row is None:
            _log.warning("group of a mapping not found", name=group.name, idp_id=idp.id)
        else:
            found.append(row.id)
    return list(dict.fromkeys(found))


def _group(tx: Tx, idp: Any, group: GroupName) -> Any:
    domain_id = _domain(tx, group.domain, idp.domain_id)
    return entities.find(tx, tables.groups, name=group.name, domain_id=domain_id or "")


def _grant_projects(tx: Tx, idp: Any, user: Any, projects: list[ProjectRoles]) -> None:
    """Make missing projects and grant roles in them. Raises: NotTrusted (a role is not there)."""
    for wanted in projects:
        domain_id = _domain(tx, wanted.domain, idp.domain_id)
        if domain_id is None:
            raise NotTrusted(reason="The mapping names a domain that is not there.")
        row = entities.find(tx, tables.projects, name=wanted.name, domain_id=domain_id)
        if row is None:
            values = {
                "id": common.new_id(),
                "name": wanted.name,
                "domain_id": domain_id,
                "parent_id": domain_id,
                "enabled": True,
                "description": "",
                "options": {},
                "extra_values": {},
            }
            row = common.insert(tx, tables.projects, "project", values)
        for name in wanted.roles:
            role = entities.find(tx, tables.roles, name=name, domain_id="")
            if role is None:
                raise NotTrusted(reason=f"The mapping names the role {name}, which is not there.")
            actor, target = ("user", user.id), ("project", row.id)
            if not assignments.granted(tx, actor, target, role.id, False):
                assignments.grant(tx, actor, target, role.id, False)
                entities.bump(tx)


def _renew(tx: Tx, idp: Any, user: Any, group_ids: list[str]) -> None:
    """Let groups count beyond this login, for as long as the provider says."""
    table = tables.expiring_memberships
    life_s = idp.authorization_ttl_s
    if life_s is None:
        life_s = tx.deps.federation.default_authorization_ttl_s
    mine = sa.and_(table.c.user_id == user.id, table.c.idp_id == idp.id)
    before = {row.group_id for row in entities.rows_of(tx, table, mine)}
    tx.delete(table, mine)
    until = utc_now() + timedelta(seconds=life_s)
    rows = [
        {"user_id": user.id, "group_id": id, "idp_id": idp.id, "expires_at": until}
        for id in (group_ids if life_s else ())
    ]
    tx.insert_many(table, rows)
    if before - set(group_ids):
        tokens.revoke(tx, tx.deps, user_id=user.id)
    elif before != {row["group_id"] for row in rows}:
        entities.bump(tx)
