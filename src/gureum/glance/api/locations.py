"""Locations: where the bytes of images are, for services and owners; deleting from one store."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Json, String, Struct, operation
from gureum.glance.errors import (
    BadLocation,
    Filtered,
    ImageNotFound,
    LastLocation,
    ProtectedImage,
    ReadOnlyStore,
    StoreNotFound,
    WrongStatus,
)
from gureum.glance.logic import places
from gureum.glance.logic.access import image_target, load, load_apart
from gureum.glance.logic.deps import Deps
from gureum.glance.model import Image


class LocationCreate(Struct):
    """A location to add."""

    url = String("Where the bytes are.", max=4096, required=True)
    validation_data = Json(
        "os_hash_algo and os_hash_value that the bytes must have.", kinds=(dict,), null=True
    )


@operation(
    "GET",
    "/images/{image_id}/locations",
    policy="fetch_image_location",
    load=load,
    target=image_target,
    errors=(ImageNotFound,),
)
def list_locations(ctx: Context, tx: Tx, image: Image) -> Any:
    """List the locations of an image; for other services."""
    return places.shown(tx.deps, image)


@operation(
    "POST",
    "/images/{image_id}/locations",
    policy="add_image_location",
    status=202,
    manual=True,
    request=LocationCreate,
    load=load_apart,
    target=image_target,
    errors=(ImageNotFound, BadLocation, Filtered, WrongStatus),
)
def add_location(ctx: Context, deps: Deps, image: Image, new: LocationCreate) -> None:
    """Give a queued image its bytes by a URL; they are read once for their hashes."""
    places.add(ctx, deps, image, new.url, new.get("validation_data"))


def load_of_store(ctx: Context, deps: Deps, store_id: str, image_id: str) -> _Held:
    """Return the image of the path, and the store. Raises: ImageNotFound."""
    return _Held(load_apart(ctx, deps, image_id), store_id)


class _Held:
    """An image and the name of a store."""

    def __init__(self, image: Image, store: str) -> None:
        self.image = image
        self.store = store


@operation(
    "DELETE",
    "/stores/{store_id}/{image_id}",
    policy="delete_image_location",
    manual=True,
    load=load_of_store,
    target=lambda ctx, held, new: image_target(ctx, held.image if held is not None else None),
    errors=(
        ImageNotFound,
        StoreNotFound,
        LastLocation,
        ReadOnlyStore,
        ProtectedImage,
        WrongStatus,
    ),
)
def delete_from_store(ctx: Context, deps: Deps, held: _Held) -> None:
    """Delete an image's bytes from one of its stores."""
    places.delete_from_store(ctx, deps, held.image, held.store)
