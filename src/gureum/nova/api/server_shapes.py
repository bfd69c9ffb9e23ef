"""Shapes of servers: requests, queries and answers, for every microversion. API reference: "Servers"."""

from __future__ import annotations

import copy
from typing import Any

from gureum.core.spec import (
    Base64,
    Behaviour,
    Boolean,
    Enum,
    Id,
    Integer,
    Invalid,
    IpAddress,
    Json,
    ListOf,
    MapOf,
    Nested,
    OneOf,
    String,
    Struct,
    Time,
    Value,
)
from gureum.core.spec.fields import Field
from gureum.core.spec.versions import version_or_none
from gureum.nova.api.links import links_field
from gureum.nova.policy import PREFIX
from gureum.nova.store.server_lists import COLUMNS

_ATTRIBUTES = PREFIX + "os-extended-server-attributes"
METADATA_KEY = r"[a-zA-Z0-9-_:. ]{1,255}"
TAG = r"[^,/]{1,60}"
HOST_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
SHORT_HOSTNAME = r"[a-zA-Z0-9-]*[a-zA-Z0-9][a-zA-Z0-9-]*"
FQDN = rf"{HOST_LABEL}(\.{HOST_LABEL})*\.?"


def metadata_field(text: str, **common: Any) -> MapOf:
    """Return the declaration of a metadata object."""
    return MapOf(String("", max=255), text, key_pattern=METADATA_KEY, **common)


def name_field(**common: Any) -> String:
    """Return the declaration of a server's name."""
    return String("Display name.", min=1, printable=True, no_outer_space=True, **common)


def address_field(text: str, version: int, key: str) -> OneOf:
    """Return the declaration of an access address; empty text takes it away."""
    return OneOf((IpAddress("", version=version), String("", max=0)), text, key=key)


# -- creating --------------------------------------------------------------------------------------


class NetworkWanted(Struct):
    """A network card: a network, or a port that exists."""

    uuid_before = String("Network.", key="uuid", null=True, until="2.36")
    uuid = Id("Network.", uuid=True, null=True, since="2.37")
    port = Id("Port.", uuid=True, null=True)
    fixed_ip = IpAddress("Wanted address.", null=True)
    tag_first = String(
        "Device tag.", key="tag", pattern=TAG, max=60, since="2.32", until="2.36", min=1
    )
    tag = String("Device tag.", pattern=TAG, max=60, min=1, since="2.42")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value; the network's id whatever the microversion called it by."""
        if name == "uuid":
            return super().get("uuid") or super().get("uuid_before", default)
        return super().get(name, default)


class DeviceMapping(Struct):
    """A disk of the server. Only the image's local disk is possible yet."""

    boot_index = Integer("Order of booting.", null=True)
    uuid = String("Image, volume or snapshot.", null=True)
    source_type = Enum(
        "What it is made from.", "volume", "image", "snapshot", "blank", required=True
    )
    destination_type = Enum("Where it lives.", "local", "volume")
    volume_size = Integer("GiB.", min=1, null=True)
    delete_on_termination = Boolean("Whether it goes with the server.")
    device_name = String("Device.", null=True)
    device_type = String("Kind of device.", null=True)
    disk_bus = String("Bus.", null=True)
    guest_format = String("File system.", null=True)
    no_device = Boolean("Leave the device out.")
    volume_id = String("Volume.", null=True)
    image_id = String("Image.", null=True)
    snapshot_id = String("Snapshot.", null=True)
    tag_first = String(
        "Device tag.", key="tag", pattern=TAG, max=60, min=1, since="2.32", until="2.32"
    )
    tag = String("Device tag.", pattern=TAG, max=60, min=1, since="2.42")
    volume_type = String("Volume type.", null=True, since="2.67")


class PersonalityFile(Struct):
    """A file to inject."""

    path = String("Path in the guest.", required=True)
    contents = Base64("Bytes, base64.", required=True)


class GroupName(Struct):
    """A security group."""

    name = String("Name or id.", min=1)


class ServerWanted(Struct):
    """A new server."""

    name = name_field(required=True)
    flavor_ref = OneOf((String("", min=1), Integer("")), "Flavor.", key="flavorRef", required=True)
    image_ref = String("Image.", key="imageRef")
    networks_before = OneOf(
        (ListOf(NetworkWanted, ""),), "Networks.", key="networks", null=True, until="2.36"
    )
    networks = OneOf(
        (Enum("", "auto", "none"), ListOf(NetworkWanted, "")),
        "Networks, or `auto`, or `none`.",
        required=True,
        since="2.37",
    )
    key_name = String("Key pair of the user.", min=1, null=True)
    user_data = Base64("Data for the guest, base64.", null=True, max=1 << 20)
    metadata = metadata_field("Metadata.")
    personality = ListOf(PersonalityFile, "Files to inject.", until="2.56")
    config_drive = Boolean("Make a config drive.", null=True)
    min_count = Integer("Least servers.", min=1)
    max_count = Integer("Most servers.", min=1)
    return_reservation_id = Boolean("Answer with a reservation id only.")
    admin_pass = String("Administrator's password.", key="adminPass")
    availability_zone = String("Zone, or zone:host:node.", min=1, null=True)
    security_groups = ListOf(GroupName, "Security groups of ports that are made.")
    block_device_mapping = Json("Volumes; not available.", kinds=(list,))
    block_device_mapping_v2 = ListOf(DeviceMapping, "Disks.")
    disk_config = Enum("Kept and shown.", "AUTO", "MANUAL", key="OS-DCF:diskConfig")
    access_ipv4 = address_field("Address to show.", 4, "accessIPv4")
    access_ipv6 = address_field("Address to show.", 6, "accessIPv6")
    description = String("Free text.", null=True, printable=True, since="2.19")
    own_description = Behaviour("Without a description there is none.", since="2.19")
    tags = ListOf(
        String("", min=1, max=60, pattern=TAG), "Tags.", max=50, unique=True, since="2.52"
    )
    trusted_image_certificates = ListOf(
        String("", min=1), "Not supported.", max=50, null=True, since="2.63"
    )
    host = String(
        "Host that the filters still decide about.",
        min=1,
        since="2.74",
        policy="compute:servers:create:requested_destination",
    )
    hypervisor_hostname = String(
        "Node that the filters still decide about.",
        min=1,
        since="2.74",
        policy="compute:servers:create:requested_destination",
    )
    hostname = String(
        "Host name in the guest.",
        min=2,
        max=63,
        pattern=SHORT_HOSTNAME,
        since="2.90",
        until="2.93",
    )
    hostname_fqdn = String(
        "Host name in the guest.", key="hostname", min=2, pattern=FQDN, since="2.94"
    )

    def check(self) -> None:
        """Refuse what only several fields together show."""
        if self.has("availability_zone") and ":" in (self.get("availability_zone") or ""):
            for name in ("host", "hypervisor_hostname"):
                if self.has(name):
                    raise Invalid(f"server.{name}", "it cannot be combined with zone:host:node")


class ServerCreate(Struct):
    """A new server and hints for the scheduler."""

    server = Nested(ServerWanted, "The server.", required=True)
    hints = Json("Hints for the scheduler.", key="os:scheduler_hints", kinds=(dict,))
    hints_before = Json("Hints for the scheduler.", key="OS-SCH-HNT:scheduler_hints", kinds=(dict,))

    def check(self) -> None:
        """Refuse hints that cannot be kept."""
        hints = self.get("hints") or self.get("hints_before") or {}
        if len(repr(hints)) > 65536:
            raise Invalid("os:scheduler_hints", "the hints are too long")
        group = hints.get("group")
        if group is not None:
            Id("", uuid=True).compile_parse(version_or_none("2.1"))(  # type: ignore[arg-type]
                group, "os:scheduler_hints.group"
            )


class ServerMade(Struct):
    """What is said of a new server."""

    id = String("Id.")
    links = links_field()
    disk_config = String("AUTO or MANUAL.", key="OS-DCF:diskConfig")
    security_groups = Json("Security groups asked for.")
    admin_pass = String("Administrator's password.", key="adminPass")


class ServerUpdate(Struct):
    """What of a server may change at once."""

    name = name_field()
    access_ipv4 = address_field("Address to show.", 4, "accessIPv4")
    access_ipv6 = address_field("Address to show.", 6, "accessIPv6")
    disk_config = Enum("Kept and shown.", "AUTO", "MANUAL", key="OS-DCF:diskConfig")
    description = String("Free text.", null=True, printable=True, since="2.19")
    hostname = String(
        "Host name in the guest.",
        min=2,
        max=63,
        pattern=SHORT_HOSTNAME,
        since="2.90",
        until="2.93",
    )
    hostname_fqdn = String(
        "Host name in the guest.", key="hostname", min=2, pattern=FQDN, since="2.94"
    )
    pinned_zone = String(
        "Zone the server stays in; null for any.",
        key="pinned_availability_zone",
        min=1,
        null=True,
        since="2.104",
    )


# -- listing ---------------------------------------------------------------------------------------

_SORTABLE = tuple(name for name in COLUMNS if name not in ("locked", "reservation_id"))


class ServerQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Filters, sorting, paging. Filters that the caller may not use are ignored."""

    limit = Integer("Most items.", min=0)
    marker = String("Id of the last server of the page before.")
    sort_key = ListOf(Enum("", *_SORTABLE, Value("locked", since="2.73")), "Attributes to sort by.")
    sort_dir = ListOf(Enum("", "asc", "desc", fold=True), "Directions.")
    all_tenants = String("Servers of all projects.")
    project_id = String("With all_tenants: of one project.")
    tenant_id = String("The same.")
    deleted = String("Deleted servers.")
    soft_deleted = String("Without effect.")
    status = ListOf(String(""), "Status.")
    strict_status = Behaviour("Unknown statuses are refused.", since="2.38")
    vm_state = ListOf(String(""), "State.")
    task_state = ListOf(String(""), "What is being done.")
    name = String("Regular expression.")
    flavor = String("Flavor's id.")
    image = String("Image's id.")
    ip = String("Regular expression for an IPv4 address.")
    ip6 = String("Regular expression for an IPv6 address.")
    ip6_for_all = Behaviour("Ordinary users may filter by ip6.", since="2.5")
    reservation_id = String("Reservation.")
    changes_since = Time("Changed at or after; deleted servers too.", key="changes-since")
    changes_before = Time("Changed at or before.", key="changes-before", since="2.66")
    tags = ListOf(String(""), "All of these.", comma=True, since="2.26")
    tags_any = ListOf(String(""), "One of these.", key="tags-any", comma=True, since="2.26")
    not_tags = ListOf(String(""), "Not all of these.", key="not-tags", comma=True, since="2.26")
    not_tags_any = ListOf(
        String(""), "None of these.", key="not-tags-any", comma=True, since="2.26"
    )
    locked = String("Locked or not.", since="2.73")
    filters_for_all = Behaviour("Ordinary users have more filters.", since="2.83")
    access_ip_v4 = String("Access address.")
    access_ip_v6 = String("Access address.")
    auto_disk_config = String("AUTO or MANUAL.")
    availability_zone = String("Zone.")
    config_drive = String("With a config drive or not.")
    created_at = Time("When it was made.")
    description = String("Description.")
    host = String("Host.")
    hostname = String("Host name in the guest.")
    kernel_id = String("Kernel image.")
    key_name = String("Key pair.")
    launch_index = Integer("Index in the reservation.")
    launched_at = Time("When it was up first.")
    locked_by = Enum("Who locked it.", "owner", "admin")
    node = String("Node.")
    power_state = Integer("Power state.")
    progress = Integer("Progress.")
    ramdisk_id = String("Ramdisk image.")
    root_device_name = String("Root device.")
    terminated_at = Time("When it was deleted.")
    user_id = String("User.")
    uuid = String("Id.")


# -- answers ---------------------------------------------------------------------------------------


class ServerBrief(Struct):
    """A server in a plain list."""

    id = String("Id.")
    name = String("Display name.")
    links = links_field()


class EmbeddedFlavor(Struct):
    """The flavor as it was when the server was made."""

    vcpus = Integer("Virtual processors.")
    ram = Integer("Memory in MiB.")
    disk = Integer("Root disk in GiB.")
    ephemeral = Integer("Second disk in GiB.")
    swap = Integer("Swap in MiB.")
    original_name = String("Name.")
    extra_specs = MapOf(String(""), "Extra specs, when the caller may see them.")


class Attachment(Struct):
    """A volume of the server."""

    id = String("Volume.")
    delete_on_termination = Boolean("Whether it goes with the server.", since="2.3")


class ServerDetail(Struct):
    """A server in a detailed list."""

    id = String("Id.")
    name = String("Display name.")
    status = String("Status.")
    tenant_id = String("Project.")
    user_id = String("User.")
    metadata = Json("Metadata.")
    host_id = String("Tells hosts apart within the project.", key="hostId")
    image_before = Json("Image, or empty text.", key="image", until="2.97")
    image = Json("Image with its properties, or empty text.", since="2.98")
    flavor_before = Json("Flavor's id and link.", key="flavor", until="2.46")
    flavor = Nested(EmbeddedFlavor, "Flavor.", since="2.47")
    created = Time("When it was made.")
    updated = Time("When it changed last.")
    addresses = Json("Addresses by network.")
    access_ipv4 = String("Address to show.", key="accessIPv4")
    access_ipv6 = String("Address to show.", key="accessIPv6")
    links = links_field()
    disk_config = String("AUTO or MANUAL.", key="OS-DCF:diskConfig")
    progress = Integer("Percent, while that makes sense.")
    fault = Json("What went wrong.")
    zone = String("Availability zone.", key="OS-EXT-AZ:availability_zone")
    config_drive = String("`True`, or empty text.")
    key_name = String("Key pair.")
    launched_at = Time("When it was up first.", form="us", key="OS-SRV-USG:launched_at")
    terminated_at = Time("When it was deleted.", form="us", key="OS-SRV-USG:terminated_at")
    security_groups = Json("Security groups of its ports.")
    host = String("Host.", key="OS-EXT-SRV-ATTR:host", policy=_ATTRIBUTES)
    instance_name = String(
        "The hypervisor's name.", key="OS-EXT-SRV-ATTR:instance_name", policy=_ATTRIBUTES
    )
    node = String("Node.", key="OS-EXT-SRV-ATTR:hypervisor_hostname", policy=_ATTRIBUTES)
    task_state = String("What is being done.", key="OS-EXT-STS:task_state")
    vm_state = String("State.", key="OS-EXT-STS:vm_state")
    power_state = Integer("Power state.", key="OS-EXT-STS:power_state")
    volumes = ListOf(Attachment, "Volumes.", key="os-extended-volumes:volumes_attached")
    reservation_id = String(
        "Reservation.", key="OS-EXT-SRV-ATTR:reservation_id", policy=_ATTRIBUTES, since="2.3"
    )
    launch_index = Integer(
        "Index in the reservation.",
        key="OS-EXT-SRV-ATTR:launch_index",
        policy=_ATTRIBUTES,
        since="2.3",
    )
    hostname_before = String(
        "Host name in the guest.",
        key="OS-EXT-SRV-ATTR:hostname",
        policy=_ATTRIBUTES,
        since="2.3",
        until="2.89",
    )
    hostname = String("Host name in the guest.", key="OS-EXT-SRV-ATTR:hostname", since="2.90")
    kernel_id = String(
        "Kernel image.", key="OS-EXT-SRV-ATTR:kernel_id", policy=_ATTRIBUTES, since="2.3"
    )
    ramdisk_id = String(
        "Ramdisk image.", key="OS-EXT-SRV-ATTR:ramdisk_id", policy=_ATTRIBUTES, since="2.3"
    )
    root_device_name = String(
        "Root device.", key="OS-EXT-SRV-ATTR:root_device_name", policy=_ATTRIBUTES, since="2.3"
    )
    user_data = String(
        "Data for the guest.", key="OS-EXT-SRV-ATTR:user_data", policy=_ATTRIBUTES, since="2.3"
    )
    locked = Boolean("Whether it is locked.", since="2.9")
    host_status = String(
        "State of the host.", policy=PREFIX + "servers:show:host_status", since="2.16"
    )
    description = String("Free text.", since="2.19")
    tags = Json("Tags.", since="2.26")
    trusted_image_certificates = Json("Always null.", since="2.63")
    locked_reason = String("Why it is locked.", since="2.73")
    pinned_zone = String("Zone the server stays in.", key="pinned_availability_zone", since="2.96")
    scheduler_hints = Json("Hints it was made with.", since="2.100")


class ServerShown(ServerDetail):
    """A server."""

    server_groups = Json("Server groups it is in.", since="2.71")


_NOT_IN_OLD_UPDATES = (
    "zone config_drive key_name launched_at terminated_at security_groups host instance_name"
    " node task_state vm_state power_state volumes reservation_id launch_index hostname_before"
    " kernel_id ramdisk_id root_device_name user_data host_status"
)


def _later(field: Field[Any], since: str) -> Field[Any]:
    """Return a field that exists from a later microversion on."""
    twin = copy.copy(field)
    twin.since = max(field.since or version_or_none(since), version_or_none(since))  # type: ignore[type-var]
    return twin


class ServerUpdated(ServerShown):
    """A server after an update: the whole of it since 2.75."""

    fields = {
        name: _later(field, "2.75") if name in _NOT_IN_OLD_UPDATES.split() else field
        for name, field in ServerShown.fields.items()
    }


def plain_addresses(body: dict[str, Any]) -> None:
    """Take kind and MAC from the addresses, as updates answered before 2.75."""
    body["addresses"] = {
        label: [{"addr": item["addr"], "version": item["version"]} for item in items]
        for label, items in body["addresses"].items()
    }
