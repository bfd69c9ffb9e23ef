"""What a networking agent wants to be true, and what of it differs from before.

Owns: StateBook (full and delta answers become changes), Changes, Problem. Must not: ask or tell anybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gureum.neutron.agents.contract import Item, StateAnswer, collections


@dataclass(frozen=True, slots=True)
class Problem:
    """One item that could not be converged; it is tried again, the others are not held up."""

    kind: str
    id: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}: {self.text}"


@dataclass(slots=True)
class Changes:
    """Ids that differ from what was last converged, by collection; gone ones are in `removed`."""

    changed: dict[str, set[str]] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.changed.values()) or any(self.removed.values())

    def add(self, kind: str, item_id: str, *, gone: bool) -> None:
        """Note one id; the last word on it wins."""
        into, out_of = (self.removed, self.changed) if gone else (self.changed, self.removed)
        into.setdefault(kind, set()).add(item_id)
        out_of.get(kind, set()).discard(item_id)

    def of(self, kind: str) -> set[str]:
        """Return every id of a collection that changed or went."""
        return self.changed.get(kind, set()) | self.removed.get(kind, set())

    def update(self, newer: "Changes") -> None:
        """Take in newer changes on top of these."""
        for gone, ids_by_kind in ((False, newer.changed), (True, newer.removed)):
            for kind, ids in ids_by_kind.items():
                for item_id in ids:
                    self.add(kind, item_id, gone=gone)


class StateBook:
    """The wanted items by collection and id, kept from full and delta answers."""

    def __init__(self) -> None:
        self.revision = 0
        self.known = False
        self._items: dict[str, dict[str, Any]] = {}

    def all(self, kind: str) -> Mapping[str, Any]:
        """Return the wanted items of a collection by id."""
        return self._items.get(kind, {})

    def ids(self) -> dict[str, list[str]]:
        """Return every wanted id by collection."""
        return {kind: sorted(items) for kind, items in self._items.items()}

    def get(self, kind: str, item_id: str) -> Any | None:
        """Return one wanted item, or None."""
        return self._items.get(kind, {}).get(item_id)

    def take(self, answer: StateAnswer) -> Changes:
        """Take in an answer and return what differs from before.

        A delta with an older revision is a late answer and changes nothing.
        """
        changes = Changes()
        if not answer.full and answer.revision < self.revision:
            return changes
        for kind, items in collections(answer).items():
            self._take_kind(kind, items, answer, changes)
        self.revision = answer.revision
        self.known = True
        return changes

    def _take_kind(
        self, kind: str, items: Iterable[Item], answer: StateAnswer, changes: Changes
    ) -> None:
        known = self._items.setdefault(kind, {})
        listed: set[str] = set()
        for item in items:
            listed.add(item.id)
            if known.get(item.id) != item:
                known[item.id] = item
                changes.add(kind, item.id, gone=False)
        gone = set(known) - listed if answer.full else set(answer.removed.get(kind, ()))
        for item_id in gone & set(known):
            del known[item_id]
            changes.add(kind, item_id, gone=True)
