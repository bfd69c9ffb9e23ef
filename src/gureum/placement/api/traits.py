"""Traits, resource classes and aggregates."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Conflict,
    Id,
    Integer,
    ListOf,
    Reply,
    String,
    Struct,
    operation,
)
from gureum.placement.api.common import Versioned, load_provider, touch
from gureum.placement.errors import (
    ClassNotFound,
    ConcurrentUpdate,
    InUse,
    ProviderNotFound,
    TraitNotFound,
)
from gureum.placement.logic import names
from gureum.placement.store import providers as store
from gureum.placement.store.tables import (
    allocations,
    custom_classes,
    custom_traits,
    inventories,
    provider_traits,
)


class TraitQuery(Struct, extra="ignore"):
    """Filters."""

    name = String("`in:A,B` or `startswith:P`.", max=None)
    associated = String("true or false: whether a provider has it.")


class Traits(Struct):
    """The traits of a provider."""

    traits = ListOf(String("Trait.", min=1), "Traits.", required=True, unique=True)
    resource_provider_generation = Integer("Generation that was read.", required=True)


class Aggregates(Struct):
    """The aggregates of a provider."""

    aggregates = ListOf(Id("Aggregate.", uuid=True), "Aggregates.", required=True, unique=True)
    resource_provider_generation = Integer("Generation that was read.", required=True)


class ResourceClass(Struct):
    """A resource class."""

    name = String("Name.", required=True)


@operation("GET", "/traits", policy="placement:traits:list", query=TraitQuery, since="1.6")
def list_traits(ctx: Context, tx: Tx, query: TraitQuery) -> Any:
    """List traits."""
    own = {row.name for row in tx.all(sa.select(custom_traits))}
    found = set(names.STANDARD_TRAITS) | own
    wanted = query.get("name")
    if wanted is not None:
        kind, _, rest = wanted.partition(":")
        if kind == "in":
            found &= set(rest.split(","))
        elif kind == "startswith":
            found = {name for name in found if name.startswith(rest)}
        else:
            raise BadRequest("Badly formatted name parameter: 'in:' or 'startswith:' is expected.")
    if query.has("associated"):
        if query.associated.lower() not in ("true", "false"):
            raise BadRequest("associated is 'true' or 'false'.")
        used = {row.trait for row in tx.all(sa.select(provider_traits.c.trait).distinct())}
        found = found & used if query.associated.lower() == "true" else found - used
    return {"traits": sorted(found)}


def _known(tx: Tx, name: str) -> bool:
    return not names.unknown_traits(tx, [name])


@operation("GET", "/traits/{name}", policy="placement:traits:show", since="1.6", status=204)
def show_trait(ctx: Context, tx: Tx, name: str) -> None:
    """Ask whether a trait exists."""
    if not _known(tx, name):
        raise TraitNotFound(name=name)


@operation("PUT", "/traits/{name}", policy="placement:traits:update", since="1.6")
def put_trait(ctx: Context, tx: Tx, name: str) -> Any:
    """Create a custom trait; a second time changes nothing."""
    headers = [("Location", f"/traits/{name}")]
    names.check_custom(name, "trait")
    if _known(tx, name):
        return Reply(None, status=204, headers=headers)
    tx.insert(custom_traits, name=name)
    return Reply(None, status=201, headers=headers)


@operation(
    "DELETE",
    "/traits/{name}",
    policy="placement:traits:delete",
    since="1.6",
    errors=(TraitNotFound, InUse),
)
def delete_trait(ctx: Context, tx: Tx, name: str) -> None:
    """Delete a custom trait that no provider has."""
    if name in names.STANDARD_TRAITS:
        raise BadRequest("A standard trait cannot be deleted.")
    if tx.first(sa.select(provider_traits.c.trait).where(provider_traits.c.trait == name)):
        raise InUse(what=f"The trait {name}")
    if tx.delete_by(custom_traits.c.name, name) == 0:
        raise TraitNotFound(name=name)


def _traits(tx: Tx, uuid: str, generation: int) -> dict[str, Any]:
    return {
        "traits": store.traits_of(tx, [uuid]).get(uuid, []),
        "resource_provider_generation": generation,
    }


@operation(
    "GET",
    "/resource_providers/{uuid}/traits",
    since="1.6",
    load=load_provider,
    policy="placement:resource_providers:traits:list",
    errors=(ProviderNotFound,),
)
def list_provider_traits(ctx: Context, tx: Tx, provider: Any) -> Any:
    """List the traits of a provider."""
    return _traits(tx, provider.uuid, provider.generation)


@operation(
    "PUT",
    "/resource_providers/{uuid}/traits",
    since="1.6",
    load=load_provider,
    request=Traits,
    policy="placement:resource_providers:traits:update",
    errors=(ProviderNotFound, ConcurrentUpdate),
)
def replace_provider_traits(ctx: Context, tx: Tx, provider: Any, new: Traits) -> Any:
    """Replace the traits of a provider."""
    names.need_traits(tx, new.traits)
    generation = touch(tx, provider, new.resource_provider_generation)
    store.replace_traits(tx, provider.uuid, new.traits)
    return _traits(tx, provider.uuid, generation)


@operation(
    "DELETE",
    "/resource_providers/{uuid}/traits",
    since="1.6",
    load=load_provider,
    policy="placement:resource_providers:traits:delete",
    errors=(ProviderNotFound,),
)
def delete_provider_traits(ctx: Context, tx: Tx, provider: Any) -> None:
    """Remove all traits of a provider."""
    touch(tx, provider, None)
    store.replace_traits(tx, provider.uuid, [])


def _aggregates(tx: Tx, query: Versioned, uuid: str, generation: int) -> dict[str, Any]:
    out: dict[str, Any] = {"aggregates": sorted(store.aggregates_of(tx, [uuid]).get(uuid, []))}
    if query.has_generation:
        out["resource_provider_generation"] = generation
    return out


@operation(
    "GET",
    "/resource_providers/{uuid}/aggregates",
    since="1.1",
    load=load_provider,
    query=Versioned,
    policy="placement:resource_providers:aggregates:list",
    errors=(ProviderNotFound,),
)
def list_aggregates(ctx: Context, tx: Tx, provider: Any, query: Versioned) -> Any:
    """List the aggregates of a provider."""
    return _aggregates(tx, query, provider.uuid, provider.generation)


@operation(
    "PUT",
    "/resource_providers/{uuid}/aggregates",
    since="1.19",
    load=load_provider,
    query=Versioned,
    request=Aggregates,
    policy="placement:resource_providers:aggregates:update",
    errors=(ProviderNotFound, ConcurrentUpdate),
)
def replace_aggregates(
    ctx: Context, tx: Tx, provider: Any, query: Versioned, new: Aggregates
) -> Any:
    """Replace the aggregates of a provider."""
    generation = touch(tx, provider, new.resource_provider_generation)
    store.replace_aggregates(tx, provider.uuid, new.aggregates)
    return _aggregates(tx, query, provider.uuid, generation)


# -- resource classes ------------------------------------------------------------------------------


def _class(name: str) -> dict[str, Any]:
    here = f"/resource_classes/{name}"
    return {"name": name, "links": [{"rel": "self", "href": here}]}


@operation("GET", "/resource_classes", policy="placement:resource_classes:list", since="1.2")
def list_classes(ctx: Context, tx: Tx) -> Any:
    """List resource classes."""
    own = sorted(row.name for row in tx.all(sa.select(custom_classes)))
    return {"resource_classes": [_class(name) for name in (*names.STANDARD_CLASSES, *own)]}


@operation(
    "POST",
    "/resource_classes",
    policy="placement:resource_classes:create",
    since="1.2",
    request=ResourceClass,
    errors=(Conflict,),
)
def create_class(ctx: Context, tx: Tx, new: ResourceClass) -> Any:
    """Create a custom resource class."""
    names.check_custom(new.name, "resource class")
    try:
        tx.insert(custom_classes, name=new.name)
    except RowConflict:
        raise Conflict(f"Conflicting resource class already exists: {new.name}") from None
    return Reply(None, headers=[("Location", f"/resource_classes/{new.name}")])


def _has_class(tx: Tx, name: str) -> bool:
    own = sa.select(custom_classes.c.name).where(custom_classes.c.name == name)
    return name in names.STANDARD_CLASSES or tx.first(own) is not None


@operation(
    "GET",
    "/resource_classes/{name}",
    policy="placement:resource_classes:show",
    since="1.2",
    errors=(ClassNotFound,),
)
def show_class(ctx: Context, tx: Tx, name: str) -> Any:
    """Show a resource class."""
    if not _has_class(tx, name):
        raise ClassNotFound(name=name)
    return _class(name)


@operation(
    "PUT", "/resource_classes/{name}", policy="placement:resource_classes:update", since="1.7"
)
def put_class(ctx: Context, tx: Tx, name: str) -> Any:
    """Create a custom resource class; a second time changes nothing."""
    names.check_custom(name, "resource class")
    headers = [("Location", f"/resource_classes/{name}")]
    if _has_class(tx, name):
        return Reply(None, status=204, headers=headers)
    tx.insert(custom_classes, name=name)
    return Reply(None, status=201, headers=headers)


@operation(
    "PUT",
    "/resource_classes/{name}",
    policy="placement:resource_classes:update",
    since="1.2",
    until="1.6",
    request=ResourceClass,
    errors=(ClassNotFound,),
)
def rename_class(ctx: Context, tx: Tx, name: str, new: ResourceClass) -> Any:
    """Rename a custom resource class that nothing uses."""
    if not _has_class(tx, name):
        raise ClassNotFound(name=name)
    names.check_custom(new.name, "resource class")
    _refuse_used_class(tx, name)
    if tx.update_by(custom_classes.c.name, name, name=new.name) == 0:
        raise BadRequest("A standard resource class cannot be renamed.")
    return _class(new.name)


@operation(
    "DELETE",
    "/resource_classes/{name}",
    policy="placement:resource_classes:delete",
    since="1.2",
    errors=(ClassNotFound, InUse),
)
def delete_class(ctx: Context, tx: Tx, name: str) -> None:
    """Delete a custom resource class that nothing uses."""
    if not _has_class(tx, name):
        raise ClassNotFound(name=name)
    if name in names.STANDARD_CLASSES:
        raise BadRequest("Error in delete resource class: Cannot delete standard resource class.")
    _refuse_used_class(tx, name)
    tx.delete_by(custom_classes.c.name, name)


def _refuse_used_class(tx: Tx, name: str) -> None:
    for table in (inventories, allocations):
        if tx.first(sa.select(table.c.resource_class).where(table.c.resource_class == name)):
            raise InUse(what=f"The resource class {name}")
