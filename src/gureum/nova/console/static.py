"""noVNC's files over HTTP.

Owns: which file a path means. Never redirects (a path `//evil` would become another host, abuse case
25), never lists a folder, never leaves its folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".oga": "audio/ogg",
    ".mp3": "audio/mpeg",
}
MAX_FILE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class File:
    """A file to send."""

    body: bytes
    content_type: str


class StaticFiles:
    """The files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.realpath(folder))

    def find(self, raw_path: str) -> File | None:
        """Return the file that an undecoded request path means, or None."""
        if not raw_path.startswith("/") or raw_path.startswith("//"):
            return None
        parts = raw_path[1:].split("/")
        # noVNC's file names need no escapes, so whatever has one is a trick.
        if any(part in ("", ".", "..") or not _is_plain(part) for part in parts):
            return None
        content_type = _TYPES.get(Path(parts[-1]).suffix)
        path = Path(os.path.realpath(self._folder.joinpath(*parts)))
        if content_type is None or not path.is_relative_to(self._folder):
            return None
        try:
            if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                return None
            return File(path.read_bytes(), content_type)
        except OSError:
            return None


def _is_plain(part: str) -> bool:
    return part.isascii() and all(one.isalnum() or one in "._-" for one in part)
