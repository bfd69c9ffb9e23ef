"""nova-compute's answers: the contract on one side, a driver on the other.

Owns: the journal of jobs, one job a guest at a time, and that a late spawn never brings a destroyed
guest back. Must not: know a hypervisor, or see a database of a service.

Three things keep a guest from living twice or after its end:
- the journal runs a key once, and refuses an older generation of its saga;
- a destroy first raises a fence for (saga, guest), so a spawn of that saga that is running stops at
  its next checkpoint, and one that arrives late is refused;
- the driver finds what an earlier run left, by the server's id.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace

from gureum.core import log
from gureum.core.bus.contract import Fenced
from gureum.core.bus.journal import Journal
from gureum.nova.agent.config import ComputeOptions
from gureum.nova.agent.contract import (
    POWER_ACTIONS,
    Capabilities,
    ComputeAgent,
    GuestHandle,
    GuestSpec,
    GuestState,
    HostInspection,
    ImageAccess,
    Inventory,
    PortSpec,
    Unsupported,
    VncAddress,
)
from gureum.nova.agent.image_source import ImageApis
from gureum.nova.agent.orders import Orders
from gureum.nova.drivers.base import (
    ComputeDriver,
    HasConsoles,
    HasInterfaces,
    ImageSource,
    SpawnOrder,
)
from gureum.nova.metadata import config_drive
from gureum.nova.metadata.model import from_guest

LOG = log.get(__name__)

SEED_BYTES = 512
MAX_SHUTDOWN_WAIT_S = 3600

OpenImages = Callable[[ImageAccess], ImageSource]


class ComputeWorker(ComputeAgent):
    """Implements ComputeAgent with a driver."""

    def __init__(
        self,
        options: ComputeOptions,
        host: str,
        driver: ComputeDriver,
        journal: Journal,
        open_images: OpenImages | None = None,
    ) -> None:
        self.host = host
        self.driver = driver
        self.orders = Orders()
        self.reconcile: Callable[[], None] = lambda: None  # the loops say what it means
        self._options = options
        self._journal = journal
        self._open_images = open_images or ImageApis(options.image_timeout_s).open

    def capabilities(self) -> Capabilities:
        """Say what this host's driver can do."""
        return self.driver.capabilities()

    def inventory(self) -> Inventory:
        """Count what the host has and uses."""
        return self.driver.inventory()

    def spawn(self, key: str, generation: int, guest: GuestSpec) -> GuestHandle:
        """Make and start a guest, once a key."""
        fence = _fence(key, guest.server_id)

        def work() -> GuestHandle:
            with self.orders.working_on(guest.server_id):
                return self._spawn(key, generation, guest)

        def unless_ended() -> GuestHandle:
            return self._journal.run(
                f"{fence}/spawn/{key}", 0, work, result=GuestHandle, resource=fence
            )

        return self._journal.run(key, generation, unless_ended, result=GuestHandle)

    def _spawn(self, key: str, generation: int, guest: GuestSpec) -> GuestHandle:
        began = time.monotonic()
        images = self._open_images(guest.image_access) if guest.image_access else None

        def checkpoint() -> None:
            self.orders.checkpoint(guest.server_id)
            if self._journal.superseded(key, generation) or self._journal.superseded(
                _fence(key, guest.server_id), 0
            ):
                raise Fenced(f"guest {guest.server_id} is no longer wanted by {key}")

        made = self.driver.spawn(SpawnOrder(guest, images, self._config_drive(guest), checkpoint))
        LOG.info("guest spawned", server_id=guest.server_id, seconds=time.monotonic() - began)
        return GuestHandle(
            made.guest_id,
            self.host,
            made.name,
            made.power_state,
            made.root_device_name,
            made.config_drive,
        )

    def _config_drive(self, guest: GuestSpec) -> dict[str, bytes] | None:
        if not (guest.config_drive or self._options.force_config_drive):
            return None
        instance = from_guest(
            guest, dhcp_domain=self._options.dhcp_domain, seed=os.urandom(SEED_BYTES)
        )
        return config_drive.files(instance)

    def destroy(self, key: str, generation: int, guest_id: str, delete_disks: bool) -> None:
        """Remove a guest whole; hurries a spawn of it that is running."""
        if self._journal.superseded(key, generation):
            raise Fenced(f"{key} comes from an older runner")
        fence = _fence(key, guest_id)

        def work() -> None:
            with self.orders.working_on(guest_id):
                self.driver.destroy(guest_id, delete_disks=delete_disks)

        # Locks are taken in the order saga, guest, as a spawn does; the fence needs none to rise.
        with self.orders.ending(guest_id):
            self._journal.run(f"{fence}/ended", 1, lambda: None, resource=fence)
            self._journal.run(key, generation, work)
        LOG.info("guest destroyed", server_id=guest_id, disks=delete_disks)

    def reap(self, guest_id: str) -> None:
        """Remove a guest whose server is deleted; for the reconciler, which has no saga."""
        with self.orders.ending(guest_id), self.orders.working_on(guest_id):
            self.driver.destroy(guest_id, delete_disks=True)

    def power(
        self, key: str, generation: int, guest_id: str, action: str, timeout_s: int
    ) -> GuestState:
        """Do a power action, once a key."""
        if action not in POWER_ACTIONS:
            raise Unsupported(f"no power action {action}")
        wait_s = max(0, min(timeout_s, MAX_SHUTDOWN_WAIT_S))
        return self._job(
            key, generation, guest_id, lambda: self.driver.power(guest_id, action, wait_s)
        )

    def attach_interface(
        self, key: str, generation: int, guest_id: str, port: PortSpec
    ) -> GuestState:
        """Plug a card, once a key."""
        driver = self._with_interfaces()
        return self._job(key, generation, guest_id, lambda: driver.attach_interface(guest_id, port))

    def detach_interface(
        self, key: str, generation: int, guest_id: str, port: PortSpec
    ) -> GuestState:
        """Unplug a card, once a key."""
        driver = self._with_interfaces()
        return self._job(key, generation, guest_id, lambda: driver.detach_interface(guest_id, port))

    def power_states(self) -> list[GuestState]:
        """Return the state of every guest of this host."""
        return self.driver.guest_states()

    def inspect(self) -> HostInspection:
        """Look at guests and parts; what a job works on is marked as busy."""
        guests, parts = self.driver.inspect()
        busy = self.orders.busy
        return HostInspection(
            self.host,
            self.driver.capabilities().driver,
            tuple(replace(one, busy=busy(one.guest_id)) for one in guests),
            tuple(replace(one, busy=bool(one.guest_id) and busy(one.guest_id)) for one in parts),
        )

    def mend(self) -> None:
        """Remove image parts of dead fetches, mend cards, and compare with the conductor."""
        self.mend_cards()
        self.driver.housekeep()
        self.reconcile()

    def mend_cards(self) -> None:
        """Give cards of idle guests their host side back."""
        self.driver.mend_cards(self.orders.working_on, self.orders.busy)

    def remove_part(self, kind: str, name: str) -> None:
        """Remove a part that no guest has."""
        self.driver.remove_part(kind, name)

    def console_log(self, guest_id: str, length: int | None) -> str:
        """Return the end of a guest's serial console."""
        return self._with_consoles().console_log(guest_id, length)

    def vnc_console(self, guest_id: str) -> VncAddress:
        """Return where a guest's screen listens."""
        return self._with_consoles().vnc_console(guest_id)

    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        """Return a running guest's counters."""
        return self.driver.diagnostics(guest_id)

    def _job(
        self, key: str, generation: int, guest_id: str, work: Callable[[], GuestState]
    ) -> GuestState:
        def alone() -> GuestState:
            with self.orders.working_on(guest_id):
                return work()

        state = self._journal.run(key, generation, alone, result=GuestState)
        LOG.info("guest changed", server_id=guest_id, job=key, power_state=state.power_state)
        return state

    def _with_consoles(self) -> HasConsoles:
        if not isinstance(self.driver, HasConsoles):
            raise Unsupported("this driver has no consoles")
        return self.driver

    def _with_interfaces(self) -> HasInterfaces:
        if not isinstance(self.driver, HasInterfaces):
            raise Unsupported("this driver cannot plug cards")
        return self.driver


def _fence(key: str, guest_id: str) -> str:
    """The journal's resource for what one saga does to one guest."""
    return f"{key.split('/', 1)[0]}@{guest_id}"
