"""From a login to a token, and from a token to what it means now.

A token is valid while its user, project and domain are enabled, the user has a role in its scope, and no
revocation is younger than it. Nothing of that is stored in it.
Follows: Identity API v3, "Authentication and token management".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import Unauthorized, show_time
from gureum.keystone.client import context_of
from gureum.keystone.logic import catalog, effective, trusts
from gureum.keystone.logic.claims import TokenClaims
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.logic.known import Known
from gureum.keystone.store import entities, tables


class InvalidToken(Exception):
    """The token is not ours, expired, revoked, or means nothing any more."""


def check(deps: Deps, token: str) -> Checked:
    """Return what a token means now. Raises: InvalidToken."""
    checked = _check(deps, token)
    if deps.refresh_due(checked) and deps.directories is not None:
        deps.directories.refresh(checked.context.user_id)
        return _check(deps, token)
    return checked


def _check(deps: Deps, token: str) -> Checked:
    number = deps.epoch.number(lambda: _read_epoch(deps))
    known = deps.cache.get(token, number)
    if known is not None:
        if known.expires_at <= utc_now():
            raise InvalidToken
        return known
    with deps.db.read() as tx:
        return check_in(tx, deps, token)


def _read_epoch(deps: Deps) -> int:
    with deps.db.read() as tx:
        return entities.epoch(tx)


def check_in(tx: Tx, deps: Deps, token: str) -> Checked:
    """Like `check`, in a transaction that is already open."""
    number = entities.epoch(tx)
    known = deps.cache.get(token, number)
    if known is not None:
        if known.expires_at <= utc_now():
            raise InvalidToken
        return known
    claims = deps.provider.read(token, tx)
    if claims is None or claims.expires_at <= time.time() or revoked(tx, claims):
        raise InvalidToken
    body, services = describe(tx, deps.known.at(number), claims)
    return _remember(deps, number, token, claims, body, services)


def _remember(
    deps: Deps,
    number: int,
    token: str,
    claims: TokenClaims,
    body: dict[str, Any],
    services: list[dict[str, Any]],
) -> Checked:
    ctx = replace(context_of(body), token=token)
    encoded = (_encoded(body, None), _encoded(body, services))
    checked = Checked(number, claims.moment("expires_at"), body, services, ctx, encoded)
    deps.cache.put(token, checked)
    return checked


def _full(body: dict[str, Any], services: list[dict[str, Any]] | None) -> dict[str, Any]:
    with_catalog = services is not None and "roles" in body
    return {**body, "catalog": services} if with_catalog else body


def _encoded(body: dict[str, Any], services: list[dict[str, Any]] | None) -> bytes:
    return msgspec.json.encode({"token": _full(body, services)})


def revoked(tx: Tx, claims: TokenClaims) -> bool:
    """Whether a revocation covers the token."""
    values: dict[str, Any] = {
        "issued": claims.moment("issued_at"),
        "audit_ids": list(claims.audit_ids),
        "user": claims.user_id,
        "scope": claims.scope_id,
    }
    credential = claims.application_credential_id
    if credential:
        values["credential"] = credential
    return tx.first(_revocation(claims.scope, bool(credential)), values) is not None


@cache
def _revocation(scope: str, credential: bool) -> sa.Select[Any]:
    """Return the select of a revocation that covers a token; building it costs more than running it."""
    r = tables.revocations.c
    here = sa.bindparam("scope", type_=r.project_id.type)
    anywhere = sa.and_(
        sa.or_(r.project_id.is_(None), r.project_id == here),
        sa.or_(r.domain_id.is_(None), r.domain_id == here),
    )
    covers = [
        r.audit_id.in_(sa.bindparam("audit_ids", expanding=True, type_=r.audit_id.type)),
        sa.and_(r.user_id == sa.bindparam("user", type_=r.user_id.type), anywhere),
    ]
    if scope == "p":
        covers.append(sa.and_(r.project_id == here, r.user_id.is_(None)))
    if scope == "d":
        covers.append(sa.and_(r.domain_id == here, r.user_id.is_(None)))
    if credential:
        one = sa.bindparam("credential", type_=r.application_credential_id.type)
        covers.append(r.application_credential_id == one)
    issued = sa.bindparam("issued", type_=r.issued_before.type)
    return sa.select(r.id).where(r.issued_before >= issued, sa.or_(*covers)).limit(1)


def revoke(tx: Tx, deps: Deps, **what: Any) -> None:
    """Make tokens that were issued until now invalid; `what` names the columns of `revocations`."""
    now = utc_now()
    drop_at = now + timedelta(seconds=deps.options.token_expiration_s + 3600)
    tx.insert(tables.revocations, issued_before=now, drop_at=drop_at, **what)
    tx.delete(tables.revocations, tables.revocations.c.drop_at < now)
    entities.bump(tx)


def describe(
    tx: Tx, known: Known, claims: TokenClaims
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the body of a token and its catalogue. Raises: InvalidToken."""
    user = entities.get(tx, tables.users, claims.user_id)
    domain = user and entities.get(tx, tables.domains, user.domain_id)
    if user is None or domain is None or not user.enabled or not domain.enabled:
        raise InvalidToken
    body: dict[str, Any] = {
        "methods": list(claims.methods),
        "user": {
            "id": user.id,
            "name": user.name,
            "domain": {"id": domain.id, "name": domain.name},
            "password_expires_at": _password_expiry(tx, user.id),
        },
        "audit_ids": list(claims.audit_ids),
        "expires_at": show_time(claims.moment("expires_at"), "usz"),
        "issued_at": show_time(claims.moment("issued_at"), "usz"),
    }
    trust = _trust(tx, claims, body) if claims.trust_id else None
    if claims.idp_id:
        _federation(tx, claims, body)
    access = _access_token(tx, claims, body) if claims.access_token_id else None
    if not claims.scope:
        return body, []
    body.update(_scope(tx, claims, domain))
    if access is not None:
        roles = _roles_of_access(tx, known, claims, access)
    elif trust is not None:
        roles = _roles_of_trust(tx, trust)
    else:
        roles = _roles(tx, known, claims, body)
    if not roles:
        raise InvalidToken
    body["roles"] = [{"id": role.id, "name": role.name} for role in roles]
    providers = catalog.service_providers(tx, known)
    if providers:
        body["service_providers"] = providers
    return body, catalog.of_token(tx, body.get("project", {}).get("id"), known)


def _trust(tx: Tx, claims: TokenClaims, body: dict[str, Any]) -> Any:
    """Return the trust of a token and show it. Raises: InvalidToken.

    A trust that is used up still carries the tokens that were made with it.
    """
    trust = entities.get(tx, tables.trusts, claims.trust_id)
    if trust is None or (trust.expires_at is not None and trust.expires_at <= utc_now()):
        raise InvalidToken
    for row in trusts.chain(tx, trust):
        for user_id in (row.trustor_user_id, row.trustee_user_id):
            user = entities.get(tx, tables.users, user_id)
            other = _as_user(claims, user_id)
            if (
                user is None
                or not user.enabled
                or (user_id != claims.user_id and revoked(tx, other))
            ):
                raise InvalidToken
    body["OS-TRUST:trust"] = {
        "id": trust.id,
        "impersonation": trust.impersonation,
        "trustor_user": {"id": trust.trustor_user_id},
        "trustee_user": {"id": trust.trustee_user_id},
    }
    return trust


def _password_expiry(tx: Tx, user_id: str) -> str | None:
    row = tx.first(_EXPIRY, {"user": user_id})
    return None if row is None or row.expires_at is None else show_time(row.expires_at, "us")


_EXPIRY = (
    sa.select(tables.passwords.c.expires_at)
    .where(tables.passwords.c.user_id == sa.bindparam("user"))
    .order_by(tables.passwords.c.created_at.desc())
    .limit(1)
)


def _federation(tx: Tx, claims: TokenClaims, body: dict[str, Any]) -> None:
    """Show by which provider a user came. Raises: InvalidToken when it is no longer trusted."""
    idp = entities.get(tx, tables.identity_providers, claims.idp_id)
    if idp is None or not idp.enabled:
        raise InvalidToken
    body["user"]["OS-FEDERATION"] = {
        "groups": [{"id": id} for id in claims.group_ids],
        "identity_provider": {"id": claims.idp_id},
        "protocol": {"id": claims.protocol_id},
    }


def _access_token(tx: Tx, claims: TokenClaims, body: dict[str, Any]) -> Any:
    """Return the OAuth1 access token of a token and show it. Raises: InvalidToken."""
    row = entities.get(tx, tables.access_tokens, claims.access_token_id)
    if row is None or (row.expires_at is not None and row.expires_at <= utc_now()):
        raise InvalidToken
    body["OS-OAUTH1"] = {"access_token_id": row.id, "consumer_id": row.consumer_id}
    return row


def _roles_of_access(tx: Tx, known: Known, claims: TokenClaims, access: Any) -> Sequence[Any]:
    """Return the roles that were authorized, as far as the user still has them."""
    held = effective.roles_in(tx, claims.user_id, claims.scope, claims.scope_id, (), known)
    allowed = set(effective.expand(tx, access.role_ids, known))
    return [role for role in held if role.id in allowed]


def _as_user(claims: TokenClaims, user_id: str) -> TokenClaims:
    """Return the same claims of another user, to look for that one's revocations."""
    return msgspec.structs.replace(claims, user_id=user_id)


def _roles_of_trust(tx: Tx, trust: Any) -> list[Any]:
    """Return the roles, while everybody on the way has all of them. Raises: InvalidToken."""
    wanted = set(trust.role_ids)
    for row in trusts.chain(tx, trust)[-1:]:  # only the first trustor holds them by assignment
        held = effective.roles_in(tx, row.trustor_user_id, "p", row.project_id)
        if not wanted <= {role.id for role in held}:
            raise InvalidToken
    found = entities.by_ids(tx, tables.roles, effective.expand(tx, trust.role_ids))
    return sorted(found.values(), key=lambda role: role.name)


def _scope(tx: Tx, claims: TokenClaims, own: Any) -> dict[str, Any]:
    """Return the part of a token that says where it counts. own: the domain of the user."""
    if claims.scope == "s":
        return {"system": {"all": True}}
    if claims.scope == "d":
        domain = entities.get(tx, tables.domains, claims.scope_id)
        if domain is None or not domain.enabled:
            raise InvalidToken
        return {"domain": {"id": domain.id, "name": domain.name}}
    project = entities.get(tx, tables.projects, claims.scope_id)
    domain = own
    if project is not None and project.domain_id != own.id:
        domain = entities.get(tx, tables.domains, project.domain_id)
    if project is None or domain is None or not project.enabled or not domain.enabled:
        raise InvalidToken
    return {
        "project": {
            "id": project.id,
            "name": project.name,
            "domain": {"id": domain.id, "name": domain.name},
        },
        "is_domain": False,
    }


def _roles(tx: Tx, known: Known, claims: TokenClaims, body: dict[str, Any]) -> Sequence[Any]:
    roles = effective.roles_in(
        tx, claims.user_id, claims.scope, claims.scope_id, claims.group_ids, known
    )
    if claims.application_credential_id:
        row = entities.get(tx, tables.application_credentials, claims.application_credential_id)
        if row is None or (row.expires_at is not None and row.expires_at <= utc_now()):
            raise InvalidToken
        held = {role.id for role in roles}
        allowed = set(effective.expand(tx, row.role_ids, known))
        if not set(row.role_ids) <= held:
            raise InvalidToken
        roles = [role for role in roles if role.id in allowed]
        rules = [
            {"id": rule.id, "service": rule.service, "method": rule.method, "path": rule.path}
            for rule in entities.by_ids(tx, tables.access_rules, row.access_rule_ids).values()
        ]
        body["application_credential"] = {
            "id": row.id,
            "name": row.name,
            "restricted": not row.unrestricted,
            **({"access_rules": rules} if rules else {}),
        }
    return roles


def issue(deps: Deps, claims: TokenClaims) -> tuple[str, Checked]:
    """Make a token of claims that were just proven. Raises: Unauthorized."""
    try:
        with deps.db.read() as tx:
            number = entities.epoch(tx)
            if claims.expires_at <= time.time() or revoked(tx, claims):
                raise InvalidToken
            body, services = describe(tx, deps.known.at(number), claims)
    except InvalidToken:
        raise Unauthorized() from None
    token = deps.provider.issue(claims, _full(body, services))
    return token, _remember(deps, number, token, claims, body, services)


def claims_for(
    deps: Deps,
    *,
    user_id: str,
    methods: Sequence[str],
    scope: tuple[str, str],
    audit_ids: tuple[str, ...],
    expires_at: datetime | None = None,
    application_credential_id: str = "",
    trust_id: str = "",
    access_token_id: str = "",
    idp_id: str = "",
    protocol_id: str = "",
    group_ids: tuple[str, ...] = (),
) -> TokenClaims:
    """Fill in the times. expires_at: not later than this (a token never outlives its parent)."""
    now = datetime.now(UTC)
    until = now + timedelta(seconds=deps.options.token_expiration_s)
    if expires_at is not None and expires_at < until:
        until = expires_at
    return TokenClaims(
        user_id=user_id,
        methods=tuple(methods),
        scope=scope[0],
        scope_id=scope[1],
        issued_at=now.timestamp(),
        expires_at=until.replace(microsecond=0).timestamp(),
        audit_ids=audit_ids,
        application_credential_id=application_credential_id,
        trust_id=trust_id,
        access_token_id=access_token_id,
        idp_id=idp_id,
        protocol_id=protocol_id,
        group_ids=group_ids,
    )


class OwnTokens:
    """The dispatcher's Authenticator inside Keystone: looks at its own database."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        """Return the caller. Raises: Unauthorized."""
        try:
            ctx: Context = check(self._deps, token).context
            if service_token:
                ctx = replace(ctx, service_roles=check(self._deps, service_token).context.roles)
        except InvalidToken:
            raise Unauthorized() from None
        return ctx

    def knows(self, token: str | None, service_token: str | None) -> bool:
        """Whether `authenticate` would answer from memory."""
        return self._deps.knows(*(t for t in (token, service_token) if t))
