"""What is wrong with a document that a person wrote, said so that it can be mended.

Owns: `Problem` and `ProblemsError`, which holds all that were found. Must not: know any document.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. where: file and line, or section."""

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.text}"


class ProblemsError(Exception):
    """A document cannot be used; holds every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))
