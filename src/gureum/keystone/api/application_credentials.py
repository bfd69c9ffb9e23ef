"""Application credentials: passwords for programs, bound to one project and some roles."""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Enum,
    Forbidden,
    Id,
    Json,
    ListOf,
    String,
    Struct,
    Time,
    operation,
)
from gureum.keystone.api import shapes
from gureum.keystone.api.auth import user_target
from gureum.keystone.api.shapes import ListQuery, Reference, shown
from gureum.keystone.errors import Absent, Duplicate, Missing, RuleInUse
from gureum.keystone.logic import common, delegation, effective, tokens
from gureum.keystone.logic.common import load
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import entities, tables

_T = tables.application_credentials


class AccessRule(Struct, extra="ignore"):
    """What a credential may call: service type, method, path pattern."""

    id = Id("Id of an existing rule.")
    service = String("Service type.", min=1, max=64)
    method = Enum("Method.", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    path = String("Path; *, ** and {name} are placeholders.", min=1, max=128, pattern=r"/\S*")
    links = Json("Links.")

    def check(self) -> None:
        if not self.has("id") and not all(self.has(name) for name in ("service", "method", "path")):
            raise BadRequest("An access rule needs an id, or service, method and path.")


class ApplicationCredential(Struct):
    """An application credential."""

    id = Id("Id.")
    name = String("Name.")
    description = String("Text.")
    project_id = Id("Project.")
    user_id = Id("Owner.")
    roles = Json("Roles.")
    expires_at = Time("End of its life.", form="us")
    unrestricted = Boolean("Whether it may manage credentials itself.")
    secret = String("Only in the answer to the creation.")
    system = String("Always null.", default=None)
    access_rules = Json("Access rules.")
    links = Json("Links.")


class ApplicationCredentialCreate(Struct, extra="ignore"):
    """A new application credential."""

    name = String("Name.", min=1, required=True)
    secret = String("Secret; made when it is missing.", max=1024, null=True)
    description = String("Text.", max=None, null=True)
    expires_at = Time("End of its life.", null=True)
    unrestricted = Boolean("Whether it may manage credentials itself.", default=False, strict=True)
    roles = ListOf(Reference, "Some of one's roles; default: all.")
    access_rules = ListOf(AccessRule, "What it may call; default: everything.")


def _load_user(ctx: Context, tx: Any, user_id: str, *rest: str) -> Any:
    if isinstance(tx, Deps):
        with tx.db.read() as inner:
            return load(inner, tables.users, "user", user_id)
    return load(tx, tables.users, "user", user_id)


def _load(ctx: Context, tx: Tx, user_id: str, credential_id: str) -> Any:
    row = entities.find(tx, _T, id=credential_id, user_id=user_id)
    if row is None:
        missing = Absent if user_id == ctx.user_id else Missing
        raise missing(kind="application credential", id=credential_id)
    return row


def _load_rule(ctx: Context, tx: Tx, user_id: str, rule_id: str) -> Any:
    row = entities.find(tx, tables.access_rules, id=rule_id, user_id=user_id)
    if row is None:
        raise (Absent if user_id == ctx.user_id else Missing)(kind="access rule", id=rule_id)
    return row


def _user_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return user_target(row)


def _owner_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {} if row is None else {"target.user.id": row.user_id}


def _shown(ctx: Context, tx: Tx, rows: Any) -> list[dict[str, Any]]:
    roles = entities.by_ids(tx, tables.roles, [id for row in rows for id in row.role_ids])
    rules = entities.by_ids(
        tx, tables.access_rules, [id for row in rows for id in row.access_rule_ids]
    )
    out = []
    for row in rows:
        item = shown(ctx, f"users/{row.user_id}/application_credentials", row)
        item["roles"] = [
            {"id": id, "name": roles[id].name, "domain_id": roles[id].domain_id or None}
            for id in row.role_ids
            if id in roles
        ]
        if row.access_rule_ids:
            item["access_rules"] = [_rule(rules[id]) for id in row.access_rule_ids if id in rules]
        out.append(item)
    return out


def _rule(row: Any) -> dict[str, Any]:
    return {"id": row.id, "service": row.service, "method": row.method, "path": row.path}


@operation(
    "POST",
    "/users/{user_id}/application_credentials",
    policy="identity:create_application_credential",
    wrap="application_credential",
    request=ApplicationCredentialCreate,
    response=ApplicationCredential,
    manual=True,
    load=_load_user,
    target=_user_target,
    errors=(Duplicate, Missing, Forbidden),
)
def create_application_credential(
    ctx: Context, deps: Deps, user: Any, new: ApplicationCredentialCreate
) -> Any:
    """Create an application credential for the project of one's token."""
    secret = new.get("secret") or secrets.token_urlsafe(64)
    hashed = deps.hasher.hash(secret)
    if new.get("expires_at") is not None and new.expires_at <= utc_now():
        raise BadRequest("The credential would be expired at once.")
    with deps.db.write() as tx:
        delegation.refuse(ctx, tx, "make application credentials")
        own = effective.roles_in(tx, user.id, "p", ctx.project_id or "")
        held = {role.id: role for role in delegation.given(ctx, own)}
        wanted = _roles(held, new)
        rules = [_find_rule(tx, user.id, rule) for rule in new.get("access_rules", ())]
        values = {
            "id": common.new_id(),
            "name": new.name,
            "user_id": user.id,
            "project_id": ctx.project_id,
            "secret_hash": hashed,
            "description": new.get("description"),
            "expires_at": new.get("expires_at"),
            "unrestricted": new.unrestricted,
            "role_ids": wanted,
            "access_rule_ids": rules,
        }
        row = common.insert(tx, _T, "application credential", values)
        return {**_shown(ctx, tx, [row])[0], "secret": secret}


def _roles(held: dict[str, Any], new: ApplicationCredentialCreate) -> list[str]:
    if not new.has("roles"):
        return sorted(held)
    by_name = {role.name: role.id for role in held.values()}
    wanted = []
    for reference in new.roles:
        id = reference.get("id") or by_name.get(reference.get("name"))
        if id not in held:
            raise BadRequest("A role of the credential must be one of your roles in the project.")
        wanted.append(id)
    return wanted


def _find_rule(tx: Tx, user_id: str, rule: AccessRule) -> str:
    if rule.has("id"):
        row = entities.find(tx, tables.access_rules, id=rule.id, user_id=user_id)
        if row is None:
            raise Missing(kind="access rule", id=rule.id)
        return str(row.id)
    values = {"service": rule.service, "method": rule.method, "path": rule.path}
    row = entities.find(tx, tables.access_rules, user_id=user_id, **values)
    if row is not None:
        return str(row.id)
    id = common.new_id()
    tx.insert(tables.access_rules, id=id, user_id=user_id, **values)
    return id


@operation(
    "GET",
    "/users/{user_id}/application_credentials",
    policy="identity:list_application_credentials",
    query=ListQuery,
    items=ApplicationCredential,
    response_wrap="application_credentials",
    load=_load_user,
    target=_user_target,
    errors=(Missing,),
)
def list_application_credentials(ctx: Context, tx: Tx, user: Any, query: ListQuery) -> Any:
    """List a user's application credentials."""
    where = [_T.c.user_id == user.id, *entities.matching(_T, shapes.filters(query, {"name": str}))]
    return _shown(ctx, tx, entities.listed(tx, _T, where))


@operation(
    "GET",
    "/users/{user_id}/application_credentials/{application_credential_id}",
    policy="identity:get_application_credential",
    response=ApplicationCredential,
    response_wrap="application_credential",
    load=_load,
    target=_owner_target,
    errors=(Missing,),
)
def show_application_credential(ctx: Context, tx: Tx, credential: Any) -> Any:
    """Show an application credential."""
    return _shown(ctx, tx, [credential])[0]


@operation(
    "DELETE",
    "/users/{user_id}/application_credentials/{application_credential_id}",
    policy="identity:delete_application_credential",
    load=_load,
    target=_owner_target,
    errors=(Missing, Forbidden),
)
def delete_application_credential(ctx: Context, tx: Tx, credential: Any) -> None:
    """Delete an application credential; its tokens end."""
    delegation.refuse(ctx, tx, "delete application credentials")
    tokens.revoke(tx, tx.deps, application_credential_id=credential.id)
    common.delete(tx, _T, credential.id)


@operation(
    "GET",
    "/users/{user_id}/access_rules",
    policy="identity:list_access_rules",
    query=ListQuery,
    items=AccessRule,
    response_wrap="access_rules",
    load=_load_user,
    target=_user_target,
    errors=(Missing,),
)
def list_access_rules(ctx: Context, tx: Tx, user: Any, query: ListQuery) -> Any:
    """List a user's access rules."""
    table = tables.access_rules
    where = shapes.filters(query, {"service": str, "method": str, "path": str})
    rows = entities.listed(
        tx, table, [table.c.user_id == user.id, *entities.matching(table, where)]
    )
    return [shown(ctx, f"users/{user.id}/access_rules", row) for row in rows]


@operation(
    "GET",
    "/users/{user_id}/access_rules/{access_rule_id}",
    policy="identity:get_access_rule",
    response=AccessRule,
    response_wrap="access_rule",
    load=_load_rule,
    target=_owner_target,
    errors=(Missing,),
)
def show_access_rule(ctx: Context, tx: Tx, rule: Any) -> Any:
    """Show an access rule."""
    return shown(ctx, f"users/{rule.user_id}/access_rules", rule)


@operation(
    "DELETE",
    "/users/{user_id}/access_rules/{access_rule_id}",
    policy="identity:delete_access_rule",
    load=_load_rule,
    target=_owner_target,
    errors=(Missing, RuleInUse),
)
def delete_access_rule(ctx: Context, tx: Tx, rule: Any) -> None:
    """Delete an access rule that no credential uses."""
    rows = tx.all(sa.select(_T.c.access_rule_ids).where(_T.c.user_id == rule.user_id))
    if any(rule.id in row.access_rule_ids for row in rows):
        raise RuleInUse(id=rule.id)
    common.delete(tx, tables.access_rules, rule.id)
