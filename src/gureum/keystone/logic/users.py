"""Verbs on users and their passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest
from gureum.keystone.errors import Missing, PasswordPolicy
from gureum.keystone.logic import common, proofs, receipts, tokens
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import assignments, entities, tables


def check_new_password(deps: Deps, password: str) -> None:
    """Refuse passwords that cannot be used. Raises: PasswordPolicy."""
    if len(password) > deps.options.max_password_length:
        raise PasswordPolicy(reason=f"at most {deps.options.max_password_length} characters.")
    wanted = deps.compliance.password_regex
    if wanted and re.search(wanted, password) is None:
        reason = deps.compliance.password_regex_description or "it does not match the pattern."
        raise PasswordPolicy(reason=reason)


def hash_new(deps: Deps, password: str | None) -> str | None:
    """Check and hash a new password, outside of any transaction. None stays None."""
    if password is None:
        return None
    check_new_password(deps, password)
    return deps.hasher.hash(password)


def create(ctx: Context, tx: Tx, new: Any, hashed: str | None) -> entities.Row:
    """Create. Raises: Duplicate, Missing (the domain), BadRequest."""
    domain_id = new.get("domain_id") or ctx.domain_id or ctx.project_domain_id or "default"
    if entities.get(tx, tables.domains, domain_id) is None:
        raise Missing(kind="domain", id=domain_id)
    refuse_directory(tx, domain_id)
    _check_default_project(tx, new.get("default_project_id"))
    check_options(new.get("options", {}) or {})
    values = {
        "id": common.new_id(),
        "name": new.name,
        "domain_id": domain_id,
        "enabled": new.enabled,
        "default_project_id": new.get("default_project_id"),
        "description": new.get("description"),
        "email": new.get("email"),
        "options": new.get("options", {}),
        "extra_values": new.extra_values,
        "created_at": utc_now(),
        "failed_count": 0,
    }
    row = common.insert(tx, tables.users, "user", values)
    _set_hash(tx, row, hashed, by_admin=True)
    return row


SWITCHES = (
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "ignore_user_inactivity",
    "lock_password",
    "immutable",
)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that there are not, or that have another form. Raises: BadRequest."""
    known = (*SWITCHES, receipts.ENABLED, receipts.RULES)
    for name, value in options.items():
        if name not in known:
            raise BadRequest(f"A user has no option {name[:64]}.")
        if name in SWITCHES and not isinstance(value, bool | None):
            raise BadRequest(f"The option {name} must be true or false.")
    receipts.check_options(options)


_OURS = {"options", "default_project_id"}


def refuse_directory(tx: Tx, domain_id: str) -> None:
    """Refuse to change the users of a directory. Raises: Forbidden."""
    if tx.deps.directories is not None:
        tx.deps.directories.refuse_write(tx, domain_id)


def _check_default_project(tx: Tx, project_id: str | None) -> None:
    if project_id is not None and entities.get(tx, tables.domains, project_id) is not None:
        raise BadRequest("A domain cannot be a default project.")


def _set_hash(tx: Tx, user: Any, hashed: str | None, *, by_admin: bool) -> None:
    """Set the password, keeping as many old ones as may not come back; None takes all away."""
    p = tables.passwords
    keep = tx.deps.compliance.unique_last_password_count - 1 if hashed is not None else 0
    newest = sa.select(p.c.id).where(p.c.user_id == user.id).order_by(p.c.created_at.desc())
    kept = [row.id for row in tx.all(newest.limit(keep))] if keep > 0 else []
    tx.delete(p, sa.and_(p.c.user_id == user.id, p.c.id.not_in(kept)))
    if hashed is None:
        return
    now = utc_now()
    tx.insert(
        p,
        id=common.new_id(),
        user_id=user.id,
        hash=hashed,
        created_at=now,
        expires_at=_expiry(tx.deps, user.options or {}, now, by_admin=by_admin),
    )


def _expiry(
    deps: Deps, options: Mapping[str, Any], now: datetime, *, by_admin: bool
) -> datetime | None:
    """Return when a password that is set now must be changed."""
    rules = deps.compliance
    first_use = rules.change_password_upon_first_use and by_admin
    if first_use and not options.get("ignore_change_password_upon_first_use"):
        return now
    if rules.password_expires_days and not options.get("ignore_password_expiry"):
        return now + timedelta(days=rules.password_expires_days)
    return None


def update(tx: Tx, user: Any, new: Any, hashed: str | None) -> entities.Row:
    """Change. A new password or disabling ends every token. Raises: Duplicate, Immutable, BadRequest."""
    values = common.given(new, skip=("password", "domain_id"))
    common.refuse_immutable("user", user, values)
    if new.has("password") or set(values) - _OURS or new.has("domain_id"):
        refuse_directory(tx, user.domain_id)
    if new.has("domain_id") and new.domain_id != user.domain_id:
        raise BadRequest("domain_id cannot be changed.")
    _check_default_project(tx, values.get("default_project_id"))
    check_options(values.get("options") or {})
    if new.has("password") or values.get("enabled") is False:
        tokens.revoke(tx, tx.deps, user_id=user.id)
    if new.has("password") or values.get("enabled") is True:
        values.update(failed_count=0, failed_at=None)
    if values.get("enabled") is True and proofs.inactive(tx.deps, user):
        values["last_active_at"] = utc_now()
    row = common.update(tx, tables.users, "user", user, values)
    if new.has("password"):
        _set_hash(tx, row, hashed, by_admin=True)
    return row


def delete(tx: Tx, user: Any) -> None:
    """Delete with grants, memberships and credentials. Raises: Immutable."""
    common.refuse_immutable("user", user)
    refuse_directory(tx, user.domain_id)
    remove(tx, user)


def remove(tx: Tx, user: Any) -> None:
    """Delete with all that hangs on it; also when its whole domain goes."""
    assignments.drop_actor(tx, "user", user.id)
    common.delete(tx, tables.users, user.id)


def change_password(deps: Deps, user_id: str, original: str, password: str) -> None:
    """Change a password by proving the present one, also when it has expired.

    Raises: BadPassword, PasswordPolicy, BadRequest.
    """
    user, _ = proofs.prove_password(deps, {"id": user_id}, original)
    with deps.db.read() as tx:
        refuse_directory(tx, user.domain_id)
    if (user.options or {}).get("lock_password"):
        raise BadRequest("The password of this user is locked.")
    if password == original:
        raise PasswordPolicy(reason="the new password cannot be the current one.")
    check_new_password(deps, password)
    _check_age(deps, user_id)
    _check_history(deps, user_id, password)
    hashed = deps.hasher.hash(password)
    with deps.db.write() as tx:
        _set_hash(tx, user, hashed, by_admin=False)
        tokens.revoke(tx, deps, user_id=user_id)


def _check_age(deps: Deps, user_id: str) -> None:
    """Refuse to change a password that is too new, unless it must be changed. Raises: PasswordPolicy."""
    days = deps.compliance.minimum_password_age_days
    if not days:
        return
    with deps.db.read() as tx:
        present = proofs.current_password(tx, user_id)
    now = utc_now()
    if present is None or (present.expires_at is not None and present.expires_at <= now):
        return
    left = present.created_at + timedelta(days=days) - now
    if left > timedelta(0):
        raise PasswordPolicy(
            reason=f"it can be changed {days} day(s) after the last change; {left.days + 1} day(s)"
            " are left. An administrator can reset it."
        )


def _check_history(deps: Deps, user_id: str, password: str) -> None:
    """Refuse one of the last passwords. Raises: PasswordPolicy."""
    count = deps.compliance.unique_last_password_count
    if count < 1:
        return
    p = tables.passwords
    newest = sa.select(p.c.hash).where(p.c.user_id == user_id).order_by(p.c.created_at.desc())
    with deps.db.read() as tx:
        hashes = [row.hash for row in tx.all(newest.limit(count))]
    if any(deps.hasher.verify(hashed, password) for hashed in hashes):
        raise PasswordPolicy(reason=f"it was one of the last {count} passwords.")


def expiries_of(tx: Tx, ids: list[str]) -> dict[str, datetime | None]:
    """Return when present passwords expire, by user, in one query for some hundred users."""
    found: dict[str, datetime | None] = {}
    p = tables.passwords.c
    for start in range(0, len(ids), 500):
        wanted = sa.select(p.user_id, p.expires_at).where(p.user_id.in_(ids[start : start + 500]))
        for row in tx.all(wanted.order_by(p.created_at)):
            found[row.user_id] = row.expires_at
    return found


_COMPARISONS = {
    "lt": lambda column, moment: column < moment,
    "lte": lambda column, moment: column <= moment,
    "gt": lambda column, moment: column > moment,
    "gte": lambda column, moment: column >= moment,
    "eq": lambda column, moment: column == moment,
    "neq": lambda column, moment: column != moment,
}


def expiring(text: str) -> sa.ColumnElement[bool]:
    """Turn the filter `password_expires_at=lt:2026-11-23T00:00:00Z` into a condition. Raises: BadRequest."""
    name, found, rest = text.partition(":")
    if name not in _COMPARISONS or not found:
        name, rest = "eq", text
    try:
        moment = datetime.fromisoformat(rest)
    except ValueError:
        raise BadRequest("password_expires_at is a comparison and a time, lt:TIME.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    p = tables.passwords.c
    later = tables.passwords.alias()
    newest = ~sa.exists().where(later.c.user_id == p.user_id, later.c.created_at > p.created_at)
    matches = sa.and_(p.expires_at.is_not(None), _COMPARISONS[name](p.expires_at, moment), newest)
    return tables.users.c.id.in_(sa.select(p.user_id).where(matches))
