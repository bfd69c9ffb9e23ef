"""Leftovers: uploads and imports of dead processes, deletions that were not finished, bytes of nobody.

Every change is a compare-and-swap on the claim that was seen, so that passes of several processes may
overlap. Bytes without a row are removed only when the row is known to have been deleted: a database that
is the wrong one must not cost a store.
"""

from __future__ import annotations

from gureum.core import log
from gureum.core.db import Stale, Tx
from gureum.core.db.types import utc_now
from gureum.core.reconcile import Reconciler
from gureum.glance.drivers.base import Store, StoreFault
from gureum.glance.logic.data import Claim, release
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.images import STAGES, drop_staged, purge
from gureum.glance.logic.places import finish_leaving
from gureum.glance.model import (
    IMPORTING,
    PENDING_DELETE,
    QUEUED,
    SAVING,
    UPLOADING,
    Image,
    Location,
)
from gureum.glance.store import images as store
from gureum.glance.store import locations, tasks

_log = log.get(__name__)
_BATCH = 500
_PASSES_A_LOOK = 60
"""A store is listed whole once in so many passes."""


class Leftovers(Reconciler):
    """Gives images back whose upload died; ends deletions."""

    name = "glance-leftovers"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._passes = 0
        self.interval_s = deps.options.reconcile_interval_s

    def reconcile(self) -> int:
        """Converge once."""
        deps = self._deps
        with deps.db.read() as tx:
            unfinished = store.in_status(tx, SAVING)
            doomed = store.in_status(tx, PENDING_DELETE)
            busy = deps.sagas.active(tx, [image.id for image in doomed])
            leaving = locations.leaving(tx)
        changes = sum(self._give_back(image) for image in unfinished if self._is_dead(image))
        changes += sum(self._purge(image) for image in doomed if image.id not in busy)
        changes += sum(self._leave(place) for place in leaving)
        changes += sum(self._unstage(key) for key in list(deps.staging.keys()))
        changes += deps.db.retrying(lambda tx: tasks.prune(tx, utc_now()))
        if self._passes % _PASSES_A_LOOK == 0:
            changes += self._remove_orphans()
            deps.db.retrying(deps.sagas.prune)
        self._passes += 1
        return changes + sum(kept.sweep() for kept in (*deps.stores, deps.staging))

    def _is_dead(self, image: Image) -> bool:
        if image.holder == self._deps.staging.holder:
            return image.upload_id not in self._deps.live
        return image.holder is None or not self._deps.staging.is_alive(image.holder)

    def _purge(self, image: Image) -> bool:
        try:
            return purge(self._deps, image.id)
        except (OSError, StoreFault) as error:
            _log.warning("bytes of a deleted image stay", image_id=image.id, reason=str(error))
            return False

    def _leave(self, place: Location) -> bool:
        try:
            return finish_leaving(self._deps, place)
        except (OSError, StoreFault) as error:
            _log.warning("bytes stay in a store", store=place.store, reason=str(error))
            return False

    def _give_back(self, image: Image) -> bool:
        """Remove what was published and not finished, then end the claim."""
        deps = self._deps
        try:
            for kept in deps.stores.writable():
                kept.delete(image.id)
        except (OSError, StoreFault) as error:
            _log.warning("bytes of a dead upload stay", image_id=image.id, reason=str(error))
            return False
        drop_staged(deps, image.id)
        if not release(deps, Claim(image, image.upload_id or "", image.status, QUEUED)):
            return False
        _log.warning("an upload died", image_id=image.id)
        return True

    def _unstage(self, key: str) -> bool:
        """Remove what is staged for an image that waits for nothing: a runner that woke too late wrote it.

        The row is changed first, so that nobody stages anew before the file is gone.
        """
        deps, id = self._deps, _id_of(key)
        with deps.db.read() as tx:
            image = store.get(tx, id, None)
            busy = deps.sagas.active(tx, [id])
        if image is None or busy or image.status in (SAVING, UPLOADING, IMPORTING):
            return False

        def remove(tx: Tx) -> bool:
            if deps.sagas.active(tx, [id]):
                return False
            store.update(tx, image, updated_at=image.updated_at)
            return deps.staging.delete(key)

        try:
            with deps.db.write() as tx:
                return remove(tx)
        except Stale:
            return False

    def _remove_orphans(self) -> int:
        return sum(self._orphans_of(kept) for kept in (*self._deps.stores, self._deps.staging))

    def _orphans_of(self, kept: Store) -> int:
        deps, removed = self._deps, 0
        keys = list(kept.keys())
        for start in range(0, len(keys), _BATCH):
            batch = {key: _id_of(key) for key in keys[start : start + _BATCH]}
            with deps.db.read() as tx:
                deleted = store.deleted_among(tx, list(batch.values()))
            for key, id in batch.items():
                if id in deleted and kept.delete(key):
                    _log.warning("bytes of a deleted image removed", key=key, store=kept.name)
                    removed += 1
        return removed


def _id_of(key: str) -> str:
    for stage in STAGES:
        if stage and key.endswith(stage):
            return key.removesuffix(stage)
    return key
