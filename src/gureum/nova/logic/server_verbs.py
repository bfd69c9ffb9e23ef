"""Verbs on a server: power, lock, reset, update, delete.

Exclusive verbs become sagas; one runs on a server at a time. A verb that makes no sense in the server's state
is 409 with the words clients know.
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import Conflict, WrongState
from gureum.nova.logic import submit as submitting
from gureum.nova.logic.saga_params import (
    SERVER_DELETE,
    SERVER_POWER,
    ServerDeleteParams,
    ServerPowerParams,
)
from gureum.nova.logic.server_load import OVERRIDE, Server, check_lock, load_any
from gureum.nova.model import Verb
from gureum.nova.store import consoles, groups, mappings, server_lists
from gureum.nova.store import servers as store
from gureum.nova.store.tables import CELL0


def _row(tx: Tx, server: Server, verb: str) -> Any:
    """Return the row as this transaction sees it."""
    row = store.get(tx, server.id)
    if row is None:
        raise WrongState(verb=verb, server_id=server.id, attribute="vm_state", state=model.DELETED)
    return row


def check_state(tx: Tx, server: Server, verb: str, allowed: tuple[str, ...]) -> Any:
    """Return the row when the server is in an allowed state and idle. Raises: WrongState."""
    row = _row(tx, server, verb)
    busy = server_lists.task_states(tx, [server.id]).get(server.id)
    if row.vm_state not in allowed:
        raise WrongState(verb=verb, server_id=server.id, attribute="vm_state", state=row.vm_state)
    if busy is not None:
        raise WrongState(verb=verb, server_id=server.id, attribute="task_state", state=busy)
    return row


def check_vm_state(tx: Tx, server: Server, verb: str, allowed: tuple[str, ...]) -> Any:
    """Return the row when the server is in an allowed state, idle or not. Raises: WrongState."""
    row = _row(tx, server, verb)
    if row.vm_state not in allowed:
        raise WrongState(verb=verb, server_id=server.id, attribute="vm_state", state=row.vm_state)
    return row


def power(ctx: Context, deps: Deps, server: Server, verb: Verb) -> None:
    """Do a power verb. Raises: WrongState, Locked."""
    check_lock(ctx, deps, server)

    def work(tx: Tx) -> str:
        row = check_state(tx, server, verb.name, verb.allowed)
        if not row.host:
            raise WrongState(
                verb=verb.name, server_id=server.id, attribute="vm_state", state=row.vm_state
            )
        saga_id = submitting.submit(
            ctx,
            deps,
            tx,
            SERVER_POWER,
            ServerPowerParams(server.id, verb.action, deps.options.shutdown_timeout),
            server_id=server.id,
            action=verb.name,
            host=row.host,
            task_state=verb.task_state,
        )
        store.change(tx, server.id)
        return saga_id

    submitting.perform(ctx, deps, server.database, SERVER_POWER, server.id, work)


def delete(ctx: Context, deps: Deps, server: Server, *, force: bool = False) -> None:
    """Delete a server, whatever is being done to it. Raises: Locked."""
    check_lock(ctx, deps, server)
    if server.cell == CELL0:
        _delete_placeless(ctx, deps, server)
        return

    def work(tx: Tx) -> bool:
        row = store.get(tx, server.id)
        if row is None:
            return False
        submitting.submit(
            ctx,
            deps,
            tx,
            SERVER_DELETE,
            ServerDeleteParams(server.id, force),
            server_id=server.id,
            action="forceDelete" if force else "delete",
            host=row.host,
            supersede=True,
        )
        store.change(tx, server.id)
        return True

    if not server.database.retrying(work):
        moved = load_any(ctx, deps, server.id)
        if moved.cell == CELL0 and not moved.row.deleted:
            _delete_placeless(ctx, deps, moved)


def _delete_placeless(ctx: Context, deps: Deps, server: Server) -> None:
    """Delete a server that never found a host: it holds nothing but its rows."""

    def work(tx: Tx) -> None:
        submitting.record(ctx, tx, server.id, "delete")
        store.mark_deleted(tx, server.id)

    def uncount(tx: Tx) -> None:
        mappings.mark_deleted(tx, server.id)
        groups.remove_member(tx, server.id)
        consoles.forget_server(tx, server.id)

    server.database.retrying(work)
    deps.api.retrying(uncount)


def lock(ctx: Context, deps: Deps, server: Server, reason: str | None) -> None:
    """Lock a server against its own users. Locked already stays with who locked it."""
    by_owner = server.project_id == ctx.project_id

    def work(tx: Tx) -> None:
        row = _row(tx, server, "lock")
        if row.locked_by == "owner" or row.locked_by is None or not by_owner:
            locked_by = "owner" if by_owner else "admin"
            store.change_at(
                tx, server.id, row.generation, locked_by=locked_by, locked_reason=reason
            )
        submitting.record(ctx, tx, server.id, "lock", host=row.host)

    server.database.retrying(work)


def unlock(ctx: Context, deps: Deps, server: Server) -> None:
    """Unlock a server; what an administrator locked, only administrators unlock."""
    expected = "owner" if server.project_id == ctx.project_id else "admin"
    if server.row.locked_by not in (None, expected):
        deps.policy.enforce(
            OVERRIDE, ctx, {"project_id": server.project_id, "user_id": server.user_id}
        )

    def work(tx: Tx) -> None:
        row = _row(tx, server, "unlock")
        store.change_at(tx, server.id, row.generation, locked_by=None, locked_reason=None)
        submitting.record(ctx, tx, server.id, "unlock", host=row.host)

    server.database.retrying(work)


def reset_state(ctx: Context, deps: Deps, server: Server, state: str) -> None:
    """Set the state to active or error, and cancel a power verb that is under way."""

    def work(tx: Tx) -> None:
        row = _row(tx, server, "reset_state")
        for saga in deps.saga_store.active(tx, [server.id]).values():
            if saga.name == SERVER_POWER:
                deps.saga_store.cancel(tx, saga.id)
        store.change_at(tx, server.id, row.generation, vm_state=state)
        submitting.record(ctx, tx, server.id, "reset_state", host=row.host)

    server.database.retrying(work)


def update(ctx: Context, deps: Deps, server: Server, new: Any, *, zone_now: str | None) -> None:
    """Write what of a server may change at once. Raises: Conflict, Bad."""
    values: dict[str, Any] = {}
    for attribute, column in (
        ("name", "name"),
        ("access_ipv4", "access_ipv4"),
        ("access_ipv6", "access_ipv6"),
        ("disk_config", "disk_config"),
        ("description", "description"),
        ("hostname", "hostname"),
        ("hostname_fqdn", "hostname"),
    ):
        if new.has(attribute):
            value = new.get(attribute)
            values[column] = None if value == "" and column.startswith("access") else value

    def work(tx: Tx) -> None:
        row = _row(tx, server, "update")
        if new.has("pinned_zone"):
            values["pinned_zone"] = _repinned(row, new.get("pinned_zone"), zone_now)
        store.change_at(tx, server.id, row.generation, **values)

    server.database.retrying(work)


def _repinned(row: Any, wanted: str | None, zone_now: str | None) -> str | None:
    if wanted is None or wanted == row.pinned_zone:
        return wanted
    if row.pinned_zone is not None:
        raise Conflict(
            f"Instance {row.id} is pinned to availability zone {row.pinned_zone}: unpin it first."
        )
    if wanted != zone_now:
        raise Conflict(
            f"Cannot pin instance {row.id} to availability zone {wanted}: it is in {zone_now}."
        )
    return wanted
