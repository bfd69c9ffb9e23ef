"""Small files that other programs read: replaced atomically, and only when they differ.

Owns: atomic writes and the stamp that says which content a running program has already read.
Must not: know what the files mean.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


def write_if_changed(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Replace a file unless it already holds `text`; return whether it was written."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return False
    new = path.with_name(f".{path.name}.new")
    with open(new, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, mode)) as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    os.replace(new, path)
    return True


def digest(parts: Mapping[str, str]) -> str:
    """Return a short hash over named texts."""
    total = hashlib.sha256()
    for name in sorted(parts):
        total.update(f"{name}\0{len(parts[name])}\0{parts[name]}".encode())
    return total.hexdigest()[:16]


def remove_tree(folder: Path) -> None:
    """Remove a folder of plain files, and tolerate that it is gone already."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                entry.unlink()
        folder.rmdir()
