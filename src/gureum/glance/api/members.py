"""Members: the projects with which an image is shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.spec import Page, operation
from gureum.glance.api.shapes import MemberCreate, MemberUpdate, MemberView, shown_member
from gureum.glance.errors import (
    ImageNotFound,
    MemberExists,
    MemberNotFound,
    NotShared,
    TooMany,
)
from gureum.glance.logic.access import image_target, load, sees_all
from gureum.glance.logic.deps import Deps
from gureum.glance.model import SHARED, Image, Member
from gureum.glance.store import members as store


@dataclass(frozen=True, slots=True)
class _Membership:
    """An image and one of its members."""

    image: Image
    member: Member


def load_member(ctx: Context, tx: Tx, image_id: str, member_id: str) -> _Membership:
    """Return a membership that the caller can see: the owner's, or the member's own.

    Raises: ImageNotFound, MemberNotFound.
    """
    image = load(ctx, tx, image_id)
    found = store.of_image(tx, image.id, member_id)
    if not found or not (_owns(ctx, image) or ctx.project_id == member_id):
        raise MemberNotFound(member=member_id[:64], id=image.id)
    return _Membership(image, found[0])


def _owns(ctx: Context, image: Image) -> bool:
    return sees_all(ctx) or image.project_id == ctx.project_id


def _member_target(ctx: Context, loaded: _Membership | None, new: Any) -> Mapping[str, Any]:
    target = dict(image_target(ctx, loaded.image if loaded is not None else None))
    if loaded is not None:
        target["member_id"] = loaded.member.member_id
    return target


def _list_target(ctx: Context, image: Image | None, new: Any) -> Mapping[str, Any]:
    target = dict(image_target(ctx, image))
    target["member_id"] = ctx.project_id or ""  # each sees its own membership, if there is one
    return target


@operation(
    "POST",
    "/images/{image_id}/members",
    policy="add_member",
    status=200,
    load=load,
    target=image_target,
    request=MemberCreate,
    response=MemberView,
    errors=(ImageNotFound, NotShared, MemberExists, TooMany),
)
def add_member(ctx: Context, tx: Tx, image: Image, new: MemberCreate) -> Any:
    """Share an image with a project, which then may accept or reject it."""
    deps: Deps = tx.deps
    if image.visibility != SHARED:
        raise NotShared()
    count, limit = store.count(tx, image.id), deps.options.image_member_quota
    if 0 <= limit < count + 1:
        raise TooMany(what="members", asked=count + 1, limit=limit)
    if store.of_image(tx, image.id, new.member):
        raise MemberExists(member=new.member, id=image.id)
    try:
        return shown_member(store.add(tx, image.id, new.member))
    except RowConflict:
        raise MemberExists(member=new.member, id=image.id) from None


@operation(
    "GET",
    "/images/{image_id}/members",
    policy="get_members",
    load=load,
    target=_list_target,
    items=MemberView,
    response_wrap="members",
    errors=(ImageNotFound,),
    kept=True,
)
def list_members(ctx: Context, tx: Tx, image: Image) -> Any:
    """List the members of an image; a member sees only itself."""
    if image.visibility != SHARED:
        found: list[Member] = []
    else:
        found = store.of_image(tx, image.id, None if _owns(ctx, image) else ctx.project_id)
    return Page([shown_member(member) for member in found], extra={"schema": "/v2/schemas/members"})


@operation(
    "GET",
    "/images/{image_id}/members/{member_id}",
    policy="get_member",
    load=load_member,
    target=_member_target,
    response=MemberView,
    errors=(ImageNotFound, MemberNotFound),
    kept=True,
)
def show_member(ctx: Context, tx: Tx, target: _Membership) -> Any:
    """Show a member of an image."""
    return shown_member(target.member)


@operation(
    "PUT",
    "/images/{image_id}/members/{member_id}",
    policy="modify_member",
    load=load_member,
    target=_member_target,
    request=MemberUpdate,
    response=MemberView,
    errors=(ImageNotFound, MemberNotFound),
)
def update_member(ctx: Context, tx: Tx, target: _Membership, new: MemberUpdate) -> Any:
    """Accept or reject a shared image; only the member itself may."""
    return shown_member(store.set_status(tx, target.member, new.status))


@operation(
    "DELETE",
    "/images/{image_id}/members/{member_id}",
    policy="delete_member",
    load=load_member,
    target=_member_target,
    errors=(ImageNotFound, MemberNotFound, NotShared),
)
def delete_member(ctx: Context, tx: Tx, target: _Membership) -> None:
    """End sharing an image with a project."""
    if target.image.visibility != SHARED:
        raise NotShared()
    store.remove(tx, target.image.id, target.member.member_id)
