"""`gureum saga list|show|retry|skip|cancel`: the logged verbs of every service.

Owns: finding a saga in whichever database holds it. Must not: run one; the components do.
"""

import argparse
import time

from gureum.cli import place
from gureum.cli.place import Unusable
from gureum.cli.stories import saga_logs
from gureum.cli.table import ago, table
from gureum.core import log
from gureum.core.db.engine import Database
from gureum.core.run import Runtime
from gureum.core.saga import records
from gureum.core.saga.records import SagaRecord, StepRecord, moment
from gureum.core.saga.store import SagaStore

VERBS = ("list", "show", "retry", "skip", "cancel")
SHOWN = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb, and the saga it is about."""
    place.add_arguments(parser)
    parser.add_argument(
        "verb",
        choices=VERBS,
        help="list those under way; show one; retry it now; skip the undo it is stuck at, after"
        " you cleaned up by hand; cancel it at its next step",
    )
    parser.add_argument("id", nargs="?", help="of the saga, or of the resource it works on")
    parser.add_argument("--stuck", action="store_true", help="list: only those that need you")


def run(args: argparse.Namespace) -> int:
    """Do it. To be run as the user of the control process."""
    log.setup("WARNING")
    runtime = Runtime(place.read_config(place.existing(args)), name="saga")
    try:
        if args.verb == "list":
            _list(runtime, stuck=args.stuck)
            return 0
        if not args.id:
            raise Unusable(f"`saga {args.verb}` needs the id of a saga: see `gureum saga list`")
        name, database, store, record = _find(runtime, args.id)
        if args.verb == "show":
            _show(name, record)
            return 0
        return _change(args.verb, database, store, record)
    finally:
        runtime.close()


def _list(runtime: Runtime, *, stuck: bool) -> None:
    states = (records.STUCK,) if stuck else records.ACTIVE
    now, rows = time.time(), []
    for name, database, store in saga_logs(runtime):
        with database.read() as tx:
            for record in store.in_state(tx, states, limit=SHOWN):
                step = record.steps[-1].name if record.steps else "-"
                rows.append(
                    [record.id, record.name, record.state, step, record.resource_id,
                     ago(now - record.created_at), record.error_code or "-", name]
                )  # fmt: skip
    if rows:
        head = ["id", "saga", "state", "step", "resource", "age", "error", "database"]
        print(table(head, rows))
    else:
        print("no saga is stuck" if stuck else "no saga is under way")


def _find(runtime: Runtime, wanted: str) -> tuple[str, Database, SagaStore, SagaRecord]:
    """Return a saga by its id, or the newest one of a resource. Raises: Unusable."""
    for name, database, store in saga_logs(runtime):
        with database.read() as tx:
            record = store.load(tx, wanted)
            if record is None:
                record = next(iter(store.of_resource(tx, wanted, limit=1)), None)
        if record is not None:
            return name, database, store, record
    raise Unusable(f"no saga and no resource with sagas has the id {wanted}")


def _show(name: str, record: SagaRecord) -> None:
    for key, value in (
        ("saga", f"{record.name} {record.id} in {name}"),
        ("resource", record.resource_id),
        ("state", record.state),
        ("request", record.requester.request_id),
        ("runner", record.runner or "-"),
        ("begun", moment(record.created_at)),
        ("ended", moment(record.finished_at) or "-"),
        ("error", f"{record.error_code}: {record.error_detail}" if record.error_code else "-"),
    ):
        print(f"{key:9} {value}")
    rows = [
        [row.round, row.name, row.state, *_times(record, row), row.tries, row.undo_tries,
         row.progress or "-", row.error_detail or "-"]
        for row in record.steps
    ]  # fmt: skip
    head = ["round", "step", "state", "after", "took", "tries", "undos", "progress", "error"]
    print(table(head, rows))


def _times(record: SagaRecord, row: StepRecord) -> tuple[str, str]:
    """When a step began after the saga did, and how long it took; an undone one until it failed."""
    if row.started_at is None:
        return "-", "-"
    ended = row.finished_at or row.undo_started_at or row.undone_at
    took = "..." if ended is None else f"{ended - row.started_at:.3f} s"
    return f"{row.started_at - record.created_at:.3f} s", took


def _change(verb: str, database: Database, store: SagaStore, record: SagaRecord) -> int:
    with database.write() as tx:
        if verb == "skip":
            step = store.skip(tx, record.id)
            done, text = step is not None, f"the undo of {step} is skipped"
        elif verb == "retry":
            done, text = store.retry(tx, record.id), "it is tried now"
        else:
            done, text = store.cancel(tx, record.id), "it is cancelled at its next step"
    if not done:
        raise Unusable(f"saga {record.id} is {record.state}: there is nothing to {verb}")
    print(text)
    return 0
