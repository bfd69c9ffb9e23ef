"""Ports for a cloud beside others.

Owns: finding an offset at which all are free. Must not: keep them; who starts a cloud tries again.
"""

import os
import socket

from gureum import components

ANY_PORTS = -1
"""As a port offset: take free ones."""

_FIRST_OFFSET, _LAST_OFFSET = 11000, 22000
"""Below the ports that the system gives to outgoing connections."""


class NoPorts(Exception):
    """No offset has all its ports free."""


def free_offset() -> int:
    """A port offset at which every API port is free now."""
    ports = sorted({entry.port for entry in components.COMPONENTS.values() if entry.port})
    first = _FIRST_OFFSET + int.from_bytes(os.urandom(2)) % (_LAST_OFFSET - _FIRST_OFFSET)
    for step in range(0, _LAST_OFFSET - _FIRST_OFFSET, 17):
        offset = _FIRST_OFFSET + (first + step - _FIRST_OFFSET) % (_LAST_OFFSET - _FIRST_OFFSET)
        if all(_free("127.0.0.1", port + offset) for port in ports):
            return offset
    raise NoPorts("no port offset has all its ports free")


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def refuse_taken(address: str, offset: int) -> None:
    """Say so before the databases are made. Raises: AddressInUse."""
    from gureum.core.listen import AddressInUse

    for name, entry in components.COMPONENTS.items():
        if entry.port and not _free(address, entry.port + offset):
            raise AddressInUse(
                f"port {entry.port + offset} of {name} is in use;"
                " choose others with --port-offset 20000, or --port-offset auto"
            )
