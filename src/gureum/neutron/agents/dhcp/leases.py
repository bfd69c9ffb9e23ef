"""Leases that dnsmasq still holds although the port is gone or has another address. Pure.

Owns: reading dnsmasq's lease file. Must not: write it (dnsmasq does; stale leases are given back by a
release message, see plumbing/packets.py).
Facts: dnsmasq(8), --dhcp-leasefile; RFC 8415 section 11 (DUID).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_DUID_WITH_MAC = (1, 3)


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease. For IPv6 `mac` is None when the client's DUID does not tell it."""

    address: str
    mac: str | None
    client_id: str | None
    iaid: int = 0


@dataclass(frozen=True, slots=True)
class LeaseFile:
    """What the lease file holds; `server_duid` is dnsmasq's own, once it served IPv6."""

    leases: tuple[Lease, ...] = ()
    server_duid: str | None = None


def parse(text: str) -> LeaseFile:
    """Read a lease file; lines that are cut or unknown are left out."""
    leases: list[Lease] = []
    duid = None
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 2 and parts[0] == "duid":
            duid = parts[1]
        elif len(parts) == 5:
            _, who, address, _, client = parts
            client_id = None if client == "*" else client
            if ":" in address:
                iaid = who.lstrip("T")
                if iaid.isdigit() and client_id:
                    leases.append(Lease(address, _mac_in(client_id), client_id, int(iaid)))
            elif who.count(":") == 5:
                leases.append(Lease(address, who.lower(), client_id))
    return LeaseFile(tuple(leases), duid)


def stale(leases: Iterable[Lease], bindings: Mapping[str, str]) -> list[Lease]:
    """Return the leases that no port has any more; `bindings` is MAC by address."""
    return [
        lease
        for lease in leases
        if lease.address not in bindings
        or (lease.mac is not None and bindings[lease.address] != lease.mac)
    ]


def _mac_in(duid: str) -> str | None:
    raw = duid.lower().split(":")
    if len(raw) < 10 or int(raw[0] + raw[1], 16) not in _DUID_WITH_MAC:
        return None
    return ":".join(raw[-6:])
