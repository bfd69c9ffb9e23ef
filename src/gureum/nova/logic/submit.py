"""Handing a verb to a saga: the intent, its action record and the state it shows, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Database, Tx
from gureum.core.saga.model import SagaBusy
from gureum.nova.deps import Deps
from gureum.nova.errors import WrongState
from gureum.nova.logic.saga_params import TASK_STATES
from gureum.nova.store import server_lists
from gureum.nova.store import servers as store


def submit(
    ctx: Context,
    deps: Deps,
    tx: Tx,
    name: str,
    params: Any,
    *,
    server_id: str,
    action: str,
    host: str | None = None,
    task_state: str | None = None,
    supersede: bool = False,
) -> str:
    """Write a saga and its action record; returns the saga's id. Raises: WrongState when busy."""
    try:
        saga_id = deps.saga_store.submit(
            tx,
            deps.sagas[name],
            resource_id=server_id,
            params=params,
            ctx=ctx,
            supersede=supersede,
            task_state=task_state or TASK_STATES[name],
        )
    except SagaBusy as error:
        state = server_lists.task_states(tx, [server_id]).get(server_id)
        raise WrongState(
            verb=action, server_id=server_id, attribute="task_state", state=state or "busy"
        ) from error
    record(ctx, tx, server_id, action, saga_id=saga_id, host=host)
    return saga_id


def perform(
    ctx: Context,
    deps: Deps,
    database: Database,
    name: str,
    server_id: str,
    work: Callable[[Tx], str],
) -> str:
    """Run `work`, which submits a saga, in a transaction; returns the saga's id.

    A verb that this very request has started is not in its own way: the answer to its commit may have
    been lost. Raises: what `work` raises.
    """
    try:
        return database.retrying(work)
    except WrongState:
        with database.read() as tx:
            newest = deps.saga_store.of_resource(tx, server_id, limit=1)
        if newest and newest[0].name == name and newest[0].requester.request_id == ctx.request_id:
            return newest[0].id
        raise


def record(
    ctx: Context,
    tx: Tx,
    server_id: str,
    action: str,
    *,
    saga_id: str | None = None,
    host: str | None = None,
) -> None:
    """Write an action record."""
    store.add_action(
        tx,
        server_id,
        action,
        request_id=ctx.request_id,
        user_id=ctx.user_id,
        project_id=ctx.project_id,
        saga_id=saga_id,
        host=host,
    )
