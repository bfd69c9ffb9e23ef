"""Telling the server which ports work: only what it does not know yet, until it has heard it.

Owns: StatusReporter and its thread, so that a slow server never delays the wiring of ports.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

from gureum.core import log as logs
from gureum.core.context import Stories, log_ids
from gureum.neutron.agents.base import Backoff
from gureum.neutron.agents.contract import StatusUpdate

log = logs.get(__name__)

ACTIVE = "ACTIVE"
DOWN = "DOWN"
_AT_ONCE = 500


class PortStatuses(Protocol):
    """The part of NetworkState that takes port statuses."""

    def port_statuses(self, host: str, updates: list[StatusUpdate]) -> None:
        """Take the L2 status of ports."""


class StatusReporter:
    """Sends changes of port statuses in the background, again and again until they are taken."""

    def __init__(self, host: str, server: PortStatuses) -> None:
        self._host = host
        self._server = server
        self._wanted: dict[str, StatusUpdate] = {}
        self._told: dict[str, StatusUpdate] = {}
        self._stories = Stories()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="port-statuses", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop without sending what is left."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def update(self, statuses: Mapping[str, StatusUpdate], again: Iterable[str] = ()) -> None:
        """Set the status of every port of this host; tell those in `again` even if unchanged."""
        with self._changed:
            self._wanted = dict(statuses)
            self._told = {key: told for key, told in self._told.items() if key in statuses}
            for port_id in again:
                self._told.pop(port_id, None)
            if self._untold():
                self._stories.note()
            self._changed.notify_all()

    def _untold(self) -> list[StatusUpdate]:
        return [one for key, one in self._wanted.items() if self._told.get(key) != one]

    def _next(self) -> list[StatusUpdate]:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._untold())
            return [] if self._stopping else self._untold()[:_AT_ONCE]

    def _run(self) -> None:
        backoff = Backoff()
        ids: dict[str, str | None] = {}
        while updates := self._next():
            ids = self._stories.take() or ids
            try:
                with log_ids(**ids):
                    self._server.port_statuses(self._host, updates)
            except Exception as error:  # border: an agent's worker
                wait_s = backoff.failed()
                log.warning("port statuses not taken", ports=len(updates), error=error)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, wait_s)
                continue
            backoff.passed()
            with self._changed:
                self._told.update({one.id: one for one in updates if one.id in self._wanted})
            with log_ids(**ids):
                for one in updates:
                    log.info(
                        "port status told", port_id=one.id, status=one.status, detail=one.detail
                    )
            ids = {}
