"""Ports that were made for a server and belong to none are given back.

A conductor that was stopped in the middle of a request, and wakes after another one took its saga over, may
make a port that nobody waits for: for a server that is deleted by now, or a second one for the same card.

Owns: `StrayPorts`. Must not: touch what a running verb works on, or a port that a user made.
"""

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from gureum.core import log
from gureum.core.db.types import utc_now
from gureum.core.reconcile import Reconciler
from gureum.core.saga.store import SagaStore
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.ports import Port
from gureum.nova.store import mappings, server_nics
from gureum.nova.store.tables import servers

LOG = log.get(__name__)

BATCH = 50
FIRST_LOOK_S = 24 * 3600.0
"""How far back the first pass of a process looks for deleted servers; later ones look back to the pass
before, and a little more."""
LOOK_BACK_S = 3600.0


class StrayPorts(Reconciler):
    """Compares the ports of deleted and of idle servers with what Nova keeps of them."""

    name = "nova.stray-ports"

    def __init__(self, deps: SagaDeps, sagas: SagaStore, interval_s: float) -> None:
        self._deps = deps
        self._sagas = sagas
        self._look_back_s = FIRST_LOOK_S
        self.interval_s = interval_s

    def reconcile(self) -> int:
        """Give back strays; returns how many ports."""
        with self._deps.api.read() as tx:
            gone = mappings.deleted_since(tx, utc_now() - timedelta(seconds=self._look_back_s))
        with self._deps.cell1.read() as tx:
            wanted = sa.select(servers.c.id).where(servers.c.deleted.is_(False))
            live = [row.id for row in tx.all(wanted.order_by(servers.c.number))]
        count = sum(self._of_deleted(batch) for batch in _batches(gone))
        count += sum(self._of_live(batch) for batch in _batches(live))
        self._look_back_s = LOOK_BACK_S
        return count

    def _of_deleted(self, server_ids: Sequence[str]) -> int:
        ports = self._deps.ports.of_servers(server_ids)
        busy = self._busy([port.device_id for port in ports])
        return sum(self._give_back(port) for port in ports if port.device_id not in busy)

    def _of_live(self, server_ids: Sequence[str]) -> int:
        # The ports are read first: one that a verb made by then is kept by now, or its verb still runs.
        made = [port for port in self._deps.ports.of_servers(server_ids) if port.nic_id is not None]
        owners = sorted({port.device_id for port in made})
        with self._deps.cell1.read() as tx:
            kept = server_nics.of_servers(tx, owners)
            busy = self._sagas.active(tx, owners)
            there = sa.select(servers.c.id).where(
                servers.c.id.in_(owners), servers.c.deleted.is_(False)
            )
            live = {row.id for row in tx.all(there)} - set(busy)
        strays = []
        for owner in live:
            place = {nic.port_id: number for number, nic in enumerate(kept.get(owner, ()))}
            first: dict[str | None, int] = {}
            mine = [port for port in made if port.device_id == owner]
            for port in sorted(mine, key=lambda port: place.get(port.id, len(place))):
                if port.id not in place or first.setdefault(port.nic_id, place[port.id]) != place[port.id]:
                    strays.append(port)
        return sum(self._give_back(port) for port in strays)

    def _busy(self, server_ids: Sequence[str]) -> set[str]:
        busy: set[str] = set()
        for cell in self._deps.cells.values():
            with cell.read() as tx:
                busy |= set(self._sagas.active(tx, server_ids))
        return busy

    def _give_back(self, port: Port) -> int:
        LOG.warning("stray port is given back", port_id=port.id, server_id=port.device_id)
        if port.keep or port.nic_id is None:
            self._deps.ports.unbind(port)
        else:
            self._deps.ports.delete(port.id)
        return 1


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
