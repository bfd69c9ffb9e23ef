"""The image cache of this machine: what is in it, what waits for it, emptying it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import BadRequest, operation
from gureum.glance.drivers.cache import Cached, ImageCache
from gureum.glance.errors import CacheOff, ImageNotFound
from gureum.glance.logic.access import image_target, load_apart
from gureum.glance.logic.deps import Deps
from gureum.glance.model import ACTIVE, Image

_TARGET = "x-image-cache-clear-target"


def _cache(deps: Deps) -> ImageCache:
    if deps.cache is None:
        raise CacheOff()
    return deps.cache


def _shown(copy: Cached) -> dict[str, Any]:
    return {
        "image_id": copy.image_id,
        "size": copy.size,
        "hits": copy.hits,
        "last_accessed": copy.last_accessed,
        "last_modified": copy.last_modified,
    }


@operation("GET", "/cache", policy="cache_list", manual=True, errors=(CacheOff,))
def show_cache(ctx: Context, deps: Deps) -> Any:
    """List the cached images of this machine, and those that wait. Times are seconds since 1970."""
    cache = _cache(deps)
    return {
        "cached_images": [_shown(copy) for copy in cache.cached()],
        "queued_images": cache.queued(),
    }


@operation(
    "PUT",
    "/cache/{image_id}",
    policy="cache_image",
    status=202,
    manual=True,
    load=load_apart,
    target=image_target,
    errors=(ImageNotFound, CacheOff),
)
def queue_image(ctx: Context, deps: Deps, image: Image) -> None:
    """Ask for a copy of an active image in the cache."""
    cache = _cache(deps)
    if image.status != ACTIVE:
        raise BadRequest("Only images with status active can be targeted for queueing.")
    if not cache.is_cached(image.id):
        cache.queue(image.id)
        deps.wake_cacher()


@operation(
    "DELETE",
    "/cache/{image_id}",
    policy="cache_delete",
    manual=True,
    errors=(ImageNotFound, CacheOff),
)
def delete_cached_image(ctx: Context, deps: Deps, image_id: str) -> None:
    """Remove one image from the cache and its queue."""
    cache = _cache(deps)
    try:
        waited, was_there = cache.unqueue(image_id), cache.delete(image_id)
    except KeyError:
        raise ImageNotFound(id=image_id[:64]) from None
    if not (waited or was_there):
        raise ImageNotFound(id=image_id)


@operation(
    "DELETE",
    "/cache",
    policy="cache_delete",
    manual=True,
    headers=(_TARGET,),
    errors=(CacheOff,),
)
def clear_cache(ctx: Context, deps: Deps, headers: Mapping[str, str]) -> None:
    """Empty the cache, its queue, or both, as x-image-cache-clear-target says."""
    cache = _cache(deps)
    target = headers.get(_TARGET, "").lower()
    if target not in ("", "cache", "queue"):
        raise BadRequest("If provided 'x-image-cache-clear-target' must be 'cache' or 'queue'.")
    if target != "cache":
        cache.clear_queue()
    if target != "queue":
        cache.clear()


@operation("POST", "/cache/prune", policy="cache_prune", status=200, manual=True)
def prune_cache(ctx: Context, deps: Deps) -> Any:
    """Remove the longest unused copies until the rest fits into image_cache_max_size."""
    images, freed = _cache(deps).prune()
    return {"total_files_pruned": images, "total_bytes_pruned": freed}


@operation("POST", "/cache/clean", policy="cache_clean", status=204, manual=True)
def clean_cache(ctx: Context, deps: Deps) -> None:
    """Remove broken copies, and those whose filling was abandoned."""
    _cache(deps).clean()
