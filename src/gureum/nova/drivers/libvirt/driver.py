"""The libvirt driver: guests as QEMU processes that libvirtd keeps.

Owns: the order in which a guest's parts are made and removed. Every part is found again by the
server's id: the domain's uuid, the folder's name, `external_ids:vm-id` of its ports on Open vSwitch.
Guests are children of nobody here: they run on when Gureum or libvirtd is restarted.
Must not: run the guest's code paths through a shell, or log what a guest is told.
"""

import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt  # type: ignore[import-untyped]

from gureum.core import log
from gureum.core.runner import Runner
from gureum.nova.agent.config import ComputeOptions, LibvirtOptions
from gureum.nova.agent.contract import (
    POWER_ACTIONS,
    Capabilities,
    CpuInfo,
    FoundGuest,
    FoundPart,
    GuestHandle,
    GuestNotFound,
    GuestState,
    GuestStateConflict,
    HypervisorDown,
    HypervisorFailed,
    Inventory,
    PortSpec,
    VncAddress,
)
from gureum.nova.drivers.base import (
    ComputeDriver,
    GuestChanged,
    HasConsoles,
    HasInterfaces,
    Hold,
    SpawnOrder,
)
from gureum.nova.drivers.libvirt import console, domains, host
from gureum.nova.drivers.libvirt.connection import Connection
from gureum.nova.drivers.libvirt.disks import GuestFolders
from gureum.nova.drivers.libvirt.domain_xml import DomainPlan, domain_xml, interface_xml
from gureum.nova.drivers.libvirt.images import DISK_FORMATS, ImageCache
from gureum.nova.drivers.libvirt.inspect import TAP, HostLook
from gureum.nova.drivers.libvirt.power import Power
from gureum.nova.drivers.libvirt.probe import VirtTypeProbe
from gureum.nova.drivers.libvirt.vif import Vifs

LOG = log.get(__name__)

_NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_START_TIMEOUT_S = 180.0
_UNPLUG_S = 20.0
_KIB_PER_MIB = 1024
_HYPERVISOR_TYPES = {"kvm": "QEMU", "qemu": "QEMU"}


class LibvirtDriver(ComputeDriver, HasConsoles, HasInterfaces):
    """Guests of one host."""

    def __init__(
        self,
        options: ComputeOptions,
        libvirt_options: LibvirtOptions,
        host_name: str,
        runner: Runner,
    ) -> None:
        self._options = options
        self._libvirt = libvirt_options
        self._host_name = host_name
        self._state_path = Path(options.state_path)
        self._instances = Path(options.instances_path)
        self._instances.mkdir(parents=True, exist_ok=True)
        self._instances.chmod(0o711)
        self._cache = ImageCache(self._instances / "_base", libvirt_options, runner)
        self._folders = GuestFolders(self._instances, libvirt_options, self._cache, runner)
        self._vifs = Vifs(libvirt_options, runner)
        self._connection = Connection(
            libvirt_options.connection_uri,
            libvirt_options.connections,
            libvirt_options.call_timeout_s,
        )
        self._power = Power(self._connection, self._instances)
        self._look = HostLook(self._instances, self._connection, self._vifs)
        self._probe = VirtTypeProbe(
            runner, self._state_path / "virt_type.json", libvirt_options.probe_timeout_s
        )
        self._lock = threading.Lock()
        self._virt_type = ""
        self._cpu: CpuInfo | None = None

    def virt_type(self) -> str:
        """Return "kvm" or "qemu", found by trying when it is not configured."""
        with self._lock:
            if not self._virt_type:
                wanted = self._libvirt.virt_type
                self._virt_type = self._probe.virt_type() if wanted == "auto" else wanted
            return self._virt_type

    def capabilities(self) -> Capabilities:
        """Say what this driver can do."""
        return Capabilities(
            driver="libvirt",
            hypervisor_type=_HYPERVISOR_TYPES[self.virt_type()],
            hypervisor_version=self._connection.call(lambda c: c.getVersion()),
            virt_type=self.virt_type(),
            verbs=(*POWER_ACTIONS, "spawn", "destroy", "attach_interface", "detach_interface"),
            disk_formats=DISK_FORMATS,
        )

    def inventory(self) -> Inventory:
        """Count what the host has and its guests use, in one question about all of them."""
        wanted = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_VCPU
            | libvirt.VIR_DOMAIN_STATS_BALLOON
        )
        info, memory_kib, version, stats = self._connection.call(
            lambda c: (
                c.getInfo(),
                # getInfo counts what the kernel knew at boot, not memory that came later.
                c.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"],
                c.getVersion(),
                [(d.UUIDString(), s) for d, s in c.getAllDomainStats(wanted, _NOWAIT)],
            )
        )
        known = self._folders.known()
        ours = [one for guest_id, one in stats if guest_id in known]
        active = [one for one in ours if one.get("state.state") != libvirt.VIR_DOMAIN_SHUTOFF]
        room = host.disk_room(self._instances)
        return Inventory(
            hypervisor_hostname=self._host_name,
            hypervisor_type=_HYPERVISOR_TYPES[self.virt_type()],
            hypervisor_version=version,
            host_ip=self._options.my_ip,
            vcpus=info[2],
            memory_mib=memory_kib // _KIB_PER_MIB,
            disk_gib=room.total_gib,
            vcpus_used=sum(one.get("vcpu.maximum", 0) for one in ours),
            memory_used_mib=self._options.reserved_host_memory_mb
            + sum(one.get("balloon.maximum", 0) for one in ours) // _KIB_PER_MIB,
            disk_used_gib=room.used_gib,
            disk_available_gib=room.free_gib,
            running_guests=len(active),
            cpu=self._cpu_info(info),
            traits=host.traits(self.virt_type()),
            reserved_memory_mib=self._options.reserved_host_memory_mb,
            reserved_disk_gib=-(-self._options.reserved_host_disk_mb // 1024),
            uptime_text=host.uptime_text(),
            service_uuid=host.host_uuid(self._state_path),
        )

    def _cpu_info(self, info: list[int | str]) -> CpuInfo:
        if self._cpu is None:
            text = self._connection.call(lambda c: c.getCapabilities())
            self._cpu = host.cpu_info(text, info)
        return self._cpu

    def spawn(self, order: SpawnOrder) -> GuestHandle:
        """Make and start a guest, going on where an earlier run stopped."""
        guest = order.guest
        files = self._folders.prepare(order)
        order.checkpoint()
        self._vifs.prepare(guest.ports)
        plan = DomainPlan(
            guest,
            self._libvirt.instance_name_template % guest.number,
            files,
            self.virt_type(),
            self._libvirt,
            self._vifs.may_offload(guest.ports),
        )
        description = domain_xml(plan)
        order.checkpoint()

        def start(connection: Any) -> str:
            domain = domains.find(connection, guest.server_id, self._instances)
            if domain is None:
                domains.check_not_foreign(connection, guest.server_id, plan.name)
                domain = connection.defineXML(description)
            if guest.power_on and not domain.isActive():
                domain.create()
            return domains.power_state(domain)

        state = self._connection.call(start, _START_TIMEOUT_S)
        return GuestHandle(
            guest.server_id,
            self._host_name,
            plan.name,
            state,
            files.root_device,
            files.config_drive,
        )

    def destroy(self, guest_id: str, *, delete_disks: bool) -> None:
        """Remove a guest whole: its process, domain, taps and folder, whichever are there."""
        self._power.kill(guest_id)
        self._connection.call(lambda c: _undefine(domains.find(c, guest_id, self._instances)))
        self._vifs.forget(guest_id)
        if delete_disks:
            self._folders.remove(guest_id)

    def power(self, guest_id: str, action: str, timeout_s: int) -> GuestState:
        """Do a power action."""
        return GuestState(guest_id, self._power.do(guest_id, action, timeout_s))

    def guest_states(self) -> list[GuestState]:
        """Return every guest with a folder here; a busy guest answers with what is known of it."""

        def ask(connection: Any) -> list[GuestState]:
            stats = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, _NOWAIT)
            return [
                GuestState(
                    domain.UUIDString(), domains.power_state(domain, values.get("state.state", 0))
                )
                for domain, values in stats
                if domain.UUIDString() in known
            ]

        known = self._folders.known()
        return self._connection.call(ask)

    def leftovers(self) -> list[str]:
        """Return ids that have a folder but no domain."""
        defined = self._connection.call(
            lambda c: {domain.UUIDString() for domain in c.listAllDomains()}
        )
        return sorted(self._folders.known() - defined)

    def inspect(self) -> tuple[list[FoundGuest], list[FoundPart]]:
        """Return every guest with its cards and files, and parts that have no guest."""
        return self._look.look(self._folders.known())

    def mend_cards(self, hold: Hold, busy: Callable[[str], bool]) -> int:
        """Give cards of running guests their taps and bridges back."""
        return self._look.mend(self._folders.known(), hold, busy)

    def remove_part(self, kind: str, name: str) -> None:
        """Remove a tap of no guest; parts of images go by `housekeep`, folders by `destroy`."""
        if kind == TAP:
            self._look.remove_tap(name)

    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        """Return libvirt's statistics of a running guest."""

        def ask(connection: Any) -> dict[str, int | str]:
            domain = self._domain(connection, guest_id)
            if not domain.isActive():
                raise GuestStateConflict("the guest is not running")
            stats = connection.domainListGetStats([domain], 0, _NOWAIT)
            return dict(stats[0][1]) if stats else {}

        return self._connection.call(ask)

    def console_log(self, guest_id: str, length: int | None) -> str:
        """Return the end of the serial console's log."""
        if not self._folders.folder(guest_id).is_dir():
            raise GuestNotFound(f"no guest {guest_id} on this host")
        return console.tail(self._folders.folder(guest_id), self._libvirt.console_log_bytes, length)

    def vnc_console(self, guest_id: str) -> VncAddress:
        """Return where a running guest's screen listens."""

        def ask(connection: Any) -> int | None:
            domain = self._domain(connection, guest_id)
            return domains.vnc_port(domain.XMLDesc(0)) if domain.isActive() else None

        port = self._connection.call(ask)
        if port is None:
            raise GuestStateConflict("the guest is not running")
        listen = self._libvirt.server_listen
        reached_at = self._libvirt.server_proxyclient_address
        if not reached_at:
            reached_at = self._options.my_ip if listen in ("0.0.0.0", "::") else listen
        return VncAddress(reached_at, port)

    def attach_interface(self, guest_id: str, port: PortSpec) -> GuestState:
        """Plug a card, now and for later starts."""
        self._vifs.prepare((port,))
        offload = self._vifs.may_offload((port,))

        def ask(connection: Any) -> str:
            domain = self._domain(connection, guest_id)
            stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            description = interface_xml(port, domains.vif_model(stored), offload)
            if domains.card(stored, port.mac) is None:
                domain.attachDeviceFlags(description, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            if domain.isActive() and domains.card(domain.XMLDesc(0), port.mac) is None:
                domain.attachDeviceFlags(description, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            return domains.power_state(domain)

        return GuestState(guest_id, self._connection.call(ask))

    def detach_interface(self, guest_id: str, port: PortSpec) -> GuestState:
        """Unplug a card; waits until the guest let it go."""
        serial = self._connection.wait_change(-1, 0)
        self._connection.call(lambda c: _unplug(self._domain(c, guest_id), port.mac))
        waited_s = 0.0
        while self._connection.call(lambda c: _is_plugged(self._domain(c, guest_id), port.mac)):
            if waited_s >= _UNPLUG_S:
                raise HypervisorFailed("the guest does not let the card go")
            serial = self._connection.wait_change(serial, 0.5)
            waited_s += 0.5
        return GuestState(guest_id, self._power.state(guest_id))

    def _domain(self, connection: Any, guest_id: str) -> Any:
        return domains.get(connection, guest_id, self._instances)

    def housekeep(self) -> None:
        """Remove base images that no guest uses."""
        self._cache.age()

    def watch(self, changed: GuestChanged) -> None:
        """Tell of guests of this host that change by themselves."""

        def ours(guest_id: str) -> None:
            if self._folders.folder(guest_id).is_dir():
                changed(guest_id)

        self._connection.listen(ours)
        try:
            self._connection.call(lambda c: c.getVersion())
        except HypervisorDown as error:
            LOG.warning("libvirt does not answer yet", error=error.text)

    def close(self) -> None:
        """Let go of libvirtd; guests keep running."""
        self._connection.close()


def _undefine(domain: Any) -> None:
    if domain is None:
        return
    domain.undefineFlags(
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    )


def _unplug(domain: Any, mac: str) -> None:
    stored = domains.card(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), mac)
    if stored is not None:
        domain.detachDeviceFlags(
            ET.tostring(stored, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_CONFIG
        )
    live = domains.card(domain.XMLDesc(0), mac) if domain.isActive() else None
    if live is not None:
        domain.detachDeviceFlags(
            ET.tostring(live, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE
        )


def _is_plugged(domain: Any, mac: str) -> bool:
    return domains.card(domain.XMLDesc(0), mac) is not None
