"""Mappings whose server was never written, or is deleted, do not count for quota.

Owns: `Mappings`. Must not: touch a mapping younger than any request can be.
"""

from datetime import timedelta

from gureum.core import log
from gureum.core.db.types import utc_now
from gureum.core.reconcile import Reconciler
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.store import groups, mappings
from gureum.nova.store import servers as store

LOG = log.get(__name__)

OLD_S = 3600.0


class Mappings(Reconciler):
    """Compares nova_api's mappings with the cells' rows."""

    name = "nova.mappings"

    def __init__(self, deps: SagaDeps, interval_s: float, *, old_s: float = OLD_S) -> None:
        self._deps = deps
        self.interval_s = interval_s
        self._old_s = old_s

    def reconcile(self) -> int:
        """Remove mappings without a row; end those of deleted rows; correct the cell of moved ones."""
        with self._deps.api.read() as tx:
            old = mappings.live_before(tx, utc_now() - timedelta(seconds=self._old_s))
            known = [(row.server_id, row.cell) for row in old]
        return sum(self.check(server_id, cell) for server_id, cell in known)

    def check(self, server_id: str, mapped: str) -> int:
        """Correct one mapping, to cell `mapped`; returns 1 when it was wrong."""
        found: dict[str, bool] = {}
        for name, database in self._deps.cells.items():
            with database.read() as tx:
                row = store.get(tx, server_id, deleted=True)
            if row is not None:
                found[name] = bool(row.deleted)
        if mapped in found and not found[mapped]:
            return 0
        with self._deps.api.write() as tx:
            if not found:
                LOG.warning("mapping without a server is removed", server_id=server_id)
                mappings.remove(tx, server_id)
                groups.remove_member(tx, server_id)
            elif all(found.values()):
                mappings.mark_deleted(tx, server_id)
            else:
                live = next(name for name, deleted in found.items() if not deleted)
                mappings.set_cell(tx, server_id, live)
        return 1
