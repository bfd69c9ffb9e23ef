"""Lists of servers: filters, sort keys, and one page out of several cells.

Owns: turning filters into conditions, and merging the cells' pages by keyset. Must not: know who may filter
by what; logic/server_lists.py does. A page costs one query a cell, whatever its number.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Database, Tx
from gureum.core.db.page import SortKey, fetch_page
from gureum.nova.store.tables import (
    CELL,
    server_addresses,
    server_tags,
    servers,
)

_sagas = CELL.tables["sagas"]


def task_state_column() -> sa.ColumnElement[Any]:
    """Select what a server's saga, or a delete that waits behind it, shows as task state."""
    running = (
        sa.select(_sagas.c.task_state)
        .where(_sagas.c.lock_key == servers.c.id)
        .correlate(servers)
        .scalar_subquery()
    )
    waiting = (
        sa.select(_sagas.c.task_state)
        .where(_sagas.c.lock_key == sa.literal("queued:") + servers.c.id)
        .correlate(servers)
        .scalar_subquery()
    )
    return sa.func.coalesce(waiting, running)


_TASK_STATES = sa.select(_sagas.c.lock_key, _sagas.c.resource_id, _sagas.c.task_state).where(
    _sagas.c.lock_key.in_(sa.bindparam("keys", expanding=True))
)


def task_states(tx: Tx, server_ids: Sequence[str]) -> dict[str, str]:
    """Return the task state of each server that has one."""
    keys = [*server_ids, *(f"queued:{server_id}" for server_id in server_ids)]
    found: dict[str, str] = {}
    for row in tx.all(_TASK_STATES, {"keys": keys}):
        waits = row.lock_key != row.resource_id
        if row.task_state and (waits or row.resource_id not in found):
            found[row.resource_id] = row.task_state
    return found


COLUMNS: Mapping[str, sa.ColumnElement[Any]] = {
    "access_ip_v4": servers.c.access_ipv4,
    "access_ip_v6": servers.c.access_ipv6,
    "auto_disk_config": servers.c.disk_config,
    "availability_zone": servers.c.availability_zone,
    "config_drive": servers.c.config_drive,
    "created_at": servers.c.created_at,
    "description": servers.c.description,
    "display_description": servers.c.description,
    "display_name": servers.c.name,
    "host": servers.c.host,
    "hostname": servers.c.hostname,
    "image_ref": servers.c.image_id,
    "instance_type_id": servers.c.flavor_id,
    "kernel_id": servers.c.kernel_id,
    "key_name": servers.c.key_name,
    "launch_index": servers.c.launch_index,
    "launched_at": servers.c.launched_at,
    "locked": sa.case((servers.c.locked_by.is_(None), 0), else_=1),
    "locked_by": servers.c.locked_by,
    "node": servers.c.node,
    "power_state": servers.c.power_state,
    "progress": servers.c.progress,
    "project_id": servers.c.project_id,
    "ramdisk_id": servers.c.ramdisk_id,
    "reservation_id": servers.c.reservation_id,
    "root_device_name": servers.c.root_device_name,
    "task_state": sa.func.coalesce(task_state_column(), ""),
    "terminated_at": servers.c.terminated_at,
    "updated_at": servers.c.updated_at,
    "user_id": servers.c.user_id,
    "uuid": servers.c.id,
    "vm_state": servers.c.vm_state,
}
"""What may be filtered for and sorted by, by the API's names."""

BRIEF = (servers.c.id, servers.c.name, servers.c.project_id, servers.c.user_id)
DETAIL = tuple(servers.c)


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for. Sequences are alternatives; None asks nothing. `equal` names COLUMNS."""

    project_id: str | None = None
    deleted: bool | None = False
    ids: Sequence[str] | None = None
    vm_states: Sequence[str] | None = None
    task_states: Sequence[str] | None = None
    flavor_id: str | None = None
    image_id: str | None = None
    name: str | None = None
    ip: str | None = None
    ip6: str | None = None
    changes_since: datetime | None = None
    changes_before: datetime | None = None
    tags: Sequence[str] = ()
    tags_any: Sequence[str] = ()
    not_tags: Sequence[str] = ()
    not_tags_any: Sequence[str] = ()
    locked: bool | None = None
    equal: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing can match."""
        return self.vm_states is not None and not self.vm_states


def conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Return the filters as conditions on `servers`."""
    table = servers.c
    where: list[sa.ColumnElement[bool]] = [table.hidden.is_(False)]
    if filters.project_id is not None:
        where.append(table.project_id == filters.project_id)
    if filters.deleted is not None:
        where.append(table.deleted.is_(filters.deleted))
    if filters.ids is not None:
        where.append(table.id.in_(filters.ids))
    if filters.vm_states is not None:
        where.append(table.vm_state.in_(filters.vm_states))
    if filters.task_states:
        where.append(task_state_column().in_(filters.task_states))
    if filters.flavor_id is not None:
        where.append(table.flavor_id == filters.flavor_id)
    if filters.image_id is not None:
        where.append(table.image_id == filters.image_id)
    if filters.name is not None:
        where.append(table.name.regexp_match(filters.name))
    if filters.locked is not None:
        where.append(table.locked_by.is_not(None) if filters.locked else table.locked_by.is_(None))
    changed = sa.func.coalesce(table.updated_at, table.created_at)
    if filters.changes_since is not None:
        where.append(changed >= _moment(filters.changes_since))
    if filters.changes_before is not None:
        where.append(changed <= _moment(filters.changes_before))
    where += _tag_conditions(filters)
    where += _address_conditions(filters)
    for name, values in filters.equal.items():
        column = COLUMNS[name]
        where.append(column.in_(values) if len(values) != 1 else column == values[0])
    return where


def _moment(value: datetime) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, type_=servers.c.created_at.type)


def _tag_conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    def has(tag: str) -> sa.ColumnElement[bool]:
        return (
            sa.select(server_tags.c.tag)
            .where(server_tags.c.server_id == servers.c.id, server_tags.c.tag == tag)
            .correlate(servers)
            .exists()
        )

    where = [has(tag) for tag in filters.tags]
    if filters.tags_any:
        where.append(sa.or_(*map(has, filters.tags_any)))
    if filters.not_tags:
        where.append(sa.not_(sa.and_(*map(has, filters.not_tags))))
    if filters.not_tags_any:
        where.append(sa.not_(sa.or_(*map(has, filters.not_tags_any))))
    return where


def _address_conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    for version, pattern in ((4, filters.ip), (6, filters.ip6)):
        if pattern is not None:
            table = server_addresses.c
            where.append(
                sa.select(table.address)
                .where(
                    table.server_id == servers.c.id,
                    table.version == version,
                    table.address.regexp_match(pattern),
                )
                .correlate(servers)
                .exists()
            )
    return where


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a list and the cell it is in."""

    cell: str
    row: sa.Row[Any]


Sort = Sequence[tuple[str, bool]]
"""(name of COLUMNS, descending) …; the last one is "uuid"."""


def sort_values(tx: Tx, server_id: str, sort: Sort) -> tuple[Any, ...] | None:
    """Return the sort key of a server, as the marker of a page; None when it is not here."""
    columns = [COLUMNS[name].label(f"k{index}") for index, (name, _) in enumerate(sort)]
    row = tx.one(sa.select(*columns).where(servers.c.id == server_id))
    return None if row is None else tuple(row)


def find_page(
    cells: Mapping[str, Database],
    filters: Filters,
    *,
    sort: Sort,
    marker: tuple[Any, ...] | None,
    limit: int,
    columns: Sequence[sa.ColumnElement[Any]] = DETAIL,
) -> tuple[list[Entry], bool]:
    """Return one page of the cells' servers together, and whether more follow."""
    if filters.empty or limit == 0:
        return [], False
    keys = [SortKey(COLUMNS[name], descending) for name, descending in sort]
    labels = [key.column.label(f"k{index}") for index, key in enumerate(keys)]
    found: list[Entry] = []
    more = False
    where = conditions(filters)
    for cell, database in cells.items():
        statement = sa.select(*columns, *labels).where(*where)
        with database.read() as tx:
            rows, cell_has_more = fetch_page(tx, statement, keys, marker, limit)
        more = more or cell_has_more
        found += [Entry(cell, row) for row in rows]
    if len(cells) > 1:
        found.sort(key=functools.cmp_to_key(lambda a, b: _compare(a.row, b.row, sort)))
    return found[:limit], more or len(found) > limit


def _compare(left: sa.Row[Any], right: sa.Row[Any], sort: Sort) -> int:
    for index, (_, descending) in enumerate(sort):
        one, two = left._mapping[f"k{index}"], right._mapping[f"k{index}"]
        if one == two:
            continue
        if one is None or two is None:
            less = one is None
        else:
            less = one < two
        return (1 if less else -1) if descending else (-1 if less else 1)
    return 0


def count(tx: Tx, filters: Filters) -> int:
    """Count the servers of one cell."""
    wanted = sa.select(sa.func.count()).select_from(servers).where(*conditions(filters))
    return int(tx.scalar(wanted))


_faults = CELL.tables["server_faults"]
_LATEST_FAULTS = sa.select(_faults).where(
    _faults.c.number.in_(
        sa.select(sa.func.max(_faults.c.number))
        .where(_faults.c.server_id.in_(sa.bindparam("ids", expanding=True)))
        .group_by(_faults.c.server_id)
    )
)


def latest_faults(tx: Tx, server_ids: Sequence[str]) -> dict[str, sa.Row[Any]]:
    """Return the newest fault of each server that has one."""
    if not server_ids:
        return {}
    found = tx.all(_LATEST_FAULTS, {"ids": list(server_ids)})
    return {row.server_id: row for row in found}


def disks_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[sa.Row[Any]]]:
    """Return the volumes of each server."""
    disks = CELL.tables["server_disks"].c
    found: dict[str, list[sa.Row[Any]]] = {}
    for row in tx.among(disks.server_id, server_ids, disks.boot_index, disks.id):
        if row.destination == "volume":
            found.setdefault(row.server_id, []).append(row)
    return found


def requests_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what was asked for of each server, as builtins."""
    requests = CELL.tables["server_requests"].c
    return {row.server_id: row.request for row in tx.among(requests.server_id, server_ids)}
