"""Verbs on users and their passwords."""

from __future__ import annotations

import re
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
    _check_default_project(tx, new.get("default_project_id"))
    receipts.check_options(new.get("options", {}) or {})
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
    _set_hash(tx, row.id, hashed)
    return row


def _check_default_project(tx: Tx, project_id: str | None) -> None:
    if project_id is not None and entities.get(tx, tables.domains, project_id) is not None:
        raise BadRequest("A domain cannot be a default project.")


def _set_hash(tx: Tx, user_id: str, hashed: str | None) -> None:
    """Set the password, keeping as many old ones as may not come back; None takes all away."""
    p = tables.passwords
    keep = tx.deps.compliance.unique_last_password_count - 1 if hashed is not None else 0
    newest = sa.select(p.c.id).where(p.c.user_id == user_id).order_by(p.c.created_at.desc())
    kept = [row.id for row in tx.all(newest.limit(keep))] if keep > 0 else []
    tx.delete(p, sa.and_(p.c.user_id == user_id, p.c.id.not_in(kept)))
    if hashed is not None:
        tx.insert(
            tables.passwords, id=common.new_id(), user_id=user_id, hash=hashed, created_at=utc_now()
        )


def update(tx: Tx, user: Any, new: Any, hashed: str | None) -> entities.Row:
    """Change. A new password or disabling ends every token. Raises: Duplicate, Immutable, BadRequest."""
    values = common.given(new, skip=("password", "domain_id"))
    common.refuse_immutable("user", user, values)
    if new.has("domain_id") and new.domain_id != user.domain_id:
        raise BadRequest("domain_id cannot be changed.")
    _check_default_project(tx, values.get("default_project_id"))
    receipts.check_options(values.get("options") or {})
    if new.has("password"):
        _set_hash(tx, user.id, hashed)
    if new.has("password") or values.get("enabled") is False:
        tokens.revoke(tx, tx.deps, user_id=user.id)
    return common.update(tx, tables.users, "user", user, values)


def delete(tx: Tx, user: Any) -> None:
    """Delete with grants, memberships and credentials. Raises: Immutable."""
    common.refuse_immutable("user", user)
    assignments.drop_actor(tx, "user", user.id)
    common.delete(tx, tables.users, user.id)


def change_password(deps: Deps, user_id: str, original: str, password: str) -> None:
    """Change a password by proving the present one. Raises: BadPassword, PasswordPolicy, BadRequest."""
    user, _ = proofs.prove_password(deps, {"id": user_id}, original)
    if (user.options or {}).get("lock_password"):
        raise BadRequest("The password of this user is locked.")
    if password == original:
        raise PasswordPolicy(reason="the new password cannot be the current one.")
    check_new_password(deps, password)
    _check_history(deps, user_id, password)
    hashed = deps.hasher.hash(password)
    with deps.db.write() as tx:
        _set_hash(tx, user_id, hashed)
        tokens.revoke(tx, deps, user_id=user_id)


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


def passwords_of(tx: Tx, ids: list[str]) -> dict[str, Any]:
    """Return when passwords expire, by user, in one query a thousand."""
    found: dict[str, Any] = {}
    p = tables.passwords.c
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        for row in tx.all(sa.select(p.user_id, p.expires_at).where(p.user_id.in_(part))):
            found[row.user_id] = row.expires_at
    return found
