"""What a guest is told about itself, as plain data.

Owns: `InstanceMetadata` and how it follows from a `GuestSpec`. Must not: know HTTP, an ISO file or
a database. Follows the Nova user guide, "Metadata", and the EC2 instance metadata categories.
"""

import base64
import hashlib
from dataclasses import dataclass, field

from gureum.nova.agent.contract import GuestSpec, InjectedFile, KeyPairSpec, PortSpec

MAX_PASSWORD_BYTES = 1020
"""How much a guest may post as its encrypted administrator password (four fields of 255)."""


@dataclass(frozen=True, slots=True)
class DeviceTag:
    """A device the user tagged, as `devices` in meta_data.json names it."""

    type: str
    tags: tuple[str, ...]
    bus: str = "none"
    address: str = "none"
    mac: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceMetadata:
    """Everything that the metadata service and the config drive show of one server.

    `number` is the server's row number in its cell; the EC2 ids are made of it. `user_data` is
    base64, as the API took it. `vendor_data` is a static JSON object, `vendor_data2` maps the
    names of dynamic sources to their objects. `random_seed` is base64; empty means a fresh one
    at every read.
    """

    server_id: str
    number: int
    name: str
    hostname: str
    project_id: str
    availability_zone: str = "nova"
    launch_index: int = 0
    instance_type: str = ""
    image_id: str = ""
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    reservation_id: str = ""
    root_device: str = "/dev/vda"
    ephemeral_gib: int = 0
    swap_mib: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    key_pair: KeyPairSpec | None = None
    user_data: str | None = field(default=None, repr=False)
    files: tuple[InjectedFile, ...] = ()
    admin_pass: str | None = field(default=None, repr=False)
    ports: tuple[PortSpec, ...] = ()
    security_groups: tuple[str, ...] = ()
    devices: tuple[DeviceTag, ...] = ()
    dhcp_domain: str = ""
    password: str = field(default="", repr=False)
    random_seed: str = field(default="", repr=False)
    vendor_data: dict[str, object] = field(default_factory=dict)
    vendor_data2: dict[str, object] = field(default_factory=dict)

    @property
    def user_data_bytes(self) -> bytes | None:
        """The user data as the guest reads it."""
        return None if not self.user_data else base64.b64decode(self.user_data)

    @property
    def full_hostname(self) -> str:
        """The host name with the DHCP domain, when there is one."""
        return f"{self.hostname}.{self.dhcp_domain}" if self.dhcp_domain else self.hostname

    @property
    def fixed_ipv4(self) -> tuple[str, ...]:
        """The guest's own IPv4 addresses, first port first."""
        return tuple(
            address
            for port in self.ports
            for subnet in port.subnets
            if subnet.ip_version == 4
            for address in subnet.addresses
        )

    @property
    def floating_ipv4(self) -> tuple[str, ...]:
        """The floating addresses that lead to the guest."""
        return tuple(ip for port in self.ports for ip in port.floating_ips if ":" not in ip)


def ec2_id(number: int, kind: str = "i") -> str:
    """Return the EC2 form of a server's number, `i-0000002a`."""
    return f"{kind}-{number:08x}"


def ec2_image_id(image_id: str | None, kind: str = "ami") -> str:
    """Return an EC2 form of an image's id; the same image always has the same."""
    if not image_id:
        return f"{kind}-00000000"
    return f"{kind}-{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"


def from_guest(guest: GuestSpec, *, dhcp_domain: str = "", seed: bytes = b"") -> InstanceMetadata:
    """Build the metadata of a guest that is about to be made, for its config drive."""
    image = guest.image
    tagged = tuple(
        DeviceTag(type="nic", tags=(port.tag,), bus="pci", mac=port.mac)
        for port in guest.ports
        if port.tag
    ) + tuple(
        DeviceTag(type="disk", tags=(volume.tag,), bus="virtio", serial=volume.serial)
        for volume in guest.volumes
        if volume.tag
    )
    return InstanceMetadata(
        server_id=guest.server_id,
        number=guest.number,
        name=guest.name,
        hostname=guest.hostname,
        project_id=guest.project_id,
        availability_zone=guest.availability_zone,
        launch_index=guest.launch_index,
        instance_type=guest.flavor.name,
        image_id=image.id if image else "",
        kernel_id=image.kernel_id if image else None,
        ramdisk_id=image.ramdisk_id if image else None,
        reservation_id=guest.reservation_id,
        ephemeral_gib=guest.flavor.ephemeral_gib,
        swap_mib=guest.flavor.swap_mib,
        metadata=guest.metadata,
        key_pair=guest.key_pair,
        user_data=guest.user_data,
        files=guest.personality,
        admin_pass=guest.admin_pass,
        ports=guest.ports,
        security_groups=guest.security_groups,
        devices=tagged,
        dhcp_domain=dhcp_domain,
        random_seed=base64.b64encode(seed).decode() if seed else "",
    )
