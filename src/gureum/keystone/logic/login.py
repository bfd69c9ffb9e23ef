"""Proving who one is: password, token, application credential; then choosing the scope.

A wrong password, an unknown user, a disabled or locked one look alike from outside, also by the time it
takes. Hashing happens outside every transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core import log
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest, Forbidden, Unauthorized
from gureum.keystone.errors import BadPassword, Missing, UnknownMethod
from gureum.keystone.logic import effective, tokens, trusts
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.logic.fernet import TokenClaims, new_audit_id
from gureum.keystone.store import entities, tables

_log = log.get(__name__)
METHODS = ("password", "token", "application_credential")


@dataclass(frozen=True, slots=True)
class Proven:
    """What the methods of a login proved together."""

    user_id: str
    methods: tuple[str, ...]
    chain: str | None = None
    expires_at: datetime | None = None
    application_credential_id: str = ""
    only_project_id: str | None = None
    default_project_id: str | None = None


def login(deps: Deps, auth: Any) -> tuple[str, Checked]:
    """Return a token and what it means. auth: an `api.auth.Auth` struct. Raises: Unauthorized, BadRequest."""
    identity = auth.identity
    proven: Proven | None = None
    if not identity.methods:
        raise UnknownMethod()
    for method in dict.fromkeys(identity.methods):
        if method not in METHODS:
            raise UnknownMethod()
        part = identity.get(method)
        if part is None:
            raise BadRequest(f"Expecting to find {method} in identity.")
        proof = _PROVE[method](deps, part)
        if proven is not None and proven.user_id != proof.user_id:
            raise BadPassword()
        proven = proof if proven is None else _join(proven, proof)
    assert proven is not None
    wanted = auth.get("scope")
    trust_id = ""
    if wanted is not None and wanted != "unscoped" and wanted.get("trust") is not None:
        proven, scope, trust_id = _use_trust(deps, proven, wanted)
    else:
        with deps.db.read() as tx:
            scope = _scope(tx, proven, wanted)
    audit = (new_audit_id(),) if proven.chain is None else (new_audit_id(), proven.chain)
    claims = tokens.claims_for(
        deps,
        user_id=proven.user_id,
        methods=proven.methods,
        scope=scope,
        audit_ids=audit,
        expires_at=proven.expires_at,
        application_credential_id=proven.application_credential_id,
        trust_id=trust_id,
    )
    return tokens.issue(deps, claims)


def _use_trust(deps: Deps, proven: Proven, scope: Any) -> tuple[Proven, tuple[str, str], str]:
    """Become what a trust allows; counts one use. Raises: BadRequest, Forbidden, Unauthorized."""
    if len(list(scope.items())) != 1:
        raise BadRequest("The scope must name exactly one of project, domain, system and trust.")
    if proven.application_credential_id:
        raise Forbidden("An application credential is bound to its own project.")
    with deps.db.write() as tx:
        trust = entities.get(tx, tables.trusts, scope.trust.id)
        if trust is None or not trusts.usable(trust):
            raise Unauthorized()
        if trust.trustee_user_id != proven.user_id:
            raise Forbidden("Only its trustee can use a trust.")
        for row in trusts.chain(tx, trust):
            trustor = entities.get(tx, tables.users, row.trustor_user_id)
            if trustor is None or not _usable(tx, trustor):
                raise Forbidden("The trustor of the trust is not enabled.")
        trusts.consume(tx, trust)
    until = min(filter(None, (proven.expires_at, trust.expires_at)), default=None)
    user_id = trust.trustor_user_id if trust.impersonation else trust.trustee_user_id
    became = replace(proven, user_id=user_id, expires_at=until)
    return became, ("p", trust.project_id) if trust.project_id else ("", ""), trust.id


def _join(one: Proven, two: Proven) -> Proven:
    return Proven(
        user_id=one.user_id,
        methods=tuple(dict.fromkeys((*one.methods, *two.methods))),
        chain=one.chain or two.chain,
        expires_at=min(filter(None, (one.expires_at, two.expires_at)), default=None),
        application_credential_id=one.application_credential_id or two.application_credential_id,
        only_project_id=one.only_project_id or two.only_project_id,
        default_project_id=one.default_project_id or two.default_project_id,
    )


# -- methods ---------------------------------------------------------------------------------------


def find_user(tx: Tx, user: Any) -> sa.Row[Any] | None:
    """Find the user of an `id`, or of a `name` with a domain. Raises: BadRequest."""
    if user.get("id"):
        return entities.get(tx, tables.users, user.get("id"))
    if not user.get("name"):
        raise BadRequest("Expecting to find id or name in user.")
    domain = find_domain(tx, user.get("domain"))
    if domain is None:
        return None
    return entities.find(tx, tables.users, name=user.name, domain_id=domain.id)


def find_domain(tx: Tx, domain: Any) -> sa.Row[Any] | None:
    """Find a domain by id or name. Raises: BadRequest when neither is given."""
    if domain is None or not (domain.get("id") or domain.get("name")):
        raise BadRequest("Expecting to find domain (id or name).")
    if domain.get("id"):
        return entities.get(tx, tables.domains, domain.id)
    return entities.find(tx, tables.domains, name=domain.name)


def current_password(tx: Tx, user_id: str) -> sa.Row[Any] | None:
    """Return the newest password of a user."""
    p = tables.passwords
    newest = (
        sa.select(p).where(p.c.user_id == user_id).order_by(p.c.created_at.desc(), p.c.id.desc())
    )
    return tx.first(newest.limit(1))


def _password(deps: Deps, part: Any) -> Proven:
    user, expired = prove_password(deps, part.user, part.user.password)
    if expired:
        raise BadPassword()
    return Proven(user.id, ("password",), default_project_id=user.default_project_id)


def prove_password(deps: Deps, who: Any, password: str) -> tuple[Any, bool]:
    """Return the user and whether the password has expired. Raises: BadPassword."""
    with deps.db.read() as tx:
        user = find_user(tx, who)
        stored = current_password(tx, user.id) if user is not None else None
        usable = user is not None and _usable(tx, user) and not _locked(deps, user)
    matches = deps.hasher.verify(stored.hash if stored is not None else None, password)
    if user is None or stored is None or not matches:
        if user is not None:
            _count_failure(deps, user)
        raise BadPassword()
    if not usable:
        raise BadPassword()
    if user.failed_count:
        with deps.db.write() as tx:
            tx.update(tables.users, tables.users.c.id == user.id, failed_count=0, failed_at=None)
    return user, stored.expires_at is not None and stored.expires_at <= utc_now()


def _usable(tx: Tx, user: Any) -> bool:
    domain = entities.get(tx, tables.domains, user.domain_id)
    return bool(user.enabled and domain is not None and domain.enabled)


def _locked(deps: Deps, user: Any) -> bool:
    limit = deps.compliance.lockout_failure_attempts
    if not limit or user.failed_count < limit or user.failed_at is None:
        return False
    if (user.options or {}).get("ignore_lockout_failure_attempts"):
        return False
    held = timedelta(seconds=deps.compliance.lockout_duration_s)
    return bool(user.failed_at + held > utc_now())


def _count_failure(deps: Deps, user: Any) -> None:
    _log.info("login refused", user_id=user.id)
    if deps.compliance.lockout_failure_attempts:
        with deps.db.write() as tx:
            users = tables.users
            tx.update(
                users,
                users.c.id == user.id,
                failed_count=users.c.failed_count + 1,
                failed_at=utc_now(),
            )


def _token(deps: Deps, part: Any) -> Proven:
    try:
        checked = tokens.check(deps, part.id)
    except tokens.InvalidToken:
        raise Missing(kind="token", id="(hidden)") from None
    claims = deps.provider.read(part.id)
    assert isinstance(claims, TokenClaims)
    if claims.trust_id:
        raise Forbidden("A token of a trust cannot be used for another token.")
    with deps.db.read() as tx:
        user = entities.get(tx, tables.users, claims.user_id)
    only = claims.scope_id if claims.application_credential_id else None
    return Proven(
        claims.user_id,
        tuple(dict.fromkeys((*claims.methods, "token"))),
        chain=claims.audit_ids[-1],
        expires_at=checked.expires_at,
        application_credential_id=claims.application_credential_id,
        only_project_id=only,
        default_project_id=user.default_project_id if user is not None else None,
    )


def _application_credential(deps: Deps, part: Any) -> Proven:
    table = tables.application_credentials
    with deps.db.read() as tx:
        if part.get("id"):
            row = entities.get(tx, table, part.id)
        else:
            if part.get("name") is None or part.get("user") is None:
                raise BadRequest(
                    "Expecting to find id, or name and user, in application_credential."
                )
            owner = find_user(tx, part.user)
            row = owner and entities.find(tx, table, user_id=owner.id, name=part.name)
        user = row and entities.get(tx, tables.users, row.user_id)
        usable = user is not None and _usable(tx, user)
    matches = deps.hasher.verify(row.secret_hash if row is not None else None, part.secret)
    expired = row is not None and row.expires_at is not None and row.expires_at <= utc_now()
    if row is None or not matches or expired or not usable:
        raise BadPassword()
    return Proven(
        row.user_id,
        ("application_credential",),
        expires_at=row.expires_at,
        application_credential_id=row.id,
        only_project_id=row.project_id,
    )


_PROVE = {
    "password": _password,
    "token": _token,
    "application_credential": _application_credential,
}


# -- scope -----------------------------------------------------------------------------------------


def _scope(tx: Tx, proven: Proven, scope: Any) -> tuple[str, str]:
    """Return ("p" | "d" | "s" | "", id). Raises: Unauthorized, BadRequest, Forbidden."""
    if proven.only_project_id is not None:
        if scope is not None and scope != "unscoped":
            wanted = _wanted(tx, scope)
            if wanted != ("p", proven.only_project_id):
                raise Forbidden("An application credential is bound to its own project.")
        return "p", proven.only_project_id
    if scope == "unscoped":
        return "", ""
    if scope is None:
        chosen = proven.default_project_id
        if chosen and "token" not in proven.methods and _usable_project(tx, proven.user_id, chosen):
            return "p", chosen
        return "", ""
    wanted = _wanted(tx, scope)
    if wanted is None:
        raise Unauthorized()
    return wanted  # whether the user has a role there is found when the token is described


def _usable_project(tx: Tx, user_id: str, project_id: str) -> bool:
    project = entities.get(tx, tables.projects, project_id)
    if project is None or not project.enabled:
        return False
    return bool(effective.roles_in(tx, user_id, "p", project_id))


def _wanted(tx: Tx, scope: Any) -> tuple[str, str] | None:
    given = [name for name, _ in scope.items()]
    if len(given) != 1:
        raise BadRequest("The scope must name exactly one of project, domain and system.")
    if given == ["system"]:
        if scope.system.get("all") is not True:
            raise BadRequest("The system scope is {'all': true}.")
        return "s", ""
    if given == ["domain"]:
        domain = find_domain(tx, scope.domain)
        return ("d", domain.id) if domain is not None and domain.enabled else None
    project = scope.project
    if project.get("id"):
        row = entities.get(tx, tables.projects, project.id)
    else:
        if not project.get("name"):
            raise BadRequest("Expecting to find id or name in project.")
        domain = find_domain(tx, project.get("domain"))
        row = domain and entities.find(tx, tables.projects, name=project.name, domain_id=domain.id)
    return ("p", row.id) if row is not None and row.enabled else None
