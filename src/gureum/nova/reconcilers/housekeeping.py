"""Old records go; services say that they live.

Owns: `PruneSagas`, `SignOfLife`.
"""

from collections.abc import Mapping

from gureum.core.db.engine import Database
from gureum.core.db.types import utc_now
from gureum.core.reconcile import Reconciler
from gureum.core.saga.store import SagaStore
from gureum.nova.store import hosts

REPORT_S = 10.0


class PruneSagas(Reconciler):
    """Forgets sagas that ended long ago."""

    name = "nova.prune-sagas"
    interval_s = 24 * 3600.0

    def __init__(self, cells: Mapping[str, Database], sagas: SagaStore) -> None:
        self._cells = cells
        self._sagas = sagas

    def reconcile(self) -> int:
        """Prune every cell."""
        count = 0
        for cell in self._cells.values():
            with cell.write() as tx:
                count += self._sagas.prune(tx)
        return count


class SignOfLife(Reconciler):
    """Writes the service's own row, as `compute service list` shows it."""

    interval_s = REPORT_S
    everywhere = True

    def __init__(self, cell: Database, host: str, binary: str) -> None:
        self.name = f"{binary}.sign-of-life"
        self._cell = cell
        self._host = host
        self._binary = binary
        self._started_at = utc_now()

    def reconcile(self) -> int:
        """Report; it is no change."""
        with self._cell.write() as tx:
            hosts.heard_of(tx, self._host, self._binary, started_at=self._started_at)
        return 0
