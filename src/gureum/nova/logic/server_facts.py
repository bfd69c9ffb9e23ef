"""Everything the API shows of servers, gathered for a page at once.

Owns: the batch of queries, constant in number. Nobody is asked: what is shown of ports is kept beside the
servers (`store/server_nics.py`), as the network service said it last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gureum.core.db.types import utc_now
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.store import aggregates, groups, hosts, server_lists, server_nics
from gureum.nova.store import servers as store

HOST_UP = "UP"
HOST_UNKNOWN = "UNKNOWN"
HOST_DOWN = "DOWN"
HOST_MAINTENANCE = "MAINTENANCE"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server and what hangs on it. ports: see `server_nics.shown_of`."""

    row: sa.Row[Any]
    cell: str
    task_state: str | None
    metadata: Mapping[str, str]
    tags: Sequence[str]
    fault: sa.Row[Any] | None
    ports: Sequence[sa.Row[Any]]
    volumes: Sequence[sa.Row[Any]]
    request: Mapping[str, Any]
    zone: str
    host_status: str
    server_groups: Sequence[str] = ()

    @property
    def status(self) -> str:
        """The status the API shows."""
        return model.status(self.row.vm_state, self.task_state)

    @property
    def security_groups(self) -> list[str]:
        """The names of the groups that its ports wear."""
        return list(
            dict.fromkeys(
                group["name"] for port in self.ports for group in port.security_groups or ()
            )
        )


def is_up(service: sa.Row[Any], service_down_time: float, now: datetime | None = None) -> bool:
    """Whether a service has reported lately and was not declared down."""
    if service.forced_down or service.last_seen_at is None:
        return False
    age = (now or utc_now()) - service.last_seen_at
    return bool(age <= timedelta(seconds=service_down_time))


def host_status(service: sa.Row[Any] | None, service_down_time: float) -> str:
    """Return the `host_status` of servers on a host."""
    if service is None:
        return HOST_UNKNOWN
    if service.forced_down:
        return HOST_DOWN
    if service.disabled:
        return HOST_MAINTENANCE
    return HOST_UP if is_up(service, service_down_time) else HOST_UNKNOWN


def gather(
    deps: Deps,
    entries: Sequence[server_lists.Entry],
    *,
    with_groups: bool = False,
    task_states: Mapping[str, str | None] | None = None,
) -> list[ServerFacts]:
    """Return the facts of servers in the given order. task_states: of all of them, if known already."""
    if not entries:
        return []
    by_cell: dict[str, list[sa.Row[Any]]] = {}
    for entry in entries:
        by_cell.setdefault(entry.cell, []).append(entry.row)
    with deps.api.read() as tx:
        places = {entry.row.host for entry in entries if entry.row.host}
        zones = aggregates.zones_of_hosts(tx, places) if places else {}
        server_groups = (
            {entry.row.id: groups.groups_of_server(tx, entry.row.id) for entry in entries}
            if with_groups
            else {}
        )
    found: dict[str, ServerFacts] = {}
    for cell, rows in by_cell.items():
        for facts in _of_cell(deps, cell, rows, zones, server_groups, task_states):
            found[facts.row.id] = facts
    return [found[entry.row.id] for entry in entries]


def _of_cell(
    deps: Deps,
    cell: str,
    rows: Sequence[sa.Row[Any]],
    zones: Mapping[str, str],
    server_groups: Mapping[str, Sequence[str]],
    task_states: Mapping[str, str | None] | None,
) -> list[ServerFacts]:
    ids = [row.id for row in rows]
    broken = [row.id for row in rows if row.vm_state in (model.ERROR, model.DELETED)]
    with deps.cells[cell].read() as tx:
        if task_states is None:
            task_states = server_lists.task_states(tx, ids)
        metadata = store.metadata_of(tx, ids)
        tags = store.tags_of(tx, ids)
        faults = server_lists.latest_faults(tx, broken)
        volumes = server_lists.disks_of(tx, ids)
        requests = server_lists.requests_of(tx, ids)
        places = {row.host for row in rows if row.host}
        computes = {
            row.host: row for row in hosts.list_services(tx, binary=hosts.COMPUTE, hosts=places)
        }
        ports = server_nics.shown_of(tx, ids)
    options = deps.options
    return [
        ServerFacts(
            row=row,
            cell=cell,
            task_state=task_states.get(row.id),
            metadata=metadata.get(row.id, {}),
            tags=tags.get(row.id, ()),
            fault=faults.get(row.id),
            ports=ports.get(row.id, ()),
            volumes=volumes.get(row.id, ()),
            request=requests.get(row.id, {}),
            zone=(
                zones.get(row.host, options.default_availability_zone)
                if row.host
                else row.availability_zone or ""
            ),
            host_status=(
                host_status(computes.get(row.host), options.service_down_time) if row.host else ""
            ),
            server_groups=server_groups.get(row.id, ()),
        )
        for row in rows
    ]
