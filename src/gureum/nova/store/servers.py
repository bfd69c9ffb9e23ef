"""Server rows of one cell and what hangs on them: request, metadata, faults, actions.

Owns: reading and writing one server. Lists are in server_lists.py, ports in server_nics.py. Writers that
are not sagas compare `generation`; a saga holds the server and may use `change`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.nova.model import DELETED, BuildRequest
from gureum.nova.store.tables import (
    schedule_records,
    server_actions,
    server_addresses,
    server_disks,
    server_faults,
    server_metadata,
    server_nics,
    server_requests,
    server_system_metadata,
    server_tags,
    servers,
)

MESSAGE_MAX = 255


def get(tx: Tx, server_id: str, *, deleted: bool = False) -> sa.Row[Any] | None:
    """Return a server's row, or None; a deleted one only when asked for."""
    row = tx.by(servers.c.id, server_id)
    return None if row is None or (row.deleted and not deleted) else row


def on_host(tx: Tx, host: str) -> Sequence[sa.Row[Any]]:
    """Return the servers on a host."""
    return tx.all(sa.select(servers).where(servers.c.host == host, servers.c.deleted.is_(False)))


_HOSTS = sa.select(servers.c.id, servers.c.host).where(
    servers.c.id.in_(sa.bindparam("ids", expanding=True)), servers.c.deleted.is_(False)
)


def hosts_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, str | None]:
    """Return the host, if it has one, of each live server among these."""
    return {row.id: row.host for row in tx.all(_HOSTS, {"ids": server_ids})}


def names_on_hosts(tx: Tx, hosts: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Return (id, name, host) of the servers on hosts."""
    table = servers.c
    wanted = sa.select(table.id, table.name, table.host)
    return tx.all(
        wanted.where(table.host.in_(hosts), table.deleted.is_(False)).order_by(table.number)
    )


def deleted_among(tx: Tx, server_ids: Sequence[str]) -> set[str]:
    """Return which of the ids are servers that were deleted."""
    if not server_ids:
        return set()
    wanted = sa.select(servers.c.id).where(
        servers.c.id.in_(server_ids), servers.c.deleted.is_(True)
    )
    return {row.id for row in tx.all(wanted)}


def insert(
    tx: Tx,
    row: Mapping[str, Any],
    request: BuildRequest,
    *,
    metadata: Mapping[str, str],
    tags: Iterable[str] = (),
    disks: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Insert a server with what was asked for. `row` holds the columns of `servers`. Raises: Conflict."""
    tx.insert(servers, **row)
    server_id = row["id"]
    tx.insert(server_requests, server_id=server_id, request=msgspec.to_builtins(request))
    tx.insert_many(
        server_metadata,
        [{"server_id": server_id, "key": k, "value": v} for k, v in metadata.items()],
    )
    tx.insert_many(server_tags, [{"server_id": server_id, "tag": t} for t in dict.fromkeys(tags)])
    tx.insert_many(server_disks, [{"server_id": server_id, **disk} for disk in disks])


def request_of(tx: Tx, server_id: str) -> BuildRequest:
    """Return what was asked for; an empty request when nothing is kept."""
    kept = tx.by(server_requests.c.server_id, server_id)
    return msgspec.convert(kept.request if kept is not None else {}, BuildRequest)


def change(tx: Tx, server_id: str, **values: Any) -> bool:
    """Write columns of a live server; False when it is gone. `updated_at` and `generation` follow."""
    asked = {**values, "updated_at": utc_now(), "server": server_id}
    return tx.execute(_change(frozenset(values)), asked).rowcount == 1


@cache
def _change(names: frozenset[str]) -> sa.Update:
    bound: dict[str, Any] = {name: sa.bindparam(name) for name in sorted(names | {"updated_at"})}
    return (
        sa.update(servers)
        .where(servers.c.id == sa.bindparam("server"), servers.c.deleted.is_(False))
        .values(generation=servers.c.generation + 1, **bound)
    )


def change_at(tx: Tx, server_id: str, generation: int, **values: Any) -> int:
    """Write columns of a server that is still at `generation`; returns the new one. Raises: Stale."""
    return tx.update_at(
        servers, servers.c.id == server_id, generation, updated_at=utc_now(), **values
    )


def mark_deleted(tx: Tx, server_id: str) -> bool:
    """Say that a server is gone; False when it was already. Its row stays, what hung on it goes.

    The caller then ends the mapping: `mappings.mark_deleted` in nova_api.
    """
    matched = tx.execute(_END, {"server": server_id, "now": utc_now()}).rowcount
    for table in (server_nics, server_addresses, server_tags, server_disks):
        tx.delete_by(table.c.server_id, server_id)
    return matched == 1


_NOW = sa.bindparam("now", type_=servers.c.updated_at.type)
_END = (
    sa.update(servers)
    .where(servers.c.id == sa.bindparam("server"), servers.c.deleted.is_(False))
    .values(
        deleted=True,
        vm_state=DELETED,
        power_state=0,
        deleted_at=_NOW,
        terminated_at=sa.func.coalesce(servers.c.terminated_at, _NOW),
        updated_at=_NOW,
        generation=servers.c.generation + 1,
    )
)


_CARRIED = (
    server_requests,
    server_metadata,
    server_system_metadata,
    server_tags,
    server_faults,
    server_disks,
    server_actions,
    schedule_records,
)

Bundle = dict[str, list[dict[str, Any]]]


def export(tx: Tx, server_id: str) -> Bundle | None:
    """Return a server's rows by table, to be written into another cell; None when there is none."""
    row = tx.by(servers.c.id, server_id)
    if row is None:
        return None
    bundle = {"servers": [_without_number(row)]}
    for table in _CARRIED:
        rows = tx.all(sa.select(table).where(table.c.server_id == server_id))
        bundle[table.name] = [_without_number(found) for found in rows]
    return bundle


def take(tx: Tx, bundle: Bundle, **changed: Any) -> None:
    """Write an exported server into this cell; written already is fine. `changed` replaces columns."""
    row = {**bundle["servers"][0], **changed}
    if tx.scalar(sa.select(servers.c.id).where(servers.c.id == row["id"])) is not None:
        return
    tx.insert(servers, **row)
    for table in _CARRIED:
        tx.insert_many(table, bundle[table.name])


def forget(tx: Tx, server_id: str) -> None:
    """Remove a server's rows from this cell, as after its move to another one."""
    for table in (*_CARRIED, server_nics, server_addresses):
        tx.delete_by(table.c.server_id, server_id)
    tx.delete_by(servers.c.id, server_id)


def _without_number(row: sa.Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name != "number"}


# -- faults, actions, decisions --------------------------------------------------------------------


def add_fault(
    tx: Tx,
    server_id: str,
    *,
    code: int,
    message: str,
    details: str | None = None,
    host: str | None = None,
) -> None:
    """Record what went wrong. `message` is shown to the user, `details` to administrators only."""
    tx.insert(
        server_faults,
        server_id=server_id,
        code=code,
        message=message[:MESSAGE_MAX],
        details=details,
        host=host,
        created_at=utc_now(),
    )


def add_action(
    tx: Tx,
    server_id: str,
    action: str,
    *,
    request_id: str,
    user_id: str | None,
    project_id: str | None,
    saga_id: str | None = None,
    host: str | None = None,
    message: str | None = None,
    at: datetime | None = None,
) -> None:
    """Record that somebody asked for a verb."""
    now = at or utc_now()
    tx.insert(
        server_actions,
        id=str(uuid.uuid4()),
        server_id=server_id,
        request_id=request_id,
        action=action,
        user_id=user_id,
        project_id=project_id,
        saga_id=saga_id,
        host=host,
        message=message,
        started_at=now,
        updated_at=now,
    )


def add_schedule_record(
    tx: Tx,
    server_id: str,
    *,
    request_id: str,
    chosen_host: str | None,
    explanation: Mapping[str, Any],
) -> None:
    """Record why the scheduler chose a host, or none."""
    tx.insert(
        schedule_records,
        server_id=server_id,
        request_id=request_id,
        chosen_host=chosen_host,
        explanation=dict(explanation),
        created_at=utc_now(),
    )


# -- metadata and tags -----------------------------------------------------------------------------


def metadata_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the user's metadata by server."""
    return _pairs(tx, server_metadata, server_ids)


def merge_metadata(tx: Tx, server_id: str, values: Mapping[str, str]) -> None:
    """Write the user's metadata; other keys stay."""
    _merge(tx, server_metadata, server_id, values)


def replace_metadata(tx: Tx, server_id: str, values: Mapping[str, str]) -> None:
    """Write the user's metadata; other keys go."""
    tx.delete_by(server_metadata.c.server_id, server_id)
    _merge(tx, server_metadata, server_id, values)


def delete_metadata(tx: Tx, server_id: str, key: str) -> bool:
    """Remove one key of the user's metadata; False when there is none."""
    table = server_metadata.c
    return tx.delete(server_metadata, sa.and_(table.server_id == server_id, table.key == key)) == 1


def tags_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags by server, each in alphabetical order."""
    found: dict[str, list[str]] = {}
    for row in tx.among(server_tags.c.server_id, server_ids, server_tags.c.tag):
        found.setdefault(row.server_id, []).append(row.tag)
    return found


def add_tag(tx: Tx, server_id: str, tag: str) -> None:
    """Add a tag that is not there yet. Raises: Conflict."""
    tx.insert(server_tags, server_id=server_id, tag=tag)


def replace_tags(tx: Tx, server_id: str, tags: Iterable[str]) -> None:
    """Write all tags of a server."""
    tx.delete_by(server_tags.c.server_id, server_id)
    tx.insert_many(server_tags, [{"server_id": server_id, "tag": t} for t in dict.fromkeys(tags)])


def delete_tag(tx: Tx, server_id: str, tag: str) -> bool:
    """Remove one tag; False when there is none."""
    table = server_tags.c
    return tx.delete(server_tags, sa.and_(table.server_id == server_id, table.tag == tag)) == 1


def _pairs(tx: Tx, table: sa.Table, server_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in tx.among(table.c.server_id, server_ids, table.c.key):
        found.setdefault(row.server_id, {})[row.key] = row.value
    return found


def _merge(tx: Tx, table: sa.Table, server_id: str, values: Mapping[str, str]) -> None:
    if not values:
        return
    tx.delete(table, sa.and_(table.c.server_id == server_id, table.c.key.in_(list(values))))
    tx.insert_many(
        table, [{"server_id": server_id, "key": k, "value": v} for k, v in values.items()]
    )
