"""Allocations: what consumers hold."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    UNSET,
    Behaviour,
    Id,
    Integer,
    Invalid,
    InvalidField,
    Json,
    MapOf,
    PolicyForbidden,
    String,
    Struct,
    operation,
)
from gureum.placement.api.common import Versioned, load_provider, touch
from gureum.placement.api.inventories import Inventory, values_of
from gureum.placement.errors import ConcurrentUpdate, NoAllocations, NoCapacity, ProviderNotFound
from gureum.placement.logic import allocating, names
from gureum.placement.logic.allocating import NewAllocations
from gureum.placement.store import providers as store
from gureum.placement.store.tables import allocations, consumers

_AMOUNT = Integer("Amount.", min=1, strict=True)
_CLASS = r"[A-Z0-9_]+"


class Amounts(Struct):
    """What is held of one provider."""

    resources = MapOf(_AMOUNT, "Amounts by class.", required=True, key_pattern=_CLASS)
    generation = Integer("Ignored.")

    def check(self) -> None:
        if not self.resources:
            raise Invalid("resources", "there are no amounts")


class ConsumerAllocations(Struct):
    """Everything that one consumer shall hold."""

    allocations = MapOf(Amounts, "Amounts by provider.", required=True)
    project_id = String("Owner.", min=1, required=True)
    user_id = String("Owner.", min=1, required=True)
    consumer_generation = Integer(
        "Generation that was read; null for a new consumer.", null=True, since="1.28"
    )
    consumer_type = String("What the consumer is.", since="1.38", pattern=r"[A-Z0-9_]+")
    mappings = Json("Accepted as candidates show it; not stored.", since="1.34", kinds=(dict,))
    knows_generation = Behaviour("A consumer's generation is needed.", since="1.28")
    knows_type = Behaviour("A consumer's type is needed.", since="1.38")

    def check(self) -> None:
        if self.knows_generation and not self.has("consumer_generation"):
            raise Invalid("consumer_generation", "'consumer_generation' is a required property")
        if self.knows_type and not self.has("consumer_type"):
            raise Invalid("consumer_type", "'consumer_type' is a required property")
        if not self.allocations and not self.knows_generation:
            raise Invalid("allocations", "there are no allocations")


class ReshapedInventories(Struct):
    """The inventories of one provider."""

    resource_provider_generation = Integer("Generation that was read.", required=True)
    inventories = MapOf(Inventory, "By class.", required=True, key_pattern=_CLASS)


class Reshape(Struct):
    """Inventories and allocations that change together."""

    inventories = MapOf(ReshapedInventories, "Inventories by provider.", required=True)
    allocations = MapOf(ConsumerAllocations, "Allocations by consumer.", required=True)


def _new(consumer_uuid: str, body: ConsumerAllocations) -> NewAllocations:
    generation = body.get("consumer_generation", UNSET) if body.knows_generation else ...
    return NewAllocations(
        consumer_uuid,
        {uuid: dict(item.resources) for uuid, item in body.allocations.items()},
        body.project_id,
        body.user_id,
        body.get("consumer_type", "INSTANCE") if body.knows_type else "unknown",
        generation,
    )


@operation(
    "GET", "/allocations/{consumer_uuid}", policy="placement:allocations:list", query=Versioned
)
def show_allocations(ctx: Context, tx: Tx, consumer_uuid: str, query: Versioned) -> Any:
    """Show what a consumer holds; nothing for an unknown one."""
    held: dict[str, Any] = {}
    for row in allocating.of_consumer(tx, consumer_uuid):
        mine = held.setdefault(row.provider_uuid, {"generation": row.generation, "resources": {}})
        mine["resources"][row.resource_class] = row.used
    out: dict[str, Any] = {"allocations": held}
    consumer = tx.by(consumers.c.uuid, consumer_uuid)
    if held and consumer is not None:
        if query.has_owner:
            out["project_id"], out["user_id"] = consumer.project_id, consumer.user_id
        if query.has_consumer_generation:
            out["consumer_generation"] = consumer.generation
        if query.has_consumer_type:
            out["consumer_type"] = consumer.consumer_type
    return out


@operation(
    "PUT",
    "/allocations/{consumer_uuid}",
    policy="placement:allocations:update",
    since="1.12",
    request=ConsumerAllocations,
    status=204,
    errors=(ConcurrentUpdate, NoCapacity),
)
def put_allocations(ctx: Context, tx: Tx, consumer_uuid: str, new: ConsumerAllocations) -> None:
    """Replace what a consumer holds."""
    _check_uuid(consumer_uuid)
    allocating.write(tx, [_new(consumer_uuid, new)])


def _check_uuid(text: str) -> None:
    try:
        Id("", uuid=True).compile_parse((0, 0))(text, "consumer_uuid")  # type: ignore[arg-type]
    except Invalid as error:
        raise InvalidField(path=error.path, reason=error.reason) from None


class ManyAllocations(Struct, extra="keep", extra_item=ConsumerAllocations):
    """Allocations by consumer: every key is one, every value what a PUT would carry."""


@operation(
    "POST",
    "/allocations",
    policy="placement:allocations:manage",
    since="1.13",
    status=204,
    request=ManyAllocations,
    errors=(ConcurrentUpdate, NoCapacity),
)
def post_allocations(ctx: Context, tx: Tx, new: ManyAllocations) -> None:
    """Replace what several consumers hold, all or nothing."""
    for uuid in new.extra_values:
        _check_uuid(uuid)
    allocating.write(tx, [_new(uuid, body) for uuid, body in new.extra_values.items()])


@operation(
    "DELETE",
    "/allocations/{consumer_uuid}",
    policy="placement:allocations:delete",
    errors=(NoAllocations,),
)
def delete_allocations(ctx: Context, tx: Tx, consumer_uuid: str) -> None:
    """Let a consumer hold nothing."""
    rows = allocating.of_consumer(tx, consumer_uuid)
    if not rows:
        raise NoAllocations(uuid=consumer_uuid)
    tx.delete_by(allocations.c.consumer_uuid, consumer_uuid)
    tx.delete_by(consumers.c.uuid, consumer_uuid)
    store.mark_changed(tx, {row.provider_uuid for row in rows})


@operation(
    "GET",
    "/resource_providers/{uuid}/allocations",
    load=load_provider,
    query=Versioned,
    policy="placement:resource_providers:allocations:list",
    errors=(ProviderNotFound,),
)
def list_provider_allocations(ctx: Context, tx: Tx, provider: Any, query: Versioned) -> Any:
    """List what consumers hold of a provider."""
    a = allocations.c
    statement = (
        sa.select(allocations, consumers.c.generation)
        .join(consumers, consumers.c.uuid == a.consumer_uuid)
        .where(a.provider_uuid == provider.uuid)
    )
    held: dict[str, Any] = {}
    for row in tx.all(statement):
        mine = held.setdefault(row.consumer_uuid, {"resources": {}})
        mine["resources"][row.resource_class] = row.used
        if query.has_consumer_generation:
            mine["consumer_generation"] = row.generation
    return {"allocations": held, "resource_provider_generation": provider.generation}


@operation(
    "POST",
    "/reshaper",
    policy="placement:reshaper:reshape",
    since="1.30",
    status=204,
    request=Reshape,
    errors=(ConcurrentUpdate, NoCapacity),
)
def reshape(ctx: Context, tx: Tx, new: Reshape) -> None:
    """Change inventories and allocations together, as when a provider becomes a tree."""
    for uuid, item in new.inventories.items():
        provider = load_provider(ctx, tx, uuid)
        names.need_classes(tx, item.inventories)
        touch(tx, provider, item.resource_provider_generation)
        wanted = {name: values_of(one) for name, one in item.inventories.items()}
        have = store.inventories_of(tx, [uuid]).get(uuid, {})
        kept = {
            n: {k: getattr(row, k) for k in values_of(_ANY)}
            for n, row in have.items()
            if n not in wanted
        }
        store.replace_inventories(tx, uuid, {**kept, **wanted})
    allocating.write(tx, [_new(uuid, body) for uuid, body in new.allocations.items()])
    for uuid, item in new.inventories.items():
        wanted = {name: values_of(one) for name, one in item.inventories.items()}
        store.replace_inventories(tx, uuid, wanted)
    store.mark_changed(tx, new.inventories)


_ANY = Inventory(total=1)


class UsageQuery(Struct, extra="ignore"):
    """Whose usage."""

    project_id = String("Project.", required=True, min=1)
    user_id = String("User.", min=1)
    consumer_type = String("Type of consumers; `all` or `unknown`.", since="1.38")
    by_type = Behaviour("Grouped by the type of consumer.", since="1.38")


@operation(
    "GET",
    "/usages",
    policy="placement:usages",
    query=UsageQuery,
    since="1.9",
    target=lambda ctx, loaded, new: {"project_id": ctx.project_id},
)
def show_project_usages(ctx: Context, tx: Tx, query: UsageQuery) -> Any:
    """Show what a project holds, by class."""
    if query.project_id != ctx.project_id and not {"admin", "service"} & set(ctx.roles):
        raise PolicyForbidden(rule="placement:usages")
    a, c = allocations.c, consumers.c
    statement = (
        sa.select(c.consumer_type, a.resource_class, sa.func.sum(a.used).label("used"))
        .join(consumers, c.uuid == a.consumer_uuid)
        .where(c.project_id == query.project_id)
        .group_by(c.consumer_type, a.resource_class)
    )
    counted = (
        sa.select(c.consumer_type, sa.func.count().label("number"))
        .where(c.project_id == query.project_id)
        .group_by(c.consumer_type)
    )
    if query.has("user_id"):
        statement = statement.where(c.user_id == query.user_id)
        counted = counted.where(c.user_id == query.user_id)
    only = query.get("consumer_type")
    if only not in (None, "all"):
        statement = statement.where(c.consumer_type == only)
        counted = counted.where(c.consumer_type == only)
    usages: dict[str, Any] = {}
    for row in tx.all(statement):
        key = "all" if not query.by_type or only == "all" else row.consumer_type
        mine = usages.setdefault(key, {})
        mine[row.resource_class] = mine.get(row.resource_class, 0) + int(row.used)
    if not query.by_type:
        return {"usages": usages.get("all", {})}
    for row in tx.all(counted):
        mine = usages.setdefault("all" if only == "all" else row.consumer_type, {})
        mine["consumer_count"] = mine.get("consumer_count", 0) + row.number
    return {"usages": usages}
