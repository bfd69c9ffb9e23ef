"""What a config drive holds, as a map from path to bytes.

Owns: which documents of the metadata go on the drive. Must not: write the ISO file; a driver does.
Follows the Nova user guide, "Config drive".
"""

import msgspec

from gureum.nova.metadata import ec2, openstack
from gureum.nova.metadata.model import InstanceMetadata

LABEL = "config-2"


def files(instance: InstanceMetadata) -> dict[str, bytes]:
    """Return every file of the drive by its path, folders implied."""
    drive: dict[str, bytes] = {}
    for version in (*openstack.VERSIONS, openstack.LATEST):
        for name in openstack.names(instance, version):
            body = openstack.document(instance, version, name)
            if body is not None and name != "password":
                drive[f"openstack/{version}/{name}"] = body
    for index in range(len(instance.files)):
        drive[f"openstack/content/{index:04d}"] = openstack.content(instance, f"{index:04d}") or b""
    for version in ("2009-04-04", openstack.LATEST):
        drive[f"ec2/{version}/meta-data.json"] = msgspec.json.encode(
            ec2.as_json(instance), order="sorted"
        )
        if instance.user_data_bytes is not None:
            drive[f"ec2/{version}/user-data"] = instance.user_data_bytes
    return drive
