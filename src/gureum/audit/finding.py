"""What an audit finds, and why it could not look.

Owns: `Finding`, `CannotLook`. Must not: find anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


class CannotLook(Exception):
    """A host, an agent or a database that the audit has to see does not answer."""


Mend = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands on one side only, or differs.

    kind: what it is; id: which; where: host, database or store; why it is a finding; repair: what
    `--repair` does about it. mend does that, None when only a person can decide.
    """

    kind: str
    id: str
    where: str
    why: str
    repair: str
    mend: Mend | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same finding at a second look."""
        return (self.kind, self.id, self.where)

    def as_json(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "kind": self.kind,
            "id": self.id,
            "where": self.where,
            "why": self.why,
            "repair": self.repair,
            "repairable": self.mend is not None,
        }
