"""The file stores of Glance, as folders.

Owns: which folders there are, and what lies in them. Must not: know an image. Stores elsewhere (S3, Swift,
web servers) are not looked into: their own services answer for them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gureum.core.config import Config
from gureum.glance import config as glance


@dataclass(frozen=True, slots=True)
class FileStore:
    """One folder with a file an image, named as its id; names that begin with a dot are work files."""

    name: str
    folder: Path

    def keys(self) -> Iterator[str]:
        """Yield the names of what is kept."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if path.is_file() and not path.name.startswith("."):
                    yield path.name

    def size(self, key: str) -> int | None:
        """Return the bytes of a file, or None."""
        try:
            return (self.folder / key).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Remove a file; gone is fine."""
        (self.folder / key).unlink(missing_ok=True)


def file_stores(config: Config) -> tuple[FileStore, ...]:
    """Return the file stores that the settings name, the first being the one of old images."""
    options: Any = config.get(glance.GlanceOptions)
    usual = Path(options.filesystem_store_datadir)
    backends = getattr(options, "enabled_backends", None)
    if backends is None:
        return (FileStore("file", usual),) if options.store == "file" else ()
    named: Any = config.named(glance.BackendOptions)  # type: ignore[attr-defined,unused-ignore]
    found = []
    for backend in backends:
        name, _, kind = backend.partition(":")
        if kind == "file":
            own = named[name].filesystem_store_datadir if name in named else ""
            found.append(FileStore(name, Path(own) if own else usual))
    return tuple(found)
