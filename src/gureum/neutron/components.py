"""neutron-server: the Network API, and the answers to networking agents.

Owns: putting the service together in a process; the thread that tells Nova about ports.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core import log
from gureum.core.api import ApiComponent, open_policy
from gureum.core.bus.base import Service as BusService
from gureum.core.bus.contract import BusError
from gureum.core.context import Stories, log_ids
from gureum.core.db import Database
from gureum.core.db.types import utc_now
from gureum.core.http.client import RemoteError, RemoteUnavailable
from gureum.core.http.dispatch import Authenticator
from gureum.core.metrics import Sample
from gureum.core.run import Runtime
from gureum.keystone.client import Session
from gureum.keystone.components import session_for, token_checker
from gureum.neutron.agents.contract import NetworkAgent, NetworkState, poke_address
from gureum.neutron.config import Ml2Options, NeutronOptions, QuotaOptions
from gureum.neutron.deps import Deps
from gureum.neutron.logic.state import NetworkStateServer
from gureum.neutron.ml2.manager import Ml2
from gureum.neutron.service import SERVICE
from gureum.neutron.store.tables import agents
from gureum.nova.client import ExternalEvent, NovaClient

LOG = log.get(__name__)

PORT = 9696
_WORKERS = 8
_MOST_WAITING = 1000
_GATHER_S = 0.005
"""Ports that become active in one moment are told in one request."""


class NovaNotifier:
    """Tells Nova about ports of guests, in a thread of its own; best effort.

    Follows: Compute API, "Create external events".
    """

    def __init__(self, session: Session) -> None:
        self._nova = NovaClient(session)
        self._waiting: queue.Queue[ExternalEvent | None] = queue.Queue(_MOST_WAITING)
        self._stories = Stories()
        self._thread = threading.Thread(target=self._run, name="nova-events", daemon=True)
        self._thread.start()

    def send(self, name: str, device_id: str, port_id: str, mac_address: str) -> None:
        """Queue an event; a full queue drops it, since it is only a hint."""
        self._stories.note()
        try:
            self._waiting.put_nowait(ExternalEvent(name, device_id, port_id or None))
        except queue.Full:
            LOG.warning("event for nova dropped", event_name=name, server_id=device_id)

    def close(self) -> None:
        """End the thread."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(2.0)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            time.sleep(_GATHER_S)
            events = [first]
            ending = False
            while len(events) < 50 and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    ending = True
                    break
                events.append(more)
            with log_ids(**self._stories.take()):
                self._post(events)
            if ending:
                return

    def _post(self, events: list[ExternalEvent]) -> None:
        try:
            self._nova.send_events(events)
        except (RemoteError, RemoteUnavailable, ValueError, LookupError) as error:
            LOG.info("nova cannot be told about ports", reason=str(error), events=len(events))


class NeutronServer(ApiComponent):
    """The Network API and the contract NetworkState."""

    name = "neutron-server"
    service = SERVICE
    port = PORT

    def __init__(self) -> None:
        self._served: BusService | None = None
        self._notifier: NovaNotifier | None = None

    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Deps:
        """Collect options, ML2, the way to the agents and to Nova."""
        options = runtime.config.get(NeutronOptions)
        deps = Deps(
            db=databases[""],
            policy=open_policy(runtime, self.service),
            options=options,
            quotas=runtime.config.get(QuotaOptions),
            ml2=Ml2(runtime.config.get(Ml2Options), options.global_physnet_mtu),
            poke=_poker(runtime),
        )
        if options.notify_nova:
            self._notifier = NovaNotifier(session_for(runtime, "neutron"))
            deps.nova_event = self._notifier.send
        return deps

    def authenticator(self, runtime: Runtime, deps: Any) -> Authenticator:
        """Ask Keystone as the user neutron."""
        return token_checker(runtime, "neutron")

    def start(self, runtime: Runtime) -> None:
        """Serve the API and the agents."""
        super().start(runtime)
        deps: Deps = self.dispatcher.deps
        deps.policy = self.dispatcher.policy
        self._served = runtime.bus.serve(
            NetworkState, NetworkStateServer(deps), None, workers=_WORKERS
        )

        runtime.metrics.gauge_from(
            "gureum_neutron_heartbeat_age_seconds",
            "Time since a networking agent was last heard of.",
            ("binary", "host"),
            lambda: _heartbeats(deps.db),
        )

    def stop(self) -> None:
        """Stop answering agents."""
        if self._served is not None:
            self._served.close(wait=False)
        if self._notifier is not None:
            self._notifier.close()


def _heartbeats(database: Database) -> Iterator[Sample]:
    now = utc_now()
    c = agents.c
    with database.read() as tx:
        rows = tx.all(sa.select(c.binary, c.host, c.heartbeat_at))
    for row in rows:
        yield (row.binary, row.host), (now - row.heartbeat_at).total_seconds()


def _poker(runtime: Runtime) -> Any:
    clients: dict[str, NetworkAgent] = {}

    def poke(binary: str, host: str, revision: int, kinds: Sequence[str]) -> None:
        address = poke_address(binary, host)
        client = clients.get(address)
        if client is None:
            client = clients[address] = runtime.bus.client(NetworkAgent, address)
        try:
            client.changed(revision, list(kinds))
        except BusError as error:
            LOG.debug("agent not hinted", agent=address, reason=str(error))

    return poke
