"""What compute hosts tell and ask the conductor.

Owns: `ComputeStateWorker`: heartbeats, inventories to placement, changes of guests that nobody asked for,
and which guests belong on a host. Must not: command a host.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from gureum.core import log
from gureum.core.db.engine import Database, Tx
from gureum.core.db.types import utc_now
from gureum.core.saga.store import SagaStore
from gureum.nova.agent.contract import (
    ComputeState,
    ExpectedGuest,
    ExpectedGuests,
    GuestState,
    HostReport,
    Inventory,
)
from gureum.nova.conductor.config import ConductorOptions
from gureum.nova.model import ACTIVE, ERROR, POWER_NUMBERS, vm_state_of_power
from gureum.nova.placement import (
    DISK_GB,
    MEMORY_MB,
    VCPU,
    Placement,
    PlacementError,
    Stock,
)
from gureum.nova.store import hosts, mappings
from gureum.nova.store import servers as store
from gureum.nova.store.tables import CELL1

LOG = log.get(__name__)

_POWER_NAMES = {number: name for name, number in POWER_NUMBERS.items()}
GONE_TEXT = "The server disappeared from its host."
SETTLE_S = 5.0
"""A host's word on a server whose row was written so lately may be older than the row; the host
repeats what still holds."""
AGAIN_S = 600.0
"""After so long an unchanged inventory is written to placement again, in case it was lost there."""


TOGETHER_S = 0.5
"""Heartbeats of so long a time are written together."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """The last report of a host that was written in full, and until when it need not be again."""

    report: HostReport
    service_id: str
    until: float


@dataclass(frozen=True, slots=True)
class _Written:
    """What was last written to placement of a host."""

    inventory: tuple[Any, ...]
    at: datetime


class ComputeStateWorker(ComputeState):
    """Implements ComputeState on one cell's database."""

    def __init__(
        self,
        api: Database,
        cell: Database,
        other_cells: Sequence[Database],
        sagas: SagaStore,
        placement: Placement,
        options: ConductorOptions,
    ) -> None:
        self._api = api
        self._cell = cell
        self._other_cells = tuple(other_cells)
        self._sagas = sagas
        self._placement = placement
        self._options = options
        self._lock = threading.Lock()
        self._written: dict[str, _Written] = {}
        self._heard: dict[str, _Heard] = {}
        self._beats: set[str] = set()
        self._beats_at = 0.0

    # -- heartbeats -----------------------------------------------------------------------------

    def report(self, report: HostReport) -> None:
        """Take a heartbeat with the host's inventory."""
        heard = self._heard.get(report.host)
        now = time.monotonic()
        if heard is not None and now < heard.until and heard.report == replace(report, sent_at=""):
            self._beat(heard.service_id)
            return
        service_id, node_id = self._cell.retrying(lambda tx: self._note(tx, report))
        self._map_host(report.host)
        if self._tell_placement(node_id, report.inventory):
            until = now + AGAIN_S
            self._heard[report.host] = _Heard(replace(report, sent_at=""), service_id, until)

    def _beat(self, service_id: str) -> None:
        """Note a heartbeat that says nothing new; those of half a second are one write.

        Should this process end before, the hosts look as if they had been silent since their last one.
        """
        with self._lock:
            self._beats.add(service_id)
            if time.monotonic() - self._beats_at < TOGETHER_S:
                return
            beats, self._beats = self._beats, set()
            self._beats_at = time.monotonic()
        if not self._cell.retrying(lambda tx: hosts.still_there(tx, beats)):
            self._heard.clear()  # a service was removed: every host is written anew

    def _note(self, tx: Tx, report: HostReport) -> tuple[str, str]:
        inventory = report.inventory
        service_id = hosts.heard_of(
            tx,
            report.host,
            hosts.COMPUTE,
            started_at=datetime.fromisoformat(report.started_at).astimezone(UTC),
            boot_id=report.boot_id,
            machine_id=report.machine_id,
            disabled=not self._options.enable_new_services,
        )
        known = hosts.get_node(tx, report.host)
        if known is not None:
            node_id = str(known.id)
        else:  # the same id again for a host whose row was removed: placement knows it by it
            named = f"{report.host}/{inventory.hypervisor_hostname}"
            node_id = inventory.service_uuid or str(uuid.uuid5(uuid.NAMESPACE_DNS, named))
        hosts.put_node(
            tx,
            node_id,
            service_id=service_id,
            host=report.host,
            hypervisor_hostname=inventory.hypervisor_hostname,
            inventory=msgspec.to_builtins(inventory),
            capabilities=msgspec.to_builtins(report.capabilities),
        )
        return service_id, node_id

    def _map_host(self, host: str) -> None:
        with self._api.read() as tx:
            known = mappings.cell_of_host(tx, host)
        if known != CELL1:
            self._api.retrying(lambda tx: mappings.map_host(tx, host, CELL1))
            LOG.info("compute host joined", host=host)

    def _tell_placement(self, node_id: str, inventory: Inventory) -> bool:
        """Write what is new to placement; False when that has to be tried again."""
        stocks = self._stocks(inventory)
        wanted = (tuple(sorted(stocks.items())), tuple(sorted(inventory.traits)))
        now = datetime.now(UTC)
        with self._lock:
            last = self._written.get(node_id)
        fresh = last is not None and (now - last.at).total_seconds() < AGAIN_S
        if last is not None and fresh and last.inventory == wanted:
            return True
        try:
            self._placement.put_provider(
                node_id, inventory.hypervisor_hostname, stocks, inventory.traits
            )
        except PlacementError as error:  # the next report tries again
            LOG.warning("inventory not written to placement", node=inventory.hypervisor_hostname,
                        error=str(error))
            return False
        with self._lock:
            self._written[node_id] = _Written(wanted, now)
        return True

    def _stocks(self, inventory: Inventory) -> dict[str, Stock]:
        ratios = self._options
        return {
            VCPU: Stock(inventory.vcpus, 0, ratios.initial_cpu_allocation_ratio),
            MEMORY_MB: Stock(
                inventory.memory_mib,
                inventory.reserved_memory_mib,
                ratios.initial_ram_allocation_ratio,
            ),
            DISK_GB: Stock(
                inventory.disk_gib,
                inventory.reserved_disk_gib,
                ratios.initial_disk_allocation_ratio,
            ),
        }

    # -- guests -----------------------------------------------------------------------------------

    def guest_states(self, host: str, states: list[GuestState]) -> None:
        """Take the states that changed without a verb."""
        for state in states:
            self._cell.retrying(partial(self._sync, host=host, state=state))

    def _sync(self, tx: Tx, host: str, state: GuestState) -> None:
        row = store.get(tx, state.guest_id)
        if row is None or row.host != host or self._sagas.active(tx, [state.guest_id]):
            return
        if row.updated_at is not None and (utc_now() - row.updated_at).total_seconds() < SETTLE_S:
            return
        if not state.present:
            if row.vm_state == ERROR and row.power_state == 0:
                return
            LOG.warning("guest is gone", server_id=row.id, host=host)
            store.change(tx, row.id, vm_state=ERROR, power_state=0)
            store.add_fault(tx, row.id, code=500, message=GONE_TEXT, host=host)
            return
        power = POWER_NUMBERS.get(state.power_state, 0)
        vm_state = vm_state_of_power(power, row.vm_state)
        if (power, vm_state) == (row.power_state, row.vm_state):
            return
        LOG.info("guest changed by itself", server_id=row.id, power_state=state.power_state,
                 vm_state=vm_state)
        store.change(tx, row.id, vm_state=vm_state, power_state=power)

    def expected_guests(self, host: str, seen: list[str]) -> ExpectedGuests:
        """Say which guests belong on `host`, and which of `seen` do not any more."""
        with self._cell.read() as tx:
            rows = store.on_host(tx, host)
            here = {row.id for row in rows}
            strangers = [server_id for server_id in seen if server_id not in here]
            busy = set(self._sagas.active(tx, [*here, *strangers]))
            gone = store.deleted_among(tx, strangers)
            for server_id in strangers:
                row = store.get(tx, server_id)
                if row is not None and server_id not in busy and self._moved(row, host):
                    gone.add(server_id)
        for cell in self._other_cells:
            with cell.read() as tx:
                gone |= store.deleted_among(tx, strangers)
                gone |= {one for one in strangers if store.get(tx, one) is not None}
        guests = tuple(
            ExpectedGuest(row.id, _POWER_NAMES.get(row.power_state, "nostate"), row.id in busy)
            for row in rows
        )
        return ExpectedGuests(guests, tuple(sorted(gone - busy)))

    @staticmethod
    def _moved(row: Any, host: str) -> bool:
        """Whether a server is known to live elsewhere: what is found here is a leftover."""
        return row.host is not None and row.host != host and row.vm_state == ACTIVE
