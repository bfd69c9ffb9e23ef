"""SQL of the projects with which images are shared."""

from __future__ import annotations

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.glance.model import PENDING, Member
from gureum.glance.store.tables import members


def of_image(tx: Tx, image_id: str, member_id: str | None = None) -> list[Member]:
    """Return the members of an image, all or one."""
    query = sa.select(members).where(members.c.image_id == image_id)
    if member_id is not None:
        query = query.where(members.c.member_id == member_id)
    return [Member(**row._mapping) for row in tx.all(query.order_by(members.c.member_id))]


def count(tx: Tx, image_id: str) -> int:
    """Return how many members an image has."""
    query = sa.select(sa.func.count()).where(members.c.image_id == image_id)
    return int(tx.scalar(query))


def add(tx: Tx, image_id: str, member_id: str) -> Member:
    """Add a pending member. Raises: Conflict."""
    now = utc_now()
    member = Member(image_id, member_id, PENDING, now, now)
    tx.insert(
        members,
        image_id=image_id,
        member_id=member_id,
        status=PENDING,
        created_at=now,
        updated_at=now,
    )
    return member


def set_status(tx: Tx, member: Member, status: str) -> Member:
    """Change a member's standing."""
    now = utc_now()
    where = sa.and_(members.c.image_id == member.image_id, members.c.member_id == member.member_id)
    tx.update(members, where, status=status, updated_at=now)
    return Member(member.image_id, member.member_id, status, member.created_at, now)


def remove(tx: Tx, image_id: str, member_id: str) -> bool:
    """Remove a member; False when there was none."""
    where = sa.and_(members.c.image_id == image_id, members.c.member_id == member_id)
    return tx.delete(members, where) == 1
