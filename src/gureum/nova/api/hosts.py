"""Hosts, as they were managed before microversion 2.43. API reference: "Hosts (os-hosts)".

No driver here switches machines on and off: those three calls are 501, as with every libvirt host.
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Enum, Integer, Json, Nested, String, Struct, operation
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, ComputeHostNotFound, NotSupported
from gureum.nova.logic import compute_hosts
from gureum.nova.policy import PREFIX
from gureum.nova.store.hosts import COMPUTE

_UNTIL = "2.42"
_ONE = "/os-hosts/{host_name}"


class HostBrief(Struct):
    """A service and its host."""

    host_name = String("Host.")
    service = String("What runs there, without `nova-`.")
    zone = String("Availability zone.")


class HostResource(Struct):
    """What a host has, or what is used of it."""

    host = String("Host.")
    project = String("(total), (used_now), (used_max), or a project.")
    cpu = Integer("Processors.")
    memory_mb = Integer("MiB.")
    disk_gb = Integer("GiB.")


class HostLine(Struct):
    """A line of a host's account."""

    resource = Nested(HostResource, "The line.")


class HostQuery(Struct, extra="ignore"):
    """Filters."""

    service = String("What runs there.")
    zone = String("Availability zone.")


class HostUpdate(Struct):
    """What of a host changes."""

    status = Enum("Whether it takes servers.", "enable", "disable", fold=True)
    maintenance_mode = Enum("Not supported.", "enable", "disable", fold=True)


class HostUpdated(Struct):
    """A changed host."""

    host = String("Host.")
    status = Json("enabled or disabled.")


@operation(
    "GET",
    "/os-hosts",
    policy=PREFIX + "os-hosts:list",
    query=HostQuery,
    items=HostBrief,
    response_wrap="hosts",
    until=_UNTIL,
    manual=True,
    waits=False,
)
def list_hosts(ctx: Context, deps: Deps, query: HostQuery) -> Any:
    """List the hosts of services."""
    shown = [
        {
            "host_name": facts.row.host,
            "service": facts.row.binary.removeprefix("nova-"),
            "zone": facts.zone,
        }
        for facts in compute_hosts.services(deps)
    ]
    for name in ("service", "zone"):
        if query.get(name) is not None:
            shown = [item for item in shown if item[name] == query.get(name)]
    return shown


def _line(host: str, project: str, cpu: int, memory: int, disk: int) -> dict[str, Any]:
    return {
        "resource": {
            "host": host,
            "project": project,
            "cpu": cpu,
            "memory_mb": memory,
            "disk_gb": disk,
        }
    }


@operation(
    "GET",
    _ONE,
    policy=PREFIX + "os-hosts:show",
    items=HostLine,
    response_wrap="host",
    until=_UNTIL,
    manual=True,
    waits=False,
    errors=(ComputeHostNotFound,),
)
def show_host(ctx: Context, deps: Deps, host: str) -> Any:
    """Show what a compute host has and what is used of it."""
    found = [item for item in compute_hosts.hypervisors(deps) if item.row.host == host]
    if not found:
        raise ComputeHostNotFound(host=host)
    has = found[0].inventory
    used = has.get("vcpus_used", 0), has.get("memory_used_mib", 0), has.get("disk_used_gib", 0)
    lines = [
        _line(host, "(total)", has.get("vcpus", 0), has.get("memory_mib", 0), has["disk_gib"]),
        _line(host, "(used_now)", *used),
    ]
    sums = compute_hosts.used_by_projects(deps, host)
    total = tuple(map(sum, zip(*sums.values(), strict=True))) or (0, 0, 0)
    lines.append(_line(host, "(used_max)", *total))
    return lines + [_line(host, project, *sizes) for project, sizes in sums.items()]


@operation(
    "PUT",
    _ONE,
    policy=PREFIX + "os-hosts:update",
    request=HostUpdate,
    response=HostUpdated,
    until=_UNTIL,
    manual=True,
    waits=False,
    errors=(ComputeHostNotFound, Bad, NotSupported),
)
def update_host(ctx: Context, deps: Deps, host: str, new: HostUpdate) -> Any:
    """Enable or disable a compute host."""
    if not new.given:
        raise Bad("Invalid input for field/attribute status. Nothing is to be changed.")
    facts = _compute(deps, host)
    if new.has("maintenance_mode"):
        raise NotSupported(verb="set a host into maintenance")
    disabled = new.status == "disable"
    compute_hosts.change_service(deps, facts, {"disabled": disabled, "disabled_reason": None})
    return {"host": host, "status": "disabled" if disabled else "enabled"}


def _compute(deps: Deps, host: str) -> compute_hosts.ServiceFacts:
    for facts in compute_hosts.services(deps, host=host, binary=COMPUTE):
        return facts
    raise ComputeHostNotFound(host=host)


def _switch(deps: Deps, host: str, verb: str) -> None:
    _compute(deps, host)
    raise NotSupported(verb=f"{verb} a host")


@operation(
    "GET",
    _ONE + "/reboot",
    policy=PREFIX + "os-hosts:reboot",
    until=_UNTIL,
    manual=True,
    waits=False,
    errors=(ComputeHostNotFound, NotSupported),
)
def reboot_host(ctx: Context, deps: Deps, host: str) -> None:
    """Reboot a host: no driver can."""
    _switch(deps, host, "reboot")


@operation(
    "GET",
    _ONE + "/shutdown",
    policy=PREFIX + "os-hosts:shutdown",
    until=_UNTIL,
    manual=True,
    waits=False,
    errors=(ComputeHostNotFound, NotSupported),
)
def shut_host_down(ctx: Context, deps: Deps, host: str) -> None:
    """Shut a host down: no driver can."""
    _switch(deps, host, "shut down")


@operation(
    "GET",
    _ONE + "/startup",
    policy=PREFIX + "os-hosts:start",
    until=_UNTIL,
    manual=True,
    waits=False,
    errors=(ComputeHostNotFound, NotSupported),
)
def start_host(ctx: Context, deps: Deps, host: str) -> None:
    """Start a host: no driver can."""
    _switch(deps, host, "start")
