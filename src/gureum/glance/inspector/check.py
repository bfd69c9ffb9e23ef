"""Whether the bytes of an image are what its formats claim. The reading is done by a confined child.

Owns: which content fits which claim. An image must be of its format by content, and must not refer to
anything outside itself. Must not: read the bytes in this process, or let a program guess a format.
Abuse cases: 1, 3, 4, 5, 7, 8.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gureum.core import log
from gureum.core.runner import CommandError, CommandTimeout, Runner
from gureum.glance.config import GlanceOptions

_log = log.get(__name__)

# No structure that a program would follow: plain bytes, a partition table, a CD, an encrypted volume.
_PLAIN = frozenset({"raw", "gpt", "iso", "luks"})
# The image service's name -> what the content may be, and QEMU's name when qemu-img is asked too.
_DISKS: dict[str, tuple[frozenset[str], str]] = {
    "raw": (_PLAIN, "-"),
    "ami": (_PLAIN, "-"),
    "aki": (_PLAIN, "-"),
    "ari": (_PLAIN, "-"),
    "ploop": (frozenset({"ploop"}), "parallels"),
    "iso": (frozenset({"iso"}), "-"),
    "qcow2": (frozenset({"qcow2"}), "qcow2"),
    "vmdk": (frozenset({"vmdk"}), "vmdk"),
    "vdi": (frozenset({"vdi"}), "vdi"),
    "vhd": (frozenset({"vhd"}), "vpc"),
    "vhdx": (frozenset({"vhdx"}), "vhdx"),
}
# Containers in which the disk lies packed: the bytes are an archive, not a disk.
_PACKED = frozenset({"ova", "ovf", "docker", "compressed"})


class NotAsClaimed(Exception):
    """The content does not fit, or is unsafe. The text is for the caller."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the child found. virtual_size in bytes."""

    format: str | None
    faults: tuple[str, ...] = ()
    virtual_size: int = 0


class Inspector(ABC):
    """Looks into a file."""

    @abstractmethod
    def look(self, path: Path, qemu_format: str) -> Found:
        """Return what a file is. qemu_format: "-" or what qemu-img is told. Raises: NotAsClaimed."""


class ChildInspector(Inspector):
    """Looks through a child process under limits."""

    def __init__(self, options: GlanceOptions, runner: Runner) -> None:
        self._options = options
        self._runner = runner

    def look(self, path: Path, qemu_format: str) -> Found:
        options = self._options
        command = [
            sys.executable,
            "-m",
            "gureum.glance.inspector.child",
            str(path),
            qemu_format,
            str(options.inspection_memory_mib),
            str(options.inspection_cpu_s),
        ]
        try:
            done = self._runner.run(command, timeout_s=options.inspection_timeout_s)
            return msgspec.json.decode(done.stdout, type=Found)
        except CommandTimeout:
            raise NotAsClaimed("its inspection takes too long") from None
        except (CommandError, msgspec.DecodeError) as error:
            _log.warning("an image could not be inspected", reason=str(error)[-500:])
            raise NotAsClaimed("its inspection fails") from None


def check(
    inspector: Inspector,
    path: Path,
    disk_format: str,
    container_format: str,
    size: int,
    *,
    strict: bool = True,
) -> int | None:
    """Check a file against an image's formats; returns the virtual size in bytes if there is one.

    strict: refuse plain bytes under the name of a structured format too. Raises: NotAsClaimed.
    """
    packed = container_format in _PACKED
    allowed, qemu_format = (
        (frozenset({"raw"}), "-") if packed else _DISKS.get(disk_format, (frozenset({"raw"}), "-"))
    )
    found = inspector.look(path, qemu_format)
    if not strict and found.format in _PLAIN:
        return size
    if found.format is not None and found.format not in allowed:
        claimed = container_format if packed else disk_format
        raise NotAsClaimed(f"it is said to be {claimed} and is {found.format}")
    if found.faults:
        raise NotAsClaimed("; ".join(found.faults)[:500])
    if packed:
        return None
    return size if found.format in _PLAIN else found.virtual_size
