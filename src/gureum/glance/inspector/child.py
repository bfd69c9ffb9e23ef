"""The program that looks into an image: run as a process of its own, never imported by the service.

It limits its own memory, processor time and writing before it reads a byte, prints one JSON object, and
ends. Usage: `python -m gureum.glance.inspector.child FILE QEMU_FORMAT MEMORY_MIB CPU_S`, with "-" for a
format that qemu-img is not asked about.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import shutil
import struct
import sys
import types
from typing import Any


def _inspectors(*, alone: bool) -> Any:
    """Import the library's inspectors.

    alone: past their package, which loads a reader of qemu-img's output too. That costs more than everything
    else here, once an upload; in a process of others it would take the package from them.
    """
    package = "oslo_utils.imageutils"
    if alone:
        found = importlib.util.find_spec("oslo_utils")
        stub = types.ModuleType(package)
        places = (found.submodule_search_locations if found is not None else None) or []
        stub.__path__ = [os.path.join(place, "imageutils") for place in places]
        sys.modules[package] = stub
    return importlib.import_module(f"{package}.format_inspector")


format_inspector = _inspectors(alone=__name__ == "__main__")

PLAIN = ("raw", "gpt", "iso", "luks")
"""What has no structure that a program would follow."""
_CHUNK = 4096
_PLOOP = struct.Struct("<16sIIIIIQ")
_PLOOP_MAGIC = (b"WithoutFreeSpace", b"WithouFreSpacExt")
_QEMU_KEYS = ("backing-filename", "full-backing-filename", "backing-filename-format")


def confine(memory_mib: int, cpu_s: int) -> None:
    """Take from this process, and what it starts, what an inspection does not need."""
    memory = memory_mib << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def ploop_size(path: str) -> int | None:
    """Return the virtual size of a Parallels disk; None when the file is none.

    Follows: QEMU, "Parallels Expandable Image File Format": a magic of 16 bytes, the version (2), heads,
    cylinders, sectors a block, entries of the table, and the disk's sectors of 512 bytes, all little endian.
    """
    with open(path, "rb") as source:
        head = source.read(_PLOOP.size)
    if len(head) < _PLOOP.size:
        return None
    magic, version, _, _, _, _, sectors = _PLOOP.unpack(head)
    if magic not in _PLOOP_MAGIC or version != 2:
        return None
    # The older form counts in 32 bits; what stands above is not part of it.
    return int(sectors if magic == _PLOOP_MAGIC[1] else sectors & 0xFFFFFFFF) * 512


def inspect(path: str) -> dict[str, Any]:
    """Return format, virtual size in bytes, and what is unsafe in a file."""
    size = ploop_size(path)
    if size is not None:
        return {"format": "ploop", "virtual_size": size, "faults": []}
    try:
        found = _format_of(path)
    except format_inspector.ImageFormatError as error:
        return {"format": None, "faults": [f"the format cannot be told: {error}"]}
    faults: list[str] = []
    try:
        found.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        if found.NAME == "gpt":  # its mark alone, as in every kernel and boot sector: plain bytes
            return {"format": "raw", "virtual_size": 0, "faults": []}
        faults += [f"{name}: {reason}" for name, reason in sorted(error.failures.items())]
    try:
        size = int(found.virtual_size)
    except (ValueError, TypeError, format_inspector.ImageFormatError):
        size = 0
    return {"format": str(found), "virtual_size": size, "faults": faults}


def _format_of(path: str) -> Any:
    """Read as much as tells the format. Raises: ImageFormatError when it is more than one."""
    with open(path, "rb") as file:
        wrapper = format_inspector.InspectWrapper(file)
        while wrapper.formats is None and wrapper.read(_CHUNK):
            pass
        wrapper.close()
    found = {one.NAME: one for one in wrapper.formats or ()}
    if set(found) == {"gpt", "iso"}:  # a CD that a disk's firmware starts too, as Debian's are
        return found["iso"]
    if len(found) != 1:
        raise format_inspector.ImageFormatError(f"it is {' and '.join(sorted(found))} at once")
    return next(iter(found.values()))


def ask_qemu(path: str, name: str, cpu_s: int) -> dict[str, Any]:
    """Return what qemu-img says of a file when it is told the format."""
    if shutil.which("qemu-img") is None:
        return {}
    from gureum.core.runner import CommandError, CommandTimeout, Runner

    command = ["qemu-img", "info", "-f", name, "--output=json", path]
    try:
        done = Runner().run(command, timeout_s=cpu_s)
    except CommandTimeout:
        return {"faults": ["qemu-img did not end in time"]}
    except CommandError as error:
        return {"faults": [error.text.replace(path, "the image")[:300]]}
    info = json.loads(done.stdout)
    faults = [f"it names another file ({key})" for key in _QEMU_KEYS if info.get(key)]
    special = (info.get("format-specific") or {}).get("data") or {}
    if special.get("data-file"):
        faults.append("it names another file (data-file)")
    for extent in special.get("extents") or ():
        if extent.get("filename") not in (None, path):
            faults.append("it names another file (extent)")
    return {"virtual_size": info.get("virtual-size"), "faults": faults}


def main(args: list[str]) -> int:
    """Inspect one file and print what was found."""
    path, qemu_name, memory_mib, cpu_s = args[0], args[1], int(args[2]), int(args[3])
    confine(memory_mib, cpu_s)
    found = inspect(path)
    if not found["faults"] and qemu_name != "-" and found["format"] not in PLAIN:
        said = ask_qemu(path, qemu_name, cpu_s)
        found["faults"] += said.get("faults", [])
        if said.get("virtual_size") is not None:
            found["virtual_size"] = said["virtual_size"]
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
