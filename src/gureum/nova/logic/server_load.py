"""The one way to a server: its mapping names the cell, the row must be the caller's.

What the caller may not see is 404.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db.engine import Database
from gureum.nova.deps import Deps
from gureum.nova.errors import Locked, NotReady, ServerNotFound
from gureum.nova.policy import PREFIX
from gureum.nova.store import mappings, server_lists
from gureum.nova.store import servers as store

OVERRIDE = PREFIX + "os-lock-server:unlock:unlock_override"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that the caller may see: its row, its cell, and what is being done to it."""

    cell: str
    database: Database
    row: sa.Row[Any]
    task_state: str | None

    @property
    def id(self) -> str:
        """The server's id."""
        return str(self.row.id)

    @property
    def project_id(self) -> str:
        """Whose it is; rules are checked against it."""
        return str(self.row.project_id)

    @property
    def user_id(self) -> str:
        """Who made it."""
        return str(self.row.user_id)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A server and what follows it in the path; rules are checked against the server."""

    server: Server
    key: str

    @property
    def project_id(self) -> str:
        """Whose server it is."""
        return self.server.project_id

    @property
    def user_id(self) -> str:
        """Who made it."""
        return self.server.user_id


def load(ctx: Context, deps: Deps, server_id: str, *, any_project: bool = False) -> Server:
    """Return a live server. `any_project`: for other services. Raises: ServerNotFound."""
    return _load(ctx, deps, server_id, deleted=False, any_project=any_project)


def load_any(ctx: Context, deps: Deps, server_id: str) -> Server:
    """Return a server, deleted or not. Raises: ServerNotFound."""
    return _load(ctx, deps, server_id, deleted=True)


def load_keyed(ctx: Context, deps: Deps, server_id: str, key: str) -> Keyed:
    """Return a live server and a key. Raises: ServerNotFound."""
    return Keyed(load(ctx, deps, server_id), key)


def load_any_keyed(ctx: Context, deps: Deps, server_id: str, key: str) -> Keyed:
    """Return a server, deleted or not, and a key. Raises: ServerNotFound."""
    return Keyed(load_any(ctx, deps, server_id), key)


def _load(
    ctx: Context, deps: Deps, server_id: str, *, deleted: bool, any_project: bool = False
) -> Server:
    with deps.api.read() as tx:
        mapping = mappings.get(tx, server_id)
    visible = mapping is not None and (
        any_project or ctx.is_admin or mapping.project_id == ctx.project_id
    )
    if mapping is None or not visible or mapping.cell not in deps.cells:
        raise ServerNotFound(server_id=server_id)
    tried = [mapping.cell, *(cell for cell in deps.cells if cell != mapping.cell)]
    for cell in tried:  # a server may just be moving to cell0
        database = deps.cells[cell]
        with database.read() as tx:
            row = store.get(tx, server_id, deleted=deleted)
            if row is not None:
                states = server_lists.task_states(tx, [server_id])
                return Server(cell, database, row, states.get(server_id))
    raise ServerNotFound(server_id=server_id)


def reload(deps: Deps, server: Server) -> Server:
    """Return a server as it is now. Raises: ServerNotFound."""
    with server.database.read() as tx:
        row = store.get(tx, server.id, deleted=True)
        states = server_lists.task_states(tx, [server.id])
    if row is None:
        raise ServerNotFound(server_id=server.id)
    return Server(server.cell, server.database, row, states.get(server.id))


def check_lock(ctx: Context, deps: Deps, server: Server) -> None:
    """Refuse to act on a locked server, except for who may override. Raises: Locked."""
    target = {"project_id": server.project_id, "user_id": server.user_id}
    if server.row.locked_by is not None and not deps.policy.allows(OVERRIDE, ctx, target):
        raise Locked(server_id=server.id)


def host_of(server: Server) -> str:
    """Return the host of a server's guest. Raises: NotReady."""
    if not server.row.host:
        raise NotReady(server_id=server.id)
    return str(server.row.host)
