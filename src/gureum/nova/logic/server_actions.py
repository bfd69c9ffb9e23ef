"""What was done to a server: the action records, and the steps of their sagas as events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Database
from gureum.core.saga import records
from gureum.core.saga.model import END
from gureum.nova.deps import Deps
from gureum.nova.errors import ActionNotFound, Bad, MarkerNotFound
from gureum.nova.logic.flavors import page_size
from gureum.nova.logic.server_load import Server
from gureum.nova.model import host_id
from gureum.nova.store import actions as store

_FAILED = (records.FAILED, records.CANCELLED)


@dataclass(frozen=True, slots=True)
class Event:
    """One step of an action. `traceback` is for administrators, `details` for the user."""

    event: str
    start_time: datetime | None
    finish_time: datetime | None
    result: str | None
    host: str | None
    host_id: str
    traceback: str | None
    details: str | None


@dataclass(frozen=True, slots=True)
class Action:
    """A verb somebody asked for."""

    action: str
    server_id: str
    request_id: str
    user_id: str | None
    project_id: str | None
    start_time: datetime
    updated_at: datetime
    message: str | None
    events: Sequence[Event] = ()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _action(row: sa.Row[Any], saga: Any, events: Sequence[Event] = ()) -> Action:
    updated = row.updated_at
    message = row.message
    if saga is not None:
        updated = max(updated, _moment(saga.updated_at) or updated)
        if saga.state in _FAILED or saga.state in (records.UNWINDING, records.STUCK):
            message = message or "Error"
    return Action(
        action=row.action,
        server_id=row.server_id,
        request_id=row.request_id,
        user_id=row.user_id,
        project_id=row.project_id,
        start_time=row.started_at,
        updated_at=updated,
        message=message,
        events=events,
    )


def find(deps: Deps, server: Server, query: Any) -> tuple[list[Action], bool]:
    """Return a page of a server's actions and whether more follow. Raises: MarkerNotFound, Bad."""
    since, before = query.get("changes_since"), query.get("changes_before")
    if since is not None and before is not None and since > before:
        raise Bad("The value of changes-since must be less than or equal to changes-before.")
    with server.database.read() as tx:
        marker = None
        if query.get("marker") is not None:
            row = store.get(tx, server.id, query.get("marker"))
            if row is None:
                raise MarkerNotFound(marker=query.get("marker"))
            marker = row.number
        rows, more = store.find_page(
            tx,
            server.id,
            since=since,
            before=before,
            marker=marker,
            limit=page_size(query.get("limit"), deps.options.max_limit),
        )
    sagas = _sagas(deps, server, [row.saga_id for row in rows if row.saga_id])
    return [_action(row, sagas.get(row.saga_id)) for row in rows], more


def _logs(deps: Deps, server: Server) -> Iterator[Database]:
    """The databases in which sagas of a server may be: one that found no host moved away from its own."""
    yield server.database
    for database in deps.cells.values():
        if database is not server.database:
            yield database


def _sagas(deps: Deps, server: Server, ids: Sequence[str]) -> Mapping[str, sa.Row[Any]]:
    found: dict[str, sa.Row[Any]] = {}
    for database in _logs(deps, server):
        missing = [saga_id for saga_id in ids if saga_id not in found]
        if not missing:
            break
        with database.read() as tx:
            found.update(store.sagas_of(tx, missing))
    return found


def _saga(deps: Deps, server: Server, saga_id: str | None) -> records.SagaRecord | None:
    for database in _logs(deps, server) if saga_id else ():
        with database.read() as tx:
            found = deps.saga_store.load(tx, saga_id or "")
        if found is not None:
            return found
    return None


def show(deps: Deps, server: Server, request_id: str) -> Action:
    """Return an action with its events. Raises: ActionNotFound."""
    with server.database.read() as tx:
        row = store.get(tx, server.id, request_id)
        if row is None:
            raise ActionNotFound(request_id=request_id)
    saga = _saga(deps, server, row.saga_id)
    events: list[Event] = []
    if saga is not None:
        usual = row.host or server.row.host
        events = [
            _event(row.action, step, server.project_id, _host(saga, step) or usual)
            for step in saga.steps
            if step.name != END
        ]
    return _action(row, saga, events[::-1])


def _host(saga: records.SagaRecord, step: records.StepRecord) -> str | None:
    """Return the host of a step: the one that the latest step up to it, in its round, found."""
    hosts = [
        other.result["host"]
        for other in saga.steps
        if other.round == step.round and other.position <= step.position and other.result.get("host")
    ]
    return str(hosts[-1]) if hosts else None


def _event(action: str, step: records.StepRecord, project_id: str, host: str | None) -> Event:
    """Return a step as an event. One that had passed and was taken back later has passed.

    One that failed ended when it began to be taken back, however long that took.
    """
    failed = step.error_text is not None
    back = step.state in (records.STEP_UNDOING, records.STEP_UNDONE)
    finished = step.finished_at or step.undo_started_at or step.undone_at
    result = None
    if failed or (back and step.finished_at is None):
        result = "Error"
    elif back or step.state in (records.STEP_DONE, records.STEP_SKIPPED):
        result = "Success"
    return Event(
        event=f"{action}_{step.name}".replace("-", "_"),
        start_time=_moment(step.started_at),
        finish_time=_moment(finished),
        result=result,
        host=host,
        host_id=host_id(project_id, host),
        traceback=step.error_detail,
        details=_details(step),
    )


def _details(step: records.StepRecord) -> str | None:
    """Say what the times and the result do not: the error, more tries than one, that it was undone."""
    said = [step.error_text] if step.error_text else []
    if step.tries > 1:
        said.append(f"Tried {step.tries} times.")
    if step.state == records.STEP_UNDONE and not step.error_text:
        said.append("Undone, since a later step failed.")
    return " ".join(said) or None
