"""What is kept of servers' ports is what Neutron says: addresses, names of networks and security groups.

Owns: `KnownPorts`. Must not: change Neutron, or a server that a verb works on.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from gureum.core.reconcile import Reconciler
from gureum.core.saga.store import SagaStore
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.model import Nic
from gureum.nova.ports import Port, nic_of
from gureum.nova.store import server_nics
from gureum.nova.store.tables import servers

BATCH = 50
AT_ONCE = 1000
ROUND = 10
"""So many servers, and at least a tenth of all, are read in one pass: all of them after ten passes at most.

Neutron tells of changes by itself; this is for what it told nobody.
"""


class KnownPorts(Reconciler):
    """Reads the ports of servers again, a batch at a time."""

    name = "nova.ports"

    def __init__(self, deps: SagaDeps, sagas: SagaStore, interval_s: float) -> None:
        self._deps = deps
        self._sagas = sagas
        self.interval_s = interval_s
        self._next = 0

    def reconcile(self) -> int:
        """Refresh servers that are on a host: all of them, or the next share of many."""
        with self._deps.cell1.read() as tx:
            wanted = sa.select(servers.c.id).where(
                servers.c.deleted.is_(False), servers.c.host.is_not(None)
            )
            known = [row.id for row in tx.all(wanted.order_by(servers.c.number))]
        first = self._next if self._next < len(known) else 0
        self._next = first + max(AT_ONCE, -(-len(known) // ROUND))
        ids = known[first : self._next]
        batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
        return sum(self.refresh(batch) for batch in batches)

    def refresh(self, server_ids: Sequence[str]) -> int:
        """Refresh some servers; returns how many had changed."""
        with self._deps.cell1.read() as tx:
            busy = self._sagas.active(tx, server_ids)
            kept = server_nics.of_servers(tx, list(server_ids))
        idle = [server_id for server_id in server_ids if server_id not in busy]
        if not idle:
            return 0
        found = self._deps.ports.of_servers(idle)
        around = self._deps.ports.surroundings(found)
        count = 0
        for server_id in idle:
            old = kept.get(server_id, [])
            mine = {port.id: port for port in found if port.device_id == server_id}
            new = [nic_of(port, around, tag) for port, tag in _ordered(mine, old)]
            if [_without_keep(nic) for nic in new] != [_without_keep(nic) for nic in old]:
                count += self._write(server_id, new)
        return count

    def _write(self, server_id: str, nics: Sequence[Nic]) -> int:
        with self._deps.cell1.write() as tx:
            if self._sagas.active(tx, [server_id]):
                return 0  # a verb began meanwhile, and writes what it does itself
            server_nics.replace(tx, server_id, nics)
        return 1


def _ordered(mine: dict[str, Port], old: Sequence[Nic]) -> list[tuple[Port, str | None]]:
    """Return the ports in the order of the cards, those that came otherwise last."""
    tags = {nic.port_id: nic.tag for nic in old}
    known = [mine[nic.port_id] for nic in old if nic.port_id in mine]
    others = [port for port_id, port in sorted(mine.items()) if port_id not in tags]
    return [(port, tags.get(port.id)) for port in [*known, *others]]


def _without_keep(nic: Nic) -> tuple[object, ...]:
    addresses = tuple(sorted((a.address, a.version, a.kind) for a in nic.addresses))
    return (nic.port_id, nic.network_id, nic.network_label, nic.mac, nic.tag, nic.spec, addresses, nic.groups)
