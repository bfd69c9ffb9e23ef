"""Tells events about API operations, in one place for all of them.

Owns: `Notices`, what a service declares, and `announced`, which gives every operation that has a notice a
handler that tells after its commit. A service that announces nothing, or a cloud without sinks, runs its
handlers as they are. Must not: fail an operation, or render an answer before it is committed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gureum.core.context import Context
from gureum.core.events import Events, Fact, Source
from gureum.core.spec.operations import Operation, Page, Reply
from gureum.core.spec.versions import BASE, Version


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that was carried out.

    target: what its `load` returned, or the values of its path. answer: what it answers at the newest
    version, everything shown; None when it answers nothing.
    """

    operation: Operation
    ctx: Context
    deps: Any
    target: tuple[Any, ...]
    answer: Any


Notice = Callable[[Done], Iterable[Fact]]


@dataclass(frozen=True, slots=True)
class Notices:
    """What a service announces. of: the notice of an operation, None when it has none."""

    source: Source
    of: Callable[[Operation], Notice | None]


def announced(
    operations: Iterable[Operation], notices: Notices, events: Events, version: Version = BASE
) -> list[Operation]:
    """Return the operations, those with a notice with a handler that tells."""
    told = []
    for op in operations:
        notice = notices.of(op)
        told.append(
            op if notice is None else _announcing(op, notice, notices.source, events, version)
        )
    return told


def _announcing(
    op: Operation, notice: Notice, source: Source, events: Events, version: Version
) -> Operation:
    width = 1 if op.load is not None else len(op.params)

    def handler(ctx: Context, where: Any, *given: Any) -> Any:
        result = op.handler(ctx, where, *given)
        deps = where if op.manual else where.deps
        target = given[:width]

        def facts() -> Iterable[Fact]:
            return notice(Done(op, ctx, deps, target, _answer(op, result, version)))

        def tell() -> None:
            events.tell(source, facts)

        if op.manual:
            tell()  # it has made its own transactions
        else:
            where.after_commit(tell)
        return result

    return replace(op, handler=handler)


def _answer(op: Operation, result: Any, version: Version) -> Any:
    body = result.body if isinstance(result, Reply) else result
    shape = op.items or op.response
    if shape is None or body is None:
        return body
    if op.items is not None:
        rows = body.items if isinstance(body, Page) else body
        return [shape.render(row, version, _shown) for row in rows]
    return shape.render(body, version, _shown)


def _shown(rule: str) -> bool:
    return True


def id_of(done: Done) -> str:
    """Return the id of what an operation was about: its answer's, else its target's."""
    answer = done.answer
    if isinstance(answer, Mapping) and isinstance(answer.get("id"), str | int):
        return str(answer["id"])
    first = done.target[0] if done.target else ""
    return str(first if isinstance(first, str) else getattr(first, "id", ""))
