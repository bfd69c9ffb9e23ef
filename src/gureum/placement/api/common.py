"""What several nouns of Placement's API share."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Stale, Tx
from gureum.core.spec import Behaviour, Struct
from gureum.placement.errors import ConcurrentUpdate, ProviderNotFound
from gureum.placement.store import providers as store


class Versioned(Struct, extra="ignore"):
    """Behaviours that answers of several operations depend on."""

    has_parents = Behaviour("Providers form trees.", since="1.14")
    has_generation = Behaviour(
        "Aggregates and traits carry the provider's generation.", since="1.19"
    )
    has_owner = Behaviour("Allocations show project and user.", since="1.12")
    has_consumer_generation = Behaviour("Consumers have a generation.", since="1.28")
    has_consumer_type = Behaviour("Consumers have a type.", since="1.38")
    shows_body = Behaviour("A new provider is shown.", since="1.20")


def load_provider(ctx: Context, tx: Tx, uuid: str, *rest: str) -> Any:
    """Return a provider, with the further path values if there are. Raises: ProviderNotFound."""
    row = store.get(tx, uuid)
    if row is None:
        raise ProviderNotFound(uuid=uuid)
    return (row, *rest) if rest else row


def touch(tx: Tx, row: Any, generation: int | None) -> int:
    """Raise a provider's generation. Raises: ConcurrentUpdate."""
    if generation is not None and generation != row.generation:
        raise ConcurrentUpdate(
            kind="resource provider", reason=f"expected {row.generation} but got {generation}."
        )
    try:
        return store.touch(tx, row.uuid, row.generation)
    except Stale:
        raise ConcurrentUpdate(kind="resource provider", reason="it changed meanwhile.") from None
