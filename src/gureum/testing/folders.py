"""The folder of a cloud that is gone when it ends.

Owns: making one, in memory where the machine has a place for that; sweeping up those that a killed
process left. Must not: touch a folder whose cloud still runs.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "gureum-ephemeral-"
MEMORY = Path("/dev/shm")
NEEDED_BYTES = 256 << 20


class Folder:
    """A fresh folder, held until `remove`."""

    def __init__(self, parent: Path | None = None) -> None:
        base = parent or _base()
        sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._held: int | None = _hold(self.path)

    def remove(self) -> None:
        """Forget everything; a second time is fine."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _base() -> Path:
    """Memory, where there is room for databases and a few images; else the usual place."""
    with contextlib.suppress(OSError):
        about = os.statvfs(MEMORY)
        roomy = about.f_bavail * about.f_frsize >= NEEDED_BYTES
        if roomy and os.access(MEMORY, os.W_OK | os.X_OK):
            return MEMORY
    return Path(tempfile.gettempdir())


def _hold(path: Path) -> int | None:
    """Lock a folder for as long as this process lives; None when another one has it."""
    held = os.open(path / "held", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held


def sweep(base: Path) -> int:
    """Remove what killed processes of this user left; returns how many."""
    gone = 0
    for path in base.glob(PREFIX + "*"):
        try:
            if path.stat().st_uid != os.getuid() or not (path / "held").exists():
                continue
            held = _hold(path)
        except OSError:
            continue
        if held is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)
            gone += 1
    return gone
