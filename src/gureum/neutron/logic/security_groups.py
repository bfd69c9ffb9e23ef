"""What can be done with security groups, and the default group that every project has.

The default group is made when a project first needs it and only for the caller's own project or the
owner of a new resource; asking with somebody else's project as a filter makes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Stale, Tx
from gureum.core.spec import Struct
from gureum.neutron.errors_security import (
    SecurityGroupCannotRemoveDefault,
    SecurityGroupCannotUpdateDefault,
    SecurityGroupDefaultAlreadyExists,
    SecurityGroupInUse,
    SecurityGroupNotFound,
    StatefulAndStatelessSecurityGroups,
)
from gureum.neutron.logic import binding, quota
from gureum.neutron.logic.security_rules import spec_of_row, write
from gureum.neutron.store import changes, default_rules, rows
from gureum.neutron.store import security_groups as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import View, granted, reload, sees_all

RENAMED_SHOWN = 500
"""How many ports Nova is told about when their group has a new name; it finds the others in its round."""

def default_group(tx: Tx, project_id: str) -> str:
    """Return the id of a project's default group; make it if it is missing."""
    found = store.default_of(tx, project_id)
    if found is not None:
        return found
    group_id = _insert(tx, project_id, "default", "Default security group", True, is_default=True)
    try:
        tx.insert(t.default_security_groups, project_id=project_id, security_group_id=group_id)
    except Conflict as error:
        raise Stale("another request made the default group") from error
    return group_id


def _insert(
    tx: Tx, project_id: str, name: str, text: str, stateful: bool, *, is_default: bool = False
) -> str:
    group_id = rows.insert(
        tx,
        t.security_groups,
        project_id=project_id,
        name=name,
        description=text,
        stateful=stateful,
        is_default=is_default,
    )
    for row in default_rules.for_group(tx, is_default):
        write(tx, group_id, project_id, spec_of_row(row, group_id))
    return group_id


def check_usable(ctx: Context, tx: Tx, asked: Sequence[str]) -> list[str]:
    """Return group ids that the caller may put on a port. Raises: SecurityGroupNotFound."""
    wanted = list(dict.fromkeys(asked))
    if not wanted:
        return []
    c = t.security_groups.c
    statement = sa.select(c.id, c.stateful).where(c.id.in_(wanted))
    if not sees_all(ctx):
        statement = statement.where(
            sa.or_(
                c.project_id == (ctx.project_id or ""),
                granted(t.security_groups, "security_group", ctx, "access_as_shared"),
            )
        )
    found = tx.all(statement)
    known = {row.id for row in found}
    for missing in wanted:
        if missing not in known:
            raise SecurityGroupNotFound(id=missing)
    if len({row.stateful for row in found}) > 1:
        raise StatefulAndStatelessSecurityGroups()
    return wanted


def create(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Create a group with its two egress rules. Raises: SecurityGroupDefaultAlreadyExists."""
    name = new.get("name", "") or ""
    if name.lower() == "default":
        raise SecurityGroupDefaultAlreadyExists()
    # what comes for free is not held against the caller: count first
    quota.check(ctx, tx, project_id, "security_group")
    quota.check(ctx, tx, project_id, "security_group_rule", len(default_rules.for_group(tx, False)))
    default_group(tx, project_id)
    group_id = _insert(
        tx, project_id, name, new.get("description", "") or "", new.get("stateful", True)
    )
    return reload(ctx, tx, store.SECURITY_GROUP, group_id)


def update(ctx: Context, tx: Tx, group: Mapping[str, Any], new: Struct) -> View:
    """Change a group. Raises: SecurityGroupCannotUpdateDefault, SecurityGroupInUse."""
    rows.check_revision(ctx, group)
    values = {n: new.get(n) or "" for n in ("name", "description") if new.has(n)}
    if group["is_default"] and "name" in values and values["name"] != group["name"]:
        raise SecurityGroupCannotUpdateDefault()
    if not group["is_default"] and values.get("name", "").lower() == "default":
        raise SecurityGroupDefaultAlreadyExists()
    if new.has("stateful") and new.stateful != group["stateful"]:
        if store.worn(tx, group["id"]):
            raise SecurityGroupInUse(id=group["id"])
        values["stateful"] = new.stateful
    rows.update(tx, t.security_groups, group, **values)
    changes.note(tx, changes.group_items(tx, group["id"]))
    if values.get("name", group["name"]) != group["name"]:
        binding.guests_changed(tx, store.wearers(tx, group["id"], RENAMED_SHOWN))
    return reload(ctx, tx, store.SECURITY_GROUP, group["id"])


def delete(ctx: Context, tx: Tx, group: Mapping[str, Any]) -> None:
    """Delete a group that no port wears.

    Raises: SecurityGroupCannotRemoveDefault, SecurityGroupInUse.
    """
    rows.check_revision(ctx, group)
    if group["is_default"] and not ctx.is_admin:
        raise SecurityGroupCannotRemoveDefault()
    if store.worn(tx, group["id"]):
        raise SecurityGroupInUse(id=group["id"])
    c = t.security_group_rules.c
    users = tx.all(
        sa.select(c.security_group_id).where(c.remote_group_id == group["id"]).distinct()
    )
    items: set[changes.Item] = set()
    for user in users:
        items |= changes.group_items(tx, user.security_group_id)
    tx.delete(
        t.default_security_groups,
        t.default_security_groups.c.security_group_id == group["id"],
    )
    tx.delete(
        t.security_group_rules,
        sa.or_(c.security_group_id == group["id"], c.remote_group_id == group["id"]),
    )
    tx.delete_by(t.security_groups.c.id, group["id"])
    rows.forget(tx, group["id"])
    changes.note(tx, items)
