"""Services, hypervisors and aggregates: the cloud's own machinery, for administrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Database, Tx
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    HostBinaryNotFound,
    HypervisorNotFound,
    InUse,
    MarkerNotFound,
    ServiceNotFound,
)
from gureum.nova.logic.server_facts import is_up
from gureum.nova.logic.zones import zone_of
from gureum.nova.store import aggregates, hosts, mappings
from gureum.nova.store import servers as store


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A service, where it is kept, whether it is up and in which zone it is shown."""

    row: sa.Row[Any]
    database: Database
    up: bool
    zone: str


def services(
    deps: Deps, *, host: str | None = None, binary: str | None = None
) -> list[ServiceFacts]:
    """Return the services of all cells."""
    with deps.api.read() as tx:
        zones = aggregates.zones_of_hosts(tx)
    found: list[ServiceFacts] = []
    for database in deps.cells.values():
        with database.read() as tx:
            rows = hosts.list_services(tx, host=host, binary=binary)
        for row in rows:
            up = is_up(row, deps.options.service_down_time)
            found.append(ServiceFacts(row, database, up, zone_of(deps, zones, row)))
    return found


def service(deps: Deps, service_id: str) -> ServiceFacts:
    """Return a service by UUID or number. Raises: ServiceNotFound."""
    for facts in services(deps):
        if service_id in (facts.row.id, str(facts.row.number)):
            return facts
    raise ServiceNotFound(service_id=service_id)


def service_on(deps: Deps, host: str, binary: str) -> ServiceFacts:
    """Return the service of a host. Raises: HostBinaryNotFound."""
    for facts in services(deps, host=host, binary=binary):
        return facts
    raise HostBinaryNotFound(host=host, binary=binary)


def change_service(deps: Deps, facts: ServiceFacts, values: Mapping[str, Any]) -> ServiceFacts:
    """Write columns of a service and return it as it is now."""
    service_id = facts.row.id
    facts.database.retrying(lambda tx: hosts.change_service(tx, service_id, **values))
    return service(deps, service_id)


def delete_service(deps: Deps, facts: ServiceFacts) -> None:
    """Forget a service; a compute host must have no servers. Raises: InUse."""
    host = facts.row.host

    def work(tx: Tx) -> None:
        if facts.row.binary == hosts.COMPUTE and store.on_host(tx, host):
            raise InUse(
                "Unable to delete compute service that is hosting instances. Migrate or delete"
                " the instances first."
            )
        hosts.delete_service(tx, facts.row.id)

    facts.database.retrying(work)
    if facts.row.binary == hosts.COMPUTE:
        deps.api.retrying(lambda tx: _forget_host(tx, host))


def _forget_host(tx: Tx, host: str) -> None:
    mappings.unmap_host(tx, host)
    for number, _ in aggregates.of_host(tx, host):
        aggregates.remove_host(tx, number, host)


# -- hypervisors -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """A compute node with its service and, when asked for, its servers as (id, name)."""

    row: sa.Row[Any]
    service: sa.Row[Any]
    up: bool
    servers: Sequence[tuple[str, str]] | None = None

    @property
    def inventory(self) -> Mapping[str, Any]:
        """What the host said last that it has."""
        return dict(self.row.inventory)


def hypervisors(
    deps: Deps, *, pattern: str | None = None, with_servers: bool = False
) -> list[Hypervisor]:
    """Return the compute nodes of all cells; `pattern` is a part of the host name."""
    found: list[Hypervisor] = []
    for database in deps.cells.values():
        with database.read() as tx:
            rows = [
                row
                for row in hosts.list_nodes(tx)
                if pattern is None or pattern.lower() in row.hypervisor_hostname.lower()
            ]
            found += _with_services(deps, tx, rows, with_servers=with_servers)
    return found


def _with_services(
    deps: Deps, tx: Tx, rows: Sequence[sa.Row[Any]], *, with_servers: bool
) -> list[Hypervisor]:
    """Return compute nodes with what belongs to them; those without a service are left out."""
    names = [row.host for row in rows]
    known = {
        row.id: row for row in hosts.list_services(tx, binary=hosts.COMPUTE, hosts=names)
    }
    guests = _guests(tx, names) if with_servers else {}
    return [
        Hypervisor(
            row,
            known[row.service_id],
            is_up(known[row.service_id], deps.options.service_down_time),
            guests.get(row.host, ()) if with_servers else None,
        )
        for row in rows
        if row.service_id in known
    ]


def page_of_hypervisors(
    deps: Deps, marker: str | None, limit: int, *, with_servers: bool = False
) -> tuple[list[Hypervisor], bool]:
    """Return the compute nodes after a marker, one cell after the other. Raises: MarkerNotFound."""
    found: list[Hypervisor] = []
    waiting = marker is not None
    for database in deps.cells.values():
        with database.read() as tx:
            after = None
            if waiting and marker is not None:
                node = hosts.find_node(tx, marker)
                if node is None:
                    continue
                waiting, after = False, node.number
            left = limit + 1 - len(found)
            rows = hosts.list_nodes(tx, after=after, limit=left) if left > 0 else ()
            found += _with_services(deps, tx, rows, with_servers=with_servers)
    if waiting:
        raise MarkerNotFound(marker=marker)
    return found[:limit], len(found) > limit


def _guests(tx: Tx, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in store.names_on_hosts(tx, names):
        found.setdefault(row.host, []).append((row.id, row.name))
    return found


def used_by_projects(deps: Deps, host: str) -> dict[str, tuple[int, int, int]]:
    """Return VCPUs, MiB and GiB of the servers on a host, by project."""
    found: dict[str, tuple[int, int, int]] = {}
    for database in deps.cells.values():
        with database.read() as tx:
            for row in store.on_host(tx, host):
                sizes = (row.vcpus, row.memory_mib, row.disk_gib + row.ephemeral_gib)
                have = found.get(row.project_id, (0, 0, 0))
                cpu, memory, disk = (a + b for a, b in zip(have, sizes, strict=True))
                found[row.project_id] = (cpu, memory, disk)
    return found


def hypervisor(deps: Deps, hypervisor_id: str, *, with_servers: bool = False) -> Hypervisor:
    """Return a compute node by UUID or number. Raises: HypervisorNotFound."""
    for database in deps.cells.values():
        with database.read() as tx:
            node = hosts.find_node(tx, hypervisor_id)
            if node is not None:
                for found in _with_services(deps, tx, [node], with_servers=with_servers):
                    return found
    raise HypervisorNotFound(hypervisor_id=hypervisor_id)


def refuse_paging_with_pattern(query: Any) -> None:
    """Refuse a pattern together with paging. Raises: Bad."""
    if query.get("pattern") and (query.get("limit") is not None or query.get("marker")):
        raise Bad("Paging over hypervisors with the hypervisor_hostname_pattern is unsupported.")
