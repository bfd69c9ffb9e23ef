"""Creating, changing and deleting images; the bytes are in data.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from gureum.core import log
from gureum.core.context import Context
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest
from gureum.glance.drivers.base import StoreFault
from gureum.glance.errors import (
    ImageExists,
    NotDeactivatable,
    ProtectedImage,
    ReadOnlyAttribute,
    ReservedAttribute,
    TooMany,
)
from gureum.glance.logic.access import load
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.limits import Allowed
from gureum.glance.model import (
    ACTIVE,
    COMMUNITY,
    DEACTIVATED,
    PENDING_DELETE,
    PUBLIC,
    QUEUED,
    READ_ONLY,
    RESERVED,
    RESERVED_PREFIX,
    SHARED,
    Image,
    formats_fit,
)
from gureum.glance.store import images as store
from gureum.glance.store import locations

_log = log.get(__name__)
_VALUE_MAX = 65535


def create(
    ctx: Context,
    tx: Tx,
    values: Mapping[str, Any],
    tags: Iterable[str],
    properties: Mapping[str, Any],
    allowed: Allowed,
) -> Image:
    """Register an image without bytes.

    values: base attributes that were given. allowed: the limits of the project.
    Raises: ImageExists, ReadOnlyAttribute, TooMany, …
    """
    deps: Deps = tx.deps
    checked = check_properties(deps, properties)
    tag_set = check_tags(deps, tags)
    owner = values.get("owner") or ctx.project_id
    visibility = values.get("visibility") or SHARED
    target = {"project_id": ctx.project_id, "owner": owner, "visibility": visibility}
    deps.policy.enforce("add_image", ctx, target)
    check_visibility(deps, ctx, visibility, target)
    disk, container = values.get("disk_format"), values.get("container_format")
    check_formats(deps, disk, container)
    allowed.check_new(tx, owner)
    id = values.get("id") or str(uuid.uuid4())
    if store.is_taken(tx, id):
        raise ImageExists(id=id)
    now = utc_now()
    row = {
        "id": id,
        "name": values.get("name"),
        "project_id": owner,
        "status": QUEUED,
        "visibility": visibility,
        "protected": values.get("protected", False),
        "os_hidden": values.get("os_hidden", False),
        "min_disk": values.get("min_disk", 0),
        "min_ram": values.get("min_ram", 0),
        "disk_format": disk,
        "container_format": container,
        "created_at": now,
        "updated_at": now,
        "generation": 1,
    }
    try:
        store.insert(tx, row, tag_set, checked)
    except RowConflict:
        raise ImageExists(id=id) from None
    _log.info("image created", image_id=id)
    image = store.get(tx, id, ctx.project_id)
    assert image is not None
    return image


def check_formats(deps: Deps, disk: str | None, container: str | None) -> None:
    """Refuse unknown formats, and pairs that cannot be. Raises: BadRequest."""
    if disk is not None and disk not in deps.options.disk_formats:
        raise BadRequest(f"Invalid disk format {disk[:64]!r} specified.")
    if container is not None and container not in deps.options.container_formats:
        raise BadRequest(f"Invalid container format {container[:64]!r} specified.")
    if not formats_fit(disk, container):
        raise BadRequest(
            "Invalid mix of disk and container formats. When the container format is one of 'aki',"
            " 'ari' or 'ami', the disk format must be the same."
        )


def check_visibility(deps: Deps, ctx: Context, visibility: str, target: Mapping[str, Any]) -> None:
    """Refuse those who may not show an image to everybody. Raises: PolicyForbidden."""
    if visibility == PUBLIC:
        deps.policy.enforce("publicize_image", ctx, target)
    elif visibility == COMMUNITY:
        deps.policy.enforce("communitize_image", ctx, target)


def check_property_name(name: str) -> None:
    """Refuse names that are not a user's to choose.

    Raises: ReadOnlyAttribute, ReservedAttribute, BadRequest.
    """
    if name in READ_ONLY:
        raise ReadOnlyAttribute(name=name)
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise ReservedAttribute(name=name[:64])
    if not 1 <= len(name) <= 255 or "\x00" in name:
        raise BadRequest("The name of a property must have 1 to 255 characters.")


def check_properties(deps: Deps, properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the additional properties when all may stand. Raises: TooMany, BadRequest, …"""
    for name, value in properties.items():
        check_property_name(name)
        check_value(name, value)
    limit = deps.options.image_property_quota
    if 0 <= limit < len(properties):
        raise TooMany(what="properties", asked=len(properties), limit=limit)
    return dict(properties)


def check_value(name: str, value: Any) -> None:
    """Refuse what is no text of a bearable length. Raises: BadRequest."""
    if not isinstance(value, str):
        raise BadRequest(f"Invalid value for property {name[:64]!r}: it must be a string.")
    if len(value) > _VALUE_MAX or "\x00" in value:
        raise BadRequest(f"The value of property {name[:64]!r} is too long or cannot be stored.")


def check_tags(deps: Deps, tags: Iterable[str]) -> set[str]:
    """Return the tags when there are not too many. Raises: TooMany."""
    wanted = set(tags)
    limit = deps.options.image_tag_quota
    if 0 <= limit < len(wanted):
        raise TooMany(what="tags", asked=len(wanted), limit=limit)
    return wanted


def delete(ctx: Context, deps: Deps, image: Image) -> None:
    """Delete an image and its bytes; when these cannot go now, a reconciler removes them later.

    An import that is under way is cancelled, and removes the bytes itself. Raises: ProtectedImage.
    """

    def mark(tx: Tx) -> bool:
        fresh = load(ctx, tx, image.id)
        if fresh.protected:
            raise ProtectedImage(id=image.id)
        store.update(tx, fresh, status=PENDING_DELETE, upload_id=None)
        running = deps.sagas.active(tx, [image.id])
        for saga in running.values():
            deps.sagas.cancel(tx, saga.id)
        return bool(running)

    importing = deps.db.retrying(mark)
    _log.info("image deleted", image_id=image.id)
    if importing:
        return
    try:
        purge(deps, image.id)
    except (OSError, StoreFault) as error:
        _log.warning("bytes of a deleted image stay for now", image_id=image.id, error=str(error))


def purge(deps: Deps, id: str) -> bool:
    """Remove the bytes and then the row of an image in `pending_delete`; once more is fine.

    Raises: StoreFault.
    """
    with deps.db.read() as tx:
        places = locations.every(tx, id)
    held = {place.store for place in places}
    for kept in deps.stores.writable():
        # Local stores are asked in any case: an upload or import that died may have left bytes there.
        if kept.name in held or kept.kind in ("file", "memory"):
            kept.delete(id)
    drop_staged(deps, id)
    if deps.cache is not None:
        deps.cache.unqueue(id)
        deps.cache.delete(id)
    return deps.db.retrying(lambda tx: store.forget(tx, id))


STAGES = ("", "-plain", "-converted")
"""After an image's id: what was staged, unpacked and converted."""


def drop_staged(deps: Deps, id: str) -> int:
    """Remove what is staged of an image; returns how many files."""
    return sum(deps.staging.delete(id + stage) for stage in STAGES)


def deactivate(ctx: Context, tx: Tx, image: Image) -> None:
    """Take the bytes out of use. Raises: NotDeactivatable."""
    if image.status not in (ACTIVE, DEACTIVATED):
        raise NotDeactivatable(id=image.id, status=image.status, new=DEACTIVATED)
    if image.status == ACTIVE:
        store.update(tx, image, status=DEACTIVATED)


def reactivate(ctx: Context, tx: Tx, image: Image) -> None:
    """Bring the bytes back into use. Raises: NotDeactivatable."""
    if image.status not in (ACTIVE, DEACTIVATED):
        raise NotDeactivatable(id=image.id, status=image.status, new=ACTIVE)
    if image.status == DEACTIVATED:
        store.update(tx, image, status=ACTIVE)
