"""Resource providers: hosts, their parts, and pools that hosts share."""

from __future__ import annotations

import uuid as uuids
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.spec import BadRequest, Id, Integer, Json, Reply, String, Struct, operation
from gureum.placement.api.common import Versioned, load_provider, touch
from gureum.placement.errors import (
    CannotDeleteParent,
    DuplicateName,
    ProviderInUse,
    ProviderNotFound,
)
from gureum.placement.logic import names, requests
from gureum.placement.logic.world import fits
from gureum.placement.store import providers as store
from gureum.placement.store.tables import (
    allocations,
    inventories,
    provider_aggregates,
    provider_traits,
    providers,
)

_LINKS = ("self", "inventories", "usages", "aggregates", "traits", "allocations")


class Provider(Struct):
    """A resource provider."""

    uuid = Id("Id.")
    name = String("Name.")
    generation = Integer("Raised by every change.")
    parent_provider_uuid = Id("Parent.", since="1.14")
    root_provider_uuid = Id("Root of the tree.", since="1.14")
    links = Json("Links.")


class ProviderCreate(Struct):
    """A new provider."""

    name = String("Name.", min=1, max=200, required=True)
    uuid = Id("Id.", uuid=True)
    parent_provider_uuid = Id("Parent.", uuid=True, null=True, since="1.14")


class ProviderUpdate(Struct):
    """Changes to a provider."""

    name = String("Name.", min=1, max=200, required=True)
    parent_provider_uuid = Id("Parent.", uuid=True, null=True, since="1.14")


class ProviderQuery(Versioned, extra="keep"):
    """Filters: name, uuid, and what a provider must offer."""

    name = String("Name.")
    uuid = Id("Id.")


def shown(row: Any) -> dict[str, Any]:
    """Show a provider with its links."""
    here = f"/resource_providers/{row.uuid}"
    links = [{"rel": rel, "href": here if rel == "self" else f"{here}/{rel}"} for rel in _LINKS]
    return {
        "uuid": row.uuid,
        "name": row.name,
        "generation": row.generation,
        "parent_provider_uuid": row.parent_uuid,
        "root_provider_uuid": row.root_uuid,
        "links": links,
    }


@operation(
    "POST",
    "/resource_providers",
    policy="placement:resource_providers:create",
    query=Versioned,
    request=ProviderCreate,
    errors=(DuplicateName,),
)
def create_provider(ctx: Context, tx: Tx, query: Versioned, new: ProviderCreate) -> Any:
    """Create a provider."""
    uuid = str(uuids.UUID(new.get("uuid") or str(uuids.uuid4())))
    parent = new.get("parent_provider_uuid")
    root = uuid
    if parent is not None:
        row = store.get(tx, parent)
        if row is None or parent == uuid:
            raise BadRequest(f"parent provider UUID '{parent}' does not exist.")
        root = row.root_uuid
    try:
        tx.insert(
            providers,
            uuid=uuid,
            name=new.name,
            generation=0,
            parent_uuid=parent,
            root_uuid=root,
            updated_at=utc_now(),
            revision=store.next_revision(tx),
        )
    except RowConflict:
        taken = tx.first(sa.select(providers.c.uuid).where(providers.c.name == new.name))
        raise DuplicateName(what=f"name: {new.name}" if taken else f"uuid: {uuid}") from None
    headers = [("Location", f"/resource_providers/{uuid}")]
    row = store.get(tx, uuid)
    if query.shows_body:
        return Reply(shown(row), status=200, headers=headers)
    return Reply(None, status=201, headers=headers)


@operation(
    "GET",
    "/resource_providers",
    policy="placement:resource_providers:list",
    query=ProviderQuery,
    items=Provider,
    response_wrap="resource_providers",
)
def list_providers(ctx: Context, tx: Tx, query: ProviderQuery) -> Any:
    """List providers that match every filter."""
    found = requests.read_groups(query.extra_values).get("", requests.Group(""))
    p = providers.c
    statement = sa.select(providers).order_by(p.uuid)
    if query.has("name"):
        statement = statement.where(p.name == query.name)
    if query.has("uuid"):
        statement = statement.where(p.uuid == query.uuid)
    if found.in_tree is not None:
        root = sa.select(p.root_uuid).where(p.uuid == found.in_tree).scalar_subquery()
        statement = statement.where(p.root_uuid == root)
    if found.traits:
        names.need_traits(tx, found.traits)
    t, a, i = provider_traits.c, provider_aggregates.c, inventories.c
    for choice in found.required:
        statement = statement.where(
            p.uuid.in_(sa.select(t.provider_uuid).where(t.trait.in_(choice)))
        )
    if found.forbidden:
        refused = sa.select(t.provider_uuid).where(t.trait.in_(found.forbidden))
        statement = statement.where(p.uuid.not_in(refused))
    for choice in found.member_of:
        inside = sa.select(a.provider_uuid).where(a.aggregate_uuid.in_(choice))
        statement = statement.where(p.uuid.in_(inside))
    if found.not_member_of:
        inside = sa.select(a.provider_uuid).where(a.aggregate_uuid.in_(found.not_member_of))
        statement = statement.where(p.uuid.not_in(inside))
    names.need_classes(tx, found.resources, query=True)
    for name in found.resources:
        has = sa.select(i.provider_uuid).where(i.resource_class == name)
        statement = statement.where(p.uuid.in_(has))
    rows = tx.all(statement)
    if found.resources:
        rows = _with_room(tx, rows, found)
    return [shown(row) for row in rows]


def _with_room(tx: Tx, rows: Any, found: requests.Group) -> Any:
    ids = [row.uuid for row in rows]
    stocks, used = store.inventories_of(tx, ids), store.used_of(tx, ids)
    return [
        row
        for row in rows
        if all(
            fits(stocks.get(row.uuid, {}).get(n), used.get(row.uuid, {}).get(n, 0), amount)
            for n, amount in found.resources.items()
        )
    ]


@operation(
    "GET",
    "/resource_providers/{uuid}",
    policy="placement:resource_providers:show",
    response=Provider,
    load=load_provider,
    errors=(ProviderNotFound,),
)
def show_provider(ctx: Context, tx: Tx, provider: Any) -> Any:
    """Show a provider."""
    return shown(provider)


@operation(
    "PUT",
    "/resource_providers/{uuid}",
    policy="placement:resource_providers:update",
    request=ProviderUpdate,
    response=Provider,
    load=load_provider,
    errors=(ProviderNotFound, DuplicateName),
)
def update_provider(ctx: Context, tx: Tx, provider: Any, new: ProviderUpdate) -> Any:
    """Rename a provider or move it to another parent."""
    values: dict[str, Any] = {"name": new.name}
    if new.has("parent_provider_uuid") and new.parent_provider_uuid != provider.parent_uuid:
        values.update(_move(tx, provider, new.parent_provider_uuid))
    values["revision"] = store.next_revision(tx)
    try:
        tx.update_by(providers.c.uuid, provider.uuid, updated_at=utc_now(), **values)
    except RowConflict:
        raise DuplicateName(what=f"name: {new.name}") from None
    return shown(store.get(tx, provider.uuid))


def _move(tx: Tx, provider: Any, parent_uuid: str | None) -> dict[str, Any]:
    below = store.descendants(tx, provider.uuid, provider.root_uuid)
    root = provider.uuid
    if parent_uuid is not None:
        parent = store.get(tx, parent_uuid)
        if parent is None:
            raise BadRequest(f"parent provider UUID '{parent_uuid}' does not exist.")
        if parent_uuid in (provider.uuid, *below):
            raise BadRequest("A provider cannot be its own ancestor.")
        root = parent.root_uuid
    if below:
        tx.update(providers, providers.c.uuid.in_(below), root_uuid=root)
        store.mark_changed(tx, below)
    return {"parent_uuid": parent_uuid, "root_uuid": root}


@operation(
    "DELETE",
    "/resource_providers/{uuid}",
    policy="placement:resource_providers:delete",
    load=load_provider,
    errors=(ProviderNotFound, ProviderInUse, CannotDeleteParent),
)
def delete_provider(ctx: Context, tx: Tx, provider: Any) -> None:
    """Delete a provider without children and allocations."""
    uuid = provider.uuid
    if tx.first(sa.select(providers.c.uuid).where(providers.c.parent_uuid == uuid)):
        raise CannotDeleteParent(uuid=uuid)
    if tx.first(sa.select(allocations.c.used).where(allocations.c.provider_uuid == uuid)):
        raise ProviderInUse(uuid=uuid)
    touch(tx, provider, None)
    for table in (inventories, provider_traits, provider_aggregates):
        tx.delete_by(table.c.provider_uuid, uuid)
    tx.delete_by(providers.c.uuid, uuid)
    store.next_revision(tx, forget=True)
