"""What the API says of a server: from its facts to the attributes of the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import UNSET, show_time
from gureum.nova import model
from gureum.nova.api.links import bookmark, links
from gureum.nova.deps import Deps
from gureum.nova.logic.server_facts import ServerFacts
from gureum.nova.policy import PREFIX

_PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})
_FAULT = frozenset({"ERROR", "DELETED"})


def brief_view(ctx: Context, row: Any) -> dict[str, Any]:
    """Return a server of a plain list."""
    return {
        "id": row.id,
        "name": row.name,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "links": links(ctx, "servers", row.id),
    }


def address_view(facts: ServerFacts) -> dict[str, list[dict[str, Any]]]:
    """Return the addresses by network."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in facts.ports:
        if row.address is None:
            continue
        shown.setdefault(row.network_label, []).append(
            {
                "version": row.version,
                "addr": row.address,
                "OS-EXT-IPS:type": row.kind,
                "OS-EXT-IPS-MAC:mac_addr": row.mac,
            }
        )
    return shown


def _image(ctx: Context, row: Any, *, properties: bool) -> Any:
    if row.image_id is None:
        return ""
    shown = {"id": row.image_id, "links": [bookmark(ctx, "images", row.image_id)]}
    return {**shown, "properties": row.image.get("properties", {})} if properties else shown


class _MaySee:
    """Whether the caller may see extra specs in servers' flavors; asked once an owner."""

    def __init__(self, ctx: Context, deps: Deps) -> None:
        self._ctx = ctx
        self._deps = deps
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, row: Any) -> bool:
        key = (row.project_id, row.user_id)
        if key not in self._known:
            target = {"project_id": row.project_id, "user_id": row.user_id}
            rule = PREFIX + "servers:show:flavor-extra-specs"
            self._known[key] = self._deps.policy.allows(rule, self._ctx, target)
        return self._known[key]


def _flavor(row: Any, *, may_see: bool) -> dict[str, Any]:
    return {
        "vcpus": row.vcpus,
        "ram": row.memory_mib,
        "disk": row.disk_gib,
        "ephemeral": row.ephemeral_gib,
        "swap": row.swap_mib,
        "original_name": row.flavor_name,
        "extra_specs": row.flavor.get("extra_specs", {}) if may_see else UNSET,
    }


def _fault(ctx: Context, facts: ServerFacts) -> Any:
    if facts.fault is None or facts.status not in _FAULT:
        return UNSET
    fault = facts.fault
    shown: dict[str, Any] = {
        "code": fault.code,
        "created": show_time(fault.created_at),
        "message": fault.message,
    }
    if fault.details and ctx.is_admin:
        shown["details"] = fault.details
    return shown


def server_views(ctx: Context, deps: Deps, found: Sequence[ServerFacts]) -> list[dict[str, Any]]:
    """Return everything the shapes may show of servers."""
    may_see = _MaySee(ctx, deps)
    named = deps.instance_name_template
    return [_view(ctx, facts, may_see=may_see(facts.row), named=named) for facts in found]


def _view(ctx: Context, facts: ServerFacts, *, may_see: bool, named: str) -> dict[str, Any]:
    row, status = facts.row, facts.status
    return {
        "user_data": row.user_data,
        "key_name": row.key_name,
        "id": row.id,
        "name": row.name,
        "status": status,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "metadata": dict(facts.metadata),
        "host_id": model.host_id(row.project_id, row.host),
        "image_before": _image(ctx, row, properties=False),
        "image": _image(ctx, row, properties=True),
        "flavor_before": {
            "id": row.flavor_id,
            "links": [bookmark(ctx, "flavors", row.flavor_id)],
        },
        "flavor": _flavor(row, may_see=may_see),
        "created": row.created_at,
        "updated": row.updated_at or row.created_at,
        "addresses": address_view(facts),
        "access_ipv4": row.access_ipv4 or "",
        "access_ipv6": row.access_ipv6 or "",
        "links": links(ctx, "servers", row.id),
        "disk_config": row.disk_config,
        "progress": row.progress if status in _PROGRESS else UNSET,
        "fault": _fault(ctx, facts),
        "zone": facts.zone,
        "config_drive": "True" if row.config_drive else "",
        "launched_at": row.launched_at,
        "terminated_at": row.terminated_at,
        "security_groups": ([{"name": name} for name in facts.security_groups] or UNSET),
        "host": row.host,
        "instance_name": named % row.number,
        "node": row.node,
        "task_state": facts.task_state,
        "vm_state": row.vm_state,
        "power_state": row.power_state,
        "volumes": [
            {"id": disk.volume_id, "delete_on_termination": disk.delete_on_termination}
            for disk in facts.volumes
        ],
        "reservation_id": row.reservation_id,
        "launch_index": row.launch_index,
        "hostname_before": row.hostname,
        "hostname": row.hostname,
        "kernel_id": row.kernel_id,
        "ramdisk_id": row.ramdisk_id,
        "root_device_name": row.root_device_name,
        "locked": row.locked_by is not None,
        "host_status": facts.host_status,
        "description": row.description,
        "tags": list(facts.tags),
        "trusted_image_certificates": None,
        "locked_reason": row.locked_reason,
        "pinned_zone": row.pinned_zone,
        "scheduler_hints": facts.request.get("scheduler_hints", {}),
        "server_groups": list(facts.server_groups),
    }
