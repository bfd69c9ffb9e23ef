"""Answers the console proxy: where a token leads, and whether a session may stay open.

The screen's address is asked of the compute host each time, because a port that one guest had may be
another guest's later (abuse case 25).
"""

from __future__ import annotations

from gureum.core import log
from gureum.core.bus.contract import AgentError, BusError
from gureum.nova.console.contract import ConsoleTarget
from gureum.nova.deps import Deps
from gureum.nova.logic import consoles
from gureum.nova.store import mappings
from gureum.nova.store import servers as store

_log = log.get(__name__)


class ConsoleAuthWorker:
    """`ConsoleAuth` over nova_api's console tokens."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def validate(self, token: str) -> ConsoleTarget | None:
        """Return where a token leads, or None."""
        with self._deps.api.read() as tx:
            row = consoles.look_up(tx, token)
        host = None if row is None else self._host_of(row.server_id)
        if row is None or host is None:
            return None
        try:
            place = self._deps.compute(host).vnc_console(row.server_id)
        except (AgentError, BusError) as error:
            _log.warning("a console's host does not say where it is", host=host, reason=str(error))
            return None
        return ConsoleTarget(row.server_id, place.host, place.port, row.internal_path)

    def session_alive(self, server_id: str) -> bool:
        """Return whether an open console of a server may stay open."""
        return self._host_of(server_id) is not None

    def _host_of(self, server_id: str) -> str | None:
        with self._deps.api.read() as tx:
            mapping = mappings.get(tx, server_id)
        if mapping is None or mapping.deleted_at is not None:
            return None
        database = self._deps.cells.get(mapping.cell)
        if database is None:
            return None
        with database.read() as tx:
            row = store.get(tx, server_id)
        return None if row is None else row.host
