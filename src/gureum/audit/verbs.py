"""The saga logs of every service: verbs that are stuck, or that nobody runs any more.

Owns: that comparison. Must not: skip an undo; only a person who cleaned up by hand may (`gureum saga skip`).
"""

from collections.abc import Iterator
from functools import partial

from gureum.audit.finding import Finding
from gureum.audit.world import SagaLog, World
from gureum.core.saga import records

ABANDONED_S = 600.0
"""A saga whose time came so long ago, and that no runner holds, is not just waiting for its turn."""


def compare(world: World) -> Iterator[Finding]:
    """Find verbs that do not come to an end by themselves."""
    now = world.clock().timestamp()
    for log in world.logs:
        with log.database.read() as tx:
            under_way = log.store.in_state(tx, records.RUNNABLE, limit=100_000)
        for record in under_way:
            what = f"{record.name} of {record.resource_id}"
            held = record.runner is not None and record.lease_until >= now
            if record.state == records.STUCK:
                why = f"{what} is stuck: {record.error_text or 'see gureum saga show'}"
                repair = "try its undo again now"
            elif not held and now - max(record.wake_at, record.lease_until) > ABANDONED_S:
                why, repair = f"nobody runs {what}", "wake its runners"
            else:
                continue
            yield Finding("saga", record.id, log.name, why, repair, partial(_retry, log, record.id))


def _retry(log: SagaLog, saga_id: str) -> None:
    with log.database.write() as tx:
        log.store.retry(tx, saga_id)
