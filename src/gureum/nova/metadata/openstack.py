"""The `openstack/` tree of a guest's metadata, per version.

Owns: which file exists since which version, and what is in it; used by the metadata service and by
the config drive, so that both say the same. Follows the Nova user guide, "Metadata".
"""

import base64
import binascii
import os
from typing import Any

import msgspec

from gureum.nova.metadata.model import InstanceMetadata
from gureum.nova.metadata.network import network_data

FOLSOM = "2012-08-10"
GRIZZLY = "2013-04-04"
HAVANA = "2013-10-17"
LIBERTY = "2015-10-15"
NEWTON_ONE = "2016-06-30"
NEWTON_TWO = "2016-10-06"
OCATA = "2017-02-22"
ROCKY = "2018-08-27"
VICTORIA = "2020-10-14"
LATEST = "latest"

SEED_BYTES = 512

VERSIONS = (
    FOLSOM,
    GRIZZLY,
    HAVANA,
    LIBERTY,
    NEWTON_ONE,
    NEWTON_TWO,
    OCATA,
    ROCKY,
    VICTORIA,
)


def _since(version: str, wanted: str) -> bool:
    """Whether something that came with `version` is part of the `wanted` one."""
    return wanted == LATEST or wanted >= version


def known_version(version: str) -> bool:
    """Whether the guest may ask for this version."""
    return version == LATEST or version in VERSIONS


def meta_data(instance: InstanceMetadata, version: str = LATEST) -> dict[str, Any]:
    """Return meta_data.json as that version shows it."""
    shown: dict[str, Any] = {
        "uuid": instance.server_id,
        "availability_zone": instance.availability_zone,
        "hostname": instance.full_hostname,
        "launch_index": instance.launch_index,
        "name": instance.name,
    }
    if instance.metadata:
        shown["meta"] = dict(instance.metadata)
    if instance.files:
        shown["files"] = [
            {"path": file.path, "content_path": f"/content/{index:04d}"}
            for index, file in enumerate(instance.files)
        ]
    if instance.key_pair is not None:
        key = instance.key_pair
        shown["public_keys"] = {key.name: key.public_key}
        if _since(HAVANA, version):
            shown["keys"] = [{"name": key.name, "type": key.type, "data": key.public_key}]
    if _since(GRIZZLY, version):
        if instance.admin_pass:
            shown["admin_pass"] = instance.admin_pass
        shown["random_seed"] = instance.random_seed or _seed()
    if _since(LIBERTY, version):
        shown["project_id"] = instance.project_id
    if _since(NEWTON_ONE, version):
        shown["devices"] = [_device(device) for device in instance.devices]
    if _since(VICTORIA, version):
        shown["dedicated_cpus"] = []
    return shown


def _seed() -> str:
    return base64.b64encode(os.urandom(SEED_BYTES)).decode()


def _device(device: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": device.type,
        "bus": device.bus,
        "address": device.address,
        "tags": list(device.tags),
    }
    if device.mac:
        entry["mac"] = device.mac
    if device.serial:
        entry["serial"] = device.serial
    return entry


def names(instance: InstanceMetadata, version: str = LATEST) -> list[str]:
    """Return the names below a version, in alphabetical order."""
    listed = ["meta_data.json"]
    if instance.user_data:
        listed.append("user_data")
    if _since(GRIZZLY, version):
        listed.append("password")
    if _since(HAVANA, version):
        listed.append("vendor_data.json")
    if _since(LIBERTY, version):
        listed.append("network_data.json")
    if _since(NEWTON_TWO, version):
        listed.append("vendor_data2.json")
    return sorted(listed)


def document(instance: InstanceMetadata, version: str, name: str) -> bytes | None:
    """Return one file of a version, or None when that version has no such file."""
    if not known_version(version) or name not in names(instance, version):
        return None
    match name:
        case "meta_data.json":
            return _json(meta_data(instance, version))
        case "network_data.json":
            return _json(network_data(instance.ports))
        case "vendor_data.json":
            return _json(instance.vendor_data)
        case "vendor_data2.json":
            return _json({"static": instance.vendor_data, **instance.vendor_data2})
        case "password":
            return instance.password.encode()
        case _:
            return instance.user_data_bytes


def content(instance: InstanceMetadata, name: str) -> bytes | None:
    """Return an injected file by its four digits, or None."""
    if not name.isascii() or not name.isdigit() or int(name) >= len(instance.files):
        return None
    try:
        return base64.b64decode(instance.files[int(name)].contents_base64, validate=False)
    except binascii.Error:
        return b""


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
