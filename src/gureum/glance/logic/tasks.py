"""Beginning a task of the older kind: an image is made and imported from a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest
from gureum.glance.logic import images, imports
from gureum.glance.logic.data import check_formats_given
from gureum.glance.logic.deps import Deps
from gureum.glance.model import Task
from gureum.glance.store import tasks as store

_KNOWN = ("import_from", "import_from_format", "image_properties")
_BASE = {
    "id": str,
    "name": str,
    "visibility": str,
    "protected": bool,
    "os_hidden": bool,
    "container_format": str,
    "disk_format": str,
    "min_disk": int,
    "min_ram": int,
}


def create(ctx: Context, deps: Deps, given: Mapping[str, Any]) -> Task:
    """Make the image and begin its import. Raises: BadRequest, Filtered, PolicyForbidden, …"""
    missing = [name for name in _KNOWN if not given.get(name)]
    if missing:
        raise BadRequest(f"Input does not contain '{missing[0]}' field.")
    properties = given["image_properties"]
    if not isinstance(properties, dict):
        raise BadRequest("The field image_properties must be an object.")
    imports.check_uri(deps, given["import_from"])
    values, extra = _split(properties)
    tags = properties.get("tags") or ()
    if not all(isinstance(tag, str) for tag in tags):
        raise BadRequest("Tags must be strings.")
    values.setdefault("disk_format", given["import_from_format"])
    allowed = deps.limits.of(ctx.project_id)

    def begin(tx: Tx) -> Task:
        image = images.create(ctx, tx, values, tags, extra, allowed)
        check_formats_given(image)
        task_id = imports.submit_task(ctx, deps, tx, image, dict(given), allowed)
        task = store.get(tx, task_id)
        assert task is not None
        return task

    return deps.db.retrying(begin)


def _split(properties: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in properties.items():
        if name == "tags":
            continue
        kind = _BASE.get(name)
        if kind is None:
            extra[name] = value
        elif type(value) is not kind or (isinstance(value, int) and value < 0):
            raise BadRequest(f"Invalid value for {name!r}.")
        else:
            values[name] = value
    if values.get("visibility", "shared") not in ("public", "community", "shared", "private"):
        raise BadRequest("Invalid value for 'visibility'.")
    return values, extra
