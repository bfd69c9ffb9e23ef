"""The EC2 tree of a guest's metadata: `/{version}/meta-data/...` and `/{version}/user-data`.

Owns: that tree. Follows the EC2 user guide, "Instance metadata categories", as far as Nova's user
guide, "Metadata", lists them.
"""

from typing import Any, TypeAlias

from gureum.nova.metadata.model import InstanceMetadata, ec2_id, ec2_image_id

Tree: TypeAlias = "dict[str, str | Tree]"

VERSIONS = (
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
)


def known_version(version: str) -> bool:
    """Whether the guest may ask for this version."""
    return version == "latest" or version in VERSIONS


def tree(instance: InstanceMetadata, version: str = "latest") -> Tree:
    """Return everything below `/{version}/meta-data/`."""
    fixed, floating = instance.fixed_ipv4, instance.floating_ipv4
    data: Tree = {
        "ami-id": ec2_image_id(instance.image_id),
        "ami-launch-index": str(instance.launch_index),
        "ami-manifest-path": "(unknown)",
        "hostname": instance.full_hostname,
        "instance-action": "none",
        "instance-id": ec2_id(instance.number),
        "instance-type": instance.instance_type,
        "local-hostname": instance.full_hostname,
        "local-ipv4": fixed[0] if fixed else "",
        "public-hostname": instance.full_hostname,
        "public-ipv4": floating[0] if floating else "",
        "reservation-id": instance.reservation_id,
        "security-groups": "\n".join(instance.security_groups),
        "placement": {"availability-zone": instance.availability_zone},
        "block-device-mapping": _block_devices(instance),
    }
    if instance.key_pair is not None:
        key = instance.key_pair
        # The listing shows "0=name"; the number is the folder. `walk` knows this one exception.
        data["public-keys"] = {f"0={key.name}": {"openssh-key": key.public_key}}
    if instance.kernel_id:
        data["kernel-id"] = ec2_image_id(instance.kernel_id, "aki")
    if instance.ramdisk_id:
        data["ramdisk-id"] = ec2_image_id(instance.ramdisk_id, "ari")
    return _of_version(data, version)


_SINCE = {
    "block-device-mapping": "2007-12-15",
    "instance-action": "2008-09-01",
    "kernel-id": "2008-02-01",
    "ramdisk-id": "2008-02-01",
    "placement": "2008-02-01",
    "public-hostname": "2007-01-19",
    "public-ipv4": "2007-01-19",
    "local-hostname": "2007-01-19",
    "local-ipv4": "1.0",
    "instance-type": "2007-08-29",
}


def _of_version(data: Tree, version: str) -> Tree:
    if version == "latest":
        return data
    # "1.0" sorts before every dated version, so text order is version order.
    return {name: value for name, value in data.items() if _SINCE.get(name, "1.0") <= version}


def _block_devices(instance: InstanceMetadata) -> Tree:
    root = instance.root_device
    devices: Tree = {"ami": root.rsplit("/", 1)[-1], "root": root}
    letter = ord("b")
    prefix = root[:-1]
    if instance.ephemeral_gib:
        devices["ephemeral0"] = f"{prefix}{chr(letter)}"
        letter += 1
    if instance.swap_mib:
        devices["swap"] = f"{prefix}{chr(letter)}"
    return devices


def as_json(instance: InstanceMetadata) -> dict[str, Any]:
    """Return `ec2/latest/meta-data.json` of a config drive."""
    data: dict[str, Any] = dict(tree(instance))
    if instance.key_pair is not None:
        key = instance.key_pair
        data["public-keys"] = {"0": {"openssh-key": key.public_key, "_name": f"0={key.name}"}}
    data["security-groups"] = list(instance.security_groups)
    return data


def walk(data: Tree, parts: list[str]) -> str | None:
    """Return a value, or the listing of a folder, or None when there is no such name."""
    here: str | Tree = data
    for part in parts:
        if isinstance(here, str):
            return None
        found = here.get(part)
        if found is None:
            found = next((v for k, v in here.items() if k.split("=", 1)[0] == part), None)
        if found is None:
            return None
        here = found
    return here if isinstance(here, str) else listing(here)


def listing(data: Tree) -> str:
    """Return a folder's names, one a line; folders end in a slash, key names do not."""
    return "\n".join(
        name if isinstance(value, str) or "=" in name else f"{name}/"
        for name, value in sorted(data.items())
    )
