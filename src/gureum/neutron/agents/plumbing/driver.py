"""What the namespaces of routers and networks have in common: name, folder, daemons, leftovers.

Owns: `NamespaceDriver`, the base of the two drivers: make room, remove everything, say what remains. Must
not: know what stands in a namespace.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from gureum.core import log as logs
from gureum.core.runner import Runner
from gureum.neutron.agents.contract import EXTRA, MISSING, FoundItem
from gureum.neutron.agents.plumbing import netns
from gureum.neutron.agents.plumbing.daemons import Daemon, Daemons, end_strays, fault_of, strays
from gureum.neutron.agents.plumbing.files import remove_tree
from gureum.neutron.agents.plumbing.links import Links
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings

log = logs.get(__name__)


class Named(Protocol):
    """Something wanted that has an id: a router, a network."""

    @property
    def id(self) -> str:
        """Its id."""


Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a driver keeps. noun: as in logs. files: the word for its folder in an audit.

    programs: its daemons, in the order in which they end. gone: why something of it should not be here.
    """

    noun: str
    files: str
    programs: tuple[str, ...]
    gone: str


class NamespaceDriver(ABC, Generic[Item]):
    """Makes and removes the namespaces of one kind on this host."""

    kind: ClassVar[Kind]
    sysctls: ClassVar[Mapping[str, str]]

    def __init__(
        self, namespace_prefix: str, state_path: str, runner: Runner, plugger: Plugger
    ) -> None:
        self._prefix = namespace_prefix
        self._state = Path(state_path)
        self._plugger = plugger
        self._namespaces = netns.Namespaces(runner)
        self._daemons = Daemons(runner)

    @abstractmethod
    def apply(self, item: Item, around: Surroundings) -> tuple[str, ...]:
        """Make one item as wanted; return what was refused although the rest stands.

        Raises: ValueError, CommandError, OSError, NetlinkError.
        """

    @abstractmethod
    def drifted(self, item: Item, around: Surroundings) -> bool:
        """Return whether a cheap look shows that something is not as it was left."""

    @abstractmethod
    def look(self, item: Item, around: Surroundings) -> list[FoundItem]:
        """Say what of one item is not as wanted.

        Raises: ValueError, CommandError, OSError, NetlinkError.
        """

    def namespace(self, item_id: str) -> str:
        """Return the name of an item's namespace."""
        return f"{self._prefix}{item_id}"

    def known(self) -> set[str]:
        """Return the items that this agent made on this host, also in an earlier life."""
        if not self._state.is_dir():
            return set()
        return {entry.name for entry in self._state.iterdir() if entry.is_dir()}

    def remove(self, item_id: str, around: Surroundings) -> None:
        """Remove everything of an item; nothing happens when it is gone."""
        name, folder = self.namespace(item_id), self._state / item_id
        for program in self.kind.programs:
            self._daemons.stop(program, folder / f"{program}.pid")
        self._plugger.unplug(around.of(self._plugger.owner(item_id)))
        if netns.exists(name):
            self._namespaces.remove(name)
            self._told("removed", item_id, name)
        remove_tree(folder)

    def remains(self, item_id: str, around: Surroundings) -> list[FoundItem]:
        """Say what is left of an item that is not for this host."""
        name, folder = self.namespace(item_id), self._state / item_id
        items = [
            FoundItem("device", device, item_id, EXTRA, self.kind.gone)
            for device in around.of(self._plugger.owner(item_id))
        ]
        if netns.exists(name):
            items.append(FoundItem("namespace", name, item_id, EXTRA, self.kind.gone))
        if folder.exists():
            items.append(FoundItem(self.kind.files, str(folder), item_id, EXTRA, self.kind.gone))
        return items

    def strays(self) -> list[FoundItem]:
        """Return daemons of our folders that no pid file names."""
        return [
            FoundItem(
                one.program, f"process {one.pid}", one.owner_id, EXTRA, "no pid file names it"
            )
            for one in strays(self._state, self.kind.programs)
        ]

    def end_strays(self) -> int:
        """End them."""
        return end_strays(self._state, self.kind.programs)

    # --- for the drivers -----------------------------------------------------------------------

    def _room(self, item_id: str) -> tuple[str, Path]:
        """Make an item's folder and namespace unless they are there; return both."""
        name, folder = self.namespace(item_id), self._state / item_id
        folder.mkdir(parents=True, exist_ok=True)  # before anything else: it marks what is ours
        for path in (self._state, folder):
            path.chmod(0o755)  # its daemons read as users of their own
        if self._namespaces.ensure(name):
            self._told("made", item_id, name)
        return name, folder

    def _tuned(self, name: str) -> set[str]:
        """Set the switches of a namespace; return the devices in it."""
        with Links(name) as links:
            for key, value in self.sysctls.items():
                netns.write_sysctl(key, value)
            return set(links.found())

    def _unwanted(self, item_id: str, around: Surroundings, wanted: set[str]) -> list[FoundItem]:
        text = f"no port of the {self.kind.noun} is for it"
        return [
            FoundItem("device", device, item_id, EXTRA, text)
            for device in around.of(self._plugger.owner(item_id))
            if device not in wanted
        ]

    @staticmethod
    def _faults(daemons: list[Daemon], item_id: str) -> list[FoundItem]:
        found = ((daemon, fault_of(daemon)) for daemon in daemons)
        return [
            FoundItem(daemon.name, daemon.namespace, item_id, MISSING, fault)
            for daemon, fault in found
            if fault
        ]

    def _told(self, what: str, item_id: str, name: str) -> None:
        noun = self.kind.noun
        log.info(f"{noun} {what}", **{f"{noun}_id": item_id}, namespace=name)
