"""A neutron-server for tests of the L2 agent: the wanted state in memory, full and delta answers.

Owns: FakeServer, which implements what the agents use of NetworkState. Must not: be used outside tests.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from gureum.neutron.agents.contract import (
    AgentAck,
    AgentReport,
    DhcpState,
    L2State,
    L3State,
    MetadataTarget,
    NetworkState,
    StatusUpdate,
)

KINDS = ("networks", "ports", "security_groups", "members", "tunnels")


class FakeServer(NetworkState):
    """One cloud with one host: `put` and `drop` change what is wanted and poke the agent."""

    def __init__(self, *, deltas: bool = True) -> None:
        self.revision = 1
        self.deltas = deltas
        self.fail = False
        self.statuses: dict[str, StatusUpdate] = {}
        self.reports: list[AgentReport] = []
        self.answers: list[L2State] = []
        self.on_change: Callable[[int], None] = lambda revision: None
        self._items: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._changed_at: dict[tuple[str, str], int] = {}
        self._told = threading.Condition()

    def put(self, kind: str, *items: Any) -> None:
        """Want items, new or changed."""
        with self._told:
            self.revision += 1
            for item in items:
                self._items[kind][item.id] = item
                self._changed_at[kind, item.id] = self.revision
        self.on_change(self.revision)

    def drop(self, kind: str, *ids: str) -> None:
        """Want items no longer."""
        with self._told:
            self.revision += 1
            for item_id in ids:
                self._items[kind].pop(item_id, None)
                self._changed_at[kind, item_id] = self.revision
        self.on_change(self.revision)

    def wait_status(self, port_id: str, status: str, timeout_s: float = 10.0) -> StatusUpdate:
        """Wait until a port has been reported so. Raises: AssertionError."""
        deadline = time.monotonic() + timeout_s
        with self._told:
            while True:
                found = self.statuses.get(port_id)
                if found is not None and found.status == status:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self._told.wait(left):
                    raise AssertionError(f"port {port_id} is {found}, not {status}")

    def l2_state(self, host: str, since: int) -> L2State:
        """Answer in full, or the difference."""
        with self._told:
            if self.fail:
                raise ConnectionError("the server is away")
            full = since == 0 or not self.deltas
            lists: dict[str, Any] = {}
            removed: dict[str, list[str]] = {}
            for kind in KINDS:
                known = self._items[kind]
                moved = [
                    item_id
                    for (of, item_id), at in self._changed_at.items()
                    if of == kind and at > since
                ]
                lists[kind] = tuple(
                    known.values() if full else (known[i] for i in moved if i in known)
                )
                if not full:
                    removed[kind] = [i for i in moved if i not in known]
            answer = L2State(revision=self.revision, full=full, removed=removed, **lists)
            self.answers.append(answer)
            return answer

    def l3_state(self, host: str, since: int) -> L3State:
        """Answer that there are no routers."""
        return L3State(self.revision)

    def dhcp_state(self, host: str, since: int) -> DhcpState:
        """Answer that there are no networks."""
        return DhcpState(self.revision)

    def metadata_target(
        self, host: str, address: str, network_id: str | None, router_id: str | None
    ) -> MetadataTarget | None:
        """Answer that nobody is there."""
        return None

    def report(self, report: AgentReport) -> AgentAck:
        """Remember a heartbeat."""
        with self._told:
            self.reports.append(report)
            self._told.notify_all()
        return AgentAck(self.revision)

    def port_statuses(self, host: str, updates: list[StatusUpdate]) -> None:
        """Remember port statuses."""
        with self._told:
            if self.fail:
                raise ConnectionError("the server is away")
            self.statuses.update({one.id: one for one in updates})
            self._told.notify_all()

    def dhcp_ready(self, host: str, port_ids: list[str]) -> None:
        """Take it."""

    def router_statuses(
        self, host: str, routers: list[StatusUpdate], floating_ips: list[StatusUpdate]
    ) -> None:
        """Take it."""
