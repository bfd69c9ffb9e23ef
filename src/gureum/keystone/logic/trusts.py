"""Verbs on trusts: a user lets another act with some of its roles in a project.

Follows: Identity API v3, "OS-TRUST". A trust that was redelegated is never wider than the one it came from.
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest, Forbidden
from gureum.keystone.errors import Absent, Missing
from gureum.keystone.logic import common, delegation, effective
from gureum.keystone.store import entities, tables

_T = tables.trusts
MAX_REDELEGATION = 3


def get(tx: Tx, trust_id: str) -> entities.Row:
    """Return a trust that still counts. Raises: Absent."""
    row = entities.get(tx, _T, trust_id)
    if row is None or not usable(row):
        raise Absent(kind="trust", id=trust_id)
    return row


def usable(trust: Any) -> bool:
    """Whether a trust has neither expired nor been used up."""
    if trust.expires_at is not None and trust.expires_at <= utc_now():
        return False
    return trust.remaining_uses is None or trust.remaining_uses > 0


def create(ctx: Context, tx: Tx, new: Any) -> entities.Row:
    """Create. Raises: BadRequest, Forbidden, Missing."""
    if entities.get(tx, tables.users, new.trustee_user_id) is None:
        raise Missing(kind="user", id=new.trustee_user_id)
    expires_at = new.get("expires_at")
    if expires_at is not None and expires_at <= utc_now():
        raise BadRequest("The trust would be expired at once.")
    claims = tx.deps.provider.read(ctx.token or "", tx)
    if claims is not None and claims.access_token_id:
        raise Forbidden("An OAuth1 access token cannot create trusts.")
    if claims is not None and claims.application_credential_id:
        delegation.refuse(ctx, tx, "create trusts")
        if new.get("project_id") != ctx.project_id:
            raise Forbidden("An application credential is bound to its own project.")
    parent = entities.get(tx, _T, claims.trust_id) if claims and claims.trust_id else None
    project_id = new.get("project_id")
    roles = _roles(tx, ctx, project_id, new.get("roles", ()), parent)
    count = _redelegation(new, parent)
    if parent is not None:
        _check_within(new, parent, project_id)
    values = {
        "id": common.new_id(),
        "trustor_user_id": new.trustor_user_id,
        "trustee_user_id": new.trustee_user_id,
        "project_id": project_id,
        "impersonation": new.impersonation,
        "role_ids": roles,
        "expires_at": _earliest(expires_at, parent),
        "remaining_uses": new.get("remaining_uses"),
        "redelegation_count": count,
        "redelegated_trust_id": parent.id if parent is not None else None,
        "extra_values": new.extra_values,
    }
    return common.insert(tx, _T, "trust", values)


def _roles(
    tx: Tx, ctx: Context, project_id: str | None, wanted: Any, parent: Any | None
) -> list[str]:
    if project_id is None:
        if wanted:
            raise BadRequest("Roles need a project_id.")
        return []
    if entities.get(tx, tables.projects, project_id) is None:
        raise Missing(kind="project", id=project_id)
    if not wanted:
        raise Forbidden("At least one role should be specified.")
    own = effective.roles_in(tx, ctx.user_id or "", "p", project_id)
    if project_id == ctx.project_id:
        own = delegation.given(ctx, own)
    held = {role.id: role for role in own}
    if parent is not None:
        allowed = set(effective.expand(tx, parent.role_ids))
        held = {id: role for id, role in held.items() if id in allowed}
    by_name = {role.name: role.id for role in held.values()}
    chosen = []
    for reference in wanted:
        id = reference.get("id")
        if id is None and reference.get("name") is None:
            raise BadRequest("A role needs an id or a name.")
        id = id or by_name.get(reference.name)
        if id is None:
            raise Forbidden("Trusts can only give roles that one has in the project.")
        if id not in held:
            if entities.get(tx, tables.roles, id) is None:
                raise Missing(kind="role", id=id)
            raise Forbidden("Trusts can only give roles that one has in the project.")
        chosen.append(id)
    return list(dict.fromkeys(chosen))


def _redelegation(new: Any, parent: Any | None) -> int:
    """Return how often the new trust may be given on. Raises: BadRequest, Forbidden."""
    asked = new.get("redelegation_count")
    if not new.get("allow_redelegation", False):
        if asked:
            raise BadRequest("redelegation_count needs allow_redelegation.")
        asked = 0
    elif new.get("remaining_uses") is not None:
        raise BadRequest("remaining_uses cannot be set if redelegation is allowed.")
    if parent is None:
        count = MAX_REDELEGATION if asked is None else asked
        if count > MAX_REDELEGATION:
            raise Forbidden(f"Trusts can be given on at most {MAX_REDELEGATION} times.")
        return int(count)
    if parent.redelegation_count < 1:
        raise Forbidden("This trust may not be given on.")
    count = parent.redelegation_count - 1 if asked is None else asked
    if count >= parent.redelegation_count:
        raise Forbidden("A trust that is given on can be given on less often than its parent.")
    return int(count)


def _check_within(new: Any, parent: Any, project_id: str | None) -> None:
    """Refuse what the parent does not allow. Raises: Forbidden, BadRequest."""
    given = new.get("redelegated_trust_id")
    if given is not None and given != parent.id:
        raise Forbidden("redelegated_trust_id is not the trust of the token.")
    if project_id != parent.project_id:
        raise Forbidden("A trust that is given on stays in its project.")
    if new.impersonation and not parent.impersonation:
        raise Forbidden("Impersonation is not allowed because the parent trust does not have it.")
    expires_at = new.get("expires_at")
    if expires_at is not None and parent.expires_at is not None and expires_at > parent.expires_at:
        raise Forbidden("A trust cannot outlive the one it comes from.")


def _earliest(expires_at: Any, parent: Any | None) -> Any:
    if parent is None or parent.expires_at is None:
        return expires_at
    return parent.expires_at if expires_at is None else min(expires_at, parent.expires_at)


def delete(tx: Tx, trust: Any) -> None:
    """Delete with every trust that was made of it; their tokens end."""
    todo = [trust.id]
    while todo:
        id = todo.pop()
        todo += [row.id for row in entities.listed(tx, _T, [_T.c.redelegated_trust_id == id])]
        common.delete(tx, _T, id)


def consume(tx: Tx, trust: Any) -> None:
    """Count one use. Raises: Forbidden when none is left."""
    if trust.remaining_uses is None:
        return
    left = (_T.c.id == trust.id) & (_T.c.remaining_uses > 0)
    if tx.update(_T, left, remaining_uses=_T.c.remaining_uses - 1) == 0:
        raise Forbidden("The trust has no remaining uses.")


def chain(tx: Tx, trust: Any) -> list[entities.Row]:
    """Return the trusts that a trust came from, itself first."""
    found = [trust]
    while found[-1].redelegated_trust_id and len(found) < 32:
        row = entities.get(tx, _T, found[-1].redelegated_trust_id)
        if row is None:
            break
        found.append(row)
    return found
