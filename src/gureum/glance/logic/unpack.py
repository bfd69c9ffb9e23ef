"""Packed images: what they are packed with, told by their first bytes, and what is in them.

Unpacking streams, so that a small file that unpacks to a huge one costs no memory; the caller counts.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

_CHUNK_BYTES = 1 << 20
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}


class NotPacked(Exception):
    """The file is not packed."""


class Unreadable(Exception):
    """The file is damaged, or holds another number of files than one."""


def packing(path: Path) -> str | None:
    """Return what a file is packed with: gzip, xz, bzip2, zip or None."""
    with path.open("rb") as source:
        start = source.read(8)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def unpacked(path: Path) -> Iterator[bytes]:
    """Yield what is in a packed file. Raises: NotPacked, Unreadable."""
    kind = packing(path)
    if kind is None:
        raise NotPacked
    try:
        with _open(path, kind) as source:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise Unreadable(str(error)) from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's words for an unknown method
        raise Unreadable(str(error)) from error


def _open(path: Path, kind: str) -> IO[bytes]:
    if kind == "gzip":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if kind == "xz":
        return cast(IO[bytes], lzma.open(path, "rb"))
    if kind == "bzip2":
        return cast(IO[bytes], bz2.open(path, "rb"))
    archive = zipfile.ZipFile(path)
    names = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(names) != 1:
        raise Unreadable("the archive must hold exactly one file")
    return archive.open(names[0])
