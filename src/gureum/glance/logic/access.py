"""Who may see an image, and what rules are checked against."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.glance.errors import ImageNotFound
from gureum.glance.logic.deps import Deps
from gureum.glance.model import COMMUNITY, PENDING_DELETE, PUBLIC, SHARED, Image
from gureum.glance.store import images as store

_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def sees_all(ctx: Context) -> bool:
    """Whether the caller sees every project's images: an administrator, or another service."""
    return ctx.is_admin or "service" in ctx.roles


def can_see(ctx: Context, image: Image) -> bool:
    """Whether an image is there for this caller."""
    if image.status == PENDING_DELETE:
        return False
    if sees_all(ctx) or image.visibility in (PUBLIC, COMMUNITY):
        return True
    if ctx.project_id is None:
        return False
    if image.project_id == ctx.project_id:
        return True
    return image.visibility == SHARED and image.member_status is not None


def load(ctx: Context, tx: Tx, id: str) -> Image:
    """Return an image that the caller can see. Raises: ImageNotFound."""
    found = store.get(tx, id, ctx.project_id) if _ID.fullmatch(id) else None
    if found is None or not can_see(ctx, found):
        raise ImageNotFound(id=id[:64])
    return found


def load_apart(ctx: Context, deps: Deps, id: str) -> Image:
    """`load` in a transaction of its own."""
    with deps.db.read() as tx:
        return load(ctx, tx, id)


def image_target(ctx: Context, image: Image | None, new: Any = None) -> Mapping[str, Any]:
    """Return what a rule about an image is checked against."""
    if image is None:
        return {"project_id": ctx.project_id, "owner": ctx.project_id, "user_id": ctx.user_id}
    member = ctx.project_id if image.member_status is not None else None
    return {
        "project_id": image.project_id or "",
        "tenant_id": image.project_id or "",
        "owner": image.project_id or "",
        "visibility": image.visibility,
        "member_id": member or "",
        "user_id": ctx.user_id,
    }
