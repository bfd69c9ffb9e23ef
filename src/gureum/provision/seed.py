"""What a new cloud holds: flavors, the provider network, the guest image. Made through the REST APIs.

Owns: which objects and with which values; each is looked for first, so that a second run changes
nothing. Must not: reach into a database.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gureum.provision.api import Api
from gureum.provision.network import Outside


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of servers. memory in MiB, disk in GiB."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int


FLAVORS = (Flavor("g1", "g1.small", 1, 256, 1),)
"""Enough for the guest image. The classic sizes are in Nova's own bootstrap."""

IMAGE = "gureum-guest"


def make_flavors(api: Api) -> int:
    """The flavors; returns how many were made. Raises: ApiFailed."""
    there = {f["name"] for f in api.get("compute", "/flavors", is_public="None")["flavors"]}
    made = 0
    for flavor in FLAVORS:
        if flavor.name in there:
            continue
        body = {
            "id": flavor.id,
            "name": flavor.name,
            "vcpus": flavor.vcpus,
            "ram": flavor.memory_mib,
            "disk": flavor.disk_gib,
        }
        api.post("compute", "/flavors", {"flavor": body})
        made += 1
    return made


def make_public_network(api: Api, outside: Outside, physical_network: str) -> bool:
    """The flat provider network `public` with its subnet; whether it was made. Raises: ApiFailed."""
    found = api.get("network", "/v2.0/networks", name="public")["networks"]
    if found:
        network = found[0]
    else:
        body = {
            "name": "public",
            "shared": False,
            "router:external": True,
            "provider:network_type": "flat",
            "provider:physical_network": physical_network,
        }
        network = api.post("network", "/v2.0/networks", {"network": body})["network"]
    subnets = api.get("network", "/v2.0/subnets", network_id=network["id"])["subnets"]
    if not any(subnet["ip_version"] == 4 for subnet in subnets):
        body = {
            "network_id": network["id"],
            "name": "public-v4",
            "ip_version": 4,
            "cidr": outside.cidr,
            "gateway_ip": outside.gateway,
            "enable_dhcp": False,
            "allocation_pools": [{"start": outside.pool[0], "end": outside.pool[1]}],
        }
        api.post("network", "/v2.0/subnets", {"subnet": body})
    return not found


def make_image(
    api: Api, path: Path, *, name: str = IMAGE, disk_format: str = "qcow2", **properties: Any
) -> bool:
    """Upload an image under a name unless one with the same content is there. Raises: ApiFailed."""
    digest = sha512(path)
    there = api.get("image", "/v2/images", name=name)["images"]
    if any(i["status"] == "active" and i.get("os_hash_value") == digest for i in there):
        return False
    for image in there:
        if image["status"] == "queued":  # an earlier run stopped before the upload
            api.delete("image", f"/v2/images/{image['id']}")
    body = {
        "name": name,
        "disk_format": disk_format,
        "container_format": properties.pop("container_format", "bare"),
        "visibility": "public",
        **properties,
    }
    image = api.post("image", "/v2/images", body)
    with path.open("rb") as content:
        api.upload("image", f"/v2/images/{image['id']}/file", content)
    return True


def sha512(path: Path) -> str:
    """The digest that the image service shows as `os_hash_value`."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha512").hexdigest()
