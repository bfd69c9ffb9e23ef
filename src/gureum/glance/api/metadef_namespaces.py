"""Namespaces of metadata definitions, and the resource types they are for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from gureum.core.context import Context
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Page, Reply, operation
from gureum.glance.api.metadef_shapes import (
    AssociationNew,
    AssociationView,
    NamespaceDetailQuery,
    NamespaceNew,
    NamespaceQuery,
    NamespaceUpdate,
    NamespaceView,
    PropertyBody,
    ResourceTypeView,
    given,
    property_json,
    shown_association,
    shown_namespace,
    shown_object,
    shown_tag,
)
from gureum.glance.errors import (
    DefinitionExists,
    DefinitionNotFound,
    ProtectedDefinition,
)
from gureum.glance.logic.access import sees_all
from gureum.glance.store import metadefs as store
from gureum.glance.store.metadefs import OBJECT, PROPERTY, TAG, Namespace


def load_namespace(ctx: Context, tx: Tx, name: str) -> Namespace:
    """Return a namespace that the caller can see. Raises: DefinitionNotFound."""
    found = store.get(tx, name)
    if found is None or not (
        sees_all(ctx) or found.visibility == "public" or found.project_id == ctx.project_id
    ):
        raise DefinitionNotFound(what="namespace", name=name[:80])
    return found


def namespace_target(ctx: Context, found: Namespace | None, new: Any) -> Mapping[str, Any]:
    """Return what a rule about a namespace is checked against."""
    if found is None:
        return {"project_id": ctx.project_id}
    return {"project_id": found.project_id, "visibility": found.visibility}


def refuse_protected(found: Namespace) -> None:
    """Keep what a protected namespace holds. Raises: ProtectedDefinition."""
    if found.protected:
        raise ProtectedDefinition(name=found.namespace)


def _detailed(tx: Tx, found: Namespace, resource_type: str | None = None) -> dict[str, Any]:
    name = found.namespace
    shown = shown_namespace(found)
    linked = store.associations_of(tx, [name])
    prefix = next((a.prefix for a in linked if a.name == resource_type and a.prefix), "")
    parts: dict[str, Any] = {
        "properties": {
            prefix + item.name: property_json(item) for item in store.items_of(tx, name, PROPERTY)
        },
        "objects": [shown_object(item) for item in store.items_of(tx, name, OBJECT)],
        "tags": [shown_tag(item) for item in store.items_of(tx, name, TAG)],
        "resource_type_associations": [shown_association(found) for found in linked],
    }
    return shown | {key: value for key, value in parts.items() if value}


@operation(
    "POST",
    "/metadefs/namespaces",
    policy="add_metadef_namespace",
    request=NamespaceNew,
    response=NamespaceView,
    errors=(DefinitionExists,),
)
def create_namespace(ctx: Context, tx: Tx, new: NamespaceNew) -> Any:
    """Create a namespace, perhaps with properties, objects, tags and resource types."""
    name = new.namespace
    if store.get(tx, name) is not None:
        raise DefinitionExists(what="namespace", name=name)
    try:
        store.insert(
            tx,
            namespace=name,
            display_name=new.get("display_name"),
            description=new.get("description"),
            visibility=new.get("visibility", "private"),
            protected=new.get("protected", False),
            project_id=new.get("owner") or ctx.project_id,
        )
        for key, body in (new.get("properties") or {}).items():
            store.add_item(tx, name, PROPERTY, key, given(PropertyBody.parse(body)))
        for part in new.get("objects") or ():
            store.add_item(tx, name, OBJECT, part.name, given(part))
        for part in new.get("tags") or ():
            store.add_item(tx, name, TAG, part.name, {})
        for part in new.get("resource_type_associations") or ():
            store.associate(tx, name, part.name, **given(part))
    except RowConflict:
        raise DefinitionExists(what="namespace or something in it:", name=name) from None
    found = store.get(tx, name)
    assert found is not None
    location = f"{ctx.base_url}/metadefs/namespaces/{quote(name, safe='')}"
    return Reply(_detailed(tx, found), headers=[("Location", location)])


@operation(
    "GET",
    "/metadefs/namespaces",
    policy="get_metadef_namespaces",
    query=NamespaceQuery,
    items=NamespaceView,
    response_wrap="namespaces",
)
def list_namespaces(ctx: Context, tx: Tx, query: NamespaceQuery) -> Any:
    """List the project's namespaces and the public ones."""
    visible = store.visible_to(ctx.project_id, sees_all(ctx))
    if query.has("visibility"):
        visible = visible & store.of_visibility(query.visibility)
    if query.sort_key not in store.SORTABLE:
        raise BadRequest(f"Invalid sort_key value: {query.sort_key[:64]}")
    options = tx.deps.options
    limit = min(query.get("limit", options.limit_param_default), options.api_limit_max)
    marker = load_namespace(ctx, tx, query.marker) if query.get("marker") else None
    order = (query.sort_key, query.sort_dir == "desc")
    types = query.get("resource_types") or ()
    found, more = store.page(tx, visible, types, order, marker, limit) if limit else ([], False)
    linked = defaultdict(list)
    for association in store.associations_of(tx, [item.namespace for item in found]):
        linked[association.namespace].append(shown_association(association))
    shown = [
        shown_namespace(item)
        | ({"resource_type_associations": linked[item.namespace]} if linked[item.namespace] else {})
        for item in found
    ]
    extra = {"schema": "/v2/schemas/metadefs/namespaces", "first": _link(query, None)}
    if more:
        extra["next"] = _link(query, found[-1].namespace)
    return Page(shown, extra=extra)


def _link(query: NamespaceQuery, marker: str | None) -> str:
    pairs = [
        (name, ",".join(value) if isinstance(value, tuple) else str(value))
        for name, value in query.items()
        if query.has(name) and name != "marker"
    ]
    if marker is not None:
        pairs.append(("marker", marker))
    return "/v2/metadefs/namespaces" + (f"?{urlencode(pairs)}" if pairs else "")


@operation(
    "GET",
    "/metadefs/namespaces/{namespace_name}",
    policy="get_metadef_namespace",
    load=load_namespace,
    target=namespace_target,
    query=NamespaceDetailQuery,
    response=NamespaceView,
    errors=(DefinitionNotFound,),
)
def show_namespace(ctx: Context, tx: Tx, found: Namespace, query: NamespaceDetailQuery) -> Any:
    """Show a namespace with everything in it."""
    return _detailed(tx, found, query.get("resource_type"))


@operation(
    "PUT",
    "/metadefs/namespaces/{namespace_name}",
    policy="modify_metadef_namespace",
    load=load_namespace,
    target=namespace_target,
    request=NamespaceUpdate,
    response=NamespaceView,
    errors=(DefinitionNotFound, DefinitionExists),
)
def update_namespace(ctx: Context, tx: Tx, found: Namespace, new: NamespaceUpdate) -> Any:
    """Replace the attributes of a namespace; what is in it stays."""
    name = new.namespace
    if name != found.namespace and store.get(tx, name) is not None:
        raise DefinitionExists(what="namespace", name=name)
    store.update(
        tx,
        found.namespace,
        namespace=name,
        display_name=new.get("display_name"),
        description=new.get("description"),
        visibility=new.get("visibility", "private"),
        protected=new.get("protected", False),
        project_id=new.get("owner") or found.project_id,
    )
    fresh = store.get(tx, name)
    assert fresh is not None
    return shown_namespace(fresh)


@operation(
    "DELETE",
    "/metadefs/namespaces/{namespace_name}",
    policy="delete_metadef_namespace",
    load=load_namespace,
    target=namespace_target,
    errors=(DefinitionNotFound, ProtectedDefinition),
)
def delete_namespace(ctx: Context, tx: Tx, found: Namespace) -> None:
    """Delete a namespace with everything in it."""
    refuse_protected(found)
    store.delete(tx, found.namespace)


# -- resource types ----------------------------------------------------------------------------------


@operation(
    "GET",
    "/metadefs/resource_types",
    policy="list_metadef_resource_types",
    items=ResourceTypeView,
    response_wrap="resource_types",
)
def list_resource_types(ctx: Context, tx: Tx) -> Any:
    """List the kinds of resources that carry metadata."""
    return [
        {"name": row.name, "created_at": row.created_at, "updated_at": row.created_at}
        for row in store.all_resource_types(tx)
    ]


@operation(
    "POST",
    "/metadefs/namespaces/{namespace_name}/resource_types",
    policy="add_metadef_resource_type_association",
    load=load_namespace,
    target=namespace_target,
    request=AssociationNew,
    response=AssociationView,
    errors=(DefinitionNotFound, DefinitionExists),
)
def create_association(ctx: Context, tx: Tx, found: Namespace, new: AssociationNew) -> Any:
    """Say that a namespace is for a resource type."""
    if any(a.name == new.name for a in store.associations_of(tx, [found.namespace])):
        raise DefinitionExists(what="resource type association", name=new.name)
    try:
        return shown_association(store.associate(tx, found.namespace, new.name, **given(new)))
    except RowConflict:
        raise DefinitionExists(what="resource type association", name=new.name) from None


@operation(
    "GET",
    "/metadefs/namespaces/{namespace_name}/resource_types",
    policy="get_metadef_resource_type",
    load=load_namespace,
    target=namespace_target,
    items=AssociationView,
    response_wrap="resource_type_associations",
    errors=(DefinitionNotFound,),
)
def list_associations(ctx: Context, tx: Tx, found: Namespace) -> Any:
    """List the resource types that a namespace is for."""
    return [shown_association(item) for item in store.associations_of(tx, [found.namespace])]


@dataclass(frozen=True, slots=True)
class _Linked:
    """A namespace and the name of one of its resource types."""

    namespace: Namespace
    name: str


def load_linked(ctx: Context, tx: Tx, namespace: str, name: str) -> _Linked:
    """Return a namespace and the resource type of the path. Raises: DefinitionNotFound."""
    return _Linked(load_namespace(ctx, tx, namespace), name)


@operation(
    "DELETE",
    "/metadefs/namespaces/{namespace_name}/resource_types/{name}",
    policy="remove_metadef_resource_type_association",
    load=load_linked,
    target=lambda ctx, linked, new: namespace_target(ctx, linked and linked.namespace, new),
    errors=(DefinitionNotFound, ProtectedDefinition),
)
def delete_association(ctx: Context, tx: Tx, linked: _Linked) -> None:
    """End that a namespace is for a resource type."""
    refuse_protected(linked.namespace)
    if not store.dissociate(tx, linked.namespace.namespace, linked.name):
        raise DefinitionNotFound(what="resource type association", name=linked.name[:80])
