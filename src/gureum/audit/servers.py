"""Nova's own databases: mappings, rows, what hangs on rows, console tokens.

Owns: the comparison of nova_api with the cells. Must not: ask another service or a host.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import sqlalchemy as sa

from gureum.audit.finding import Finding, Mend
from gureum.audit.world import Servers, World
from gureum.core.db.engine import Database
from gureum.nova.model import BUILDING, ERROR
from gureum.nova.reconcilers.mappings import Mappings
from gureum.nova.store import consoles, groups, mappings
from gureum.nova.store import servers as store
from gureum.nova.store.tables import (
    CELL,
    DATABASE_OF_CELL,
    console_tokens,
    server_group_members,
    server_mappings,
    servers,
)

API = "nova_api"
LOST_TEXT = "The server's request was lost."


def compare(world: World, found: Servers) -> Iterator[Finding]:
    """Find what stands in one of Nova's databases only."""
    yield from _mappings(world, found)
    yield from _rows_without_mapping(world, found)
    yield from _parts_without_row(world)
    yield from _tokens(world, found)
    yield from _group_members(world, found)
    yield from _states(world, found)


def _mappings(world: World, found: Servers) -> Iterator[Finding]:
    mend = Mappings(world.nova, 0.0)
    with world.nova.api.read() as tx:
        known = tx.all(sa.select(server_mappings).where(server_mappings.c.deleted_at.is_(None)))
    for row in known:
        if found.is_busy(row.server_id) or world.is_young(row.created_at):
            continue
        rows = found.rows.get(row.server_id, [])
        live = [cell for cell, one in rows if not one.deleted]
        if live == [row.cell]:
            continue
        again: Mend = partial(mend.check, row.server_id, row.cell)
        if not rows:
            why, repair = "no cell has its server", "remove the mapping"
        elif not live:
            why, repair = "its server is deleted", "stop counting it"
        elif row.cell not in live:
            why, repair = f"its server is in {live[0]}, not in {row.cell}", "correct the cell"
        else:
            other = next(cell for cell in live if cell != row.cell)
            why, repair = f"it is in {row.cell} and in {other}", f"forget the row in {other}"
            again = partial(_forget_row, world.nova.cells[other], row.server_id)
        yield Finding("server-mapping", row.server_id, API, why, repair, again)


def _forget_row(database: Database, server_id: str) -> None:
    with database.write() as tx:
        store.forget(tx, server_id)


def _rows_without_mapping(world: World, found: Servers) -> Iterator[Finding]:
    with world.nova.api.read() as tx:
        known = {row.server_id for row in tx.all(sa.select(server_mappings.c.server_id))}
    for server_id, (cell, row) in found.alive().items():
        if server_id in known or world.is_young(row.created_at):
            continue
        yield Finding(
            "server",
            server_id,
            DATABASE_OF_CELL[cell],
            "no mapping leads to it: nobody can see it or delete it",
            "write its mapping",
            partial(_write_mapping, world, cell, row),
        )


def _write_mapping(world: World, cell: str, row: Any) -> None:
    with world.nova.api.write() as tx:
        mappings.insert_many(
            tx,
            [
                {
                    "server_id": row.id,
                    "project_id": row.project_id,
                    "user_id": row.user_id,
                    "cell": cell,
                    "vcpus": row.vcpus,
                    "memory_mib": row.memory_mib,
                    "created_at": row.created_at,
                }
            ],
        )


def _parts_without_row(world: World) -> Iterator[Finding]:
    """Requests, ports, metadata, disks, faults, actions and decisions of servers that never were."""
    for cell, database in world.nova.cells.items():
        for table in CELL.sorted_tables:
            if "server_id" not in table.c:
                continue
            wanted = sa.select(table.c.server_id).distinct()
            wanted = wanted.where(table.c.server_id.not_in(sa.select(servers.c.id)))
            with database.read() as tx:
                ids = sorted(row.server_id for row in tx.all(wanted))
            for server_id in ids:
                yield Finding(
                    table.name.replace("_", "-"),
                    server_id,
                    DATABASE_OF_CELL[cell],
                    "there is no such server",
                    f"remove the rows of {table.name}",
                    partial(_remove_rows, database, table, server_id),
                )


def _remove_rows(database: Database, table: sa.Table, server_id: str) -> None:
    with database.write() as tx:
        gone = tx.scalar(sa.select(servers.c.id).where(servers.c.id == server_id)) is None
        if gone:
            tx.delete_by(table.c.server_id, server_id)


def _tokens(world: World, found: Servers) -> Iterator[Finding]:
    alive = found.alive()
    with world.nova.api.read() as tx:
        ids = {row.server_id for row in tx.all(sa.select(console_tokens.c.server_id).distinct())}
    for server_id in sorted(ids - set(alive)):
        yield Finding(
            "console-token",
            server_id,
            API,
            "its server is gone",
            "remove the server's tokens",
            partial(_in_api, world, partial(consoles.forget_server, server_id=server_id)),
        )


def _group_members(world: World, found: Servers) -> Iterator[Finding]:
    alive = found.alive()
    with world.nova.api.read() as tx:
        ids = {row.server_id for row in tx.all(sa.select(server_group_members.c.server_id))}
        young = {
            row.server_id
            for row in tx.all(sa.select(server_mappings.c.server_id, server_mappings.c.created_at))
            if world.is_young(row.created_at)
        }
    for server_id in sorted(ids - set(alive) - young):
        yield Finding(
            "server-group-member",
            server_id,
            API,
            "its server is gone",
            "take it from its group",
            partial(_in_api, world, partial(groups.remove_member, server_id=server_id)),
        )


def _in_api(world: World, work: Any) -> None:
    with world.nova.api.write() as tx:
        work(tx)


def _states(world: World, found: Servers) -> Iterator[Finding]:
    """A server that is being built needs somebody who builds it."""
    for server_id, (cell, row) in found.alive().items():
        if row.vm_state != BUILDING or found.is_busy(server_id):
            continue
        if world.is_young(row.updated_at or row.created_at):
            continue
        yield Finding(
            "server",
            server_id,
            DATABASE_OF_CELL[cell],
            "it is being built, and no saga builds it",
            "put it in ERROR, from where it can be deleted",
            partial(_mark_lost, world.nova.cells[cell], server_id),
        )


def _mark_lost(database: Database, server_id: str) -> None:
    with database.write() as tx:
        row = store.get(tx, server_id)
        if row is not None and row.vm_state == BUILDING:
            store.change(tx, server_id, vm_state=ERROR)
            store.add_fault(tx, server_id, code=500, message=LOST_TEXT, details=None, host=row.host)
