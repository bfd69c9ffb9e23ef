"""A YAML document that knows the line of each of its values.

Owns: parsing, and problems that name file, line, key and value. Must not: know what a preset holds.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from gureum.core.problems import Problem, ProblemsError

Path = tuple[str | int, ...]


class PresetError(ProblemsError):
    """A preset cannot be used; holds every problem found."""


@dataclass(slots=True)
class Document:
    """Plain values, and the line on which each begins."""

    name: str
    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """File and line of a value, or of what it stands in."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines[path]}" if path in self.lines else self.name

    def problem(self, path: Path, text: str) -> Problem:
        """A problem at a value."""
        return Problem(self.where(path), dotted(path), text)


def dotted(path: Path) -> str:
    """The key as a reader looks for it: `users[0].roles`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "document"


def parse(text: str, name: str) -> Document:
    """Read YAML. Raises: PresetError for bad syntax and for a key that stands twice."""
    loader = yaml.SafeLoader(text)
    document = Document(name, None)
    problems: list[Problem] = []
    try:
        node = loader.get_single_node()
        if node is not None:
            document.value = _value(loader, node, (), document, problems)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise PresetError(
            [Problem(where, "document", f"is not YAML: {getattr(error, 'problem', error)}")]
        ) from error
    finally:
        loader.dispose()
    if problems:
        raise PresetError(problems)
    return document


def _value(
    loader: yaml.SafeLoader,
    node: yaml.Node,
    path: Path,
    document: Document,
    problems: list[Problem],
) -> Any:
    document.lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(loader, item, (*path, at), document, problems)
            for at, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node))
            below = (*path, key)
            if key in found:
                document.lines[below] = key_node.start_mark.line + 1
                problems.append(document.problem(below, "stands here a second time; remove one"))
            found[key] = _value(loader, value_node, below, document, problems)
            document.lines[below] = key_node.start_mark.line + 1
        return found
    return loader.construct_object(node)
