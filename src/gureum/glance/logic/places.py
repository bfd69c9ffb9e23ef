"""Locations: showing them, adding and removing them, and deleting an image's bytes from one store.

A location that a user gives is a URL that the HTTP store may read; nobody can name a file or an object of
this service's own stores (abuse case 9).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from gureum.core import log
from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.saga import SagaBusy
from gureum.core.spec import BadRequest
from gureum.glance.drivers.base import StoreFault
from gureum.glance.drivers.fetch import Refused
from gureum.glance.errors import (
    BadLocation,
    Filtered,
    HashDiffers,
    LastLocation,
    ProtectedImage,
    ReadOnlyStore,
    StoreNotFound,
    WrongStatus,
)
from gureum.glance.logic.access import load
from gureum.glance.logic.data import check_formats_given
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.reading import in_order
from gureum.glance.model import (
    ACTIVE,
    DEACTIVATED,
    IMPORTING,
    LEAVING,
    QUEUED,
    Image,
    Location,
)
from gureum.glance.sagas import ADD_LOCATION
from gureum.glance.sagas.params import LocationJob
from gureum.glance.store import images as store
from gureum.glance.store import locations, tasks

_log = log.get(__name__)
_ALGORITHMS = ("sha512", "sha256", "sha384", "sha1", "md5", "sha3_256", "sha3_512", "blake2b")
_META_MAX = 32


def shown(deps: Deps, image: Image) -> list[dict[str, Any]]:
    """Return the locations as their owner may see them, in their order."""
    return [
        {"url": _url(deps, place), "metadata": {**place.metadata, "store": place.store}}
        for place in image.locations
    ]


def direct_url(deps: Deps, image: Image) -> str | None:
    """Return the location that is read first."""
    ordered = in_order(deps, image)
    return _url(deps, ordered[0]) if ordered else None


def store_names(deps: Deps, image: Image) -> str | None:
    """Return the stores that have an image, by weight; None when there are none.

    A queued image names the store whose location it was refused.
    """
    if len(image.locations) == 1:
        return image.locations[0].store
    names = dict.fromkeys(place.store for place in in_order(deps, image))
    return ",".join(names or image.refused_stores) or None


def _url(deps: Deps, place: Location) -> str:
    found = deps.stores.get(place.store)
    if place.url is not None or found is None:
        return place.url or ""
    return found.url(place.image_id)


# -- what a user gives ----------------------------------------------------------------------------


def external_store(deps: Deps, url: Any) -> str:
    """Return the store that reads a URL. Raises: BadLocation, Filtered."""
    if not isinstance(url, str) or not url:
        raise BadLocation(reason="it has no url")
    scheme = url.partition(":")[0].lower()
    found = deps.stores.external()
    if found is None or scheme not in ("http", "https"):
        raise BadLocation(reason=f"unsupported scheme {scheme[:32]!r}")
    try:
        deps.fetcher.check(url)
    except Refused as error:
        raise Filtered(reason=str(error)) from error
    return found.name


def check_validation(given: Any, *, checksum: bool) -> dict[str, str]:
    """Return validation data that can be right. Raises: BadRequest."""
    if not given:
        return {}
    known = {"os_hash_algo", "os_hash_value", *(("checksum",) if checksum else ())}
    if not isinstance(given, dict) or not set(given) <= known:
        raise BadRequest("The validation data has unknown keys.")
    values = {name: value for name, value in given.items() if value is not None}
    if not all(isinstance(value, str) for value in values.values()):
        raise BadRequest("The validation data must be strings.")
    algorithm, value = values.get("os_hash_algo"), values.get("os_hash_value")
    if (algorithm is None) != (value is None):
        raise BadRequest("os_hash_algo and os_hash_value must stand together.")
    if algorithm is not None and value is not None:
        if algorithm not in _ALGORITHMS:
            raise BadRequest(f"Unknown os_hash_algo {algorithm[:32]!r}.")
        if not _is_hex(value, hashlib.new(algorithm, usedforsecurity=False).digest_size):
            raise BadRequest("The os_hash_value has not the form of its algorithm.")
    if "checksum" in values and not _is_hex(values["checksum"], 16):
        raise BadRequest("The checksum has not the form of an md5.")
    return values


def _is_hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and all(letter in "0123456789abcdef" for letter in text)


# -- the operation "add location" -----------------------------------------------------------------


def add(ctx: Context, deps: Deps, image: Image, url: Any, validation: Any) -> None:
    """Give a queued image its bytes by a URL; the saga activates it. Raises: WrongStatus, BadRequest, …"""
    name = external_store(deps, url)
    checked = check_validation(validation, checksum=False)
    check_formats_given(image)
    saga_id = str(uuid.uuid4())

    def begin(tx: Tx) -> None:
        fresh = load(ctx, tx, image.id)
        if fresh.status != QUEUED or fresh.locations:
            raise WrongStatus(id=image.id, status=fresh.status, needed=f"it must be {QUEUED}")
        params = LocationJob(image.id, name, url, checked)
        try:
            deps.sagas.submit(
                tx, ADD_LOCATION, resource_id=image.id, params=params, ctx=ctx, saga_id=saga_id
            )
        except SagaBusy:
            raise WrongStatus(
                id=image.id, status=fresh.status, needed="an import is under way"
            ) from None
        store.update(tx, fresh, status=IMPORTING, upload_id=saga_id)
        tasks.insert(
            tx,
            id=saga_id,
            type="location_import",
            status="pending",
            project_id=ctx.project_id,
            user_id=ctx.user_id,
            image_id=image.id,
            request_id=ctx.request_id,
            input={"image_id": image.id, "loc_url": url, "validation_data": checked},
        )

    deps.db.retrying(begin)


# -- the property "locations" ---------------------------------------------------------------------


def size_of(deps: Deps, url: Any) -> int | None:
    """Return the size of what is at a URL. Raises: BadLocation, Filtered."""
    name = external_store(deps, url)
    try:
        return deps.stores[name].size(url)
    except StoreFault as error:
        _log.info("a location cannot be read", reason=str(error))
        raise BadLocation(reason="it cannot be read") from error


def add_one(
    tx: Tx, deps: Deps, image: Image, value: Mapping[str, Any], position: int, size: int | None
) -> dict[str, Any]:
    """Add a location to an image at a position; returns the columns of the image that change.

    Raises: BadLocation, HashDiffers, WrongStatus, BadRequest.
    """
    url, metadata = value.get("url"), value.get("metadata")
    if not isinstance(metadata, dict) or not set(value) <= {"url", "metadata", "validation_data"}:
        raise BadLocation(reason="it needs a url and metadata")
    _check_metadata(metadata)
    if image.status not in (QUEUED, ACTIVE):
        raise WrongStatus(id=image.id, status=image.status, needed="it must be queued or active")
    if any(place.url == url for place in image.locations):
        raise BadLocation(reason="the image has it already")
    validation = check_validation(value.get("validation_data"), checksum=True)
    known = {name: getattr(image, name) for name in validation}
    if image.status == ACTIVE:
        for name, wanted in validation.items():
            if known[name] != wanted:
                raise HashDiffers(name=name)
    for place in image.locations[position:]:
        locations.change(tx, place.id, position=place.position + 1)
    last = image.locations[-1].position + 1 if image.locations else 0
    at = image.locations[position].position if position < len(image.locations) else last
    name = external_store(deps, url)
    locations.add(tx, image.id, name, url=str(url), about=metadata, position=at)
    if image.status == ACTIVE:
        return {}
    check_formats_given(image)
    return {"status": ACTIVE, "size": size, **validation}


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    if len(metadata) > _META_MAX or not all(
        isinstance(value, str) and len(value) <= 255 and len(name) <= 255
        for name, value in metadata.items()
    ):
        raise BadLocation(reason="its metadata must be a few short strings")


def remove_one(tx: Tx, image: Image, position: int) -> None:
    """Take one location away. Raises: BadLocation, LastLocation."""
    if position >= len(image.locations):
        raise BadLocation(reason="there is none at this position")
    if len(image.locations) == 1:
        raise LastLocation(id=image.id)
    place = image.locations[position]
    if place.url is None:
        locations.change(tx, place.id, status=LEAVING)
    else:
        locations.remove(tx, place.id)


def replace_all(tx: Tx, deps: Deps, image: Image, wanted: Any) -> None:
    """Change the metadata of locations; their URLs and number stay. Raises: BadLocation."""
    if not isinstance(wanted, list) or not all(isinstance(value, dict) for value in wanted):
        raise BadLocation(reason="locations must be a list")
    have = [_url(deps, place) for place in image.locations]
    if [value.get("url") for value in wanted] != have:
        raise BadLocation(reason="locations can be added and removed, not replaced")
    for place, value in zip(image.locations, wanted, strict=True):
        metadata = value.get("metadata")
        if not isinstance(metadata, dict):
            raise BadLocation(reason="it needs a url and metadata")
        kept = {name: text for name, text in metadata.items() if name != "store"}
        _check_metadata(kept)
        locations.change(tx, place.id, about=kept)


# -- one store ------------------------------------------------------------------------------------


def delete_from_store(ctx: Context, deps: Deps, image: Image, name: str) -> None:
    """Remove an image's bytes from one of its stores.

    Raises: StoreNotFound, LastLocation, ReadOnlyStore, ProtectedImage, WrongStatus, StoreFault.
    """

    def leave(tx: Tx) -> Location:
        fresh = load(ctx, tx, image.id)
        held = [place for place in fresh.locations if place.store == name]
        found = deps.stores.get(name)
        if not held or found is None:
            raise StoreNotFound(id=image.id, name=name[:64])
        if fresh.protected:
            raise ProtectedImage(id=image.id)
        if fresh.status not in (ACTIVE, DEACTIVATED) or deps.sagas.active(tx, [image.id]):
            raise WrongStatus(
                id=image.id, status=fresh.status, needed="it must be active and not in an import"
            )
        if len(fresh.locations) == 1:
            raise LastLocation(id=image.id)
        if found.read_only:
            raise ReadOnlyStore(name=name)
        locations.change(tx, held[0].id, status=LEAVING)
        store.update(tx, fresh)
        return held[0]

    place = deps.db.retrying(leave)
    try:
        finish_leaving(deps, place)
    except (OSError, StoreFault) as error:
        _log.warning("bytes stay in a store for now", store=name, reason=str(error))


def finish_leaving(deps: Deps, place: Location) -> bool:
    """Remove the bytes of a location on its way out, then the location; once more is fine.

    Raises: StoreFault.
    """
    found = deps.stores.get(place.store)
    if found is None:
        return False
    if place.url is None:
        found.delete(place.image_id)
    return deps.db.retrying(lambda tx: locations.remove(tx, place.id)) == 1
