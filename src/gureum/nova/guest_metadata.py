"""What a guest may read about itself, from the databases: the lookup of nova-metadata-api.

Owns: `GuestMetadata`. A server is found only with its own project and one of its own addresses, so that a
guessed id opens nothing (abuse case 37).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from gureum.core.db.engine import Database
from gureum.nova.agent.contract import KeyPairSpec, PortSpec
from gureum.nova.logic.server_parts import set_password
from gureum.nova.metadata.config import MetadataOptions
from gureum.nova.metadata.model import DeviceTag, InstanceMetadata
from gureum.nova.model import Nic
from gureum.nova.store import aggregates, mappings, server_nics
from gureum.nova.store import servers as store


class GuestMetadata:
    """Looks servers up for the metadata service. Thread-safe."""

    def __init__(
        self,
        api: Database,
        cells: Mapping[str, Database],
        options: MetadataOptions,
        default_zone: str,
    ) -> None:
        self._api = api
        self._cells = cells
        self._options = options
        self._default_zone = default_zone

    def lookup(self, server_id: str, project_id: str, address: str) -> InstanceMetadata | None:
        """Return a server's metadata when the project and the address are its own, else None."""
        with self._api.read() as tx:
            mapping = mappings.get(tx, server_id)
            zones = aggregates.zones_of_hosts(tx)
        if mapping is None or mapping.project_id != project_id:
            return None
        database = self._cells.get(mapping.cell)
        if database is None:
            return None
        with database.read() as tx:
            row = store.get(tx, server_id)
            if row is None:
                return None
            nics = server_nics.of_servers(tx, [server_id]).get(server_id, [])
            metadata = store.metadata_of(tx, [server_id]).get(server_id, {})
        known = {item.address for nic in nics for item in nic.addresses}
        if nics and address not in known:
            return None
        zone = zones.get(row.host, self._default_zone) if row.host else row.availability_zone
        return self._metadata(row, nics, metadata, zone or self._default_zone)

    def _metadata(
        self, row: sa.Row[object], nics: Sequence[Nic], metadata: Mapping[str, str], zone: str
    ) -> InstanceMetadata:
        ports = tuple(msgspec.convert(nic.spec, PortSpec) for nic in nics if nic.spec)
        server = row._mapping
        key = None
        if server["public_key"]:
            key = KeyPairSpec(server["key_name"], server["public_key"], server["key_type"] or "ssh")
        return InstanceMetadata(
            server_id=server["id"],
            number=server["number"],
            name=server["name"],
            hostname=server["hostname"],
            project_id=server["project_id"],
            availability_zone=zone,
            launch_index=server["launch_index"],
            instance_type=server["flavor_name"],
            image_id=server["image_id"] or "",
            kernel_id=server["kernel_id"] or None,
            ramdisk_id=server["ramdisk_id"] or None,
            reservation_id=server["reservation_id"],
            root_device=server["root_device_name"] or "/dev/vda",
            ephemeral_gib=server["ephemeral_gib"],
            swap_mib=server["swap_mib"],
            metadata=dict(metadata),
            key_pair=key,
            user_data=server["user_data"],
            ports=ports,
            security_groups=(),
            devices=tuple(
                DeviceTag(type="nic", tags=(port.tag,), bus="pci", mac=port.mac)
                for port in ports
                if port.tag
            ),
            dhcp_domain=self._options.dhcp_domain,
            password=server["password"],
        )

    def store_password(self, server_id: str, text: str) -> bool:
        """Keep the encrypted password that a guest posts; False when there is one."""
        with self._api.read() as tx:
            mapping = mappings.get(tx, server_id)
        database = None if mapping is None else self._cells.get(mapping.cell)
        if database is None:
            return False
        return database.retrying(lambda tx: set_password(tx, server_id, text))
