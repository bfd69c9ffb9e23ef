"""From a server's rows to what a compute host must know.

Owns: the translation into the agent contract's shapes. Must not: ask another service.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.saga.model import Requester
from gureum.nova.agent.contract import (
    FlavorSpec,
    GuestSpec,
    ImageAccess,
    ImageSpec,
    InjectedFile,
    KeyPairSpec,
    PortSpec,
)
from gureum.nova.logic.saga_params import ServerCreateParams
from gureum.nova.model import Nic
from gureum.nova.scheduler.contract import Group, ScheduleRequest
from gureum.nova.store import scheduling, server_nics
from gureum.nova.store import servers as store


def guest_spec(
    tx: Tx,
    row: sa.Row[Any],
    params: ServerCreateParams,
    requester: Requester,
    image_access: ImageAccess | None,
) -> GuestSpec:
    """Return everything a host must know to make a guest (transaction of the server's cell)."""
    return GuestSpec(
        server_id=row.id,
        number=row.number,
        name=row.name,
        hostname=row.hostname,
        project_id=row.project_id,
        user_id=row.user_id,
        flavor=flavor_spec(row),
        image=image_spec(row),
        image_access=image_access if row.image_id else None,
        project_name=requester.project_name or "",
        user_name=requester.user_name or "",
        ports=tuple(port_specs(server_nics.of_servers(tx, [row.id]).get(row.id, []))),
        metadata=store.metadata_of(tx, [row.id]).get(row.id, {}),
        key_pair=KeyPairSpec(row.key_name, row.public_key, row.key_type or "ssh")
        if row.key_name and row.public_key
        else None,
        user_data=row.user_data,
        config_drive=row.config_drive,
        admin_pass=params.admin_pass or None,
        personality=tuple(
            InjectedFile(item.path, item.contents_base64) for item in params.personality
        ),
        availability_zone=row.availability_zone or "nova",
        description=row.description,
        tags=tuple(store.tags_of(tx, [row.id]).get(row.id, ())),
        reservation_id=row.reservation_id,
        launch_index=row.launch_index,
        created_at=row.created_at.isoformat(),
    )


def flavor_spec(row: sa.Row[Any]) -> FlavorSpec:
    """Return the flavor as it was when the server was made."""
    return FlavorSpec(
        id=row.flavor_id,
        name=row.flavor_name,
        vcpus=row.vcpus,
        memory_mib=row.memory_mib,
        disk_gib=row.disk_gib,
        ephemeral_gib=row.ephemeral_gib,
        swap_mib=row.swap_mib,
        extra_specs=dict(row.flavor.get("extra_specs") or {}),
    )


def image_spec(row: sa.Row[Any]) -> ImageSpec | None:
    """Return the image as it was when the server was made."""
    if not row.image_id:
        return None
    kept = row.image
    return ImageSpec(
        id=row.image_id,
        name=kept.get("name") or "",
        size_bytes=kept.get("size") or 0,
        min_disk_gib=kept.get("min_disk") or 0,
        min_ram_mib=kept.get("min_ram") or 0,
        disk_format=kept.get("disk_format") or "raw",
        container_format=kept.get("container_format") or "bare",
        checksum=kept.get("checksum"),
        os_hash_algo=kept.get("os_hash_algo"),
        os_hash_value=kept.get("os_hash_value"),
        kernel_id=row.kernel_id or None,
        ramdisk_id=row.ramdisk_id or None,
        properties=dict(kept.get("properties") or {}),
    )


def port_specs(nics: Sequence[Nic]) -> list[PortSpec]:
    """Return the cards as the host plugs them."""
    return [msgspec.convert(nic.spec, PortSpec) for nic in nics]


def schedule_request(
    api: Tx, cell_request: Any, row: sa.Row[Any], *, exclude_hosts: Sequence[str]
) -> ScheduleRequest:
    """Return what the scheduler is asked for a server (`api`: transaction of nova_api)."""
    found = scheduling.group_of(api, row.id)
    group = None
    if found is not None:
        facts, members = found
        group = Group(facts.id, facts.policy, dict(facts.rules or {}), tuple(members))
    swap_gib = -(-row.swap_mib // 1024)
    return ScheduleRequest(
        server_id=row.id,
        project_id=row.project_id,
        user_id=row.user_id,
        vcpus=row.vcpus,
        memory_mib=row.memory_mib,
        disk_gib=row.disk_gib + row.ephemeral_gib + swap_gib,
        extra_specs=dict(row.flavor.get("extra_specs") or {}),
        image_properties=dict(row.image.get("properties") or {}),
        zone=cell_request.zone,
        hints=dict(cell_request.scheduler_hints),
        group=group,
        exclude_hosts=tuple(exclude_hosts),
        force_host=cell_request.force_host,
        force_node=cell_request.force_node,
        requested_host=cell_request.requested_host,
        requested_node=cell_request.requested_node,
    )
