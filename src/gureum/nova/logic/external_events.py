"""What other services tell: which servers it is about. What is kept of their ports is read again.

An event is a hint; the conductor reads the truth from the network service, and again now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

from gureum.nova.deps import Deps
from gureum.nova.store import mappings
from gureum.nova.store import servers as store

NETWORK_EVENTS = frozenset(
    {
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
    }
)


def hosts_of(deps: Deps, server_ids: Sequence[str]) -> dict[str, str | None]:
    """Return the hosts of the servers that events are about; unknown and deleted ones are left out.

    Who may send events may name any server.
    """
    found: dict[str, str | None] = {}
    with deps.api.read() as tx:
        wanted = set(mappings.cells_of(tx, server_ids))
    for database in deps.cells.values():
        missing = wanted - found.keys()
        if missing:
            with database.read() as tx:
                found.update(store.hosts_of(tx, list(missing)))
    return found
