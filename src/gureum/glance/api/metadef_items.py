"""What is in a namespace of metadata definitions: objects, properties and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Page, operation
from gureum.glance.api.metadef_namespaces import (
    load_namespace,
    namespace_target,
    refuse_protected,
)
from gureum.glance.api.metadef_shapes import (
    ObjectNew,
    ObjectView,
    PropertyNew,
    PropertyView,
    TagsNew,
    TagUpdate,
    TagView,
    given,
    property_json,
    shown_object,
    shown_property,
    shown_tag,
)
from gureum.glance.errors import DefinitionExists, DefinitionNotFound, ProtectedDefinition
from gureum.glance.store import metadefs as store
from gureum.glance.store.metadefs import OBJECT, PROPERTY, TAG, Item, Namespace

_BASE = "/metadefs/namespaces/{namespace_name}"
_CREATE_ERRORS = (DefinitionNotFound, DefinitionExists)
_DELETE_ERRORS = (DefinitionNotFound, ProtectedDefinition)


@dataclass(frozen=True, slots=True)
class _Held:
    """An item and its namespace."""

    namespace: Namespace
    item: Item


def _loader(kind: str) -> Callable[[Context, Tx, str, str], _Held]:
    def load(ctx: Context, tx: Tx, namespace: str, name: str) -> _Held:
        found = load_namespace(ctx, tx, namespace)
        item = store.item(tx, found.namespace, kind, name)
        if item is None:
            raise DefinitionNotFound(what=kind, name=name[:80])
        return _Held(found, item)

    return load


def _held_target(ctx: Context, held: _Held | None, new: Any) -> Mapping[str, Any]:
    return namespace_target(ctx, held.namespace if held is not None else None, new)


def _add(tx: Tx, found: Namespace, kind: str, name: str, body: Mapping[str, Any]) -> Item:
    if store.item(tx, found.namespace, kind, name) is not None:
        raise DefinitionExists(what=kind, name=name)
    try:
        store.add_item(tx, found.namespace, kind, name, body)
    except RowConflict:
        raise DefinitionExists(what=kind, name=name) from None
    return _get(tx, found, kind, name)


def _get(tx: Tx, found: Namespace, kind: str, name: str) -> Item:
    item = store.item(tx, found.namespace, kind, name)
    assert item is not None
    return item


def _change(tx: Tx, held: _Held, name: str, body: Mapping[str, Any]) -> Item:
    kind = held.item.kind
    if name != held.item.name and store.item(tx, held.namespace.namespace, kind, name) is not None:
        raise DefinitionExists(what=kind, name=name)
    store.change_item(tx, held.item, name, body)
    return _get(tx, held.namespace, kind, name)


def _remove(tx: Tx, held: _Held) -> None:
    refuse_protected(held.namespace)
    store.delete_items(tx, held.namespace.namespace, held.item.kind, held.item.name)


# -- objects -----------------------------------------------------------------------------------------


@operation(
    "POST",
    f"{_BASE}/objects",
    policy="add_metadef_object",
    load=load_namespace,
    target=namespace_target,
    request=ObjectNew,
    response=ObjectView,
    errors=_CREATE_ERRORS,
)
def create_object(ctx: Context, tx: Tx, found: Namespace, new: ObjectNew) -> Any:
    """Create an object in a namespace."""
    return shown_object(_add(tx, found, OBJECT, new.name, given(new)))


@operation(
    "GET",
    f"{_BASE}/objects",
    policy="get_metadef_objects",
    load=load_namespace,
    target=namespace_target,
    items=ObjectView,
    response_wrap="objects",
    errors=(DefinitionNotFound,),
)
def list_objects(ctx: Context, tx: Tx, found: Namespace) -> Any:
    """List the objects of a namespace."""
    shown = [shown_object(item) for item in store.items_of(tx, found.namespace, OBJECT)]
    return Page(shown, extra={"schema": "/v2/schemas/metadefs/objects"})


@operation(
    "DELETE",
    f"{_BASE}/objects",
    policy="delete_metadef_object",
    load=load_namespace,
    target=namespace_target,
    errors=_DELETE_ERRORS,
)
def delete_objects(ctx: Context, tx: Tx, found: Namespace) -> None:
    """Delete every object of a namespace; not in the API reference, but glanceclient asks for it."""
    refuse_protected(found)
    store.delete_items(tx, found.namespace, OBJECT)


@operation(
    "GET",
    f"{_BASE}/objects/{{object_name}}",
    policy="get_metadef_object",
    load=_loader(OBJECT),
    target=_held_target,
    response=ObjectView,
    errors=(DefinitionNotFound,),
)
def show_object(ctx: Context, tx: Tx, held: _Held) -> Any:
    """Show an object."""
    return shown_object(held.item)


@operation(
    "PUT",
    f"{_BASE}/objects/{{object_name}}",
    policy="modify_metadef_object",
    load=_loader(OBJECT),
    target=_held_target,
    request=ObjectNew,
    response=ObjectView,
    errors=_CREATE_ERRORS,
)
def update_object(ctx: Context, tx: Tx, held: _Held, new: ObjectNew) -> Any:
    """Replace an object."""
    return shown_object(_change(tx, held, new.name, given(new)))


@operation(
    "DELETE",
    f"{_BASE}/objects/{{object_name}}",
    policy="delete_metadef_object",
    load=_loader(OBJECT),
    target=_held_target,
    errors=_DELETE_ERRORS,
)
def delete_object(ctx: Context, tx: Tx, held: _Held) -> None:
    """Delete an object."""
    _remove(tx, held)


# -- properties --------------------------------------------------------------------------------------


@operation(
    "POST",
    f"{_BASE}/properties",
    policy="add_metadef_property",
    load=load_namespace,
    target=namespace_target,
    request=PropertyNew,
    response=PropertyView,
    errors=_CREATE_ERRORS,
)
def create_property(ctx: Context, tx: Tx, found: Namespace, new: PropertyNew) -> Any:
    """Create a property in a namespace."""
    return shown_property(_add(tx, found, PROPERTY, new.name, given(new)))


@operation(
    "GET",
    f"{_BASE}/properties",
    policy="get_metadef_properties",
    load=load_namespace,
    target=namespace_target,
    errors=(DefinitionNotFound,),
)
def list_properties(ctx: Context, tx: Tx, found: Namespace) -> Any:
    """List the properties of a namespace, by name."""
    items = store.items_of(tx, found.namespace, PROPERTY)
    return {"properties": {item.name: property_json(item) for item in items}}


@operation(
    "DELETE",
    f"{_BASE}/properties",
    policy="remove_metadef_property",
    load=load_namespace,
    target=namespace_target,
    errors=_DELETE_ERRORS,
)
def delete_properties(ctx: Context, tx: Tx, found: Namespace) -> None:
    """Delete every property of a namespace; not in the API reference, but glanceclient asks for it."""
    refuse_protected(found)
    store.delete_items(tx, found.namespace, PROPERTY)


@operation(
    "GET",
    f"{_BASE}/properties/{{property_name}}",
    policy="get_metadef_property",
    load=_loader(PROPERTY),
    target=_held_target,
    response=PropertyView,
    errors=(DefinitionNotFound,),
)
def show_property(ctx: Context, tx: Tx, held: _Held) -> Any:
    """Show a property."""
    return shown_property(held.item)


@operation(
    "PUT",
    f"{_BASE}/properties/{{property_name}}",
    policy="modify_metadef_property",
    load=_loader(PROPERTY),
    target=_held_target,
    request=PropertyNew,
    response=PropertyView,
    errors=_CREATE_ERRORS,
)
def update_property(ctx: Context, tx: Tx, held: _Held, new: PropertyNew) -> Any:
    """Replace a property."""
    return shown_property(_change(tx, held, new.name, given(new)))


@operation(
    "DELETE",
    f"{_BASE}/properties/{{property_name}}",
    policy="remove_metadef_property",
    load=_loader(PROPERTY),
    target=_held_target,
    errors=_DELETE_ERRORS,
)
def delete_property(ctx: Context, tx: Tx, held: _Held) -> None:
    """Delete a property."""
    _remove(tx, held)


# -- tags --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _NewTag:
    """A namespace and the name of a tag that may not be there yet."""

    namespace: Namespace
    name: str


def _load_new_tag(ctx: Context, tx: Tx, namespace: str, name: str) -> _NewTag:
    if len(name) > 80:
        raise BadRequest("The name of a tag must have 1 to 80 characters.")
    return _NewTag(load_namespace(ctx, tx, namespace), name)


@operation(
    "POST",
    f"{_BASE}/tags/{{tag_name}}",
    policy="add_metadef_tag",
    load=_load_new_tag,
    target=lambda ctx, tag, new: namespace_target(ctx, tag and tag.namespace, new),
    response=TagView,
    errors=_CREATE_ERRORS,
)
def create_tag(ctx: Context, tx: Tx, tag: _NewTag) -> Any:
    """Create a tag definition in a namespace."""
    return shown_tag(_add(tx, tag.namespace, TAG, tag.name, {}))


@operation(
    "POST",
    f"{_BASE}/tags",
    policy="add_metadef_tags",
    load=load_namespace,
    target=namespace_target,
    request=TagsNew,
    items=TagView,
    response_wrap="tags",
    headers=("x-openstack-append",),
    errors=_CREATE_ERRORS,
)
def create_tags(
    ctx: Context, tx: Tx, found: Namespace, new: TagsNew, headers: Mapping[str, str]
) -> Any:
    """Create tag definitions; they take the place of those before, unless they are appended."""
    if headers.get("x-openstack-append", "").lower() != "true":
        store.delete_items(tx, found.namespace, TAG)
    return [shown_tag(_add(tx, found, TAG, tag.name, {})) for tag in new.tags]


@operation(
    "GET",
    f"{_BASE}/tags",
    policy="get_metadef_tags",
    load=load_namespace,
    target=namespace_target,
    items=TagView,
    response_wrap="tags",
    errors=(DefinitionNotFound,),
)
def list_tags(ctx: Context, tx: Tx, found: Namespace) -> Any:
    """List the tag definitions of a namespace."""
    shown = [shown_tag(item) for item in store.items_of(tx, found.namespace, TAG)]
    return Page(shown, extra={"schema": "/v2/schemas/metadefs/tags"})


@operation(
    "DELETE",
    f"{_BASE}/tags",
    policy="delete_metadef_tags",
    load=load_namespace,
    target=namespace_target,
    errors=_DELETE_ERRORS,
)
def delete_tags(ctx: Context, tx: Tx, found: Namespace) -> None:
    """Delete every tag definition of a namespace."""
    refuse_protected(found)
    store.delete_items(tx, found.namespace, TAG)


@operation(
    "GET",
    f"{_BASE}/tags/{{tag_name}}",
    policy="get_metadef_tag",
    load=_loader(TAG),
    target=_held_target,
    response=TagView,
    errors=(DefinitionNotFound,),
)
def show_tag(ctx: Context, tx: Tx, held: _Held) -> Any:
    """Show a tag definition."""
    return shown_tag(held.item)


@operation(
    "PUT",
    f"{_BASE}/tags/{{tag_name}}",
    policy="modify_metadef_tag",
    load=_loader(TAG),
    target=_held_target,
    request=TagUpdate,
    response=TagView,
    errors=_CREATE_ERRORS,
)
def update_tag(ctx: Context, tx: Tx, held: _Held, new: TagUpdate) -> Any:
    """Rename a tag definition."""
    return shown_tag(_change(tx, held, new.name, {}))


@operation(
    "DELETE",
    f"{_BASE}/tags/{{tag_name}}",
    policy="delete_metadef_tag",
    load=_loader(TAG),
    target=_held_target,
    errors=_DELETE_ERRORS,
)
def delete_tag_definition(ctx: Context, tx: Tx, held: _Held) -> None:
    """Delete a tag definition."""
    _remove(tx, held)
