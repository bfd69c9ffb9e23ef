"""Room in placement that is held for servers that are gone is given back.

Owns: `Allocations`. Must not: touch what a running verb holds, or what it does not know.
"""

from gureum.core import log
from gureum.core.reconcile import Reconciler
from gureum.core.saga.store import SagaStore
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.store import hosts, mappings
from gureum.nova.store import servers as store
from gureum.nova.store.tables import CELL0

LOG = log.get(__name__)


class Allocations(Reconciler):
    """Compares the consumers of each compute node with Nova's servers."""

    name = "nova.allocations"

    def __init__(self, deps: SagaDeps, sagas: SagaStore, interval_s: float) -> None:
        self._deps = deps
        self._sagas = sagas
        self.interval_s = interval_s

    def reconcile(self) -> int:
        """Give back what deleted and placeless servers hold."""
        with self._deps.cell1.read() as tx:
            nodes = [node.id for node in hosts.list_nodes(tx)]
        count = 0
        for node_id in nodes:
            for consumer_id in self._deps.placement.consumers(node_id):
                if self._is_orphan(consumer_id):
                    LOG.warning("orphaned allocation is given back", server_id=consumer_id)
                    self._deps.placement.release(consumer_id)
                    count += 1
        return count

    def _is_orphan(self, server_id: str) -> bool:
        with self._deps.api.read() as tx:
            mapping = mappings.get(tx, server_id)
        if mapping is None or mapping.cell not in self._deps.cells:
            return False  # not a server of ours: leave it alone
        for cell in self._deps.cells.values():
            with cell.read() as tx:
                if self._sagas.active(tx, [server_id]):
                    return False
        if mapping.deleted_at is not None or mapping.cell == CELL0:
            return True
        with self._deps.cells[mapping.cell].read() as tx:
            row = store.get(tx, server_id, deleted=True)
        return row is None or bool(row.deleted) or row.host is None
