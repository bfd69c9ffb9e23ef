"""The single methods of a login: password, token, application credential, passcode.

A wrong password, an unknown user, a disabled or locked one look alike from outside, also by the time it
takes. Hashing happens outside every transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core import log
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest, Forbidden
from gureum.keystone.errors import BadPassword, Missing, PasswordExpired, TooManyLogins
from gureum.keystone.logic import tokens, totp
from gureum.keystone.logic.claims import TokenClaims
from gureum.keystone.logic.deps import Deps
from gureum.keystone.logic.directories import Directories
from gureum.keystone.store import entities, tables

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """How a login reached us: what a method that reads more than the body needs."""

    method: str = "POST"
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proven:
    """What the methods of a login proved together. user: the row, where a method has just read it."""

    user_id: str
    methods: tuple[str, ...]
    chain: str | None = None
    expires_at: datetime | None = None
    application_credential_id: str = ""
    access_token_id: str = ""
    only_project_id: str | None = None
    default_project_id: str | None = None
    idp_id: str = ""
    protocol_id: str = ""
    group_ids: tuple[str, ...] = ()
    user: Any = None


def join(one: Proven, two: Proven) -> Proven:
    """Return what two methods prove together about the same user."""
    return Proven(
        user_id=one.user_id,
        methods=tuple(dict.fromkeys((*one.methods, *two.methods))),
        chain=one.chain or two.chain,
        expires_at=min(filter(None, (one.expires_at, two.expires_at)), default=None),
        application_credential_id=one.application_credential_id or two.application_credential_id,
        access_token_id=one.access_token_id or two.access_token_id,
        only_project_id=one.only_project_id or two.only_project_id,
        default_project_id=one.default_project_id or two.default_project_id,
        idp_id=one.idp_id or two.idp_id,
        protocol_id=one.protocol_id or two.protocol_id,
        group_ids=one.group_ids or two.group_ids,
        user=one.user or two.user,
    )


# -- users -----------------------------------------------------------------------------------------


def find_user(tx: Tx, user: Any) -> sa.Row[Any] | None:
    """Find the user of an `id`, or of a `name` with a domain. Raises: BadRequest."""
    if user.get("id"):
        return entities.get(tx, tables.users, user.get("id"))
    if not user.get("name"):
        raise BadRequest("Expecting to find id or name in user.")
    return _named(tx, user, find_domain(tx, user.get("domain")))


def _named(tx: Tx, user: Any, domain: Any) -> sa.Row[Any] | None:
    """Find a user by name; a domain that there is not costs the same query."""
    domain_id = domain.id if domain is not None else ""
    return entities.find(tx, tables.users, name=user.name, domain_id=domain_id)


def find_domain(tx: Tx, domain: Any) -> sa.Row[Any] | None:
    """Find a domain by id or name. Raises: BadRequest when neither is given."""
    if domain is None or not (domain.get("id") or domain.get("name")):
        raise BadRequest("Expecting to find domain (id or name).")
    if domain.get("id"):
        return entities.get(tx, tables.domains, domain.id)
    return entities.find(tx, tables.domains, name=domain.name)


def usable(tx: Tx, user: Any, domain: Any = None) -> bool:
    """Whether a user and its domain are enabled. domain: the user's, where it is known already."""
    if domain is None or domain.id != user.domain_id:
        domain = entities.get(tx, tables.domains, user.domain_id)
    active = user.enabled and not inactive(tx.deps, user)
    return bool(active and domain is not None and domain.enabled)


def inactive(deps: Deps, user: Any) -> bool:
    """Whether a user has not logged in for longer than is allowed."""
    days = deps.compliance.disable_user_account_days_inactive
    if not days or (user.options or {}).get("ignore_user_inactivity"):
        return False
    last = max(filter(None, (user.last_active_at, user.created_at)))
    return bool(last + timedelta(days=days) <= utc_now())


def locked(deps: Deps, user: Any) -> bool:
    """Whether too many logins have failed a short time ago."""
    limit = deps.compliance.lockout_failure_attempts
    if not limit or user.failed_count < limit or user.failed_at is None:
        return False
    if (user.options or {}).get("ignore_lockout_failure_attempts"):
        return False
    held = timedelta(seconds=deps.compliance.lockout_duration_s)
    return bool(user.failed_at + held > utc_now())


def count_failure(deps: Deps, user: Any | None, *, also: bool = True) -> None:
    """Count a failed login. Without a user (or not `also`) a write of the same cost stands in for it."""
    _log.info("login refused", user_id=user.id if user is not None else None)
    if not deps.compliance.lockout_failure_attempts:
        return
    users, epochs = tables.users, tables.epochs
    with deps.db.write() as tx:
        if user is not None and also:
            count = users.c.failed_count + 1
            tx.update_by(users.c.id, user.id, failed_count=count, failed_at=utc_now())
        elif tx.update_by(epochs.c.kind, "decoy", number=epochs.c.number + 1) == 0:
            tx.insert(epochs, kind="decoy", number=1)


def seen(deps: Deps, user: Any) -> None:
    """Remember that a user was here: no failures, and active today."""
    values: dict[str, Any] = {}
    if user.failed_count:
        values.update(failed_count=0, failed_at=None)
    now = utc_now()
    if deps.compliance.disable_user_account_days_inactive and (
        user.last_active_at is None or user.last_active_at.date() != now.date()
    ):
        values["last_active_at"] = now
    if values:
        with deps.db.write() as tx:
            tx.update_by(tables.users.c.id, user.id, **values)


# -- password --------------------------------------------------------------------------------------


def current_password(tx: Tx, user_id: str) -> sa.Row[Any] | None:
    """Return the newest password of a user."""
    return tx.first(_NEWEST, {"user": user_id})


_P = tables.passwords
_NEWEST = (
    sa.select(_P)
    .where(_P.c.user_id == sa.bindparam("user"))
    .order_by(_P.c.created_at.desc(), _P.c.id.desc())
    .limit(1)
)


def password(deps: Deps, part: Any, caller: Caller) -> Proven:
    """Prove a password. Raises: BadPassword, PasswordExpired, TooManyLogins."""
    user, expired = prove_password(deps, part.user, part.user.password)
    if expired:
        raise PasswordExpired(user_id=user.id)
    return Proven(user.id, ("password",), default_project_id=user.default_project_id, user=user)


def prove_password(deps: Deps, who: Any, secret: str) -> tuple[Any, bool]:
    """Return the user and whether the password has expired.

    Raises: BadPassword, TooManyLogins, ServiceUnavailable (the domain's directory does not answer).
    """
    with deps.db.read() as tx:
        domain_id, user, stored, may = _account(tx, who)
        directory = deps.directories and domain_id and deps.directories.of(tx, domain_id)
    there = None
    if directory and deps.directories is not None and domain_id is not None:
        _mirror(deps.directories, domain_id, who)
        with deps.db.read() as tx:
            _, user, stored, may = _account(tx, who)
        there = deps.directories.check(domain_id, user.id if user is not None else None, secret)
    matches = there
    if there is None:
        matches = deps.hasher.verify(stored.hash if stored is not None else None, secret)
    if user is None or not matches or not may:
        count_failure(deps, user, also=not matches)
        raise BadPassword()
    seen(deps, user)
    if there or stored is None:
        return user, False
    if deps.hasher.is_old(stored.hash):
        _renew(deps, _P.c.hash, stored.id, stored.hash, secret)
    return user, expired(deps, user, stored)


def _account(tx: Tx, who: Any) -> tuple[str | None, Any, Any, bool]:
    """Return the enabled domain, the user, the password, and whether the user may log in now.

    Asks the same of the database whether or not there is such a user. Raises: BadRequest.
    """
    domain = None
    if who.get("id") or not who.get("name"):
        user = find_user(tx, who)
        domain = entities.get(tx, tables.domains, user.domain_id if user is not None else "")
    else:
        domain = find_domain(tx, who.get("domain"))
        user = _named(tx, who, domain)
    stored = current_password(tx, user.id if user is not None else "")
    may = user is not None and usable(tx, user, domain) and not locked(tx.deps, user)
    domain_id = domain.id if domain is not None and domain.enabled else None
    return domain_id, user, stored, may


def _mirror(directories: Directories, domain_id: str, who: Any) -> None:
    """Mirror the user from the domain's directory."""
    if who.get("id"):
        directories.refresh(who.get("id"), always=True)
    else:
        directories.find(domain_id, who.get("name"))


def expired(deps: Deps, user: Any, stored: Any) -> bool:
    """Whether a password must be changed first."""
    if (user.options or {}).get("ignore_password_expiry"):
        return False
    return stored.expires_at is not None and stored.expires_at <= utc_now()


def _renew(deps: Deps, column: sa.Column[Any], id: Any, old: str, secret: str) -> None:
    """Store the same secret at today's cost; in a flood of logins that waits for another day."""
    try:
        fresh = deps.hasher.hash(secret)
    except TooManyLogins:
        return
    table = column.table
    with deps.db.write() as tx:
        tx.update(table, sa.and_(table.c.id == id, column == old), **{column.name: fresh})


# -- token -----------------------------------------------------------------------------------------


def token(deps: Deps, part: Any, caller: Caller) -> Proven:
    """Prove with a token that one has. Raises: Missing, Forbidden."""
    try:
        checked = tokens.check(deps, part.id)
    except tokens.InvalidToken:
        raise Missing(kind="token", id="(hidden)") from None
    with deps.db.read() as tx:
        claims = deps.provider.read(part.id, tx)
        assert isinstance(claims, TokenClaims)
        user = entities.get(tx, tables.users, claims.user_id)
    if claims.trust_id or claims.access_token_id:
        raise Forbidden("A token that was delegated cannot be used for another token.")
    only = claims.scope_id if claims.application_credential_id else None
    return Proven(
        claims.user_id,
        tuple(dict.fromkeys((*claims.methods, "token"))),
        chain=claims.audit_ids[-1],
        expires_at=checked.expires_at,
        application_credential_id=claims.application_credential_id,
        only_project_id=only,
        default_project_id=user.default_project_id if user is not None else None,
        idp_id=claims.idp_id,
        protocol_id=claims.protocol_id,
        group_ids=claims.group_ids,
    )


# -- application credential ------------------------------------------------------------------------


def application_credential(deps: Deps, part: Any, caller: Caller) -> Proven:
    """Prove the secret of an application credential. Raises: BadPassword, BadRequest."""
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
        may = user is not None and usable(tx, user)
    matches = deps.hasher.verify(row.secret_hash if row is not None else None, part.secret)
    over = row is not None and row.expires_at is not None and row.expires_at <= utc_now()
    if row is None or not matches or over or not may:
        raise BadPassword()
    if deps.hasher.is_old(row.secret_hash):
        _renew(deps, table.c.secret_hash, row.id, row.secret_hash, part.secret)
    return of_application_credential(row)


def of_application_credential(row: Any) -> Proven:
    """Return what an application credential proves."""
    return Proven(
        row.user_id,
        ("application_credential",),
        expires_at=row.expires_at,
        application_credential_id=row.id,
        only_project_id=row.project_id,
    )


# -- passcode --------------------------------------------------------------------------------------


def passcode(deps: Deps, part: Any, caller: Caller) -> Proven:
    """Prove a time-based passcode. Raises: BadPassword."""
    with deps.db.read() as tx:
        user = find_user(tx, part.user)
        may = user is not None and usable(tx, user) and not locked(deps, user)
        secrets = totp.secrets_of(tx, user.id) if user is not None else []
    right = totp.matches(secrets, part.user.passcode, deps.auth.totp_previous_windows)
    if user is None or not may or right is None or not _first_use(deps, user.id, right):
        count_failure(deps, user, also=right is None)
        raise BadPassword()
    seen(deps, user)
    return Proven(user.id, ("totp",), default_project_id=user.default_project_id)


def _first_use(deps: Deps, user_id: str, code: str) -> bool:
    with deps.db.write() as tx:
        return totp.use_once(tx, "totp", f"{user_id}:{code}", totp.WINDOW_S * 20)
