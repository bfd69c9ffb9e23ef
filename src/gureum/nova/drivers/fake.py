"""A driver whose guests exist in memory only: for `gureum up --simulated` and for tests.

Owns: guests that pass through every state, delays, faults on demand. Must not: touch the machine;
with `path` the guests are kept in one small file, so that they outlive the process.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from gureum.core.faults import FaultPoint
from gureum.nova.agent.contract import (
    PAUSED,
    POWER_ACTIONS,
    RUNNING,
    SHUTDOWN,
    SUSPENDED,
    Capabilities,
    CpuInfo,
    FoundCard,
    FoundGuest,
    FoundPart,
    GuestHandle,
    GuestNotFound,
    GuestState,
    GuestStateConflict,
    HypervisorFailed,
    ImageUnusable,
    Inventory,
    PortSpec,
    Unsupported,
    VncAddress,
)
from gureum.nova.drivers.base import (
    ComputeDriver,
    GuestChanged,
    HasConsoles,
    HasInterfaces,
    Hold,
    SpawnOrder,
    last_lines,
)

Fault = Callable[[], Exception]


@dataclass(frozen=True, slots=True)
class FakeHost:
    """The imagined machine and how long its work takes."""

    name: str = "fake-host"
    address: str = "127.0.0.1"
    vcpus: int = 64
    memory_mib: int = 262144
    disk_gib: int = 4096
    spawn_s: float = 0.0
    power_s: float = 0.0
    destroy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Guest:
    id: str
    name: str
    power_state: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    vnc_port: int
    ports: tuple[str, ...] = ()
    log: str = ""
    config_drive: bool = False


@dataclass
class Faults:
    """Failures to come: `fail("spawn", 3)` makes the third spawn from now fail."""

    _planned: dict[tuple[str, int], Fault] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, verb: str, nth: int = 1, error: Fault | None = None) -> None:
        """Make the nth `verb` from now raise (HypervisorFailed by default)."""
        with self._lock:
            at = self._counts[verb] + nth
            self._planned[(verb, at)] = error or (lambda: HypervisorFailed(f"planned: {verb}"))

    def check(self, verb: str) -> None:
        """Count one `verb`; raise when it was planned to fail."""
        with self._lock:
            self._counts[verb] += 1
            planned = self._planned.pop((verb, self._counts[verb]), None)
        if planned is not None:
            raise planned()


_ALLOWED = {
    "start": {SHUTDOWN: RUNNING, RUNNING: RUNNING, SUSPENDED: RUNNING},
    "stop": {RUNNING: SHUTDOWN, PAUSED: SHUTDOWN, SHUTDOWN: SHUTDOWN, SUSPENDED: SHUTDOWN},
    "reboot_soft": {RUNNING: RUNNING, SHUTDOWN: RUNNING},
    "reboot_hard": {
        RUNNING: RUNNING,
        PAUSED: RUNNING,
        SHUTDOWN: RUNNING,
        SUSPENDED: RUNNING,
    },
    "pause": {RUNNING: PAUSED, PAUSED: PAUSED},
    "unpause": {PAUSED: RUNNING, RUNNING: RUNNING},
    "suspend": {RUNNING: SUSPENDED, PAUSED: SUSPENDED, SUSPENDED: SUSPENDED},
    "resume": {SUSPENDED: RUNNING, RUNNING: RUNNING},
}


class FakeDriver(ComputeDriver, HasConsoles, HasInterfaces):
    """Guests in memory. `faults` injects failures; `vanish` destroys one underneath.

    point: where the faults of a simulated cloud come from; it counts by method and power action.
    """

    def __init__(
        self,
        host: FakeHost | None = None,
        path: Path | None = None,
        point: FaultPoint | None = None,
    ) -> None:
        self.host = host or FakeHost()
        self.faults = Faults()
        self._point = point
        self._path = path
        self._lock = threading.RLock()
        self._guests: dict[str, _Guest] = {}
        self._changed: GuestChanged = lambda guest_id: None
        self._litter: list[FoundPart] = []
        self._unplugged: set[str] = set()
        if path is not None and path.exists():
            stored = msgspec.json.decode(path.read_bytes(), type=list[_Guest])
            self._guests = {guest.id: guest for guest in stored}

    def capabilities(self) -> Capabilities:
        """Say what this driver can do."""
        return Capabilities(
            driver="fake",
            hypervisor_type="fake",
            hypervisor_version=1000,
            virt_type="fake",
            verbs=(*POWER_ACTIONS, "spawn", "destroy", "attach_interface", "detach_interface"),
            disk_formats=("raw", "qcow2", "vmdk", "vdi", "vhd", "iso", "ami", "aki", "ari"),
        )

    def inventory(self) -> Inventory:
        """Count what the imagined host has and uses."""
        self._act("inventory")
        with self._lock:
            guests = list(self._guests.values())
        used_disk = sum(guest.disk_gib for guest in guests)
        return Inventory(
            hypervisor_hostname=self.host.name,
            hypervisor_type="fake",
            hypervisor_version=1000,
            host_ip=self.host.address,
            vcpus=self.host.vcpus,
            memory_mib=self.host.memory_mib,
            disk_gib=self.host.disk_gib,
            vcpus_used=sum(guest.vcpus for guest in guests),
            memory_used_mib=sum(guest.memory_mib for guest in guests),
            disk_used_gib=used_disk,
            disk_available_gib=max(0, self.host.disk_gib - used_disk),
            running_guests=sum(guest.power_state == RUNNING for guest in guests),
            cpu=CpuInfo("x86_64", "fake", "fake", 1, self.host.vcpus, 1),
            traits=("COMPUTE_NODE", "COMPUTE_NET_ATTACH_INTERFACE"),
        )

    def spawn(self, order: SpawnOrder) -> GuestHandle:
        """Make a guest, or return the one that is there."""
        guest = order.guest
        with self._lock:
            known = self._guests.get(guest.server_id)
        if known is None:
            order.checkpoint()
            self._act("spawn")
            image = guest.image
            if (
                image is not None
                and guest.flavor.disk_gib
                and (image.min_disk_gib > guest.flavor.disk_gib)
            ):
                raise ImageUnusable("the image needs a larger disk than the flavor has")
            if image is not None and order.images is not None:
                order.images.show(image.id)  # a real driver would read it now
            _pause(self.host.spawn_s)
            order.checkpoint()
            known = self._add(order)
        return GuestHandle(
            known.id, self.host.name, known.name, known.power_state, config_drive=known.config_drive
        )

    def _add(self, order: SpawnOrder) -> _Guest:
        guest = order.guest
        with self._lock:
            taken = {one.vnc_port for one in self._guests.values()}
            made = _Guest(
                id=guest.server_id,
                name=guest.domain_name,
                power_state=RUNNING if guest.power_on else SHUTDOWN,
                vcpus=guest.flavor.vcpus,
                memory_mib=guest.flavor.memory_mib,
                disk_gib=guest.flavor.disk_gib + guest.flavor.ephemeral_gib,
                vnc_port=next(port for port in range(5900, 65536) if port not in taken),
                ports=tuple(port.port_id for port in guest.ports),
                log="".join(f"[fake] {guest.hostname} line {n}\n" for n in range(1, 21)),
                config_drive=order.config_drive is not None,
            )
            self._guests[made.id] = made
            self._keep()
        return made

    def destroy(self, guest_id: str, *, delete_disks: bool) -> None:
        """Forget a guest."""
        self._act("destroy")
        _pause(self.host.destroy_s)
        with self._lock:
            self._litter = [one for one in self._litter if one.guest_id != guest_id]
            if self._guests.pop(guest_id, None) is not None:
                self._keep()

    def power(self, guest_id: str, action: str, timeout_s: int) -> GuestState:
        """Move a guest to the state that the action leads to."""
        if action not in _ALLOWED:
            raise Unsupported(f"no power action {action}")
        guest = self._guest(guest_id)
        if guest.power_state not in _ALLOWED[action]:
            raise GuestStateConflict(f"cannot {action} a guest that is {guest.power_state}")
        self._act(action)
        _pause(self.host.power_s)
        return self._set_state(guest_id, _ALLOWED[action][guest.power_state])

    def _set_state(self, guest_id: str, power_state: str) -> GuestState:
        with self._lock:
            guest = self._guest(guest_id)
            self._guests[guest_id] = replace(guest, power_state=power_state)
            self._keep()
        return GuestState(guest_id, power_state)

    def guest_states(self) -> list[GuestState]:
        """Return every guest."""
        self._act("guest_states")
        with self._lock:
            return [GuestState(guest.id, guest.power_state) for guest in self._guests.values()]

    def leftovers(self) -> list[str]:
        """Return the guests of folders that tests left here."""
        with self._lock:
            return sorted(part.guest_id for part in self._litter if part.kind == "folder")

    def inspect(self) -> tuple[list[FoundGuest], list[FoundPart]]:
        """Return guests, their cards, and what `litter` and `unplug` did to them."""
        with self._lock:
            found = [
                FoundGuest(
                    guest.id,
                    guest.name,
                    guest.power_state,
                    tuple(
                        FoundCard(
                            "", f"tap{port[:11]}", port,
                            "its tap is gone" if port in self._unplugged else "",
                        )
                        for port in guest.ports
                    ),
                )
                for guest in self._guests.values()
            ]  # fmt: skip
            return found, list(self._litter)

    def mend_cards(self, hold: Hold, busy: Callable[[str], bool]) -> int:
        """Plug in again what `unplug` took out."""
        with self._lock:
            guests = {port: guest.id for guest in self._guests.values() for port in guest.ports}
            ports = [port for port in self._unplugged if port in guests]
        for port in ports:
            if not busy(guests[port]):
                with hold(guests[port]):
                    self._unplugged.discard(port)
        return len(ports)

    def remove_part(self, kind: str, name: str) -> None:
        """Forget one piece of litter."""
        with self._lock:
            self._litter = [one for one in self._litter if (one.kind, one.name) != (kind, name)]

    def litter(self, part: FoundPart) -> None:
        """Leave a part without a guest behind, as a crash would."""
        with self._lock:
            self._litter.append(part)

    def unplug(self, port_id: str) -> None:
        """Take a card's tap away, as an operator's slip would."""
        with self._lock:
            self._unplugged.add(port_id)

    def housekeep(self) -> None:
        """Forget parts of images."""
        with self._lock:
            self._litter = [one for one in self._litter if one.kind != "image-part"]

    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        """Return imagined counters."""
        self._act("diagnostics")
        guest = self._guest(guest_id)
        if guest.power_state == SHUTDOWN:
            raise GuestStateConflict("the guest is not running")
        return {"vcpu.current": guest.vcpus, "balloon.maximum": guest.memory_mib * 1024}

    def console_log(self, guest_id: str, length: int | None) -> str:
        """Return the last lines of an invented log."""
        self._act("console_log")
        return last_lines(self._guest(guest_id).log, length)

    def vnc_console(self, guest_id: str) -> VncAddress:
        """Return an address at which nobody listens."""
        self._act("vnc_console")
        guest = self._guest(guest_id)
        if guest.power_state == SHUTDOWN:
            raise GuestStateConflict("the guest is not running")
        return VncAddress(self.host.address, guest.vnc_port)

    def attach_interface(self, guest_id: str, port: PortSpec) -> GuestState:
        """Note a card."""
        self._act("attach_interface")
        with self._lock:
            guest = self._guest(guest_id)
            if port.port_id not in guest.ports:
                self._guests[guest_id] = replace(guest, ports=(*guest.ports, port.port_id))
                self._keep()
            return GuestState(guest_id, guest.power_state)

    def detach_interface(self, guest_id: str, port: PortSpec) -> GuestState:
        """Forget a card."""
        self._act("detach_interface")
        with self._lock:
            guest = self._guest(guest_id)
            left = tuple(one for one in guest.ports if one != port.port_id)
            self._guests[guest_id] = replace(guest, ports=left)
            self._keep()
            return GuestState(guest_id, guest.power_state)

    def watch(self, changed: GuestChanged) -> None:
        """Call `changed` from `vanish` and `halt`."""
        self._changed = changed

    def vanish(self, guest_id: str) -> None:
        """Destroy a guest underneath, as an operator with virsh would."""
        with self._lock:
            self._guests.pop(guest_id, None)
            self._keep()
        self._changed(guest_id)

    def halt(self, guest_id: str) -> None:
        """Let a guest power itself off."""
        self._set_state(guest_id, SHUTDOWN)
        self._changed(guest_id)

    def ports_of(self, guest_id: str) -> tuple[str, ...]:
        """Return the ids of the cards that are plugged."""
        return self._guest(guest_id).ports

    def _act(self, verb: str) -> None:
        """Count one piece of work; it may be held up or fail."""
        self.faults.check(verb)
        if self._point is not None:
            self._point.act(verb)

    def _guest(self, guest_id: str) -> _Guest:
        with self._lock:
            guest = self._guests.get(guest_id)
        if guest is None:
            raise GuestNotFound(f"no guest {guest_id} on this host")
        return guest

    def _keep(self) -> None:
        if self._path is None:
            return
        part = self._path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(list(self._guests.values())))
        os.replace(part, self._path)


def _pause(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)
