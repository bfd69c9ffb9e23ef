"""Giving the bytes of images out: from the cache, from a file, or as a stream from the next best store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from gureum.core import log
from gureum.core.spec import File
from gureum.glance.drivers.base import StoreFault
from gureum.glance.errors import ImageNotFound, StoreUnavailable
from gureum.glance.logic.deps import Deps
from gureum.glance.model import Image, Location

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A part of a file, or a stream of bytes."""

    file: File | None = None
    stream: Iterator[bytes] | None = None


def in_order(deps: Deps, image: Image) -> list[Location]:
    """Return the locations in the order in which they are tried: by weight, then as they were added."""
    return sorted(
        image.locations,
        key=lambda place: (deps.stores.position(place.store), place.position),
    )


def read(deps: Deps, image: Image, start: int, length: int) -> Bytes:
    """Return bytes of an image. Raises: ImageNotFound, StoreUnavailable."""
    faults = 0
    for place in in_order(deps, image):
        found = deps.stores.get(place.store)
        if found is None:
            faults += 1
            continue
        file = found.file(place.key)
        if file is not None:
            return Bytes(file=File(file.path, start, length))
        copy = deps.cache.file(image.id, image.size) if deps.cache is not None else None
        if copy is not None:
            return Bytes(file=File(copy.path, start, length))
        try:
            stream = found.stream(place.key, start, length)
        except KeyError:
            continue
        except StoreFault as error:
            _log.warning("a store does not answer", store=found.name, reason=str(error))
            faults += 1
            continue
        whole = start == 0 and length == image.size
        if deps.cache is not None and whole:
            stream = _caching(deps, image, stream)
        return Bytes(stream=stream)
    if faults:
        raise StoreUnavailable()
    raise ImageNotFound(id=image.id)


def measure(deps: Deps, image: Image) -> int:
    """Ask the stores how large an image is of which that is not known. Raises: StoreUnavailable."""
    for place in in_order(deps, image):
        found = deps.stores.get(place.store)
        try:
            size = found.size(place.key) if found is not None else None
        except StoreFault as error:
            _log.warning("a store does not answer", store=place.store, reason=str(error))
            continue
        if size is not None:
            return size
    raise StoreUnavailable()


def whole(deps: Deps, image: Image) -> Iterator[bytes]:
    """Yield all bytes of an image, past the cache. Raises: KeyError, StoreFault."""
    fault: Exception = KeyError(image.id)
    for place in in_order(deps, image):
        found = deps.stores.get(place.store)
        if found is None:
            continue
        try:
            return found.stream(place.key, 0, None)
        except (KeyError, StoreFault) as error:
            fault = error
    raise fault


def _caching(deps: Deps, image: Image, stream: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a stream on and keep a copy; a cache that cannot be written costs the copy, not the download."""
    assert deps.cache is not None
    with contextlib.ExitStack() as held:
        try:
            filling = held.enter_context(deps.cache.fill(image.id))
        except OSError as error:
            _log.warning("the image cache cannot be written", reason=str(error))
            yield from stream
            return
        broken = False
        for chunk in stream:
            if not broken:
                try:
                    filling.write(chunk)
                except OSError as error:
                    broken = True
                    _log.warning("the image cache cannot be written", reason=str(error))
            yield chunk
        if not broken and filling.size == image.size:
            filling.keep()


def fill_cache(deps: Deps, image: Image) -> bool:
    """Copy an image into the cache; False when it cannot be had whole."""
    assert deps.cache is not None
    with deps.cache.fill(image.id) as filling:
        for chunk in whole(deps, image):
            filling.write(chunk)
        if image.size is not None and filling.size != image.size:
            return False
        filling.keep()
    return True
