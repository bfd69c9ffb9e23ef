"""Drivers by name: what an operator writes in a configuration file becomes a class.

Owns: `Drivers`, a table of names and the classic class paths as aliases; a driver's module is imported
when it is asked for. Must not: make or configure a driver.

    VOLUME = Drivers("volume driver", VolumeDriver, {
        "lvm": "gureum.cinder.drivers.lvm:LvmDriver",
    }, aliases={"cinder.volume.drivers.lvm.LVMVolumeDriver": "lvm"})
"""

import difflib
import importlib
from collections.abc import Mapping
from typing import Generic, TypeVar

B = TypeVar("B")


class UnknownDriver(ValueError):
    """The configuration names a driver that does not exist."""


class Drivers(Generic[B]):
    """The drivers of one kind. `known` maps names to "module:Class"."""

    def __init__(
        self,
        kind: str,
        base: type[B],
        known: Mapping[str, str],
        *,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._kind = kind
        self._base = base
        self._known = dict(known)
        self._aliases = dict(aliases or {})
        wrong = [name for name in self._aliases.values() if name not in self._known]
        if wrong:
            raise ValueError(f"{kind}: alias of unknown {wrong[0]!r}")

    def names(self) -> list[str]:
        """Return the names, sorted, without aliases."""
        return sorted(self._known)

    def name_of(self, asked: str) -> str:
        """Return the name that a name or alias stands for. Raises: UnknownDriver."""
        name = self._aliases.get(asked, asked)
        if name in self._known:
            return name
        near = difflib.get_close_matches(asked, [*self._known, *self._aliases], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UnknownDriver(
            f"unknown {self._kind} {asked!r} (known: {', '.join(self.names())}){hint}"
        )

    def load(self, asked: str) -> type[B]:
        """Import and return the class. Raises: UnknownDriver, ImportError (a library is missing)."""
        module_name, _, class_name = self._known[self.name_of(asked)].partition(":")
        found = getattr(importlib.import_module(module_name), class_name)
        if not (isinstance(found, type) and issubclass(found, self._base)):
            raise TypeError(f"{module_name}:{class_name} is no {self._base.__name__}")
        return found
