"""JSON schemas of metadata definitions."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import TOKEN, Struct, operation
from gureum.glance.api.metadef_shapes import (
    AssociationView,
    NamespaceView,
    ObjectView,
    PropertyView,
    TagView,
)


def _one(name: str, shape: type[Struct], *required: str) -> dict[str, Any]:
    return {
        "name": name,
        "properties": shape.schema()["properties"],
        "additionalProperties": False,
        "required": list(required),
    }


def _many(name: str, item: dict[str, Any], *, by_name: bool = False) -> dict[str, Any]:
    listed = (
        {"type": "object", "additionalProperties": item}
        if by_name
        else {"type": "array", "items": item}
    )
    links = {key: {"type": "string"} for key in ("first", "next", "schema")}
    return {
        "name": name,
        "properties": {name: listed, **links},
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


_NAMESPACE = _one("namespace", NamespaceView, "namespace")
_OBJECT = _one("object", ObjectView, "name")
_PROPERTY = _one("property", PropertyView, "name", "title", "type")
_TAG = _one("tag", TagView, "name")
_ASSOCIATION = _one("resource_type_association", AssociationView, "name")


@operation("GET", "/schemas/metadefs/namespace", policy=TOKEN)
def show_namespace_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a namespace."""
    return _NAMESPACE


@operation("GET", "/schemas/metadefs/namespaces", policy=TOKEN)
def show_namespaces_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of namespaces."""
    return _many("namespaces", _NAMESPACE)


@operation("GET", "/schemas/metadefs/object", policy=TOKEN)
def show_object_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of an object."""
    return _OBJECT


@operation("GET", "/schemas/metadefs/objects", policy=TOKEN)
def show_objects_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of objects."""
    return _many("objects", _OBJECT)


@operation("GET", "/schemas/metadefs/property", policy=TOKEN)
def show_property_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a property."""
    return _PROPERTY


@operation("GET", "/schemas/metadefs/properties", policy=TOKEN)
def show_properties_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of properties."""
    return _many("properties", _PROPERTY, by_name=True)


@operation("GET", "/schemas/metadefs/tag", policy=TOKEN)
def show_tag_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a tag definition."""
    return _TAG


@operation("GET", "/schemas/metadefs/tags", policy=TOKEN)
def show_tags_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of tag definitions."""
    return _many("tags", _TAG)


@operation("GET", "/schemas/metadefs/resource_type", policy=TOKEN)
def show_resource_type_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a resource type association."""
    return _ASSOCIATION


@operation("GET", "/schemas/metadefs/resource_types", policy=TOKEN)
def show_resource_types_schema(ctx: Context, tx: Tx) -> Any:
    """Show the schema of a list of resource type associations."""
    return _many("resource_type_associations", _ASSOCIATION)
