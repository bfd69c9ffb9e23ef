"""What other services tell: which servers it is about. What is kept of their ports is read again.

An event is a hint; the conductor reads the truth from the network service, and again now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

from gureum.core.context import Context
from gureum.nova.deps import Deps
from gureum.nova.errors import ServerNotFound
from gureum.nova.logic.server_load import Server, load

NETWORK_EVENTS = frozenset(
    {
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
    }
)


def find(ctx: Context, deps: Deps, server_ids: Sequence[str]) -> dict[str, Server]:
    """Return the servers that events are about; unknown ones are left out.

    Who may send events may name any server.
    """
    found: dict[str, Server] = {}
    for server_id in dict.fromkeys(server_ids):
        try:
            found[server_id] = load(ctx, deps, server_id, any_project=True)
        except ServerNotFound:
            continue
    return found
