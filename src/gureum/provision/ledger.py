"""What `gureum up` changed on this machine, written down before each change.

Owns: one JSON file beside the settings. `gureum down --purge` undoes what stands in it and nothing else.
Must not: undo anything itself.
"""

import os
from pathlib import Path

import msgspec


class Entries(msgspec.Struct):
    """Each list in the order in which things were made."""

    packages: list[str] = []
    users: list[str] = []
    folders: list[str] = []
    files: list[str] = []
    daemons: list[str] = []
    bridges: list[str] = []
    namespaces: list[str] = []
    devices: list[str] = []


class Ledger:
    """The entries of one cloud, kept on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.entries = msgspec.json.decode(path.read_bytes(), type=Entries)
        except FileNotFoundError:
            self.entries = Entries()

    def note(self, kind: str, name: str) -> None:
        """Write down that something is about to be made; a second time is fine."""
        known: list[str] = getattr(self.entries, kind)
        if name not in known:
            known.append(name)
            self._save()

    def forget(self, kind: str, name: str) -> None:
        """Write down that something is gone again."""
        known: list[str] = getattr(self.entries, kind)
        if name in known:
            known.remove(name)
            self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self.entries), indent=1))
        os.chmod(temporary, 0o640)
        os.replace(temporary, self.path)
