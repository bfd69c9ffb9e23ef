"""Hypervisors. API reference: "Hypervisors (os-hypervisors)"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gureum.core.context import Context
from gureum.core.spec import (
    UNSET,
    Boolean,
    Integer,
    Json,
    ListOf,
    Nested,
    NotFound,
    Page,
    String,
    Struct,
    operation,
)
from gureum.nova.api.links import next_query
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, HypervisorNotFound, MarkerNotFound
from gureum.nova.logic import compute_hosts
from gureum.nova.logic.compute_hosts import Hypervisor
from gureum.nova.logic.flavors import page_size
from gureum.nova.policy import PREFIX

_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_GONE = "2.87"


class Guest(Struct):
    """A server on a hypervisor."""

    name = String("The hypervisor's name.")
    uuid = String("Id.")


class NearService(Struct):
    """The nova-compute of a hypervisor."""

    number = Integer("Id.", key="id", until="2.52")
    id = String("Id.", since="2.53")
    host = String("Host.")
    disabled_reason = String("Why it is disabled.")


class HypervisorBrief(Struct):
    """A hypervisor in a plain list."""

    number = Integer("Id.", key="id", until="2.52")
    id = String("Id.", since="2.53")
    hypervisor_hostname = String("Name.")
    state = String("up or down.")
    status = String("enabled or disabled.")
    servers_before = ListOf(Guest, "Its servers, when there are any.", key="servers", until="2.74")
    servers = ListOf(Guest, "Its servers, when asked for.", since="2.75")


class HypervisorShown(HypervisorBrief):
    """A hypervisor."""

    hypervisor_type = String("Kind.")
    hypervisor_version = Integer("Version.")
    host_ip = String("Address.")
    service = Nested(NearService, "Its nova-compute.")
    uptime = String("How long it is up.", since="2.88")
    cpu_info_text = String("Processor as JSON text.", key="cpu_info", until="2.27")
    cpu_info = Json("Processor.", since="2.28", until=_GONE)
    current_workload = Integer("Servers being worked on.", until=_GONE)
    vcpus = Integer("Processors.", until=_GONE)
    vcpus_used = Integer("Processors used.", until=_GONE)
    memory_mb = Integer("MiB.", until=_GONE)
    memory_mb_used = Integer("MiB used.", until=_GONE)
    free_ram_mb = Integer("MiB free.", until=_GONE)
    local_gb = Integer("GiB.", until=_GONE)
    local_gb_used = Integer("GiB used.", until=_GONE)
    free_disk_gb = Integer("GiB free.", until=_GONE)
    disk_available_least = Integer("GiB free on the file system.", until=_GONE)
    running_vms = Integer("Running servers.", until=_GONE)


class UptimeShown(HypervisorBrief):
    """How long a hypervisor is up."""

    uptime = String("As the host says it.")


class HypervisorQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Filters and paging."""

    limit = Integer("Most items.", min=0, since="2.33")
    marker = String("Id of the last hypervisor of the page before.", since="2.33")
    pattern = String("Part of the name.", key="hypervisor_hostname_pattern", since="2.53")
    with_servers = Boolean("Show its servers.", since="2.53")


class ShowQuery(Struct, extra="ignore", forbid_since="2.75"):
    """What to show."""

    with_servers = Boolean("Show its servers.", since="2.53")


def _brief(found: Hypervisor) -> dict[str, Any]:
    row = found.row
    guests: Sequence[dict[str, str]] | None = None
    if found.servers is not None:
        guests = [{"uuid": server_id, "name": name} for server_id, name in found.servers]
    return {
        "number": row.number,
        "id": row.id,
        "hypervisor_hostname": row.hypervisor_hostname,
        "state": "up" if found.up else "down",
        "status": "disabled" if found.service.disabled else "enabled",
        "servers_before": guests or UNSET,
        "servers": guests if guests is not None else UNSET,
    }


def _cpu(has: Any) -> dict[str, Any]:
    cpu = has.get("cpu") or {}
    return {
        "arch": cpu.get("arch", ""),
        "model": cpu.get("model", ""),
        "vendor": cpu.get("vendor", ""),
        "features": list(cpu.get("features") or ()),
        "topology": {
            "cores": cpu.get("cores", 1),
            "threads": cpu.get("threads", 1),
            "sockets": cpu.get("sockets", 1),
        },
    }


def _numbers(has: Any) -> dict[str, int]:
    memory, disk = has.get("memory_mib", 0), has.get("disk_gib", 0)
    memory_used, disk_used = has.get("memory_used_mib", 0), has.get("disk_used_gib", 0)
    return {
        "current_workload": 0,
        "vcpus": has.get("vcpus", 0),
        "vcpus_used": has.get("vcpus_used", 0),
        "memory_mb": memory,
        "memory_mb_used": memory_used,
        "free_ram_mb": memory - memory_used,
        "local_gb": disk,
        "local_gb_used": disk_used,
        "free_disk_gb": disk - disk_used,
        "disk_available_least": has.get("disk_available_gib", 0),
        "running_vms": has.get("running_guests", 0),
    }


def _view(found: Hypervisor) -> dict[str, Any]:
    has = found.inventory
    near = found.service
    cpu = _cpu(has)
    return {
        **_brief(found),
        **_numbers(has),
        "hypervisor_type": has.get("hypervisor_type", ""),
        "hypervisor_version": has.get("hypervisor_version", 0),
        "host_ip": has.get("host_ip") or None,
        "service": {
            "number": near.number,
            "id": near.id,
            "host": near.host,
            "disabled_reason": near.disabled_reason,
        },
        "uptime": has.get("uptime_text") or None,
        "cpu_info": cpu,
        "cpu_info_text": msgspec.json.encode(cpu).decode(),
    }


def _page(deps: Deps, query: HypervisorQuery, show: Any) -> Page:
    compute_hosts.refuse_paging_with_pattern(query)
    pattern, limit = query.get("pattern"), page_size(query.get("limit"), deps.options.max_limit)
    servers = query.get("with_servers", False)
    if pattern:
        found = compute_hosts.hypervisors(deps, pattern=pattern, with_servers=servers)
        if not found:
            raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
        return Page([show(item) for item in found])
    items, more = compute_hosts.page_of_hypervisors(
        deps, query.get("marker"), limit, with_servers=servers
    )
    following = next_query(query, items[-1].row.id, query.get("limit")) if more and items else None
    return Page([show(item) for item in items], following)


@operation(
    "GET",
    "/os-hypervisors",
    policy=PREFIX + "os-hypervisors:list",
    query=HypervisorQuery,
    items=HypervisorBrief,
    response_wrap="hypervisors",
    manual=True,
    waits=False,
    errors=(Bad, MarkerNotFound),
)
def list_hypervisors(ctx: Context, deps: Deps, query: HypervisorQuery) -> Page:
    """List hypervisors."""
    return _page(deps, query, _brief)


@operation(
    "GET",
    "/os-hypervisors/detail",
    policy=PREFIX + "os-hypervisors:list-detail",
    query=HypervisorQuery,
    items=HypervisorShown,
    response_wrap="hypervisors",
    manual=True,
    waits=False,
    errors=(Bad, MarkerNotFound),
)
def list_hypervisors_detail(ctx: Context, deps: Deps, query: HypervisorQuery) -> Page:
    """List hypervisors with details."""
    return _page(deps, query, _view)


@operation(
    "GET",
    "/os-hypervisors/statistics",
    policy=PREFIX + "os-hypervisors:statistics",
    until=_GONE,
    manual=True,
    waits=False,
)
def show_hypervisor_statistics(ctx: Context, deps: Deps) -> Any:
    """Show the sum over all enabled hypervisors."""
    found = [item for item in compute_hosts.hypervisors(deps) if not item.service.disabled]
    total = dict.fromkeys(_numbers({}), 0)
    for item in found:
        for name, value in _numbers(item.inventory).items():
            total[name] += value
    return {"hypervisor_statistics": {"count": len(found), **total}}


@operation(
    "GET",
    "/os-hypervisors/{hypervisor_id}",
    policy=PREFIX + "os-hypervisors:show",
    query=ShowQuery,
    response=HypervisorShown,
    response_wrap="hypervisor",
    until="2.52",
    manual=True,
    waits=False,
    errors=(HypervisorNotFound,),
)
def show_hypervisor_by_number(
    ctx: Context, deps: Deps, hypervisor_id: str, query: ShowQuery
) -> Any:
    """Show a hypervisor."""
    return _view(compute_hosts.hypervisor(deps, hypervisor_id))


@operation(
    "GET",
    "/os-hypervisors/{hypervisor_id}",
    policy=PREFIX + "os-hypervisors:show",
    query=ShowQuery,
    response=HypervisorShown,
    response_wrap="hypervisor",
    since="2.53",
    manual=True,
    waits=False,
    errors=(HypervisorNotFound, Bad),
)
def show_hypervisor(ctx: Context, deps: Deps, hypervisor_id: str, query: ShowQuery) -> Any:
    """Show a hypervisor."""
    _check_uuid(hypervisor_id)
    shows = query.get("with_servers", False)
    return _view(compute_hosts.hypervisor(deps, hypervisor_id, with_servers=shows))


def _check_uuid(text: str) -> None:
    if _UUID.fullmatch(text) is None:
        raise Bad(f"Invalid uuid {text[:64]}")


def _uptime(found: Hypervisor) -> dict[str, Any]:
    text = found.inventory.get("uptime_text")
    if not found.up or not text:
        raise Bad(f"Compute service of {found.row.host} is unavailable at this time.")
    return {**_brief(found), "uptime": text}


@operation(
    "GET",
    "/os-hypervisors/{hypervisor_id}/uptime",
    policy=PREFIX + "os-hypervisors:uptime",
    response=UptimeShown,
    response_wrap="hypervisor",
    until=_GONE,
    manual=True,
    waits=False,
    errors=(HypervisorNotFound, Bad),
)
def show_hypervisor_uptime(ctx: Context, deps: Deps, hypervisor_id: str) -> Any:
    """Show how long a hypervisor is up; from 2.88 on a part of its details."""
    return _uptime(compute_hosts.hypervisor(deps, hypervisor_id))


def _matching(deps: Deps, pattern: str, *, with_servers: bool) -> list[dict[str, Any]]:
    found = compute_hosts.hypervisors(deps, pattern=pattern, with_servers=with_servers)
    if not found:
        raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
    return [_brief(item) for item in found]


@operation(
    "GET",
    "/os-hypervisors/{hypervisor_hostname_pattern}/search",
    until="2.52",
    policy=PREFIX + "os-hypervisors:search",
    items=HypervisorBrief,
    response_wrap="hypervisors",
    manual=True,
    waits=False,
    errors=(NotFound,),
)
def search_hypervisors(ctx: Context, deps: Deps, pattern: str) -> Any:
    """List the hypervisors whose name has a part."""
    return _matching(deps, pattern, with_servers=False)


@operation(
    "GET",
    "/os-hypervisors/{hypervisor_hostname_pattern}/servers",
    until="2.52",
    policy=PREFIX + "os-hypervisors:servers",
    items=HypervisorBrief,
    response_wrap="hypervisors",
    manual=True,
    waits=False,
    errors=(NotFound,),
)
def list_hypervisor_servers(ctx: Context, deps: Deps, pattern: str) -> Any:
    """List the servers of the hypervisors whose name has a part."""
    return _matching(deps, pattern, with_servers=True)
