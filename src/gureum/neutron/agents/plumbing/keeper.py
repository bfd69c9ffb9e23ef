"""One pass over the namespaces of a host: which to look at, which to remove, what is left of others.

Owns: `Keeper`, what the L3 and the DHCP agent do alike. Must not: talk to the server, or flush anything; an
item that fails is told apart and holds up no other.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Generic

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from gureum.core.runner import CommandError
from gureum.neutron.agents.book import Changes, StateBook
from gureum.neutron.agents.contract import BROKEN, FoundItem
from gureum.neutron.agents.plumbing.driver import Item, NamespaceDriver
from gureum.neutron.agents.plumbing.each import each
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings


class Keeper(Generic[Item]):
    """Keeps the items of one collection of the wanted state.

    Changed and drifted items are made in each pass, all of them every `verify_interval_s`.
    """

    def __init__(
        self,
        collection: str,
        driver: NamespaceDriver[Item],
        plugger: Plugger,
        *,
        workers: int,
        verify_interval_s: float,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collection = collection
        self._driver = driver
        self._plugger = plugger
        self._workers = workers
        self._verify_interval_s = verify_interval_s
        self._stopping = stopping
        self._clock = clock
        self._verify_at = 0.0

    def doubt(self) -> None:
        """Look at every item in the next pass."""
        self._verify_at = 0.0

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        """Compare every item with what is there, and find what is left of others."""
        noun = self._driver.kind.noun
        around = self._plugger.look()
        wanted: Mapping[str, Item] = book.all(self._collection)
        others = self._here(around) - set(wanted)
        items: list[FoundItem] = []
        for item in wanted.values():
            try:
                items += self._driver.look(item, around)
            except (ValueError, CommandError, OSError, NetlinkError) as error:
                items.append(FoundItem(noun, item.id, item.id, BROKEN, str(error)))
        for item_id in sorted(others):
            items += self._driver.remains(item_id, around)
        for device in around.strayed():
            items.append(FoundItem("device", device, device, BROKEN, "it is in no namespace"))
        return items + self._driver.strays(), len(wanted) + len(others)

    def converge(
        self, book: StateBook, changes: Changes, apply: Callable[[Any, Surroundings], str]
    ) -> dict[str, str]:
        """Make changed items as wanted by `apply`; from time to time all, and end leftovers.

        Returns what is wrong with each item that was worked on, "" when nothing is.
        """
        around = self._plugger.look()
        wanted: Mapping[str, Item] = book.all(self._collection)
        changed = changes.of(self._collection)
        verify = self._clock() >= self._verify_at
        ids = set(wanted) if verify else changed | self._drifted(wanted, around)
        gone = changes.removed.get(self._collection, set()) - set(wanted)
        if verify:
            self._driver.end_strays()
            gone |= self._here(around) - set(wanted)
        results = self._each(gone, lambda item_id: self._remove(item_id, around))
        results |= self._each(ids & set(wanted), lambda item_id: apply(wanted[item_id], around))
        if verify:
            self._verify_at = self._clock() + self._verify_interval_s
        return results

    def _here(self, around: Surroundings) -> set[str]:
        return self._driver.known() | around.owner_ids()

    def _drifted(self, wanted: Mapping[str, Item], around: Surroundings) -> set[str]:
        strayed = around.strayed()
        return {
            key
            for key, item in wanted.items()
            if key in strayed or self._driver.drifted(item, around)
        }

    def _each(self, ids: set[str], work: Callable[[str], str]) -> dict[str, str]:
        return each(ids, work, self._workers, self._stopping)

    def _remove(self, item_id: str, around: Surroundings) -> str:
        self._driver.remove(item_id, around)
        return ""
