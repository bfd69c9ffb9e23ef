"""Quota sets, quota classes and limits. API reference: "Quota sets", "Quota class sets", "Limits"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.spec import Boolean, Id, Integer, Json, Nested, String, Struct, operation
from gureum.nova.errors import Bad
from gureum.nova.logic import quotas
from gureum.nova.policy import PREFIX
from gureum.nova.store import quotas as store

_NETWORK_UNTIL = "2.35"
_FILES_UNTIL = "2.56"


def _limit(text: str, **common: Any) -> Integer:
    return Integer(text, min=-1, **common)


class QuotaUpdate(Struct):
    """New limits; -1 is without limit."""

    instances = _limit("Servers.")
    cores = _limit("VCPUs.")
    ram = _limit("Memory in MiB.")
    metadata_items = _limit("Metadata items of a server.")
    key_pairs = _limit("Key pairs of a user.")
    server_groups = _limit("Server groups.")
    server_group_members = _limit("Servers of a server group.")
    injected_files = _limit("Personality files.", until=_FILES_UNTIL)
    injected_file_content_bytes = _limit("Size of a personality file.", until=_FILES_UNTIL)
    injected_file_path_bytes = _limit("Path of a personality file.", until=_FILES_UNTIL)
    fixed_ips = _limit("Without effect.", until=_NETWORK_UNTIL)
    floating_ips = _limit("Without effect.", until=_NETWORK_UNTIL)
    security_groups = _limit("Without effect.", until=_NETWORK_UNTIL)
    security_group_rules = _limit("Without effect.", until=_NETWORK_UNTIL)
    networks = _limit("Without effect.", until=_NETWORK_UNTIL)
    force = Boolean("Allow limits below what is used.")


class QuotaShown(Struct):
    """Limits of a project; with their use in the detailed form."""

    id = String("Project.")
    instances = Json("Servers.")
    cores = Json("VCPUs.")
    ram = Json("Memory in MiB.")
    metadata_items = Json("Metadata items of a server.")
    key_pairs = Json("Key pairs of a user.")
    server_groups = Json("Server groups.")
    server_group_members = Json("Servers of a server group.")
    injected_files = Json("Personality files.", until=_FILES_UNTIL)
    injected_file_content_bytes = Json("Size of a personality file.", until=_FILES_UNTIL)
    injected_file_path_bytes = Json("Path of a personality file.", until=_FILES_UNTIL)
    fixed_ips = Json("Counted by the network service.", until=_NETWORK_UNTIL)
    floating_ips = Json("Counted by the network service.", until=_NETWORK_UNTIL)
    security_groups = Json("Counted by the network service.", until=_NETWORK_UNTIL)
    security_group_rules = Json("Counted by the network service.", until=_NETWORK_UNTIL)


class QuotaClassUpdate(Struct):
    """New limits of a quota class."""

    instances = _limit("Servers.")
    cores = _limit("VCPUs.")
    ram = _limit("Memory in MiB.")
    metadata_items = _limit("Metadata items of a server.")
    key_pairs = _limit("Key pairs of a user.")
    server_groups = _limit("Server groups.")
    server_group_members = _limit("Servers of a server group.")
    injected_files = _limit("Personality files.", until=_FILES_UNTIL)
    injected_file_content_bytes = _limit("Size of a personality file.", until=_FILES_UNTIL)
    injected_file_path_bytes = _limit("Path of a personality file.", until=_FILES_UNTIL)
    fixed_ips = _limit("Without effect.", until="2.49")
    floating_ips = _limit("Without effect.", until="2.49")
    security_groups = _limit("Without effect.", until="2.49")
    security_group_rules = _limit("Without effect.", until="2.49")
    networks = _limit("Without effect.", until="2.49")


class QuotaClassShown(Struct):
    """Limits of a quota class."""

    id = String("Name of the class.")
    instances = Integer("Servers.")
    cores = Integer("VCPUs.")
    ram = Integer("Memory in MiB.")
    metadata_items = Integer("Metadata items of a server.")
    key_pairs = Integer("Key pairs of a user.")
    server_groups = Integer("Server groups.", since="2.50")
    server_group_members = Integer("Servers of a server group.", since="2.50")
    injected_files = Integer("Personality files.", until=_FILES_UNTIL)
    injected_file_content_bytes = Integer("Size of a personality file.", until=_FILES_UNTIL)
    injected_file_path_bytes = Integer("Path of a personality file.", until=_FILES_UNTIL)
    fixed_ips = Integer("Counted by the network service.", until="2.49")
    floating_ips = Integer("Counted by the network service.", until="2.49")
    security_groups = Integer("Counted by the network service.", until="2.49")
    security_group_rules = Integer("Counted by the network service.", until="2.49")


class UserQuery(Struct, extra="ignore", forbid_since="2.75"):
    """One user of the project."""

    user_id = Id("User.")


class LimitsAbsolute(Struct):
    """Limits and what is used of them."""

    max_server_meta = Integer("Metadata items of a server.", key="maxServerMeta")
    max_total_cores = Integer("VCPUs.", key="maxTotalCores")
    max_total_instances = Integer("Servers.", key="maxTotalInstances")
    max_total_keypairs = Integer("Key pairs of a user.", key="maxTotalKeypairs")
    max_total_ram = Integer("Memory in MiB.", key="maxTotalRAMSize")
    max_server_groups = Integer("Server groups.", key="maxServerGroups")
    max_group_members = Integer("Servers of a server group.", key="maxServerGroupMembers")
    cores_used = Integer("VCPUs used.", key="totalCoresUsed")
    instances_used = Integer("Servers used.", key="totalInstancesUsed")
    ram_used = Integer("Memory used in MiB.", key="totalRAMUsed")
    groups_used = Integer("Server groups used.", key="totalServerGroupsUsed")
    max_image_meta = Integer("Metadata items of an image.", key="maxImageMeta", until="2.38")
    max_personality = Integer("Personality files.", key="maxPersonality", until=_FILES_UNTIL)
    max_personality_size = Integer(
        "Size of a personality file.", key="maxPersonalitySize", until=_FILES_UNTIL
    )
    max_group_rules = Integer(
        "Counted by the network service.", key="maxSecurityGroupRules", until=_NETWORK_UNTIL
    )
    max_groups = Integer(
        "Counted by the network service.", key="maxSecurityGroups", until=_NETWORK_UNTIL
    )
    max_floating = Integer(
        "Counted by the network service.", key="maxTotalFloatingIps", until=_NETWORK_UNTIL
    )
    security_groups_used = Integer(
        "Counted by the network service.", key="totalSecurityGroupsUsed", until=_NETWORK_UNTIL
    )
    floating_used = Integer(
        "Counted by the network service.", key="totalFloatingIpsUsed", until=_NETWORK_UNTIL
    )


class LimitsShown(Struct):
    """Rate limits (there are none) and absolute limits."""

    rate = Json("Always empty.")
    absolute = Nested(LimitsAbsolute, "Absolute limits.")


class LimitsQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Whose limits."""

    tenant_id = Id("For administrators: another project.")
    reserved = String("Without effect.")


def _load_project(ctx: Context, tx: Tx, project_id: str) -> dict[str, str]:
    return {"project_id": project_id}


def _shown(limits: dict[str, Any], project_id: str | None = None) -> dict[str, Any]:
    network = dict.fromkeys(quotas.NETWORK_RESOURCES, -1)
    return {**network, **limits, **({"id": project_id} if project_id is not None else {})}


@operation(
    "GET",
    "/os-quota-sets/{tenant_id}",
    policy=PREFIX + "os-quota-sets:show",
    load=_load_project,
    query=UserQuery,
    response=QuotaShown,
    response_wrap="quota_set",
)
def show_quota_set(ctx: Context, tx: Tx, project: dict[str, str], query: UserQuery) -> Any:
    """Show the limits of a project."""
    project_id = project["project_id"]
    return _shown(quotas.limits(tx, project_id, query.get("user_id")), project_id)


@operation(
    "GET",
    "/os-quota-sets/{tenant_id}/detail",
    policy=PREFIX + "os-quota-sets:detail",
    load=_load_project,
    query=UserQuery,
    response=QuotaShown,
    response_wrap="quota_set",
)
def show_quota_set_detail(ctx: Context, tx: Tx, project: dict[str, str], query: UserQuery) -> Any:
    """Show the limits of a project and what is used of them."""
    project_id, user_id = project["project_id"], query.get("user_id")
    have = quotas.used(tx, project_id, user_id)
    limits = _shown(quotas.limits(tx, project_id, user_id))
    return {
        "id": project_id,
        **{
            name: {"limit": limit, "in_use": have.get(name, 0), "reserved": 0}
            for name, limit in limits.items()
        },
    }


@operation(
    "GET",
    "/os-quota-sets/{tenant_id}/defaults",
    policy=PREFIX + "os-quota-sets:defaults",
    load=_load_project,
    response=QuotaShown,
    response_wrap="quota_set",
)
def show_quota_defaults(ctx: Context, tx: Tx, project: dict[str, str]) -> Any:
    """Show the limits that a project has when none were set."""
    return _shown(quotas.class_limits(tx), project["project_id"])


@operation(
    "PUT",
    "/os-quota-sets/{tenant_id}",
    policy=PREFIX + "os-quota-sets:update",
    wrap="quota_set",
    load=_load_project,
    query=UserQuery,
    request=QuotaUpdate,
    response=QuotaShown,
    errors=(Bad,),
)
def update_quota_set(
    ctx: Context, tx: Tx, project: dict[str, str], query: UserQuery, new: QuotaUpdate
) -> Any:
    """Set limits of a project, or of one of its users."""
    project_id, user_id = project["project_id"], query.get("user_id")
    values = {name: value for name, value in new.items() if name in quotas.SETTABLE}
    quotas.enter_gate(tx, f"project:{project_id}")
    quotas.check_new_limits(tx, project_id, user_id, values, force=new.get("force", False))
    quotas.set_limits(tx, project_id, user_id, values)
    return _shown(quotas.limits(tx, project_id, user_id))


@operation(
    "DELETE",
    "/os-quota-sets/{tenant_id}",
    policy=PREFIX + "os-quota-sets:delete",
    status=202,
    load=_load_project,
    query=UserQuery,
)
def delete_quota_set(ctx: Context, tx: Tx, project: dict[str, str], query: UserQuery) -> None:
    """Set the limits of a project, or of one of its users, back to the defaults."""
    store.forget_limits(tx, project["project_id"], query.get("user_id"))


@operation(
    "GET",
    "/os-quota-class-sets/{id}",
    policy=PREFIX + "os-quota-class-sets:show",
    response=QuotaClassShown,
    response_wrap="quota_class_set",
)
def show_quota_class(ctx: Context, tx: Tx, name: str) -> Any:
    """Show the limits of a quota class."""
    return _shown(quotas.class_limits(tx, name), name)


@operation(
    "PUT",
    "/os-quota-class-sets/{id}",
    policy=PREFIX + "os-quota-class-sets:update",
    wrap="quota_class_set",
    request=QuotaClassUpdate,
    response=QuotaClassShown,
    errors=(Bad,),
)
def update_quota_class(ctx: Context, tx: Tx, name: str, new: QuotaClassUpdate) -> Any:
    """Set limits of a quota class; `default` is everybody's."""
    if len(name) > 255:
        raise Bad("Invalid input for field/attribute id. It is too long.")
    values = {known: value for known, value in new.items() if known in quotas.SETTABLE}
    store.set_class_limits(tx, name, values)
    return _shown(quotas.class_limits(tx, name))


@operation(
    "GET",
    "/limits",
    policy=PREFIX + "limits",
    query=LimitsQuery,
    response=LimitsShown,
    response_wrap="limits",
)
def show_limits(ctx: Context, tx: Tx, query: LimitsQuery) -> Any:
    """Show the project's limits and what is used of them."""
    project_id = query.get("tenant_id") or ctx.project_id or ""
    if project_id != ctx.project_id:
        tx.deps.policy.enforce(PREFIX + "limits:other_project", ctx, {"project_id": project_id})
    limits, have = quotas.limits(tx, project_id), quotas.used(tx, project_id)
    return {
        "rate": [],
        "absolute": {
            "max_server_meta": limits["metadata_items"],
            "max_total_cores": limits["cores"],
            "max_total_instances": limits["instances"],
            "max_total_keypairs": limits["key_pairs"],
            "max_total_ram": limits["ram"],
            "max_server_groups": limits["server_groups"],
            "max_group_members": limits["server_group_members"],
            "cores_used": have["cores"],
            "instances_used": have["instances"],
            "ram_used": have["ram"],
            "groups_used": have["server_groups"],
            "max_image_meta": limits["metadata_items"],
            "max_personality": limits["injected_files"],
            "max_personality_size": limits["injected_file_content_bytes"],
            "max_group_rules": -1,
            "max_groups": -1,
            "max_floating": -1,
            "security_groups_used": 0,
            "floating_used": 0,
        },
    }
