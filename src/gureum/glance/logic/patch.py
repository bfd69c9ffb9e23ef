"""Changing an image by JSON patch, in the two forms that the Image API documents.

v2.1: [{"op": "replace", "path": "/name", "value": …}]; v2.0: [{"replace": "/name", "value": …}].
Follows: Image API v2, "HTTP PATCH media types", and RFC 6902 for the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Invalid, InvalidField, Struct
from gureum.glance.errors import (
    BadLocation,
    LocationsOff,
    NoSuchProperty,
    NotRemovable,
    OnlyWhenQueued,
    ReadOnlyAttribute,
    TooMany,
)
from gureum.glance.logic import places
from gureum.glance.logic.access import image_target, load
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.images import (
    check_formats,
    check_property_name,
    check_tags,
    check_value,
    check_visibility,
)
from gureum.glance.model import QUEUED, RESERVED_PREFIX, SHARED, Image
from gureum.glance.store import images as store

V20 = "application/openstack-images-v2.0-json-patch"
V21 = "application/openstack-images-v2.1-json-patch"
_VERBS = ("add", "replace", "remove")
LOCATIONS = "locations"
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
    """One change. value: None for a removal. at: the place in the list of locations; -1 for its end.

    size: of what is at the URL of a location, in bytes.
    """

    verb: str
    name: str
    value: Any = None
    at: int | None = None
    size: int | None = None


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
    name, at = _name(path)
    return Step(verb, name, item.get("value"), at)


def _name(path: Any) -> tuple[str, int | None]:
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadRequest(f"Pointer {str(path)[:64]!r} does not start with '/'.")
    parts = path[1:].split("/")
    at = None
    if len(parts) == 2 and parts[0] == LOCATIONS and (parts[1] == "-" or parts[1].isdecimal()):
        at = -1 if parts[1] == "-" else int(parts[1][:6])
    elif len(parts) != 1:
        raise BadRequest(f"Invalid JSON pointer for this resource: {path[:64]!r}")
    name = parts[0]
    if "~" in name.replace("~0", "").replace("~1", ""):
        raise BadRequest(f"Pointer {path[:64]!r} contains '~' not part of a recognized escape.")
    if not name:
        raise BadRequest("Pointer contains an empty attribute name.")
    return name.replace("~1", "/").replace("~0", "~"), at


def prepare(ctx: Context, deps: Deps, image: Image, steps: Sequence[Step]) -> list[Step]:
    """Ask what must be asked of others before the transaction: how large new locations are.

    Raises: LocationsOff, PolicyForbidden, BadLocation, Filtered.
    """
    ready = []
    for step in steps:
        if step.name == LOCATIONS and deps.options.show_multiple_locations:
            rule = "delete_image_location" if step.verb == "remove" else "set_image_location"
            deps.policy.enforce(rule, ctx, image_target(ctx, image))
            if step.verb == "add":
                url = step.value.get("url") if isinstance(step.value, dict) else None
                step = replace(step, size=places.size_of(deps, url))
        elif step.name == LOCATIONS:
            raise LocationsOff()
        ready.append(step)
    return ready


def apply(ctx: Context, tx: Tx, image: Image, steps: Sequence[Step], shape: type[Struct]) -> Image:
    """Make the changes, all or none. shape: what checks the values of base attributes.

    Raises: BadRequest, NoSuchProperty, NotRemovable, ReadOnlyAttribute, OnlyWhenQueued, …
    """
    deps: Deps = tx.deps
    image = load(ctx, tx, image.id)
    draft = _Draft(properties=dict(image.properties))
    for step in steps:
        if step.name == LOCATIONS:
            image = _change_locations(ctx, tx, deps, image, step)
        elif step.name in BASE:
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


def _change_locations(ctx: Context, tx: Tx, deps: Deps, image: Image, step: Step) -> Image:
    changed: dict[str, Any] = {}
    if step.verb == "replace" and step.at is None:
        places.replace_all(tx, deps, image, step.value)
    elif step.verb == "add" and step.at is not None and isinstance(step.value, dict):
        at = len(image.locations) if step.at < 0 else min(step.at, len(image.locations))
        changed = places.add_one(tx, deps, image, step.value, at, step.size)
    elif step.verb == "remove" and step.at is not None and step.at >= 0:
        places.remove_one(tx, image, step.at)
    else:
        raise BadLocation(reason="this change is not possible")
    if changed:
        store.update(tx, image, **changed)
    return load(ctx, tx, image.id)


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
    count = sum(1 for name in draft.properties if not name.startswith(RESERVED_PREFIX))
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
