"""Which port has which address: the table `ip_allocations`.

Owns: the next free address of a range by query, and the constraint "one owner of an address in a
network". Addresses are kept as 32 hexadecimal digits, so that both families sort and have a successor.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.db import Conflict, Stale, Tx
from gureum.neutron.store import tables as t

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Allocated(msgspec.Struct, frozen=True):
    """An address of a port."""

    subnet_id: str
    ip_address: str


def key_of(address: Address | str) -> str:
    """Return the sortable form of an address."""
    if isinstance(address, str):
        address = ipaddress.ip_address(address)
    return f"{int(address):032x}"


def text_of(key: str, version: int) -> str:
    """Return the address of a sortable form."""
    number = int(key, 16)
    return str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number))


def lock_subnets(tx: Tx, subnet_ids: Iterable[str]) -> None:
    """Let one transaction at a time choose addresses of a subnet (SQLite has one writer anyway)."""
    ids = sorted(set(subnet_ids))
    if ids and tx.connection.dialect.name != "sqlite":
        tx.all(
            sa.select(t.subnets.c.id)
            .where(t.subnets.c.id.in_(ids))
            .order_by(t.subnets.c.id)
            .with_for_update()
        )


def next_free(tx: Tx, subnet: Any) -> str | None:
    """Return a free address of a subnet's pools, or None. Three indexed look-ups a pool at most."""
    for pool in subnet.allocation_pools:
        first, last = key_of(pool["start"]), key_of(pool["end"])
        key = _next_free(tx, subnet.id, first, last)
        if key is not None:
            return text_of(key, subnet.ip_version)
    return None


def _next_free(tx: Tx, subnet_id: str, first: str, last: str) -> str | None:
    inside = {"subnet": subnet_id, "first": first, "last": last}
    highest = tx.scalar(_HIGHEST, inside)
    if highest is None:
        return first
    if highest < last:
        return f"{int(highest, 16) + 1:032x}"
    if tx.scalar(_LOWEST, inside) != first:
        return first
    found = tx.scalar(_GAP, inside)
    return None if found is None else str(found)


_OTHER = t.ip_allocations.alias("other")
_INSIDE = sa.and_(
    t.ip_allocations.c.subnet_id == sa.bindparam("subnet"),
    t.ip_allocations.c.ip_key.between(sa.bindparam("first"), sa.bindparam("last")),
)
_HIGHEST = sa.select(sa.func.max(t.ip_allocations.c.ip_key)).where(_INSIDE)
_LOWEST = sa.select(sa.func.min(t.ip_allocations.c.ip_key)).where(_INSIDE)
_GAP = (
    sa.select(t.ip_allocations.c.next_key)
    .select_from(
        t.ip_allocations.outerjoin(
            _OTHER,
            sa.and_(
                _OTHER.c.network_id == t.ip_allocations.c.network_id,
                _OTHER.c.ip_key == t.ip_allocations.c.next_key,
            ),
        )
    )
    .where(_INSIDE, t.ip_allocations.c.next_key <= sa.bindparam("last"), _OTHER.c.ip_key.is_(None))
    .order_by(t.ip_allocations.c.ip_key)
    .limit(1)
)


def owner_of(tx: Tx, network_id: str, address: str) -> sa.Row[Any] | None:
    """Return the allocation of an address in a network."""
    return tx.one(_OWNER, {"network": network_id, "key": key_of(address)})


_OWNER = sa.select(t.ip_allocations).where(
    t.ip_allocations.c.network_id == sa.bindparam("network"),
    t.ip_allocations.c.ip_key == sa.bindparam("key"),
)


def take(
    tx: Tx, network_id: str, port_id: str, wanted: Sequence[Allocated], first_position: int = 0
) -> None:
    """Write allocations. Raises: Stale when a rival took one of them."""
    try:
        tx.insert_many(
            t.ip_allocations,
            [
                {
                    "network_id": network_id,
                    "ip_key": key_of(item.ip_address),
                    "next_key": f"{int(key_of(item.ip_address), 16) + 1:032x}",
                    "ip_address": item.ip_address,
                    "subnet_id": item.subnet_id,
                    "port_id": port_id,
                    "position": first_position + index,
                }
                for index, item in enumerate(wanted)
            ],
        )
    except Conflict as error:
        raise Stale("another request took the address") from error


def release(tx: Tx, port_id: str, addresses: Iterable[str] | None = None) -> None:
    """Give back addresses of a port (None: all)."""
    c = t.ip_allocations.c
    where = c.port_id == port_id
    if addresses is not None:
        where = sa.and_(where, c.ip_address.in_(list(addresses)))
    tx.delete(t.ip_allocations, where)


def of_port(tx: Tx, port_id: str) -> list[Allocated]:
    """Return the addresses of a port in order."""
    return of_ports(tx, [port_id]).get(port_id, [])


def of_ports(tx: Tx, port_ids: Sequence[str]) -> dict[str, list[Allocated]]:
    """Return the addresses of many ports, in one query."""
    found: dict[str, list[Allocated]] = {}
    if not port_ids:
        return found
    for row in tx.all(_OF_PORTS, {"ids": port_ids}):
        found.setdefault(row.port_id, []).append(Allocated(row.subnet_id, row.ip_address))
    return found


_OF_PORTS = (
    sa.select(
        t.ip_allocations.c.port_id, t.ip_allocations.c.subnet_id, t.ip_allocations.c.ip_address
    )
    .where(t.ip_allocations.c.port_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(t.ip_allocations.c.position, t.ip_allocations.c.ip_key)
)
