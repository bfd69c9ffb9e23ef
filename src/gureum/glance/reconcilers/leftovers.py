"""Leftovers: uploads and imports of dead processes, deletions that were not finished, bytes of nobody.

Every change is a compare-and-swap on the claim that was seen, so that passes of several processes may
overlap. Bytes without a row are removed only when the row is known to have been deleted: a database that
is the wrong one must not cost a store.
"""

from __future__ import annotations

from gureum.core import log
from gureum.core.reconcile import Reconciler
from gureum.glance.drivers.base import STAGED
from gureum.glance.logic.data import Claim, release
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.images import purge
from gureum.glance.model import IMPORTING, PENDING_DELETE, QUEUED, SAVING, UPLOADING, Image
from gureum.glance.store import images as store

_log = log.get(__name__)
_BATCH = 500


class Leftovers(Reconciler):
    """Gives images back whose upload died; ends deletions."""

    name = "glance-leftovers"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self.interval_s = deps.options.reconcile_interval_s

    def reconcile(self) -> int:
        """Converge once."""
        deps = self._deps
        with deps.db.read() as tx:
            unfinished = store.in_status(tx, SAVING, IMPORTING)
            doomed = store.in_status(tx, PENDING_DELETE)
        changes = sum(self._give_back(image) for image in unfinished if self._is_dead(image))
        changes += sum(purge(deps, image.id) for image in doomed)
        changes += self._remove_orphans()
        return changes + deps.store.sweep()

    def _is_dead(self, image: Image) -> bool:
        if image.holder == self._deps.store.holder:
            return image.upload_id not in self._deps.live
        return image.holder is None or not self._deps.store.is_alive(image.holder)

    def _give_back(self, image: Image) -> bool:
        """Remove what was published and not finished, then end the claim."""
        deps, staged = self._deps, STAGED + image.id
        before = QUEUED
        if image.status == IMPORTING:
            if deps.store.size(staged) is None and deps.store.size(image.id) is not None:
                deps.store.rename(image.id, staged)
            before = UPLOADING if deps.store.size(staged) is not None else QUEUED
        else:
            deps.store.delete(image.id)
            deps.store.delete(staged)
        claim = Claim(image, image.upload_id or "", image.status, before)
        if not release(deps, claim):
            return False
        _log.warning("an upload died", image_id=image.id, status=before)
        return True

    def _remove_orphans(self) -> int:
        deps, removed = self._deps, 0
        keys = list(deps.store.keys())
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            with deps.db.read() as tx:
                deleted = store.deleted_among(tx, [key.removeprefix(STAGED) for key in batch])
            for key in batch:
                if key.removeprefix(STAGED) in deleted and deps.store.delete(key):
                    _log.warning("bytes of a deleted image removed", key=key)
                    removed += 1
        return removed
