"""JSON schemas of images and members, for clients that build their models from them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import TOKEN, Struct, operation
from gureum.glance.api.shapes import ImageView, MemberView
from gureum.glance.api.tasks import TaskView
from gureum.glance.logic.deps import Deps
from gureum.glance.model import READ_ONLY

_LOCATIONS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "url": {"type": "string", "maxLength": 4096},
            "metadata": {"type": "object"},
            "validation_data": {
                "type": "object",
                "writeOnly": True,
                "additionalProperties": False,
                "properties": {
                    name: {"type": "string"}
                    for name in ("checksum", "os_hash_algo", "os_hash_value")
                },
            },
        },
        "required": ["url", "metadata"],
    },
}
_SELF = {"rel": "self", "href": "{self}"}


def _properties(shape: type[Struct], read_only: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = shape.schema()["properties"]
    for name, schema in found.items():
        if name in read_only:
            schema["readOnly"] = True
    return found


def _image(deps: Deps) -> dict[str, Any]:
    properties = _properties(ImageView, READ_ONLY - {"id"})
    for name in ("disk_format", "container_format"):
        known = getattr(deps.options, f"{name}s")
        properties[name] = {**properties[name], "enum": [None, *known]}
        properties[name].pop("maxLength", None)
    properties["stores"] = {"type": "string", "readOnly": True}
    properties["direct_url"] = {"type": "string", "readOnly": True}
    if deps.options.show_multiple_locations:
        properties["locations"] = _LOCATIONS
    return {
        "name": "image",
        "properties": properties,
        "additionalProperties": {"type": "string"},
        "links": [
            _SELF,
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def _list_of(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def _member() -> dict[str, Any]:
    return {"name": "member", "properties": _properties(MemberView, ())}


@operation("GET", "/schemas/image", policy=TOKEN)
def show_image_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of an image."""
    return _image(tx.deps)


@operation("GET", "/schemas/images", policy=TOKEN)
def show_images_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of images."""
    return _list_of("images", _image(tx.deps))


@operation("GET", "/schemas/member", policy=TOKEN)
def show_member_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a member."""
    return _member()


@operation("GET", "/schemas/members", policy=TOKEN)
def show_members_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of members."""
    listed = _list_of("members", _member())
    listed["links"] = [{"rel": "describedby", "href": "{schema}"}]
    listed["properties"] = {name: listed["properties"][name] for name in ("members", "schema")}
    return listed


@operation("GET", "/schemas/task", policy=TOKEN)
def show_task_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a task."""
    return {"name": "task", "properties": _properties(TaskView, ())}


@operation("GET", "/schemas/tasks", policy=TOKEN)
def show_tasks_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of tasks."""
    return _list_of("tasks", {"name": "task", "properties": _properties(TaskView, ())})
