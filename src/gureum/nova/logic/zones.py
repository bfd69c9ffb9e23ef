"""Availability zones: named by aggregates, held together by their hosts' services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from gureum.nova.deps import Deps
from gureum.nova.logic.server_facts import is_up
from gureum.nova.store import aggregates, hosts


@dataclass(slots=True)
class Zone:
    """A zone: whether one of its hosts is usable, and its services by host and binary."""

    name: str
    available: bool = False
    hosts: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)


def all_services(deps: Deps) -> list[tuple[str, sa.Row[Any]]]:
    """Return (cell, service) of every service of every cell."""
    found: list[tuple[str, sa.Row[Any]]] = []
    for cell, database in deps.cells.items():
        with database.read() as tx:
            found += [(cell, row) for row in hosts.list_services(tx)]
    return found


def zone_of(deps: Deps, zones: Mapping[str, str], service: sa.Row[Any]) -> str:
    """Return the zone that a service is shown in."""
    if service.binary != hosts.COMPUTE:
        return deps.options.internal_service_availability_zone
    return zones.get(service.host, deps.options.default_availability_zone)


def find(deps: Deps) -> list[Zone]:
    """Return every zone by name, the internal one among them."""
    with deps.api.read() as tx:
        of_hosts = aggregates.zones_of_hosts(tx)
    found: dict[str, Zone] = {}
    for _, service in all_services(deps):
        name = zone_of(deps, of_hosts, service)
        zone = found.setdefault(name, Zone(name))
        up = is_up(service, deps.options.service_down_time)
        zone.available = zone.available or not service.disabled
        zone.hosts.setdefault(service.host, {})[service.binary] = {
            "available": up,
            "active": not service.disabled,
            "updated_at": service.last_seen_at,
        }
    return [found[name] for name in sorted(found)]


def usable_names(deps: Deps) -> set[str]:
    """Return the zones that servers can be asked into."""
    internal = deps.options.internal_service_availability_zone
    return {zone.name for zone in find(deps) if zone.available and zone.name != internal}
