"""Reading a server in a step, and writing what became of it.

Owns: the row's changes that several verbs share. Must not: ask another service.
"""

from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Database, Tx
from gureum.core.saga.model import SagaAbort, StepContext
from gureum.nova.conductor.deps import SagaDeps
from gureum.nova.model import ERROR, BuildRequest
from gureum.nova.store import servers as store

Context = StepContext[Any, SagaDeps]

FAULT_CODE = 500
FAULT_TEXT_MAX = 255


def server_of(step: Context) -> sa.Row[Any]:
    """Return the server's row in the saga's own cell. Raises: SagaAbort (there is none)."""
    with step.deps.own.read() as tx:
        row = store.get(tx, step.resource_id)
    if row is None:
        raise _gone()
    return row


def _gone() -> SagaAbort:
    return SagaAbort("server_gone", "The server does not exist any more.")


def order_of(step: Context) -> tuple[sa.Row[Any], BuildRequest]:
    """Return the server's row and what was asked for when it was made. Raises: SagaAbort."""
    with step.deps.own.read() as tx:
        row = store.get(tx, step.resource_id)
        request = store.request_of(tx, step.resource_id)
    if row is None:
        raise _gone()
    return row, request


def write_server(step: Context, database: Database, **values: Any) -> None:
    """Write columns of the server: with the step's mark when its row is in the saga's database."""
    server_id = step.resource_id

    def write(tx: Tx) -> None:
        store.change(tx, server_id, **values)

    at_mark_of(step, database, write)


def at_mark_of(step: Context, database: Database, write: Any) -> None:
    """Write with the step's mark where that is possible, else at once."""
    if database is step.deps.own:
        step.at_mark(write)
    else:
        with database.write() as tx:
            write(tx)


def fault_message(step: Context) -> str:
    """Return what a user may read about why the saga failed."""
    return (step.error_text or "The request failed.")[:FAULT_TEXT_MAX]


def mark_error(step: Context) -> None:
    """Put the server in ERROR with a fault, unless it was the user who cancelled the verb."""
    if step.cancelled:
        return
    add_fault(step, vm_state=ERROR)


def add_fault(step: Context, **values: Any) -> None:
    """Record why the verb failed, with the saga's last mark; `values` are columns to write too."""
    server_id = step.resource_id

    def write(tx: Tx) -> None:
        if values:
            store.change(tx, server_id, **values)
        row = store.get(tx, server_id)
        if row is not None:
            store.add_fault(
                tx, server_id, code=FAULT_CODE, message=fault_message(step),
                details=step.error_detail, host=row.host,
            )  # fmt: skip

    step.at_mark(write)
