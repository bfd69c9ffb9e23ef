"""The shared libraries that an ELF file names.

Owns: reading the NEEDED entries of 64-bit little-endian files. Must not: run them. Follows the
System V ABI, chapter 5.
"""

import struct
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed_libraries(path: Path) -> tuple[str, ...]:
    """Return the names that the dynamic section of `path` asks for; nothing for other files."""
    with path.open("rb") as file:
        if file.read(6) != b"\x7fELF\x02\x01":
            return ()
        file.seek(0)
        data = file.read()
    header_offset = struct.unpack_from("<Q", data, 32)[0]
    header_size, header_count = struct.unpack_from("<HH", data, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for index in range(header_count):
        at = header_offset + index * header_size
        kind, _flags, offset, address, _physical, size = struct.unpack_from("<IIQQQQ", data, at)
        if kind == _PT_LOAD:
            loads.append((address, offset, size))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, size)
    if dynamic is None:
        return ()
    wanted: list[int] = []
    strings = 0
    for at in range(dynamic[0], dynamic[0] + dynamic[1], 16):
        tag, value = struct.unpack_from("<QQ", data, at)
        if tag == 0:
            break
        if tag == _DT_NEEDED:
            wanted.append(value)
        elif tag == _DT_STRTAB:
            strings = _file_offset(loads, value)
    return tuple(_text(data, strings + offset) for offset in wanted)


def _file_offset(loads: list[tuple[int, int, int]], address: int) -> int:
    for start, offset, size in loads:
        if start <= address < start + size:
            return address - start + offset
    raise ValueError(f"address {address:#x} is in no segment")


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
