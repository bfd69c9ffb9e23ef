"""The source of the package as the tests of its rules read it."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gureum

PACKAGE = Path(gureum.__file__).resolve().parent
SERVICES = ("keystone", "glance", "placement", "nova", "neutron")


@dataclass(frozen=True, slots=True)
class Module:
    """One file: its dotted name, its path, its lines, its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def parts(self) -> tuple[str, ...]:
        """The dotted name without the package's own."""
        return tuple(self.name.split(".")[1:])

    def imports(self) -> list[tuple[str, int, bool]]:
        """(dotted name, line, whether it is at the top level) of every import of our package."""
        top = {id(node) for node in self.tree.body}
        found: list[tuple[str, int, bool]] = []
        for node in ast.walk(self.tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(n, node.lineno, id(node) in top) for n in names if n.startswith("gureum.")]
        return found


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE.parent).with_suffix("")
        parts = [part for part in relative.parts if part != "__init__"]
        text = path.read_text(encoding="utf-8")
        found.append(Module(".".join(parts), path, text, ast.parse(text)))
    return tuple(found)
