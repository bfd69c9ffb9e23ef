"""A cpio archive in the newc format, the one the Linux kernel unpacks as initramfs.

Owns: writing the archive of a tree, always the same bytes for the same tree. Follows the kernel's
`driver-api/early-userspace/buffer-format`.
"""

import stat
from pathlib import Path

_ALIGN = 4


def archive(tree: Path) -> bytes:
    """Return the newc archive of everything below `tree`, owned by root."""
    out = bytearray()
    for number, path in enumerate(sorted(tree.rglob("*")), start=1):
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            body = str(path.readlink()).encode()
        elif stat.S_ISREG(info.st_mode):
            body = path.read_bytes()
        else:
            body = b""
        _append(out, number, info.st_mode, str(path.relative_to(tree)), body)
    _append(out, 0, 0, "TRAILER!!!", b"")
    return bytes(out)


def _append(out: bytearray, number: int, mode: int, name: str, body: bytes) -> None:
    raw_name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(raw_name), 0)
    out += b"070701" + b"".join(b"%08X" % value for value in fields) + raw_name
    out += b"\0" * (-len(out) % _ALIGN)
    out += body
    out += b"\0" * (-len(out) % _ALIGN)
