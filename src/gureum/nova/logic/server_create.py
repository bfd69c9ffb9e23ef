"""Creating servers: facts first, then the mapping with the quota, then row and saga in the cell.

The mapping in nova_api is written before the server's row in nova_cell1, so that every server can be found;
a mapping that never got its row is removed by a reconciler.
"""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.db.errors import CommitUnknown, DatabaseError
from gureum.core.db.types import utc_now
from gureum.core.spec import ApiError, Struct
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, NoCertificates, OverQuota
from gureum.nova.logic import build_facts, flavors, quotas, zones
from gureum.nova.logic.flavors import Flavor
from gureum.nova.logic.saga_params import SERVER_CREATE, ServerCreateParams
from gureum.nova.logic.submit import submit
from gureum.nova.model import BuildRequest, InjectedFile, RequestedNic
from gureum.nova.outside import ImageFacts
from gureum.nova.policy import PREFIX
from gureum.nova.store import groups, keypairs, mappings, server_nics
from gureum.nova.store import quotas as quota_store
from gureum.nova.store import servers as store
from gureum.nova.store.tables import CELL1

_PASSWORD_SIGNS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Created:
    """What the answer of a create says."""

    server_id: str
    reservation_id: str
    admin_pass: str
    disk_config: str
    security_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked request: everything that the rows are made of."""

    new: Struct
    flavor: Flavor
    image: ImageFacts
    nics: build_facts.NicFacts
    request: BuildRequest
    key: Any
    least: int
    most: int
    config_drive: bool
    personality: tuple[InjectedFile, ...]


def create(ctx: Context, deps: Deps, new: Struct, hints: dict[str, Any]) -> Created:
    """Make servers. Raises: Bad, QuotaExceeded, and what build_facts raises."""
    plan = _plan(ctx, deps, new, hints)
    wanted = [str(uuid.uuid4()) for _ in range(plan.most)]
    server_ids = deps.api.retrying(lambda tx: _write_mappings(ctx, tx, plan, wanted))
    reservation_id = f"r-{secrets.token_hex(4)}"
    password = new.get("admin_pass") or _password(deps.options.password_length)
    try:
        deps.cell1.retrying(
            lambda tx: _write_servers(ctx, deps, tx, plan, server_ids, reservation_id, password)
        )
    except CommitUnknown:
        raise  # the servers may be there; mappings without them are removed by the reconciler
    except (DatabaseError, ApiError):
        deps.api.retrying(lambda tx: _forget(tx, server_ids))
        raise
    return Created(
        server_id=server_ids[0],
        reservation_id=reservation_id,
        admin_pass=password if deps.options.enable_instance_password else "",
        disk_config=new.get("disk_config", "MANUAL"),
        security_groups=tuple(item.get("name") for item in new.get("security_groups") or ())
        or ("default",),
    )


def _password(length: int) -> str:
    return "".join(secrets.choice(_PASSWORD_SIGNS) for _ in range(length))


# -- checking --------------------------------------------------------------------------------------


def _plan(ctx: Context, deps: Deps, new: Struct, hints: dict[str, Any]) -> Plan:
    least, most = _counts(new)
    if new.get("trusted_image_certificates"):
        raise NoCertificates()
    request = _destination(ctx, deps, new)
    with deps.api.read() as tx:
        flavor, key, group_id = _own_facts(ctx, tx, new, hints)
        _check_limits(tx, ctx, new)
    request = replace(request, scheduler_hints=hints, group_id=group_id, count=most)
    image = build_facts.image_of(ctx, deps, new)
    build_facts.check_image_fits(image, flavor)
    _check_zero_disk(ctx, deps, flavor)
    wanted = new.get("networks", new.get("networks_before"))
    nics = build_facts.nics_of(ctx, deps, wanted, count=most)
    security_groups = build_facts.group_ids(ctx, deps, new.get("security_groups"))
    files = new.get("personality") or ()
    return Plan(
        new=new,
        flavor=flavor,
        image=image,
        nics=nics,
        request=replace(request, security_groups=security_groups),
        key=key,
        least=least,
        most=most,
        config_drive=bool(new.get("config_drive")),
        personality=tuple(InjectedFile(item.get("path"), item.get("contents")) for item in files),
    )


def _counts(new: Struct) -> tuple[int, int]:
    least = new.get("min_count", 1)
    most = new.get("max_count", least)
    if least > most:
        raise Bad("min_count must be <= max_count")
    return least, most


def _destination(ctx: Context, deps: Deps, new: Struct) -> BuildRequest:
    asked = new.get("availability_zone") or deps.options.default_schedule_zone or None
    host, node = new.get("host"), new.get("hypervisor_hostname")
    target = {"project_id": ctx.project_id}
    if host or node:
        deps.policy.enforce("compute:servers:create:requested_destination", ctx, target)
        _check_host(deps, host, node)
    zone, force_host, force_node = model.zone_parts(asked) if asked else (None, None, None)
    if force_host or force_node:
        if host or node:
            raise Bad("A host is asked for twice: by availability_zone and by itself.")
        deps.policy.enforce(PREFIX + "servers:create:forced_host", ctx, target)
        _check_host(deps, force_host, force_node)
    if zone and zone not in zones.usable_names(deps):
        raise Bad("The requested availability zone is not available")
    return BuildRequest(
        zone=zone or None,
        force_host=force_host,
        force_node=force_node,
        requested_host=host,
        requested_node=node,
    )


def _check_host(deps: Deps, host: str | None, node: str | None) -> None:
    with deps.api.read() as tx:
        known = host is None or mappings.cell_of_host(tx, host) is not None
    if not known:
        raise Bad(f"Compute host {host} could not be found.")


def _own_facts(
    ctx: Context, tx: Tx, new: Struct, hints: dict[str, Any]
) -> tuple[Flavor, Any, str | None]:
    try:
        flavor = flavors.load(ctx, tx, str(new.get("flavor_ref")).rstrip("/").rsplit("/", 1)[-1])
    except flavors.FlavorNotFound as error:
        raise Bad(error.message) from error
    key = None
    if new.get("key_name"):
        key = keypairs.get(tx, ctx.user_id or "", new.get("key_name"))
        if key is None:
            raise Bad("Invalid key_name provided.")
    group_id = hints.get("group")
    if group_id is not None:
        group = groups.get(tx, str(group_id))
        if group is None or (group.project_id != ctx.project_id and not ctx.is_admin):
            raise Bad(f"Instance group {group_id} could not be found.")
    return flavor, key, None if group_id is None else str(group_id)


def _check_limits(tx: Tx, ctx: Context, new: Struct) -> None:
    limits = quotas.limits(tx, ctx.project_id or "", ctx.user_id)
    check_metadata(limits["metadata_items"], new.get("metadata") or {})
    files = new.get("personality") or ()
    if 0 <= limits["injected_files"] < len(files):
        raise OverQuota("Personality file limit exceeded")
    for item in files:
        if 0 <= limits["injected_file_path_bytes"] < len(item.get("path").encode()):
            raise OverQuota("Personality file path too long")
        size = len(base64.b64decode(item.get("contents")))
        if 0 <= limits["injected_file_content_bytes"] < size:
            raise OverQuota("Personality file content too long")
    data = new.get("user_data")
    if data is not None and len(data) > tx.deps.options.max_user_data:
        raise Bad("User data too large. User data must be no larger than 64KB once base64 encoded.")


def check_metadata(limit: int, metadata: dict[str, str]) -> None:
    """Refuse more metadata items than allowed. Raises: OverQuota."""
    if 0 <= limit < len(metadata):
        raise OverQuota(f"Maximum number of metadata items exceeds {limit}")


def _check_zero_disk(ctx: Context, deps: Deps, flavor: Flavor) -> None:
    if flavor.disk_gib == 0:
        rule = PREFIX + "servers:create:zero_disk_flavor"
        deps.policy.enforce(rule, ctx, {"project_id": ctx.project_id})


# -- writing ---------------------------------------------------------------------------------------


def _write_mappings(ctx: Context, tx: Tx, plan: Plan, wanted: Sequence[str]) -> list[str]:
    """Count and write the mappings of as many of the wanted servers as fit; returns their ids."""
    project_id, user_id = ctx.project_id or "", ctx.user_id or ""
    written = mappings.cells_of(tx, wanted)
    if written:  # by an earlier try, whose commit nobody heard of
        return [server_id for server_id in wanted if server_id in written]
    fits = quotas.admit(
        tx,
        project_id,
        user_id,
        vcpus=plan.flavor.vcpus,
        memory_mib=plan.flavor.memory_mib,
        least=plan.least,
        most=plan.most,
    )
    server_ids = list(wanted[:fits])
    now = utc_now()
    mappings.insert_many(
        tx,
        [
            {
                "server_id": server_id,
                "project_id": project_id,
                "user_id": user_id,
                "cell": CELL1,
                "vcpus": plan.flavor.vcpus,
                "memory_mib": plan.flavor.memory_mib,
                "created_at": now,
            }
            for server_id in server_ids
        ],
    )
    if plan.request.group_id is not None:
        _join_group(tx, plan.request.group_id, project_id, user_id, server_ids)
    return server_ids


def _join_group(
    tx: Tx, group_id: str, project_id: str, user_id: str, server_ids: Sequence[str]
) -> None:
    limit = quotas.limits(tx, project_id, user_id)["server_group_members"]
    have = quota_store.members_used(tx, group_id, user_id)
    if 0 <= limit < have + len(server_ids):
        raise OverQuota("Quota exceeded, too many servers in group")
    groups.add_members(tx, group_id, server_ids, user_id)


def _forget(tx: Tx, server_ids: Sequence[str]) -> None:
    for server_id in server_ids:
        mappings.remove(tx, server_id)
        groups.remove_member(tx, server_id)


def _write_servers(
    ctx: Context,
    deps: Deps,
    tx: Tx,
    plan: Plan,
    server_ids: Sequence[str],
    reservation_id: str,
    password: str,
) -> None:
    if store.get(tx, server_ids[0], deleted=True) is not None:
        return  # written by an earlier try, whose commit nobody heard of
    for index, server_id in enumerate(server_ids):
        nics = plan.nics.for_server()
        _check_ports_free(tx, nics)
        store.insert(
            tx,
            _row(ctx, plan, server_id, reservation_id, index, many=len(server_ids) > 1),
            replace(plan.request, nics=nics, count=len(server_ids)),
            metadata=plan.new.get("metadata") or {},
            tags=plan.new.get("tags") or (),
            disks=[_root_disk(plan)],
        )
        submit(
            ctx,
            deps,
            tx,
            SERVER_CREATE,
            ServerCreateParams(server_id, password, plan.personality),
            server_id=server_id,
            action="create",
        )


def _check_ports_free(tx: Tx, nics: Sequence[RequestedNic]) -> None:
    for nic in nics:
        if nic.port_id is not None and server_nics.server_of_port(tx, nic.port_id) is not None:
            raise build_facts.PortInUse(port_id=nic.port_id)


def _root_disk(plan: Plan) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "source": "image",
        "destination": "local",
        "boot_index": 0,
        "image_id": plan.image.id,
        "size_gib": plan.flavor.disk_gib,
        "delete_on_termination": True,
    }


def _row(
    ctx: Context, plan: Plan, server_id: str, reservation_id: str, index: int, *, many: bool
) -> dict[str, Any]:
    new, flavor, image = plan.new, plan.flavor, plan.image
    name = f"{new.get('name')}-{index + 1}" if many else new.get("name")
    hostname = new.get("hostname_fqdn", new.get("hostname"))
    if hostname is None:
        hostname = model.hostname_of(name, server_id)
    elif many:
        hostname = f"{hostname}-{index + 1}"
    now = utc_now()
    return {
        "id": server_id,
        "project_id": ctx.project_id,
        "user_id": ctx.user_id,
        "name": name,
        "hostname": hostname,
        "description": new.get("description") if new.get("own_description") else name,
        "vm_state": model.BUILDING,
        "power_state": 0,
        "availability_zone": plan.request.zone,
        "pinned_zone": plan.request.zone,
        "flavor_id": flavor.flavor_id,
        "flavor_name": flavor.name,
        "vcpus": flavor.vcpus,
        "memory_mib": flavor.memory_mib,
        "disk_gib": flavor.disk_gib,
        "ephemeral_gib": flavor.ephemeral_gib,
        "swap_mib": flavor.swap_mib,
        "flavor": {
            "extra_specs": dict(flavor.extra_specs),
            "is_public": flavor.is_public,
            "rxtx_factor": flavor.rxtx_factor,
        },
        "image_id": image.id,
        "image": _image_kept(image),
        "kernel_id": image.kernel_id or "",
        "ramdisk_id": image.ramdisk_id or "",
        "key_name": plan.key.name if plan.key is not None else None,
        "key_type": plan.key.type if plan.key is not None else None,
        "public_key": plan.key.public_key if plan.key is not None else None,
        "user_data": new.get("user_data"),
        "config_drive": plan.config_drive,
        "access_ipv4": new.get("access_ipv4") or None,
        "access_ipv6": new.get("access_ipv6") or None,
        "disk_config": new.get("disk_config", "MANUAL"),
        "reservation_id": reservation_id,
        "launch_index": index,
        "root_device_name": None,
        "created_at": now,
        "updated_at": now,
    }


def _image_kept(image: ImageFacts) -> dict[str, Any]:
    return {
        "name": image.name,
        "size": image.size,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "checksum": image.checksum,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "properties": image.properties,
    }
