"""Server groups and their members: in nova_api, as they span cells."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.page import SortKey, fetch_page
from gureum.core.db.types import utc_now
from gureum.nova.store.tables import server_group_members, server_groups, server_mappings


def get(tx: Tx, group_id: str) -> sa.Row[Any] | None:
    """Return a server group."""
    return tx.by(server_groups.c.id, group_id)


def find_slice(tx: Tx, project_id: str | None, *, limit: int, skip: int) -> Sequence[sa.Row[Any]]:
    """Return server groups by age; the API pages them with limit and offset."""
    wanted = sa.select(server_groups)
    if project_id is not None:
        wanted = wanted.where(server_groups.c.project_id == project_id)
    rows, _ = fetch_page(tx, wanted, [SortKey(server_groups.c.number)], None, limit + skip)
    return rows[skip:]


def insert(
    tx: Tx, *, project_id: str, user_id: str, name: str, policy: str, rules: Mapping[str, Any]
) -> str:
    """Insert a server group and return its id."""
    group_id = str(uuid.uuid4())
    tx.insert(
        server_groups,
        id=group_id,
        project_id=project_id,
        user_id=user_id,
        name=name,
        policy=policy,
        rules=dict(rules),
        created_at=utc_now(),
    )
    return group_id


def delete(tx: Tx, group_id: str) -> None:
    """Remove a server group; its servers stay."""
    tx.delete_by(server_group_members.c.group_id, group_id)
    tx.delete_by(server_groups.c.id, group_id)


def members_of(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the servers of each group that were not deleted."""
    found: dict[str, list[str]] = {group_id: [] for group_id in group_ids}
    member, mapping = server_group_members.c, server_mappings.c
    members = tx.all(
        sa.select(member.group_id, member.server_id).where(member.group_id.in_(group_ids))
    )
    if not members:
        return found
    # By id alone: with `deleted_at IS NULL` in it the database may walk through every living server.
    known = tx.all(
        sa.select(mapping.server_id, mapping.created_at, mapping.deleted_at).where(
            mapping.server_id.in_({row.server_id for row in members})
        )
    )
    ages = {row.server_id: row.created_at for row in known if row.deleted_at is None}
    living = [row for row in members if row.server_id in ages]
    for row in sorted(living, key=lambda row: (ages[row.server_id], row.server_id)):
        found[row.group_id].append(row.server_id)
    return found


def groups_of_server(tx: Tx, server_id: str) -> list[str]:
    """Return the groups that a server is in."""
    rows = tx.among(server_group_members.c.server_id, [server_id])
    return [row.group_id for row in rows]


def add_members(tx: Tx, group_id: str, server_ids: Sequence[str], user_id: str) -> None:
    """Put servers into a group."""
    tx.insert_many(
        server_group_members,
        [{"group_id": group_id, "server_id": s, "user_id": user_id} for s in server_ids],
    )


def remove_member(tx: Tx, server_id: str) -> None:
    """Take a server out of its groups."""
    tx.delete_by(server_group_members.c.server_id, server_id)
