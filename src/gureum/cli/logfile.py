"""A log file that its own process rotates.

Owns: size-bounded files (`name.log`, `name.log.1`, …), and sending the raw standard error of the
process
to the same place, so that a crash of the interpreter is in the log too. Must not: format lines.
"""

import os
import threading
from pathlib import Path


class LogFile:
    """A stream for `gureum.core.log.setup`. Thread-safe."""

    def __init__(self, path: str | Path, *, max_bytes: int = 20 << 20, keep: int = 5) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._keep = keep
        self._lock = threading.Lock()
        self._owns_stderr = False
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def take_stderr(self) -> None:
        """Let everything the process writes to standard output and error end here too."""
        self._owns_stderr = True
        os.dup2(self._fd, 1)
        os.dup2(self._fd, 2)

    def write(self, text: str) -> int:
        """Append, rotating first when the file is full."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            os.write(self._fd, data)
            self._size += len(data)
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""

    def _rotate(self) -> None:
        os.close(self._fd)
        for number in range(self._keep - 1, 0, -1):
            older = Path(f"{self._path}.{number}")
            if older.exists():
                os.replace(older, f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
        self._open()
        if self._owns_stderr:
            os.dup2(self._fd, 1)
            os.dup2(self._fd, 2)
