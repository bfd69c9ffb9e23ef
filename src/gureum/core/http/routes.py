"""Finding the operation of a path: a tree of path segments, built once per service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from gureum.core.spec.errors import MethodNotAllowed, NotFound
from gureum.core.spec.operations import Operation

_PARAM = re.compile(r"^\{(\w+)\}$")


@dataclass(slots=True)
class _Node:
    static: dict[str, _Node] = field(default_factory=dict)
    param: _Node | None = None
    methods: dict[str, list[Operation]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """The candidates of a path and method; the version and the body's action choose one."""

    operations: list[Operation]
    values: tuple[str, ...]


class Routes:
    """All routes of a service."""

    def __init__(self, operations: Iterable[tuple[str, Operation]]) -> None:
        self._root = _Node()
        for prefix, operation in operations:
            self._add(prefix + operation.path, operation)

    def _add(self, path: str, operation: Operation) -> None:
        node = self._root
        for part in path.strip("/").split("/") if path.strip("/") else []:
            if _PARAM.match(part):
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.static.setdefault(part, _Node())
        twins = node.methods.setdefault(operation.method, [])
        for twin in twins:
            overlap = (
                twin.action == operation.action
                and (twin.until is None or operation.since is None or operation.since <= twin.until)
                and (operation.until is None or twin.since is None or twin.since <= operation.until)
            )
            if overlap:
                raise ValueError(f"{operation.method} {path} is declared twice")
        twins.append(operation)

    def find(self, method: str, path: str) -> Match:
        """Return the candidates. Raises: NotFound, MethodNotAllowed."""
        stripped = path.strip("/")
        parts = stripped.split("/") if stripped else []
        found = self._walk(self._root, parts, 0, ())
        if found is None:
            raise NotFound()
        node, values = found
        if stripped and path.endswith("/") and node.param is not None:
            raise NotFound()  # an item of a collection, with an empty id
        operations = node.methods.get(method)
        if operations is None and method == "HEAD":
            operations = node.methods.get("GET")
        if operations is None:
            error = MethodNotAllowed(method=method)
            error.headers.append(("Allow", ", ".join(sorted(node.methods))))
            raise error
        return Match(operations, values)

    def _walk(
        self, node: _Node, parts: list[str], index: int, values: tuple[str, ...]
    ) -> tuple[_Node, tuple[str, ...]] | None:
        if index == len(parts):
            return (node, values) if node.methods else None
        part = parts[index]
        child = node.static.get(part)
        if child is not None:
            found = self._walk(child, parts, index + 1, values)
            if found is not None:
                return found
        if node.param is not None and part:
            return self._walk(node.param, parts, index + 1, (*values, part))
        return None
