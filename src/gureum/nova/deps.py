"""What Nova's handlers carry: databases, options, policy, the way to other services and to hosts.

Must not: hold the state of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gureum.core.db.engine import Database
from gureum.core.policy.rules import Policy
from gureum.core.saga.model import Saga
from gureum.core.saga.store import SagaStore
from gureum.nova.config import ConsoleAuthOptions, NovaOptions, QuotaOptions, VncOptions
from gureum.nova.outside import Images, Networks
from gureum.nova.store.tables import CELL0, CELL1


class Guests(Protocol):
    """What the API asks a compute host at once; the calls of the agent's contract."""

    def console_log(self, guest_id: str, length: int | None) -> str:
        """Return the tail of a guest's serial console."""
        ...

    def vnc_console(self, guest_id: str) -> Any:
        """Return host and port of a guest's screen."""
        ...

    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        """Return counters of a running guest."""
        ...


def tell_nobody(server_ids: list[str]) -> None:
    """Leave it to the reconciler."""


@dataclass(slots=True)
class Deps:
    """The service's own object, on every transaction as `tx.deps`.

    cells: by cell name. compute: the way to a host's agent. sagas: by name. refresh_ports: a hint that the
    network service changed ports of servers.
    """

    api: Database
    cells: Mapping[str, Database]
    policy: Policy
    saga_store: SagaStore
    sagas: Mapping[str, Saga]
    images: Images
    networks: Networks
    compute: Callable[[str], Guests]
    options: NovaOptions = field(default_factory=NovaOptions)
    quotas: QuotaOptions = field(default_factory=QuotaOptions)
    vnc: VncOptions = field(default_factory=VncOptions)
    consoles: ConsoleAuthOptions = field(default_factory=ConsoleAuthOptions)
    instance_name_template: str = "instance-%08x"
    novnc_url: str = "http://127.0.0.1:6080/vnc_lite.html"
    refresh_ports: Callable[[list[str]], None] = tell_nobody

    @property
    def cell0(self) -> Database:
        """Where servers are that found no host."""
        return self.cells[CELL0]

    @property
    def cell1(self) -> Database:
        """Where servers are made."""
        return self.cells[CELL1]
