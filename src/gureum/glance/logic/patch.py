"""Changing an image by JSON patch, in the two forms that the Image API documents.

v2.1: [{"op": "replace", "path": "/name", "value": …}]; v2.0: [{"replace": "/name", "value": …}].
Follows: Image API v2, "HTTP PATCH media types", and RFC 6902 for the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Invalid, InvalidField, Struct
from gureum.glance.errors import (
    NoSuchProperty,
    NotRemovable,
    OnlyWhenQueued,
    ReadOnlyAttribute,
    TooMany,
)
from gureum.glance.logic.access import image_target
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.images import (
    check_formats,
    check_property_name,
    check_tags,
    check_value,
    check_visibility,
)
from gureum.glance.model import QUEUED, SHARED, Image
from gureum.glance.store import images as store

V20 = "application/openstack-images-v2.0-json-patch"
V21 = "application/openstack-images-v2.1-json-patch"
_VERBS = ("add", "replace", "remove")
BASE = (
    "name",
    "visibility",
    "protected",
    "os_hidden",
    "min_disk",
    "min_ram",
    "disk_format",
    "container_format",
    "tags",
    "owner",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One change. value: None for a removal."""

    verb: str
    name: str
    value: Any = None


@dataclass(slots=True)
class _Draft:
    values: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


def read(steps: Any, media: str) -> list[Step]:
    """Read the body of a patch. Raises: BadRequest."""
    if not isinstance(steps, list | tuple):
        raise BadRequest("Request body must be a JSON array of operation objects.")
    return [_read_step(item, media) for item in steps]


def _read_step(item: Any, media: str) -> Step:
    if not isinstance(item, dict):
        raise BadRequest("Operations must be JSON objects.")
    if media == V20:
        verbs = [verb for verb in _VERBS if verb in item]
        if len(verbs) != 1:
            raise BadRequest(
                "Operation objects must contain only one member named add, remove or replace."
            )
        verb: Any = verbs[0]
        path = item[verb]
    else:
        verb, path = item.get("op"), item.get("path")
        if verb is None:
            raise BadRequest("Unable to find 'op' in JSON Schema change.")
        if verb not in _VERBS:
            raise BadRequest(f"Operations must be one of {', '.join(_VERBS)}.")
    if verb != "remove" and "value" not in item:
        raise BadRequest(f"Operation {verb!r} requires a member named 'value'.")
    return Step(verb, _name(path), item.get("value"))


def _name(path: Any) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadRequest(f"Pointer {str(path)[:64]!r} does not start with '/'.")
    parts = path[1:].split("/")
    if len(parts) != 1:
        raise BadRequest(f"Invalid JSON pointer for this resource: {path[:64]!r}")
    name = parts[0]
    if "~" in name.replace("~0", "").replace("~1", ""):
        raise BadRequest(f"Pointer {path[:64]!r} contains '~' not part of a recognized escape.")
    if not name:
        raise BadRequest("Pointer contains an empty attribute name.")
    return name.replace("~1", "/").replace("~0", "~")


def apply(ctx: Context, tx: Tx, image: Image, steps: Sequence[Step], shape: type[Struct]) -> Image:
    """Make the changes, all or none. shape: what checks the values of base attributes.

    Raises: BadRequest, NoSuchProperty, NotRemovable, ReadOnlyAttribute, OnlyWhenQueued, …
    """
    deps: Deps = tx.deps
    draft = _Draft(properties=dict(image.properties))
    for step in steps:
        if step.name in BASE:
            _change_base(ctx, image, draft, step, shape)
        else:
            _change_property(draft, step)
    _check(ctx, deps, image, draft)
    tags = draft.values.pop("tags", None)
    if tags is not None:
        store.set_tags(tx, image.id, image.tags, tags)
    store.set_properties(tx, image.id, image.properties, draft.properties)
    if "owner" in draft.values:
        draft.values["project_id"] = draft.values.pop("owner")
    if steps:
        store.update(tx, image, **draft.values)
    fresh = store.get(tx, image.id, ctx.project_id)
    assert fresh is not None
    return fresh


def _change_base(
    ctx: Context, image: Image, draft: _Draft, step: Step, shape: type[Struct]
) -> None:
    if step.verb == "remove":
        raise NotRemovable(name=step.name)
    if step.name in ("disk_format", "container_format") and image.status != QUEUED:
        raise OnlyWhenQueued(name=step.name)
    if step.name == "owner" and not ctx.is_admin:
        raise ReadOnlyAttribute(name=step.name)
    try:
        parsed = shape.parse({step.name: step.value})
    except Invalid as error:
        raise InvalidField(path=error.path, reason=error.reason) from None
    draft.values[step.name] = parsed.get(step.name)


def _change_property(draft: _Draft, step: Step) -> None:
    check_property_name(step.name)
    if step.verb != "add" and step.name not in draft.properties:
        raise NoSuchProperty(name=step.name)
    if step.verb == "remove":
        del draft.properties[step.name]
        return
    check_value(step.name, step.value)
    draft.properties[step.name] = step.value


def _check(ctx: Context, deps: Deps, image: Image, draft: _Draft) -> None:
    limit = deps.options.image_property_quota
    count = len(draft.properties)
    if 0 <= limit < count and count > len(image.properties):
        raise TooMany(what="properties", asked=count, limit=limit)
    values: Mapping[str, Any] = draft.values
    if "tags" in values:
        draft.values["tags"] = check_tags(deps, values["tags"])
    visibility = values.get("visibility", image.visibility)
    if visibility != image.visibility:
        target = {**image_target(ctx, image), "visibility": visibility or SHARED}
        check_visibility(deps, ctx, visibility, target)
    check_formats(
        deps,
        values.get("disk_format", image.disk_format),
        values.get("container_format", image.container_format),
    )
