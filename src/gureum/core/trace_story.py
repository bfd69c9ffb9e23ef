"""The story of a request, put together from the lines that processes logged.

Owns: reading a log line, which lines belong to a request, and the tree of what was done within what.
Must not: find files or databases (the command line does), or know a service.
Follows: gureum.core.trace, which writes the lines.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+)Z? ([A-Z]+) ([\w.]+) (.*)$")
_FIELD = re.compile(r'(?:^|\s)([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*"|\S*)')
_ESCAPE = re.compile(r"\\(.)")

CONTEXT = frozenset(
    ("request_id", "global_request_id", "project_id", "user_id", "saga_id", "span", "parent", "also")
)
"""Fields that say where a line belongs, not what happened."""

LOOSE_S = 0.02
"""How far the times of two lines may be apart when one is looked for inside the other: a line is written a
moment after its work ended, on a busy machine a longer one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log. `at` is seconds since 1970; `source` names the process."""

    at: float
    level: str
    logger: str
    event: str
    fields: Mapping[str, str]
    source: str = ""

    @property
    def is_span(self) -> bool:
        """Whether the line tells that a span ended."""
        return "what" in self.fields and "ms" in self.fields and "span" in self.fields

    def names(self, request_id: str) -> bool:
        """Whether the line belongs to a request, by its own id or a client's."""
        ids = self.fields
        return (
            request_id in (ids.get("request_id"), ids.get("global_request_id"))
            or request_id in ids.get("also", "").split(",")
        )


def parse(text: str, source: str = "") -> Line | None:
    """Read a line; None when it is no line of a log, such as one of a traceback."""
    found = _LINE.match(text.rstrip("\n"))
    if found is None:
        return None
    when, level, logger, rest = found.groups()
    try:
        at = datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    fields = {match[1]: _value(match[2]) for match in _FIELD.finditer(rest)}
    first = _FIELD.search(rest)
    event = rest[: first.start()] if first else rest
    return Line(at, level, logger, event.strip(), fields, source)


def _value(text: str) -> str:
    if not text.startswith('"'):
        return text
    return _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], text[1:-1])


@dataclass(slots=True)
class Node:
    """Something that was done, with what was done inside it. Times are seconds since 1970.

    `ended_at` is None while it goes on. A note (a plain line) has kind "note" and no length.
    """

    kind: str
    what: str
    started_at: float
    ended_at: float | None
    outcome: str
    failed: bool = False
    component: str = ""
    source: str = ""
    span: str = ""
    parent: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Node"]]:
        """Yield this node and all inside, in order, with their depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def plain(self, begun: float) -> dict[str, Any]:
        """Return it as JSON, with times in milliseconds since `begun`."""
        seconds = self.seconds
        return {
            "kind": self.kind,
            "what": self.what,
            "component": self.component,
            "process": self.source,
            "outcome": self.outcome,
            "failed": self.failed,
            "offset_ms": round((self.started_at - begun) * 1000, 3),
            "duration_ms": None if seconds is None else round(seconds * 1000, 3),
            "fields": self.fields,
            "children": [child.plain(begun) for child in self.children],
        }


ComponentOf = Callable[[Line], str]


def node_of(line: Line, component_of: ComponentOf) -> Node:
    """Return what a line tells."""
    told = {key: value for key, value in line.fields.items() if key not in CONTEXT}
    component = component_of(line)
    if not line.is_span:
        return Node(
            "note", line.event, line.at, line.at, line.level.lower(), fields=told,
            failed=line.level in ("WARNING", "ERROR", "CRITICAL"), component=component,
            source=line.source, parent=line.fields.get("span", ""),
        )  # fmt: skip
    kind, _, outcome = line.event.partition(" ")
    seconds = float(told.pop("ms")) / 1000
    what = told.pop("what")
    node = Node(
        kind, what, line.at - seconds, line.at, outcome, fields=told, component=component,
        source=line.source, span=line.fields["span"], parent=line.fields.get("parent", ""),
    )  # fmt: skip
    node.failed = outcome == "failed" or told.get("status", "").startswith("5")
    if line.fields.get("saga_id") and kind in ("saga", "step"):
        node.fields["saga_id"] = line.fields["saga_id"]
    if line.fields.get("request_id"):
        node.fields["request_id"] = line.fields["request_id"]
    return node


def tree(nodes: Iterable[Node]) -> list[Node]:
    """Put nodes inside each other and return the outermost, in order.

    A node whose parent nobody logged (its process was killed, or the work still goes on) goes into the
    shortest one around it.
    """
    everything = list(nodes)
    spans = {node.span: node for node in everything if node.span}
    roots: list[Node] = []
    for node in everything:
        parent = spans.get(node.parent) if node.parent else None
        if parent is None and node.parent:
            parent = _around(node, everything)
        if parent is node or parent is None:
            roots.append(node)
        else:
            parent.children.append(node)
    for node in everything:
        node.children.sort(key=lambda child: (child.started_at, child.ended_at or float("inf")))
    return sorted(roots, key=lambda node: node.started_at)


def _around(node: Node, nodes: Iterable[Node]) -> Node | None:
    fits = [
        other
        for other in nodes
        if other.span
        and other.span != node.span
        and other.started_at - LOOSE_S <= node.started_at
        and (other.ended_at is None or (node.ended_at or node.started_at) <= other.ended_at + LOOSE_S)
        and not (other.started_at == node.started_at and other.ended_at == node.ended_at)
        and other.parent != node.span
    ]
    return min(fits, key=lambda other: other.seconds or float("inf"), default=None)


def only(roots: Iterable[Node], request_id: str) -> list[Node]:
    """Keep the trees in which a request had a part."""
    return [
        root
        for root in roots
        if any(node.fields.get("request_id") == request_id for _, node in root.walk())
    ]


def requests_of(lines: Iterable[Line]) -> set[str]:
    """Return every id, own or a client's, that lines name."""
    found = set()
    for line in lines:
        found |= {line.fields.get("request_id", ""), line.fields.get("global_request_id", "")}
    return found - {""}
