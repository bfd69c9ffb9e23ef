"""What Neutron said last of servers' ports: the network info cache of a cell.

Owns: `server_nics` and `server_addresses`. Must not: ask Neutron.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.nova.model import Address, Group, Nic
from gureum.nova.store.tables import server_addresses, server_nics


def of_servers(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[Nic]]:
    """Return the ports of each server, in the order of its cards."""
    addresses: dict[tuple[str, str], list[Address]] = {}
    for row in addresses_of(tx, server_ids):
        key = (row.server_id, row.port_id)
        addresses.setdefault(key, []).append(Address(row.address, row.version, row.kind))
    found: dict[str, list[Nic]] = {}
    table = server_nics.c
    for row in tx.among(table.server_id, server_ids, table.position, table.port_id):
        nic = Nic(
            port_id=row.port_id,
            network_id=row.network_id,
            network_label=row.network_label,
            mac=row.mac,
            tag=row.tag,
            keep=row.keep,
            spec=row.spec,
            addresses=tuple(addresses.get((row.server_id, row.port_id), ())),
            groups=tuple(Group(**one) for one in row.security_groups or ()),
        )
        found.setdefault(row.server_id, []).append(nic)
    return found


def addresses_of(tx: Tx, server_ids: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Return the address rows of servers: cards in order, IPv4 first, fixed before floating."""
    table = server_addresses.c
    order = (table.position, table.version, table.kind, table.port_id, table.address)
    return tx.among(table.server_id, server_ids, *order)


_nic, _address = server_nics.c, server_addresses.c
_SHOWN = (
    sa.select(
        _nic.server_id,
        _nic.network_label,
        _nic.mac,
        _nic.security_groups,
        _address.address,
        _address.version,
        _address.kind,
    )
    .outerjoin(
        server_addresses,
        sa.and_(_address.server_id == _nic.server_id, _address.port_id == _nic.port_id),
    )
    .where(_nic.server_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(_nic.position, _address.version, _address.kind, _nic.port_id, _address.address)
)


def shown_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[sa.Row[Any]]]:
    """Return what is shown of the ports of each server, a row for each address.

    Cards are in order, IPv4 comes first, fixed before floating. A port without one has the address None.
    """
    found: dict[str, list[sa.Row[Any]]] = {}
    for row in tx.all(_SHOWN, {"ids": server_ids}):
        found.setdefault(row.server_id, []).append(row)
    return found


def wear(tx: Tx, server_id: str, group: Group) -> None:
    """Note that all ports of a server wear a group."""
    _change_groups(tx, server_id, lambda worn: [*_without(worn, group.id), _shown(group)])


def take_off(tx: Tx, server_id: str, group_id: str) -> None:
    """Note that no port of a server wears a group."""
    _change_groups(tx, server_id, lambda worn: _without(worn, group_id))


def _change_groups(
    tx: Tx, server_id: str, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]
) -> None:
    table = server_nics.c
    for row in tx.among(table.server_id, [server_id]):
        groups = sorted(change(row.security_groups or []), key=lambda one: one["id"])
        here = sa.and_(table.server_id == server_id, table.port_id == row.port_id)
        tx.update(server_nics, here, security_groups=groups)


def _without(worn: list[dict[str, str]], group_id: str) -> list[dict[str, str]]:
    return [one for one in worn if one["id"] != group_id]


def _shown(group: Group) -> dict[str, str]:
    return {"id": group.id, "name": group.name}


def server_of_port(tx: Tx, port_id: str) -> str | None:
    """Return whose card a port is."""
    wanted = sa.select(server_nics.c.server_id).where(server_nics.c.port_id == port_id)
    row = tx.first(wanted)
    return None if row is None else str(row.server_id)


def replace(tx: Tx, server_id: str, nics: Iterable[Nic]) -> None:
    """Write all ports of a server."""
    tx.delete_by(server_addresses.c.server_id, server_id)
    tx.delete_by(server_nics.c.server_id, server_id)
    for position, nic in enumerate(nics):
        _insert(tx, server_id, nic, position)


def put(tx: Tx, server_id: str, nic: Nic) -> None:
    """Write one port of a server: in its old place when it is known, else last."""
    table = server_nics.c
    old = tx.one(
        sa.select(table.position).where(table.server_id == server_id, table.port_id == nic.port_id)
    )
    if old is None:
        last = tx.scalar(sa.select(sa.func.max(table.position)).where(table.server_id == server_id))
        position = 0 if last is None else last + 1
    else:
        position = old.position
    remove(tx, server_id, nic.port_id)
    _insert(tx, server_id, nic, position)


def remove(tx: Tx, server_id: str, port_id: str) -> None:
    """Forget one port of a server."""
    for table in (server_addresses, server_nics):
        tx.delete(table, sa.and_(table.c.server_id == server_id, table.c.port_id == port_id))


def _insert(tx: Tx, server_id: str, nic: Nic, position: int) -> None:
    tx.insert(
        server_nics,
        server_id=server_id,
        port_id=nic.port_id,
        position=position,
        network_id=nic.network_id,
        network_label=nic.network_label,
        mac=nic.mac,
        tag=nic.tag,
        keep=nic.keep,
        spec=nic.spec,
        security_groups=[_shown(group) for group in nic.groups],
        updated_at=utc_now(),
    )
    tx.insert_many(
        server_addresses,
        [
            {
                "server_id": server_id,
                "port_id": nic.port_id,
                "address": item.address,
                "version": item.version,
                "kind": item.kind,
                "network_label": nic.network_label,
                "mac": nic.mac,
                "position": position,
            }
            for item in {(a.address, a.version, a.kind): a for a in nic.addresses}.values()
        ],
    )
