"""What must be known before a server is made: image, networks, ports, security groups, zone.

Owns: asking other services, outside any transaction, and refusing what cannot work. Every refusal here is a
400, 403 or 409 with nothing left behind.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Struct
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    ExternalNetworkForbidden,
    ImageUnusable,
    NetworkAmbiguous,
    NoVolumes,
    PortInUse,
)
from gureum.nova.logic.flavors import Flavor
from gureum.nova.model import RequestedNic
from gureum.nova.outside import ImageFacts, NetworkFacts, PortFacts

AUTO = "auto"
NONE = "none"
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_GIB = 1 << 30


def image_of(ctx: Context, deps: Deps, new: Struct) -> ImageFacts:
    """Return the image to boot. Raises: Bad, ImageUnusable, NoVolumes."""
    reference = _image_reference(new)
    if reference is None:
        raise Bad("Invalid imageRef provided.")
    image = deps.images.get(ctx, reference)
    if image is None:
        raise ImageUnusable("Can not find requested image")
    if image.status != "active":
        raise ImageUnusable(f"Image {image.id} is not active.")
    return image


def _image_reference(new: Struct) -> str | None:
    given = new.get("image_ref") or None
    mapped = [
        item for item in new.get("block_device_mapping_v2") or () if not item.get("no_device")
    ]
    if new.get("block_device_mapping"):
        raise NoVolumes()
    for item in mapped:
        local = item.get("destination_type", "local") == "local"
        boots = item.get("source_type") == "image" and item.get("boot_index") == 0
        if not local or not boots or len(mapped) > 1:
            raise NoVolumes()
        if given is not None and item.get("uuid") not in (None, given):
            raise Bad("The image of block_device_mapping_v2 is not the one of imageRef.")
        given = given or item.get("uuid")
    if given is None:
        return None
    reference = str(given).rstrip("/").rsplit("/", 1)[-1]
    return reference.lower() if _UUID.fullmatch(reference) else None


def check_image_fits(image: ImageFacts, flavor: Flavor) -> None:
    """Refuse a flavor that is too small for an image. Raises: ImageUnusable."""
    if flavor.memory_mib < image.min_ram:
        raise ImageUnusable("Flavor's memory is too small for requested image.")
    if flavor.disk_gib == 0:
        return
    room = flavor.disk_gib * _GIB
    if max(image.size, image.virtual_size) > room:
        raise ImageUnusable(
            "Flavor's disk is too small for requested image. Flavor disk is"
            f" {room} bytes, image is {max(image.size, image.virtual_size)} bytes."
        )
    if flavor.disk_gib < image.min_disk:
        raise ImageUnusable(
            "Flavor's disk is smaller than the minimum size specified in image metadata."
            f" Flavor disk is {room} bytes, minimum size is {image.min_disk * _GIB} bytes."
        )


@dataclass(frozen=True, slots=True)
class NicFacts:
    """The network cards of one server, checked."""

    nics: tuple[RequestedNic, ...]

    def for_server(self) -> tuple[RequestedNic, ...]:
        """Return the cards with ids of their own."""
        return tuple(
            RequestedNic(str(uuid.uuid4()), nic.network_id, nic.port_id, nic.fixed_ip, nic.tag)
            for nic in self.nics
        )


def nics_of(ctx: Context, deps: Deps, wanted: Any, *, count: int) -> NicFacts:
    """Return the network cards that a request asks for. `wanted`: as the API takes `networks`.

    Raises: Bad, NetworkAmbiguous, PortInUse, ExternalNetworkForbidden.
    """
    if wanted == NONE:
        return NicFacts(())
    if wanted in (None, AUTO) or not wanted:
        return NicFacts(_automatic(ctx, deps, required=wanted == AUTO))
    return NicFacts(checked_nics(ctx, deps, wanted, count=count))


def _automatic(ctx: Context, deps: Deps, *, required: bool) -> tuple[RequestedNic, ...]:
    visible = [
        net
        for net in deps.networks.networks(ctx)
        if (net.project_id == ctx.project_id or net.shared) and net.subnets and net.admin_state_up
    ]
    usable = [net for net in visible if net.project_id == ctx.project_id] if required else visible
    usable = usable or visible
    usable = [net for net in usable if not net.external or net.project_id == ctx.project_id]
    if len(usable) > 1:
        raise NetworkAmbiguous()
    if not usable:
        if required:
            raise Bad(
                "Unable to automatically allocate a network for project "
                f"{ctx.project_id}: it has none, and none is made for it."
            )
        return ()
    return (RequestedNic("", network_id=usable[0].id),)


def checked_nics(
    ctx: Context, deps: Deps, wanted: Sequence[Struct], *, count: int
) -> tuple[RequestedNic, ...]:
    """Check a list of networks and ports. Raises: as `nics_of`."""
    port_ids = [item.get("port") for item in wanted if item.get("port")]
    if len(set(port_ids)) != len(port_ids):
        raise Bad("A port may be asked for once only.")
    if port_ids and count > 1:
        raise Bad("Multiple create with a port is not possible: a port belongs to one server.")
    if count > 1 and any(item.get("fixed_ip") for item in wanted):
        raise Bad("Invalid fixed IP Address: max_count must be 1 if a fixed_ip is specified.")
    ports = {port.id: port for port in deps.networks.ports(ctx, port_ids)} if port_ids else {}
    network_ids = [item.get("uuid") for item in wanted if item.get("uuid") and not item.get("port")]
    network_ids += [port.network_id for port in ports.values()]
    unique = list(dict.fromkeys(network_ids))
    networks = {net.id: net for net in deps.networks.networks(ctx, unique)} if unique else {}
    return tuple(_nic(ctx, deps, item, ports, networks) for item in wanted)


def _nic(
    ctx: Context,
    deps: Deps,
    item: Struct,
    ports: Mapping[str, PortFacts],
    networks: Mapping[str, NetworkFacts],
) -> RequestedNic:
    fixed_ip, tag = item.get("fixed_ip"), item.get("tag_first", item.get("tag"))
    port_id, network_id = item.get("port"), item.get("uuid")
    if port_id:
        port = ports.get(port_id)
        if port is None:
            raise Bad(f"Port id {port_id} could not be found.")
        if port.device_id:
            raise PortInUse(port_id=port_id)
        if fixed_ip:
            raise Bad("Specified Fixed IP cannot be used with port: choose one of them.")
        if not port.fixed_ips:
            raise Bad(f"Port {port_id} requires a FixedIP in order to be used.")
        return RequestedNic("", port.network_id, port_id, None, tag)
    if not network_id:
        raise Bad("Bad networks format: a network needs 'uuid' or 'port'.")
    network = networks.get(network_id)
    if network is None:
        raise Bad(f"Network {network_id} could not be found.")
    if not network.subnets:
        raise Bad(f"Network {network_id} requires a subnet in order to boot instances on.")
    if network.external and network.project_id != ctx.project_id and not network.shared:
        rule = "network:attach_external_network"
        if not deps.policy.allows(rule, ctx, {"project_id": ctx.project_id}):
            raise ExternalNetworkForbidden(network_id=network_id)
    return RequestedNic("", network_id, None, fixed_ip, tag)


def group_ids(ctx: Context, deps: Deps, wanted: Sequence[Struct] | None) -> tuple[str, ...]:
    """Return the ids of security groups that were named by id or name. Raises: Bad."""
    names = list(dict.fromkeys(item.get("name") for item in wanted or ()))
    if not names:
        return ()
    groups = deps.networks.groups(ctx, ctx.project_id)
    return tuple(dict.fromkeys(find_group(ctx, groups, name) for name in names))


def find_group(ctx: Context, groups: Sequence[Any], name: str) -> str:
    """Return the id of the one group of a name or id. Raises: Bad, NetworkAmbiguous."""
    by_id = [group.id for group in groups if group.id == name]
    found = by_id or [group.id for group in groups if group.name == name]
    if not found:
        raise Bad(f"Security group {name} not found for project {ctx.project_id}.")
    if len(found) > 1:
        raise NetworkAmbiguous(
            f"Multiple security groups found matching '{name}'. Use an ID to be more specific."
        )
    return str(found[0])
