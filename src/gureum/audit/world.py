"""What an audit is handed: databases, clients, the way to agents.

Owns: `World`, and the reads that several comparisons share. Must not: compare.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from gureum.audit.image_files import FileStore
from gureum.core.bus.contract import AgentError, BusError
from gureum.core.db.engine import Database
from gureum.core.db.types import utc_now
from gureum.core.saga import SagaStore, records
from gureum.core.saga.records import SagaRecord
from gureum.keystone.client import Session
from gureum.neutron.agents.contract import NetworkAgent, NetworkState
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.store.tables import servers
from gureum.placement.client import PlacementClient


@dataclass(frozen=True, slots=True)
class SagaLog:
    """The saga log of one database."""

    name: str
    database: Database
    store: SagaStore


@dataclass(frozen=True, slots=True)
class World:
    """Everything of one cloud that can be compared.

    grace_s: what is younger is left alone, since its maker may not have finished. stores: the file
    stores of images. logs: every saga log. session: Nova's account, for calls that mend.
    """

    nova: SagaDeps
    sagas: SagaStore
    neutron: Database
    glance: Database
    keystone: Database
    placement: PlacementClient
    network_state: NetworkState
    network_agent: Callable[[str, str], NetworkAgent]
    session: Session
    stores: tuple[FileStore, ...] = ()
    logs: tuple[SagaLog, ...] = ()
    grace_s: float = 30.0
    agent_down_s: float = 75.0
    clock: Callable[[], datetime] = field(default=utc_now)

    def is_young(self, moment: datetime | None) -> bool:
        """Whether something was made or changed so lately that it is nobody's orphan yet."""
        return moment is not None and self.clock() - moment < timedelta(seconds=self.grace_s)


@dataclass(frozen=True, slots=True)
class Servers:
    """Nova's servers: rows by cell, whether alive or deleted, and the sagas that own them."""

    rows: Mapping[str, list[tuple[str, Any]]]
    sagas: Mapping[str, SagaRecord]

    def alive(self) -> dict[str, tuple[str, Any]]:
        """Return (cell, row) of each live server; of two rows the last."""
        return {
            server_id: (cell, row)
            for server_id, found in self.rows.items()
            for cell, row in found
            if not row.deleted
        }

    def is_busy(self, server_id: str) -> bool:
        """Whether a saga owns the server now."""
        return server_id in self.sagas


_COLUMNS = (
    "id", "number", "deleted", "host", "node", "vm_state", "power_state", "project_id", "user_id",
    "vcpus", "memory_mib", "disk_gib", "ephemeral_gib", "swap_mib", "flavor", "created_at",
    "updated_at",
)  # fmt: skip


T = TypeVar("T")
ASKED_AT_ONCE = 16


def ask_all(asked: Mapping[str, Callable[[], T]]) -> tuple[list[T], list[str]]:
    """Ask many agents at once; returns the answers, and by name who did not give one."""

    def ask(name: str) -> tuple[T | None, str]:
        try:
            return asked[name](), ""
        except (AgentError, BusError) as error:
            return None, f"{name}: {error}"

    with ThreadPoolExecutor(ASKED_AT_ONCE, "audit") as pool:
        answers = list(pool.map(ask, asked))
    return (
        [answer for answer, trouble in answers if answer is not None],
        [trouble for _, trouble in answers if trouble],
    )


def read_servers(world: World) -> Servers:
    """Read every server's row and every saga under way."""
    rows: dict[str, list[tuple[str, Any]]] = {}
    sagas: dict[str, SagaRecord] = {}
    for cell, database in world.nova.cells.items():
        with database.read() as tx:
            for row in tx.all(sa.select(*(servers.c[name] for name in _COLUMNS))):
                rows.setdefault(row.id, []).append((cell, row))
            for record in world.sagas.in_state(tx, records.ACTIVE, limit=100_000):
                sagas[record.resource_id] = record
    return Servers(rows, sagas)
