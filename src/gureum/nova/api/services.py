"""Services and availability zones. API reference: "Compute services", "Availability zones"."""

from __future__ import annotations

import re
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import (
    Boolean,
    Enum,
    Integer,
    Json,
    String,
    Struct,
    Time,
    operation,
    show_time,
)
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, HostBinaryNotFound, InUse, ServiceNotFound
from gureum.nova.logic import compute_hosts, zones
from gureum.nova.logic.compute_hosts import ServiceFacts
from gureum.nova.policy import PREFIX
from gureum.nova.store.hosts import COMPUTE

_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_UPDATE = PREFIX + "os-services:update"


class ServiceShown(Struct):
    """A service."""

    number = Integer("Id.", key="id", until="2.52")
    id = String("Id.", since="2.53")
    binary = String("Name of the program.")
    host = String("Where it runs.")
    zone = String("Availability zone.")
    status = String("enabled or disabled.")
    state = String("up or down.")
    updated_at = Time("When it was heard of last.", form="us")
    disabled_reason = String("Why it is disabled.")
    forced_down = Boolean("Whether it was declared down.", since="2.11")


class ServiceQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Filters."""

    host = String("Host.")
    binary = String("Name of the program.")


class NoQuery(Struct, extra="ignore", forbid_since="2.102"):
    """No parameters."""


class HostBinary(Struct):
    """Which service."""

    host = String("Host.", required=True, min=1)
    binary = String("Name of the program.", required=True, min=1)


class DisableReason(HostBinary):
    """Which service, and why."""

    disabled_reason = String("Why.", required=True, min=1)


class ForceDown(HostBinary):
    """Which service, and whether it is down."""

    forced_down = Boolean("Declared down.", required=True)


class ServiceUpdate(Struct):
    """What of a service changes."""

    status = Enum("Wanted status.", "enabled", "disabled")
    disabled_reason = String("Why it is disabled.", min=1)
    forced_down = Boolean("Declared down.")


def _view(facts: ServiceFacts) -> dict[str, Any]:
    row = facts.row
    return {
        "number": row.number,
        "id": row.id,
        "binary": row.binary,
        "host": row.host,
        "zone": facts.zone,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if facts.up else "down",
        "updated_at": row.last_seen_at,
        "disabled_reason": row.disabled_reason,
        "forced_down": row.forced_down,
    }


@operation(
    "GET",
    "/os-services",
    policy=PREFIX + "os-services:list",
    query=ServiceQuery,
    items=ServiceShown,
    response_wrap="services",
    manual=True,
    waits=False,
)
def list_services(ctx: Context, deps: Deps, query: ServiceQuery) -> Any:
    """List services."""
    found = compute_hosts.services(deps, host=query.get("host"), binary=query.get("binary"))
    return [_view(facts) for facts in found]


@operation(
    "PUT",
    "/os-services/enable",
    policy=_UPDATE,
    request=HostBinary,
    until="2.52",
    manual=True,
    waits=False,
    errors=(HostBinaryNotFound,),
)
def enable_service(ctx: Context, deps: Deps, new: HostBinary) -> Any:
    """Let a compute host take servers again."""
    facts = compute_hosts.service_on(deps, new.host, new.binary)
    compute_hosts.change_service(deps, facts, {"disabled": False, "disabled_reason": None})
    return {"service": {"host": new.host, "binary": new.binary, "status": "enabled"}}


@operation(
    "PUT",
    "/os-services/disable",
    policy=_UPDATE,
    request=HostBinary,
    until="2.52",
    manual=True,
    waits=False,
    errors=(HostBinaryNotFound,),
)
def disable_service(ctx: Context, deps: Deps, new: HostBinary) -> Any:
    """Keep new servers from a compute host."""
    facts = compute_hosts.service_on(deps, new.host, new.binary)
    compute_hosts.change_service(deps, facts, {"disabled": True, "disabled_reason": None})
    return {"service": {"host": new.host, "binary": new.binary, "status": "disabled"}}


@operation(
    "PUT",
    "/os-services/disable-log-reason",
    policy=_UPDATE,
    request=DisableReason,
    until="2.52",
    manual=True,
    waits=False,
    errors=(HostBinaryNotFound,),
)
def disable_service_with_reason(ctx: Context, deps: Deps, new: DisableReason) -> Any:
    """Keep new servers from a compute host, and say why."""
    facts = compute_hosts.service_on(deps, new.host, new.binary)
    reason = new.disabled_reason
    compute_hosts.change_service(deps, facts, {"disabled": True, "disabled_reason": reason})
    shown = {"host": new.host, "binary": new.binary, "status": "disabled"}
    return {"service": {**shown, "disabled_reason": reason}}


@operation(
    "PUT",
    "/os-services/force-down",
    policy=_UPDATE,
    request=ForceDown,
    since="2.11",
    until="2.52",
    manual=True,
    waits=False,
    errors=(HostBinaryNotFound,),
)
def force_service_down(ctx: Context, deps: Deps, new: ForceDown) -> Any:
    """Declare a compute host down, or take that back."""
    facts = compute_hosts.service_on(deps, new.host, new.binary)
    compute_hosts.change_service(deps, facts, {"forced_down": new.forced_down})
    shown = {"host": new.host, "binary": new.binary, "forced_down": new.forced_down}
    return {"service": shown}


@operation(
    "PUT",
    "/os-services/{service_id}",
    policy=_UPDATE,
    request=ServiceUpdate,
    since="2.53",
    response=ServiceShown,
    response_wrap="service",
    manual=True,
    waits=False,
    errors=(ServiceNotFound, Bad),
)
def update_service(ctx: Context, deps: Deps, service_id: str, new: ServiceUpdate) -> Any:
    """Enable or disable a compute host, or declare it down."""
    _check_uuid(service_id)
    facts = compute_hosts.service(deps, service_id)
    if facts.row.binary != COMPUTE:
        raise Bad(
            f"Updating a {facts.row.binary} service is not supported. Only nova-compute services"
            " can be updated."
        )
    values: dict[str, Any] = {}
    status = new.get("status")
    if new.has("disabled_reason") and status != "disabled":
        raise Bad("Specifying disabled_reason when status is not disabled is invalid.")
    if status is not None:
        values = {"disabled": status == "disabled", "disabled_reason": new.get("disabled_reason")}
    if new.has("forced_down"):
        values["forced_down"] = new.forced_down
    if not values:
        raise Bad(
            "No updates were requested. Fields 'status' or 'forced_down' should be specified."
        )
    return _view(compute_hosts.change_service(deps, facts, values))


def _check_uuid(text: str) -> None:
    if _UUID.fullmatch(text) is None:
        raise Bad(f"Invalid uuid {text[:64]}")


@operation(
    "DELETE",
    "/os-services/{service_id}",
    policy=PREFIX + "os-services:delete",
    until="2.52",
    manual=True,
    waits=False,
    errors=(ServiceNotFound, InUse),
)
def delete_service_by_number(ctx: Context, deps: Deps, service_id: str) -> None:
    """Forget a service."""
    compute_hosts.delete_service(deps, compute_hosts.service(deps, service_id))


@operation(
    "DELETE",
    "/os-services/{service_id}",
    policy=PREFIX + "os-services:delete",
    since="2.53",
    manual=True,
    waits=False,
    errors=(ServiceNotFound, InUse, Bad),
)
def delete_service(ctx: Context, deps: Deps, service_id: str) -> None:
    """Forget a service."""
    _check_uuid(service_id)
    compute_hosts.delete_service(deps, compute_hosts.service(deps, service_id))


class ZoneShown(Struct):
    """An availability zone."""

    name = String("Name.", key="zoneName")
    state = Json("Whether it is available.", key="zoneState")
    hosts = Json("Services by host, in the detailed form.")


@operation(
    "GET",
    "/os-availability-zone",
    policy=PREFIX + "os-availability-zone:list",
    query=NoQuery,
    items=ZoneShown,
    response_wrap="availabilityZoneInfo",
    manual=True,
    waits=False,
)
def list_zones(ctx: Context, deps: Deps, query: NoQuery) -> Any:
    """List availability zones."""
    internal = deps.options.internal_service_availability_zone
    return [
        {"name": zone.name, "state": {"available": zone.available}, "hosts": None}
        for zone in zones.find(deps)
        if zone.name != internal
    ]


@operation(
    "GET",
    "/os-availability-zone/detail",
    policy=PREFIX + "os-availability-zone:detail",
    query=NoQuery,
    items=ZoneShown,
    response_wrap="availabilityZoneInfo",
    manual=True,
    waits=False,
)
def list_zones_detail(ctx: Context, deps: Deps, query: NoQuery) -> Any:
    """List availability zones with their hosts and services."""
    return [
        {
            "name": zone.name,
            "state": {"available": zone.available},
            "hosts": {
                host: {
                    binary: {
                        **state,
                        "updated_at": state["updated_at"] and show_time(state["updated_at"], "us"),
                    }
                    for binary, state in binaries.items()
                }
                for host, binaries in zone.hosts.items()
            },
        }
        for zone in zones.find(deps)
    ]
