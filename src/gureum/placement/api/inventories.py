"""Inventories: how much of a resource class a provider has."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Behaviour,
    Integer,
    InvalidField,
    MapOf,
    Number,
    Reply,
    String,
    Struct,
    operation,
)
from gureum.placement.api.common import Versioned, load_provider, touch
from gureum.placement.errors import (
    ConcurrentUpdate,
    InventoryInUse,
    InventoryNotFound,
    ProviderNotFound,
)
from gureum.placement.logic import names
from gureum.placement.store import providers as store
from gureum.placement.store.tables import allocations

_FIELDS = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")


class Inventory(Struct):
    """One inventory. Amounts are in the unit of the resource class."""

    total = Integer("Amount there is.", min=1, required=True, strict=True)
    reserved = Integer("Amount kept back.", min=0, default=0, strict=True)
    min_unit = Integer("Least amount of an allocation.", min=1, default=1, strict=True)
    max_unit = Integer("Most amount of an allocation.", min=1, default=2**31 - 1, strict=True)
    step_size = Integer("Allocations are multiples of it.", min=1, default=1, strict=True)
    allocation_ratio = Number("Overcommitment.", min=0, max=3.40282e38, default=1.0)
    may_reserve_all = Behaviour("reserved may be the total.", since="1.26")

    def check(self) -> None:
        if self.reserved > self.total or (self.reserved == self.total and not self.may_reserve_all):
            raise InvalidField(path="reserved", reason="It leaves no capacity.")


class OneInventory(Inventory):
    """One inventory with the generation that was read."""

    resource_provider_generation = Integer("Generation that was read.", required=True)


class NewInventory(Inventory):
    """A further inventory."""

    resource_class = String("Class.", required=True)
    resource_provider_generation = Integer("Generation that was read.")


class Inventories(Struct):
    """All inventories of a provider."""

    resource_provider_generation = Integer("Generation that was read.", required=True)
    inventories = MapOf(
        Inventory, "Inventories by class.", required=True, key_pattern=r"[A-Z0-9_]+"
    )


def values_of(new: Inventory) -> dict[str, Any]:
    """Return the columns of an inventory."""
    return {name: getattr(new, name) for name in _FIELDS}


def _shown(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS}


def _all(tx: Tx, uuid: str, generation: int) -> dict[str, Any]:
    found = store.inventories_of(tx, [uuid]).get(uuid, {})
    return {
        "resource_provider_generation": generation,
        "inventories": {name: _shown(row) for name, row in found.items()},
    }


@operation(
    "GET",
    "/resource_providers/{uuid}/inventories",
    load=load_provider,
    policy="placement:resource_providers:inventories:list",
    errors=(ProviderNotFound,),
)
def list_inventories(ctx: Context, tx: Tx, provider: Any) -> Any:
    """List the inventories of a provider."""
    return _all(tx, provider.uuid, provider.generation)


@operation(
    "PUT",
    "/resource_providers/{uuid}/inventories",
    request=Inventories,
    load=load_provider,
    policy="placement:resource_providers:inventories:update",
    errors=(ProviderNotFound, ConcurrentUpdate, InventoryInUse),
)
def replace_inventories(ctx: Context, tx: Tx, provider: Any, new: Inventories) -> Any:
    """Replace all inventories of a provider."""
    names.need_classes(tx, new.inventories)
    generation = touch(tx, provider, new.resource_provider_generation)
    _refuse_used(tx, provider.uuid, set(new.inventories))
    wanted = {name: values_of(item) for name, item in new.inventories.items()}
    store.replace_inventories(tx, provider.uuid, wanted)
    return _all(tx, provider.uuid, generation)


def _refuse_used(tx: Tx, uuid: str, kept: set[str]) -> None:
    a = allocations.c
    rows = tx.all(sa.select(a.resource_class).where(a.provider_uuid == uuid).distinct())
    gone = {row.resource_class for row in rows} - kept
    if gone:
        raise InventoryInUse(resource_class=", ".join(sorted(gone)), uuid=uuid)


@operation(
    "POST",
    "/resource_providers/{uuid}/inventories",
    request=NewInventory,
    load=load_provider,
    policy="placement:resource_providers:inventories:create",
    errors=(ProviderNotFound, ConcurrentUpdate),
)
def create_inventory(ctx: Context, tx: Tx, provider: Any, new: NewInventory) -> Any:
    """Add one inventory to a provider."""
    names.need_classes(tx, [new.resource_class])
    found = store.inventories_of(tx, [provider.uuid]).get(provider.uuid, {})
    if new.resource_class in found:
        raise ConcurrentUpdate(kind="resource provider", reason="the inventory exists already.")
    generation = touch(tx, provider, new.get("resource_provider_generation"))
    wanted = {name: _shown(row) for name, row in found.items()}
    wanted[new.resource_class] = values_of(new)
    store.replace_inventories(tx, provider.uuid, wanted)
    here = f"/resource_providers/{provider.uuid}/inventories/{new.resource_class}"
    body = {**values_of(new), "resource_provider_generation": generation}
    return Reply(body, headers=[("Location", here)])


@operation(
    "DELETE",
    "/resource_providers/{uuid}/inventories",
    since="1.5",
    load=load_provider,
    policy="placement:resource_providers:inventories:delete",
    errors=(ProviderNotFound, InventoryInUse),
)
def delete_inventories(ctx: Context, tx: Tx, provider: Any) -> None:
    """Delete all inventories of a provider."""
    _refuse_used(tx, provider.uuid, set())
    touch(tx, provider, None)
    store.replace_inventories(tx, provider.uuid, {})


def _one(tx: Tx, loaded: Any) -> tuple[Any, str, Any]:
    provider, name = loaded
    row = store.inventories_of(tx, [provider.uuid]).get(provider.uuid, {}).get(name)
    if row is None:
        raise InventoryNotFound(resource_class=name, uuid=provider.uuid)
    return provider, name, row


@operation(
    "GET",
    "/resource_providers/{uuid}/inventories/{resource_class}",
    load=load_provider,
    policy="placement:resource_providers:inventories:show",
    errors=(ProviderNotFound, InventoryNotFound),
)
def show_inventory(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show one inventory."""
    provider, _, row = _one(tx, loaded)
    return {**_shown(row), "resource_provider_generation": provider.generation}


@operation(
    "PUT",
    "/resource_providers/{uuid}/inventories/{resource_class}",
    load=load_provider,
    request=OneInventory,
    policy="placement:resource_providers:inventories:update",
    errors=(ProviderNotFound, ConcurrentUpdate),
)
def update_inventory(ctx: Context, tx: Tx, loaded: Any, new: OneInventory) -> Any:
    """Change one inventory."""
    provider, name = loaded
    found = store.inventories_of(tx, [provider.uuid]).get(provider.uuid, {})
    if name not in found:
        raise BadRequest(InventoryNotFound(resource_class=name, uuid=provider.uuid).message)
    generation = touch(tx, provider, new.resource_provider_generation)
    wanted = {other: _shown(row) for other, row in found.items()}
    wanted[name] = values_of(new)
    store.replace_inventories(tx, provider.uuid, wanted)
    return {**values_of(new), "resource_provider_generation": generation}


@operation(
    "DELETE",
    "/resource_providers/{uuid}/inventories/{resource_class}",
    load=load_provider,
    policy="placement:resource_providers:inventories:delete",
    errors=(ProviderNotFound, InventoryNotFound, InventoryInUse),
)
def delete_inventory(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Delete one inventory."""
    provider, name, _ = _one(tx, loaded)
    found = store.inventories_of(tx, [provider.uuid])[provider.uuid]
    a = allocations.c
    where = sa.and_(a.provider_uuid == provider.uuid, a.resource_class == name)
    if tx.first(sa.select(a.used).where(where)):
        raise InventoryInUse(resource_class=name, uuid=provider.uuid)
    touch(tx, provider, None)
    wanted = {other: _shown(row) for other, row in found.items() if other != name}
    store.replace_inventories(tx, provider.uuid, wanted)


@operation(
    "GET",
    "/resource_providers/{uuid}/usages",
    load=load_provider,
    query=Versioned,
    policy="placement:resource_providers:usages",
    errors=(ProviderNotFound,),
)
def show_usages(ctx: Context, tx: Tx, provider: Any, query: Versioned) -> Any:
    """Show how much of a provider is used, by class."""
    classes = store.inventories_of(tx, [provider.uuid]).get(provider.uuid, {})
    used = store.used_of(tx, [provider.uuid]).get(provider.uuid, {})
    return {
        "resource_provider_generation": provider.generation,
        "usages": {name: used.get(name, 0) for name in classes},
    }
