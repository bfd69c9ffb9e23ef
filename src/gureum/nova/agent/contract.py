# mypy: disable-error-code="empty-body"
"""What may be asked of nova-compute, and what nova-compute may ask of the conductor.

Owns: the message shapes between Nova's sagas and a compute host, and the errors that cross.
Must not: import a store, a driver or anything that does I/O.
Field meanings follow the Compute API reference; power states follow its `OS-EXT-STS:power_state`.

Every `@job` is idempotent by `key` (`saga/step…`); `generation` fences a saga runner that lost its
lease: the agent refuses a job of a saga of which it has seen a newer generation (`Fenced`), and a
spawn of a saga that has already destroyed the guest.
Rooms left open for later verbs: snapshot, resize, live migration, volumes (`GuestSpec.volumes`).
"""

from dataclasses import dataclass, field

from gureum.core.bus.contract import FAST, SLOW, AgentError, Contract, call, job

# Power states, by the names Nova's API numbers stand for.
NOSTATE = "nostate"
RUNNING = "running"
PAUSED = "paused"
SHUTDOWN = "shutdown"
CRASHED = "crashed"
SUSPENDED = "suspended"

POWER_STATE_NUMBERS = {
    NOSTATE: 0,
    RUNNING: 1,
    PAUSED: 3,
    SHUTDOWN: 4,
    CRASHED: 6,
    SUSPENDED: 7,
}

INSPECT_S = 120.0
"""How long a look at a whole host may take."""

POWER_ACTIONS = (
    "start",
    "stop",
    "reboot_soft",
    "reboot_hard",
    "pause",
    "unpause",
    "suspend",
    "resume",
)


class GuestNotFound(AgentError):
    """This host has no such guest."""

    code = "guest_not_found"


class GuestStateConflict(AgentError):
    """The guest is in a state in which the action makes no sense."""

    code = "guest_state_conflict"


class ImageUnusable(AgentError):
    """The image cannot be booted here: its content is not what it claims, or does not fit."""

    code = "image_unusable"


class ImageUnavailable(AgentError):
    """The image could not be read from the image service."""

    code = "image_unavailable"
    retryable = True


class HostDiskFull(AgentError):
    """The host has no room left for the guest's disks or the image."""

    code = "host_disk_full"


class HypervisorFailed(AgentError):
    """The hypervisor refused or failed; the text is for administrators."""

    code = "hypervisor_failed"


class HypervisorDown(AgentError):
    """The hypervisor does not answer; trying again later is right."""

    code = "hypervisor_down"
    retryable = True


class Unsupported(AgentError):
    """This host's driver cannot do what was asked."""

    code = "unsupported"


@dataclass(frozen=True, slots=True)
class FlavorSpec:
    """The sizes of a guest."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ephemeral_gib: int = 0
    swap_mib: int = 0
    extra_specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What the image service says of an image.

    `properties` holds the image's own properties, `hw_*` and `os_*` among them.
    """

    id: str
    name: str = ""
    status: str = "active"
    size_bytes: int = 0
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    disk_format: str = "raw"
    container_format: str = "bare"
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageAccess:
    """Where the agent reads images: the image endpoint without version, and a token."""

    endpoint: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One host route of a subnet; `destination` is a CIDR."""

    destination: str
    gateway: str


@dataclass(frozen=True, slots=True)
class SubnetSpec:
    """A subnet as a guest's port sees it; `addresses` are the port's own in this subnet."""

    id: str
    cidr: str
    ip_version: int
    addresses: tuple[str, ...] = ()
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    dhcp: bool = True
    ipv6_address_mode: str | None = None


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One network card of a guest, bound to this host.

    `vif_type` is "ovs", "bridge" or "unbound" (a card that is plugged nowhere).
    """

    port_id: str
    mac: str
    network_id: str
    network_label: str = ""
    mtu: int = 1500
    vif_type: str = "ovs"
    vnic_type: str = "normal"
    bridge: str = "br-int"
    tap_name: str = ""
    subnets: tuple[SubnetSpec, ...] = ()
    floating_ips: tuple[str, ...] = ()
    tag: str | None = None

    @property
    def device(self) -> str:
        """The tap's name on the host: given, or `tap` and the first 11 characters of the port."""
        return self.tap_name or f"tap{self.port_id[:11]}"


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume that is a disk of the guest. Room for block storage; no driver takes it yet."""

    volume_id: str
    attachment_id: str
    driver_volume_type: str
    connection: dict[str, str] = field(default_factory=dict, repr=False)
    device_name: str | None = None
    boot_index: int | None = None
    serial: str = ""
    size_gib: int = 0
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class KeyPairSpec:
    """The public key that the guest lets in."""

    name: str
    public_key: str
    type: str = "ssh"


@dataclass(frozen=True, slots=True)
class InjectedFile:
    """A personality file; `contents_base64` as the API took it."""

    path: str
    contents_base64: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """Everything a host must know to make a guest.

    `number` is the server's row number in its cell; the domain is named `instance-%08x` after it.
    `user_data` is base64, as the API took it.
    """

    server_id: str
    number: int
    name: str
    hostname: str
    project_id: str
    user_id: str
    flavor: FlavorSpec
    image: ImageSpec | None = None
    image_access: ImageAccess | None = None
    project_name: str = ""
    user_name: str = ""
    ports: tuple[PortSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    key_pair: KeyPairSpec | None = None
    user_data: str | None = field(default=None, repr=False)
    config_drive: bool = False
    admin_pass: str | None = field(default=None, repr=False)
    personality: tuple[InjectedFile, ...] = ()
    availability_zone: str = "nova"
    description: str | None = None
    tags: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    reservation_id: str = ""
    launch_index: int = 0
    created_at: str = ""
    power_on: bool = True

    @property
    def domain_name(self) -> str:
        """The hypervisor's name for the guest (`OS-EXT-SRV-ATTR:instance_name`)."""
        return f"instance-{self.number:08x}"


@dataclass(frozen=True, slots=True)
class GuestHandle:
    """A guest that exists on a host."""

    guest_id: str
    host: str
    name: str
    power_state: str
    root_device_name: str = "/dev/vda"
    config_drive: bool = False


@dataclass(frozen=True, slots=True)
class GuestState:
    """What a guest does now; `present=False` says that it was destroyed underneath."""

    guest_id: str
    power_state: str
    present: bool = True


@dataclass(frozen=True, slots=True)
class VncAddress:
    """Where a guest's screen listens, as the console proxy reaches it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a host's driver can do; `verbs` are names of contract methods and power actions."""

    driver: str
    hypervisor_type: str
    hypervisor_version: int
    virt_type: str
    verbs: tuple[str, ...]
    disk_formats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """The host's processor; `features` are libvirt's names."""

    arch: str
    model: str
    vendor: str
    sockets: int
    cores: int
    threads: int
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a host has and what its guests use of it.

    `hypervisor_version` is libvirt's number (major * 1000000 + minor * 1000 + release). `traits`
    are Placement's names. `disk_*` is the file system that holds the guests' disks.
    """

    hypervisor_hostname: str
    hypervisor_type: str
    hypervisor_version: int
    host_ip: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    vcpus_used: int
    memory_used_mib: int
    disk_used_gib: int
    disk_available_gib: int
    running_guests: int
    cpu: CpuInfo
    traits: tuple[str, ...] = ()
    reserved_memory_mib: int = 0
    reserved_disk_gib: int = 0
    uptime_text: str = ""
    service_uuid: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """A heartbeat with the inventory. `started_at` is ISO 8601 UTC, when this process started.

    `machine_id`: see core/machine.py; "" is taken from every machine.
    """

    host: str
    started_at: str
    sent_at: str
    inventory: Inventory
    capabilities: Capabilities
    boot_id: str = ""
    machine_id: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedGuest:
    """What the conductor's database says of a guest on a host.

    `power_state` is what it should be; `busy` says that a saga is working on it, so hands off.
    """

    guest_id: str
    power_state: str
    busy: bool = False


@dataclass(frozen=True, slots=True)
class ExpectedGuests:
    """All guests of a host, and which of the asked ids are known to be deleted."""

    guests: tuple[ExpectedGuest, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundCard:
    """A network card of a guest. `trouble` says what is wrong with its host side; "" when nothing."""

    mac: str
    device: str
    port_id: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FoundGuest:
    """A guest as it is on the host. `busy`: a job works on it now. `missing`: files it needs."""

    guest_id: str
    name: str
    power_state: str
    cards: tuple[FoundCard, ...] = ()
    missing: tuple[str, ...] = ()
    busy: bool = False


@dataclass(frozen=True, slots=True)
class FoundPart:
    """Something of a guest without the guest, or a leftover of the image cache.

    `kind` is "folder" (disks and console log), "tap" (a port of a switch) or "image-part". `age_s`
    is the time since it last changed, 0 when that is unknown.
    """

    kind: str
    name: str
    guest_id: str = ""
    age_s: float = 0.0
    busy: bool = False


@dataclass(frozen=True, slots=True)
class HostInspection:
    """Everything of Gureum that a compute host holds, looked up anew."""

    host: str
    driver: str
    guests: tuple[FoundGuest, ...] = ()
    parts: tuple[FoundPart, ...] = ()


class ComputeAgent(Contract, topic="compute", version=1):
    """nova-compute, addressed by host."""

    @call(timeout=FAST)
    def capabilities(self) -> Capabilities:
        """Say what this host's driver can do."""
        ...

    @call(timeout=FAST)
    def inventory(self) -> Inventory:
        """Count what the host has and uses."""
        ...

    @job(timeout=SLOW)
    def spawn(self, key: str, generation: int, guest: GuestSpec) -> GuestHandle:
        """Make and start a guest; asked again, return the same guest.

        Raises: ImageUnusable, ImageUnavailable, HostDiskFull, HypervisorFailed, Fenced.
        """
        ...

    @job(timeout=SLOW)
    def destroy(self, key: str, generation: int, guest_id: str, delete_disks: bool) -> None:
        """Remove a guest whole; a guest that never was is no error."""
        ...

    @job(timeout=SLOW)
    def power(
        self, key: str, generation: int, guest_id: str, action: str, timeout_s: int
    ) -> GuestState:
        """Do one of POWER_ACTIONS; `timeout_s` bounds the wait for an orderly shutdown.

        Raises: GuestNotFound, GuestStateConflict, HypervisorFailed.
        """
        ...

    @job(timeout=SLOW)
    def attach_interface(
        self, key: str, generation: int, guest_id: str, port: PortSpec
    ) -> GuestState:
        """Plug a card into a guest, running or not; plugged already is no error."""
        ...

    @job(timeout=SLOW)
    def detach_interface(
        self, key: str, generation: int, guest_id: str, port: PortSpec
    ) -> GuestState:
        """Unplug a card; unplugged already is no error."""
        ...

    @call(timeout=FAST)
    def power_states(self) -> list[GuestState]:
        """Return the state of every guest on this host that Gureum made."""
        ...

    @call(timeout=INSPECT_S)
    def inspect(self) -> HostInspection:
        """Look at everything of this host that is a guest's, or was. Changes nothing."""
        ...

    @call(timeout=INSPECT_S)
    def mend(self) -> None:
        """Compare guests with the conductor's database now, and mend cards and leftovers."""
        ...

    @call(timeout=FAST)
    def remove_part(self, kind: str, name: str) -> None:
        """Remove a part that `inspect` named; a part of a guest that is there is left alone."""
        ...

    @call(timeout=FAST)
    def console_log(self, guest_id: str, length: int | None) -> str:
        """Return the last `length` lines (None: all that is kept) of the serial console.

        Raises: GuestNotFound.
        """
        ...

    @call(timeout=FAST)
    def vnc_console(self, guest_id: str) -> VncAddress:
        """Return where the guest's screen listens.

        Raises: GuestNotFound, GuestStateConflict (it is not running).
        """
        ...

    @call(timeout=FAST)
    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        """Return counters of a running guest, by libvirt's statistics names.

        Raises: GuestNotFound, GuestStateConflict.
        """
        ...


class ComputeState(Contract, topic="nova-conductor", version=1):
    """What nova-compute tells and asks the conductor. Any conductor may answer."""

    @call(timeout=FAST)
    def report(self, report: HostReport) -> None:
        """Take a heartbeat with the host's inventory. Raises: HostNameTaken."""
        ...

    @call(timeout=FAST)
    def guest_states(self, host: str, states: list[GuestState]) -> None:
        """Take the states that changed; `present=False` for guests destroyed underneath."""
        ...

    @call(timeout=FAST)
    def expected_guests(self, host: str, seen: list[str]) -> ExpectedGuests:
        """Say which guests belong on `host`, and which of `seen` (ids found there) are deleted.

        A seen id that is in neither list is unknown: the agent leaves it alone and logs it.
        """
        ...
