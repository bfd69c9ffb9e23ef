"""Where the story of a request is kept: log files of every process, and the saga logs.

Owns: finding the lines and sagas of a request, and naming the component that a line is of.
Must not: print.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from gureum import components
from gureum.core import log
from gureum.core.db.engine import Database
from gureum.core.db.errors import DatabaseError
from gureum.core.run import Runtime
from gureum.core.saga import records
from gureum.core.saga.model import END
from gureum.core.saga.records import SagaRecord, StepRecord
from gureum.core.saga.run import span_id
from gureum.core.saga.store import SagaStore
from gureum.core.trace_story import Line, Node, node_of, only, parse, requests_of, tree

MOST_SAGAS = 200


@dataclass(slots=True)
class Sources:
    """Log files, and a process that can read the saga logs (None: no database is at hand)."""

    files: Sequence[Path]
    runtime: Runtime | None = None
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Story:
    """What was done for one request. `sagas` are those that it submitted."""

    request_id: str
    roots: list[Node]
    sagas: list[SagaRecord]

    @property
    def begun(self) -> float:
        """Seconds since 1970."""
        return min((root.started_at for root in self.roots), default=0.0)

    @property
    def ended(self) -> float | None:
        """Seconds since 1970; None while something goes on."""
        ends = [node.ended_at for root in self.roots for _, node in root.walk()]
        return None if None in ends else max((end for end in ends if end), default=0.0)


def log_files(places: Iterable[Path]) -> list[Path]:
    """Return the log files in folders, rotated ones too, or the files themselves."""
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found += [*place.glob("*.log"), *place.glob("*.log.[0-9]*")]
        else:
            found.append(place)
    return sorted(dict.fromkeys(found))


def lines_with(files: Sequence[Path], words: Iterable[str]) -> Iterator[Line]:
    """Yield the lines that contain any of some words."""
    needles = [word.encode() for word in words]
    for path in files:
        source = path.name.split(".log", 1)[0]
        with path.open("rb") as file:
            for raw in file:
                if any(needle in raw for needle in needles):
                    line = parse(raw.decode(errors="replace"), source)
                    if line is not None:
                        yield line


def story(sources: Sources, request_id: str) -> Story | None:
    """Put the story of a request together; None when nothing is known of it."""
    lines = [one for one in lines_with(sources.files, [request_id]) if one.names(request_id)]
    own = [line for line in lines if line.fields.get("request_id") == request_id]
    wider = {line.fields.get("global_request_id", "") for line in own} - {"", request_id}
    if wider:  # what it asked of others carries the client's id
        lines += [
            line
            for line in lines_with(sources.files, wider)
            if any(line.names(one) for one in wider) and not line.names(request_id)
        ]
    sagas = sagas_of_requests(sources, requests_of(lines) | {request_id})
    if not lines and not sagas:
        return None
    nodes = [node_of(line, component_of) for line in lines]
    for record in sagas:
        nodes += _from_saga_log(record, nodes)
    roots = tree(nodes)
    if wider:
        roots = only(roots, request_id) or roots
    _inherit(roots)
    return Story(request_id, roots, sagas)


def requests_of_server(sources: Sources, resource_id: str, most: int) -> list[str]:
    """Return the ids of the newest requests that changed a resource, oldest first."""
    found: dict[str, float] = {}
    for line in lines_with(sources.files, [resource_id]):
        changed = line.fields.get("method", "GET") not in ("GET", "HEAD")
        if line.is_span and changed and resource_id in line.fields.get("path", ""):
            request_id = line.fields.get("global_request_id") or line.fields["request_id"]
            found.setdefault(request_id, line.at)
    for record in _sagas(sources, lambda store: store.sagas.c.resource_id == resource_id):
        asked = record.requester
        if asked.global_request_id is None or asked.global_request_id not in found:
            found[asked.request_id] = record.created_at
    # events that other services told of it belong to the request that led to them
    inside = {one for one in found if _has_saga(sources, one)} or set(found)
    newest = sorted(inside, key=lambda one: -found[one])[:most]
    return sorted(newest, key=lambda one: found[one])


def _has_saga(sources: Sources, request_id: str) -> bool:
    return bool(sagas_of_requests(sources, {request_id}))


def sagas_of_requests(sources: Sources, request_ids: Iterable[str]) -> list[SagaRecord]:
    """Return the sagas that some requests submitted, oldest first."""
    wanted = set(request_ids)

    def asked(store: SagaStore) -> sa.ColumnElement[bool]:
        return sa.or_(*(store.sagas.c.requester.contains(one, autoescape=True) for one in wanted))

    found = _sagas(sources, asked) if wanted else []
    return sorted(
        (
            record
            for record in found
            if {record.requester.request_id, record.requester.global_request_id} & wanted
        ),
        key=lambda record: record.created_at,
    )


def saga_logs(runtime: Runtime) -> Iterator[tuple[str, Database, SagaStore]]:
    """Every database that holds a saga log."""
    for service in components.services():
        for spec in service.databases:
            if "sagas" in spec.tables.tables:
                yield spec.name, runtime.database(spec.name), SagaStore(spec.tables)


def _sagas(
    sources: Sources, where: Callable[[SagaStore], sa.ColumnElement[bool]]
) -> list[SagaRecord]:
    found: list[SagaRecord] = []
    if sources.runtime is None:
        return found
    for name, database, store in saga_logs(sources.runtime):
        try:
            with database.read() as tx:
                ids = sa.select(store.sagas.c.id).where(where(store))
                newest = ids.order_by(store.sagas.c.created_at.desc()).limit(MOST_SAGAS)
                rows = [row.id for row in tx.all(newest)]
                found += [one for one in (store.load(tx, id) for id in rows) if one is not None]
        except DatabaseError as error:
            sources.troubles.append(f"the saga log of {name} cannot be read: {error}")
    return found


# -- what only the saga log knows ------------------------------------------------------------------


def _from_saga_log(record: SagaRecord, nodes: Sequence[Node]) -> list[Node]:
    """Return what the log files do not tell of a saga, and add its errors to what they tell."""
    span = span_id(record.id)
    parent = record.requester.traceparent
    made: list[Node] = []
    known = [node for node in nodes if node.fields.get("saga_id") == record.id]
    if not any(node.span == span for node in nodes):
        made.append(
            Node(
                "saga", record.name, record.created_at, record.finished_at, record.state,
                failed=record.state in (records.FAILED, records.STUCK),
                component=_conductor(record.name), span=span,
                parent=parent[log.SPAN_ID] if parent else "",
                fields={"resource_id": record.resource_id, "saga_id": record.id,
                        "request_id": record.requester.request_id},
            )
        )  # fmt: skip
    for row in record.steps:
        told = [
            node
            for node in known
            if node.kind == "step"
            and node.what == f"{record.name} {row.name}"
            and int(node.fields.get("round", 0)) == row.round
        ]
        goes_on = row.state in (records.STEP_STARTED, records.STEP_UNDOING)
        if not told or goes_on:
            told.append(_from_step(record, row, span))
            made.append(told[-1])
        if row.result.get("host"):
            told[-1].fields.setdefault("host", str(row.result["host"]))
        failed = [node for node in told if node.failed]
        if failed and row.error_code:
            failed[-1].fields.update(error=row.error_text or "", detail=row.error_detail or "")
    return made


def _from_step(record: SagaRecord, row: StepRecord, span: str) -> Node:
    begun = row.undo_started_at or row.started_at or record.created_at
    ended = row.undone_at or row.finished_at
    if row.state == records.STEP_SKIPPED:
        ended = begun
    elif row.state in (records.STEP_STARTED, records.STEP_UNDOING):
        ended = None
    if row.undone_at and row.undo_started_at is None:  # it had nothing to undo
        begun = row.started_at or begun
    elif row.undo_started_at and row.started_at:
        begun = row.started_at
    fields = {"saga_id": record.id}
    if row.tries > 1:
        fields["tries"] = str(row.tries)
    if row.round:
        fields["round"] = str(row.round)
    return Node(
        "step", f"{record.name} {row.name}", begun, ended, row.state,
        failed=row.error_code is not None and row.state != records.STEP_DONE,
        component=_conductor(record.name), span=f"{span}/{row.round}/{row.name}", parent=span,
        fields=fields,
    )  # fmt: skip


# -- names -----------------------------------------------------------------------------------------


def _inherit(roots: Iterable[Node]) -> None:
    """Lines of the core are of the component in whose work they were written."""
    for root in roots:
        for _, node in root.walk():
            for child in node.children:
                child.component = child.component or node.component


def component_of(line: Line) -> str:
    """Return the component that wrote a line; nothing for lines of the core."""
    named = line.fields.get("agent") or line.fields.get("component")
    if named in components.COMPONENTS:
        return named
    if line.event.startswith("pass ") and line.fields.get("what") in components.COMPONENTS:
        return line.fields["what"]
    return components.of_module(line.logger)


def _conductor(saga: str) -> str:
    name = f"{saga.split('.', 1)[0]}-conductor"
    return name if name in components.COMPONENTS else ""


def step_name(node: Node) -> str:
    """Return the name of a step without its saga's; the closing hook is called `end`."""
    name = node.what.rsplit(" ", 1)[-1]
    return "end" if name == END else name
