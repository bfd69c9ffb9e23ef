"""The image cache: copies what waits, prunes what is too much, cleans what broke."""

from __future__ import annotations

from gureum.core import log
from gureum.core.reconcile import Reconciler
from gureum.glance.drivers.base import StoreFault
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.reading import fill_cache
from gureum.glance.model import ACTIVE
from gureum.glance.store import images as store

_log = log.get(__name__)
NAME = "glance-image-cache"


class Cacher(Reconciler):
    """Fills and shrinks the cache of this machine."""

    name = NAME

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self.interval_s = deps.options.reconcile_interval_s

    def reconcile(self) -> int:
        """Converge once."""
        cache = self._deps.cache
        if cache is None:
            return 0
        changes = sum(self._fill(image_id) for image_id in cache.queued())
        return changes + cache.clean() + cache.prune()[0]

    def _fill(self, image_id: str) -> bool:
        deps = self._deps
        assert deps.cache is not None
        with deps.db.read() as tx:
            image = store.get(tx, image_id, None)
        if image is None or image.status != ACTIVE or deps.cache.is_cached(image_id):
            return deps.cache.unqueue(image_id)
        try:
            return fill_cache(deps, image)
        except (KeyError, StoreFault, OSError) as error:
            _log.warning("an image cannot be cached", image_id=image_id, reason=str(error))
            return False
