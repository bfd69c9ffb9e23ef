"""Consumers of OAuth1: programs that may ask users for access."""

from __future__ import annotations

import secrets
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Id, Json, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_T = tables.consumers
_PATH = "OS-OAUTH1/consumers"


class Consumer(Struct, extra="keep"):
    """A consumer."""

    id = Id("Id.")
    description = String("Text.", max=None)
    secret = String("Its secret: shown only once, when it is made.")
    links = Json("Links.")


class ConsumerCreate(Struct, extra="keep"):
    """A new consumer."""

    description = String("Text.", max=None, null=True)


class ConsumerUpdate(Struct, extra="keep"):
    """Changes to a consumer."""

    description = String("Text.", max=None, null=True)
    secret = String("Cannot be changed.")


def _load(ctx: Context, tx: Tx, consumer_id: str) -> Any:
    return load(tx, _T, "consumer", consumer_id)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


@operation(
    "POST",
    "/OS-OAUTH1/consumers",
    policy="identity:create_consumer",
    wrap="consumer",
    request=ConsumerCreate,
    response=Consumer,
    target=_no_target,
)
def create_consumer(ctx: Context, tx: Tx, new: ConsumerCreate) -> Any:
    """Create a consumer; the answer alone shows its secret."""
    secret = secrets.token_hex(32)
    values = {
        "id": common.new_id(),
        "description": new.get("description"),
        "encrypted_secret": tx.deps.vault.lock(secret),
        "extra_values": new.extra_values,
    }
    row = common.insert(tx, _T, "consumer", values)
    return {**shown(ctx, _PATH, row), "secret": secret}


@operation(
    "GET",
    "/OS-OAUTH1/consumers",
    policy="identity:list_consumers",
    query=ListQuery,
    items=Consumer,
    response_wrap="consumers",
    target=_no_target,
)
def list_consumers(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List consumers."""
    return shapes.page(ctx, _PATH, entities.listed(tx, _T), query, None)


@operation(
    "GET",
    "/OS-OAUTH1/consumers/{consumer_id}",
    policy="identity:get_consumer",
    response=Consumer,
    response_wrap="consumer",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def show_consumer(ctx: Context, tx: Tx, consumer: Any) -> Any:
    """Show a consumer."""
    return shown(ctx, _PATH, consumer)


@operation(
    "PATCH",
    "/OS-OAUTH1/consumers/{consumer_id}",
    policy="identity:update_consumer",
    wrap="consumer",
    request=ConsumerUpdate,
    response=Consumer,
    load=_load,
    target=_no_target,
    errors=(Missing, BadRequest),
)
def update_consumer(ctx: Context, tx: Tx, consumer: Any, new: ConsumerUpdate) -> Any:
    """Change a consumer."""
    if new.has("secret"):
        raise BadRequest("The secret of a consumer cannot be changed.")
    return shown(ctx, _PATH, common.update(tx, _T, "consumer", consumer, common.given(new)))


@operation(
    "DELETE",
    "/OS-OAUTH1/consumers/{consumer_id}",
    policy="identity:delete_consumer",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def delete_consumer(ctx: Context, tx: Tx, consumer: Any) -> None:
    """Delete a consumer."""
    common.delete(tx, _T, consumer.id)
