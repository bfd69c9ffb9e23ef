"""The serial console's log.

Owns: reading its end, over virtlogd's rotation (`console.log`, `console.log.0`, `.1`, …: newest
first). Bounded: never more is read than asked for, whatever a guest wrote.
"""

import os
from pathlib import Path

from gureum.nova.drivers.base import last_lines
from gureum.nova.drivers.libvirt.disks import CONSOLE_LOG

_ROTATED = ("", ".0", ".1", ".2", ".3")


def tail(folder: Path, limit_bytes: int, length: int | None) -> str:
    """Return the last `length` lines (None: all) of at most `limit_bytes`."""
    parts: list[bytes] = []
    left = limit_bytes
    for suffix in _ROTATED:
        if left <= 0:
            break
        part = _tail_of(folder / f"{CONSOLE_LOG}{suffix}", left)
        if part is None:
            break
        parts.append(part)
        left -= len(part)
    text = b"".join(reversed(parts)).decode(errors="replace")
    return last_lines(text, length)


def _tail_of(path: Path, limit_bytes: int) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        file.seek(max(0, size - limit_bytes))
        return file.read(limit_bytes)
