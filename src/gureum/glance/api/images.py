"""Images: their metadata, tags and status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Page, Reply, operation
from gureum.glance.api.shapes import (
    ImageAttributes,
    ImageCreate,
    ImagePatch,
    ImageQuery,
    ImageView,
    shown,
)
from gureum.glance.errors import (
    BadLocation,
    HashDiffers,
    ImageExists,
    ImageNotFound,
    LastLocation,
    LocationsOff,
    NoSuchProperty,
    NotDeactivatable,
    NotRemovable,
    OnlyWhenQueued,
    ProtectedImage,
    QuotaExceeded,
    ReadOnlyAttribute,
    ReservedAttribute,
    TagNotFound,
    TooMany,
    WrongStatus,
)
from gureum.glance.logic import images, listing, patch
from gureum.glance.logic.access import image_target, load, load_apart
from gureum.glance.logic.deps import Deps
from gureum.glance.model import Image
from gureum.glance.store import images as store
from gureum.glance.store import listing as list_store

_TAG_MAX = 255


@operation(
    "POST",
    "/images",
    policy="add_image",
    request=ImageCreate,
    response=ImageView,
    target=lambda ctx, image, new: {
        "project_id": ctx.project_id,
        "owner": new.get("owner") or ctx.project_id,
    },
    manual=True,
    waits=False,
    errors=(ImageExists, ReadOnlyAttribute, ReservedAttribute, TooMany, QuotaExceeded),
)
def create_image(ctx: Context, deps: Deps, new: ImageCreate) -> Any:
    """Create an image without bytes: it is queued."""
    values = {name: value for name, value in new.items() if name != "tags"}
    tags, extra = new.get("tags") or (), new.extra_values
    allowed = deps.limits.of(values.get("owner") or ctx.project_id)
    image = deps.db.retrying(lambda tx: images.create(ctx, tx, values, tags, extra, allowed))
    headers = [
        ("Location", f"{ctx.base_url}/images/{image.id}"),
        ("OpenStack-image-import-methods", ",".join(deps.options.enabled_import_methods)),
        ("OpenStack-image-store-ids", ",".join(s.name for s in deps.stores.listed())),
    ]
    return Reply(shown(ctx, deps, image), headers=headers)


@operation(
    "GET",
    "/images",
    policy="get_images",
    query=ImageQuery,
    items=ImageView,
    response_wrap="images",
    kept=True,
)
def list_images(ctx: Context, tx: Tx, query: ImageQuery) -> Any:
    """List images: the project's own, public ones, and accepted shared ones, unless filters say else."""
    deps: Deps = tx.deps
    wanted = listing.read(ctx, query.pairs)
    limit = _limit(query.get("limit"), deps)
    marker = None
    if query.get("marker"):
        marker = _marker(ctx, tx, query.marker)
    found, more = list_store.page(tx, wanted, marker, limit) if limit else ([], False)
    rest = [pair for pair in query.pairs if pair[0] != "marker"]
    extra = {"schema": "/v2/schemas/images", "first": _link(ctx, rest)}
    if more:
        extra["next"] = _link(ctx, [*rest, ("marker", found[-1].id)])
    return Page([shown(ctx, deps, image) for image in found], extra=extra)


def _limit(text: str | None, deps: Deps) -> int:
    if text is None:
        return min(deps.options.limit_param_default, deps.options.api_limit_max)
    if not text.isdecimal() or len(text) > 9:
        raise BadRequest("limit param must be a whole number that is not negative")
    return min(int(text), deps.options.api_limit_max)


def _marker(ctx: Context, tx: Tx, id: str) -> Image:
    try:
        return load(ctx, tx, id)
    except ImageNotFound:
        raise BadRequest(f"Marker {id[:64]} cannot be found.") from None


def _link(ctx: Context, pairs: list[tuple[str, str]]) -> str:
    return "/v2/images" + (f"?{urlencode(pairs)}" if pairs else "")


@operation(
    "GET",
    "/images/{image_id}",
    policy="get_image",
    load=load,
    target=image_target,
    response=ImageView,
    errors=(ImageNotFound,),
    kept=True,
)
def show_image(ctx: Context, tx: Tx, image: Image) -> Any:
    """Show an image."""
    return shown(ctx, tx.deps, image)


@operation(
    "PATCH",
    "/images/{image_id}",
    policy="modify_image",
    load=load_apart,
    target=image_target,
    manual=True,
    request=ImagePatch,
    response=ImageView,
    media=(patch.V21, patch.V20),
    headers=("content-type",),
    errors=(
        ImageNotFound,
        BadLocation,
        HashDiffers,
        LastLocation,
        LocationsOff,
        NoSuchProperty,
        NotRemovable,
        OnlyWhenQueued,
        ReadOnlyAttribute,
        ReservedAttribute,
        TooMany,
    ),
)
def update_image(
    ctx: Context, deps: Deps, image: Image, new: ImagePatch, headers: Mapping[str, str]
) -> Any:
    """Change an image's attributes, additional properties and locations by JSON patch."""
    media = headers.get("content-type", "").split(";")[0].strip().lower()
    steps = patch.prepare(ctx, deps, image, patch.read(new.changes, media))
    changed = deps.db.retrying(lambda tx: patch.apply(ctx, tx, image, steps, ImageAttributes))
    return shown(ctx, deps, changed)


@operation(
    "DELETE",
    "/images/{image_id}",
    policy="delete_image",
    load=load_apart,
    target=image_target,
    manual=True,
    errors=(ImageNotFound, ProtectedImage, WrongStatus),
)
def delete_image(ctx: Context, deps: Deps, image: Image) -> None:
    """Delete an image and its bytes; an upload that is under way is cut off."""
    images.delete(ctx, deps, image)


@operation(
    "POST",
    "/images/{image_id}/actions/deactivate",
    policy="deactivate",
    status=204,
    load=load,
    target=image_target,
    errors=(ImageNotFound, NotDeactivatable),
)
def deactivate_image(ctx: Context, tx: Tx, image: Image) -> None:
    """Take an image's bytes out of use for everybody but administrators."""
    images.deactivate(ctx, tx, image)


@operation(
    "POST",
    "/images/{image_id}/actions/reactivate",
    policy="reactivate",
    status=204,
    load=load,
    target=image_target,
    errors=(ImageNotFound, NotDeactivatable),
)
def reactivate_image(ctx: Context, tx: Tx, image: Image) -> None:
    """Bring an image's bytes back into use."""
    images.reactivate(ctx, tx, image)


def load_with_tag(ctx: Context, tx: Tx, id: str, tag: str) -> _Tagged:
    """Return an image and the tag of the path. Raises: ImageNotFound, BadRequest."""
    if not 1 <= len(tag) <= _TAG_MAX:
        raise BadRequest("A tag must have 1 to 255 characters.")
    return _Tagged(load(ctx, tx, id), tag)


class _Tagged:
    """An image and a tag."""

    def __init__(self, image: Image, tag: str) -> None:
        self.image = image
        self.tag = tag


def _tag_target(ctx: Context, loaded: _Tagged | None, new: Any) -> Mapping[str, Any]:
    return image_target(ctx, loaded.image if loaded is not None else None, new)


@operation(
    "PUT",
    "/images/{image_id}/tags/{tag}",
    policy="modify_image",
    status=204,
    load=load_with_tag,
    target=_tag_target,
    errors=(ImageNotFound, TooMany),
)
def add_tag(ctx: Context, tx: Tx, target: _Tagged) -> None:
    """Tag an image; once more is fine."""
    image, deps = target.image, tx.deps
    if target.tag not in image.tags:
        store.set_tags(tx, image.id, image.tags, images.check_tags(deps, [*image.tags, target.tag]))
        store.update(tx, image)


@operation(
    "DELETE",
    "/images/{image_id}/tags/{tag}",
    policy="modify_image",
    load=load_with_tag,
    target=_tag_target,
    errors=(ImageNotFound, TagNotFound),
)
def delete_tag(ctx: Context, tx: Tx, target: _Tagged) -> None:
    """Remove a tag from an image."""
    image = target.image
    if target.tag not in image.tags:
        raise TagNotFound(tag=target.tag, id=image.id)
    store.set_tags(tx, image.id, image.tags, set(image.tags) - {target.tag})
    store.update(tx, image)
