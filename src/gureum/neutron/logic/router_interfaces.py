"""Connecting routers to subnets, by subnet or by port."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Struct
from gureum.neutron.errors import IpAddressInUse, PortInUse
from gureum.neutron.errors_l3 import (
    RouterInterfaceInUseByFloatingIP,
    RouterInterfaceNotFound,
    RouterInterfaceNotFoundForSubnet,
    SubnetMismatchForPort,
)
from gureum.neutron.logic import ipam, routers
from gureum.neutron.logic import ports as port_logic
from gureum.neutron.store import addresses, changes, rows
from gureum.neutron.store import routers as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.ports import PORT
from gureum.neutron.store.query import View, load, load_row
from gureum.neutron.store.subnets import SUBNET


def add(ctx: Context, tx: Tx, router: Mapping[str, Any], new: Struct) -> View:
    """Connect a router. Raises: BadRequest, PortInUse, IpAddressInUse, NotFound of port or subnet."""
    subnet_id, port_id = new.get("subnet_id"), new.get("port_id")
    if bool(subnet_id) == bool(port_id):
        text = "Cannot specify both subnet-id and port-id"
        if not subnet_id:
            text = "Either subnet_id or port_id must be specified"
        raise BadRequest(f"Bad router request: {text}")
    if port_id:
        port_id, subnet_ids = _by_port(ctx, tx, router, port_id)
    else:
        port_id, subnet_ids = _by_subnet(ctx, tx, router, subnet_id)
    routers.bind_port(tx, router["id"], port_id)
    rows.touch(tx, t.routers, router["id"])
    changes.note(tx, changes.router_items(tx, router["id"]))
    network_id = tx.scalar(sa.select(t.ports.c.network_id).where(t.ports.c.id == port_id))
    return _answer(router, port_id, network_id, subnet_ids)


def _answer(
    router: Mapping[str, Any], port_id: str, network_id: str, subnet_ids: list[str]
) -> View:
    return {
        "id": router["id"],
        "project_id": router["project_id"],
        "tenant_id": router["project_id"],
        "port_id": port_id,
        "network_id": network_id,
        "subnet_id": subnet_ids[0],
        "subnet_ids": subnet_ids,
        "tags": router["tags"],
    }


def _by_subnet(
    ctx: Context, tx: Tx, router: Mapping[str, Any], subnet_id: str
) -> tuple[str, list[str]]:
    subnet = load_row(ctx, tx, SUBNET, subnet_id)
    if not subnet.gateway_ip:
        raise BadRequest("Bad router request: Subnet for router interface must have a gateway IP")
    if subnet.ip_version == 6 and subnet.ipv6_ra_mode is None and subnet.ipv6_address_mode:
        raise BadRequest(
            f"Bad router request: IPv6 subnet {subnet_id} configured to receive RAs from an"
            " external router cannot be added to Neutron Router"
        )
    routers.check_overlap(tx, router["id"], subnet, subnet.network_id)
    gateway = subnet.gateway_ip
    wish = ipam.Wish(subnet.id, gateway)
    if addresses.owner_of(tx, subnet.network_id, gateway) is not None:
        raise IpAddressInUse(network_id=subnet.network_id, ip_address=gateway)
    if subnet.ip_version == 6:
        for port in store.ports_of(tx, router["id"]):
            if port.network_id == subnet.network_id and _has_ipv6(tx, port.id):
                return _extend(tx, router, port, wish)
    made = port_logic.add(
        ctx,
        tx,
        subnet.network_id,
        project_id=router["project_id"],
        device_owner=store.INTERFACE,
        device_id=router["id"],
        wishes=[wish],
    )
    return made["id"], [subnet.id]


def _has_ipv6(tx: Tx, port_id: str) -> bool:
    return any(":" in item.ip_address for item in addresses.of_port(tx, port_id))


def _extend(tx: Tx, router: Mapping[str, Any], port: Any, wish: ipam.Wish) -> tuple[str, list[str]]:
    have = addresses.of_port(tx, port.id)
    new = addresses.Allocated(str(wish.subnet_id), str(wish.ip_address))
    addresses.take(tx, port.network_id, port.id, [new], len(have))
    rows.touch(tx, t.ports, port.id)
    return port.id, [new.subnet_id]


def _by_port(
    ctx: Context, tx: Tx, router: Mapping[str, Any], port_id: str
) -> tuple[str, list[str]]:
    port = load(ctx, tx, PORT, port_id)
    if port["device_id"]:
        raise PortInUse(port_id=port_id, network_id=port["network_id"], device_id=port["device_id"])
    if not port["fixed_ips"]:
        raise BadRequest("Bad router request: Router port must have at least one fixed IP")
    subnet_ids = [item["subnet_id"] for item in port["fixed_ips"]]
    subnets = tx.among(t.subnets.c.id, subnet_ids)
    if sum(subnet.ip_version == 4 for subnet in subnets) > 1:
        raise BadRequest("Bad router request: Cannot have multiple IPv4 subnets on router port")
    for subnet in subnets:
        routers.check_overlap(tx, router["id"], subnet, port["network_id"])
    rows.update(tx, t.ports, port, device_id=router["id"], device_owner=store.INTERFACE)
    return port_id, subnet_ids


def remove(ctx: Context, tx: Tx, router: Mapping[str, Any], new: Struct) -> View:
    """Disconnect a router.

    Raises: RouterInterfaceNotFound(ForSubnet), RouterInterfaceInUseByFloatingIP,
    RouterInterfaceInUseByRoute, SubnetMismatchForPort.
    """
    subnet_id, port_id = new.get("subnet_id"), new.get("port_id")
    if not subnet_id and not port_id:
        raise BadRequest("Bad router request: Either subnet_id or port_id must be specified")
    connected = store.connected_subnets(tx, router["id"], store.INTERFACE)
    if port_id:
        mine = [s for s in connected if s.port_id == port_id]
        if not mine:
            raise RouterInterfaceNotFound(router_id=router["id"], port_id=port_id)
        if subnet_id and subnet_id not in {s.id for s in mine}:
            raise SubnetMismatchForPort(port_id=port_id, subnet_id=subnet_id)
    else:
        load_row(ctx, tx, SUBNET, subnet_id)
        mine = [s for s in connected if s.id == subnet_id]
        if not mine:
            raise RouterInterfaceNotFoundForSubnet(router_id=router["id"], subnet_id=subnet_id)
    _check_free(tx, router, mine)
    port = tx.by(t.ports.c.id, mine[0].port_id)
    assert port is not None
    items = changes.router_items(tx, router["id"])
    whole = [s for s in connected if s.port_id == port.id]
    if not port_id and len(whole) > 1:
        addresses.release(tx, port.id, [mine[0].ip_address])
        rows.touch(tx, t.ports, port.id)
    else:
        port_logic.remove(tx, port)
    rows.touch(tx, t.routers, router["id"])
    changes.note(tx, items)
    return _answer(router, port.id, port.network_id, [s.id for s in mine])


def _check_free(tx: Tx, router: Mapping[str, Any], going: list[Any]) -> None:
    c = t.floatingips.c
    found = tx.all(
        sa.select(c.fixed_ip_address).where(
            c.router_id == router["id"], c.fixed_ip_address.is_not(None)
        )
    )
    p = t.port_forwardings.c
    forwarded = tx.all(
        sa.select(p.internal_ip_address)
        .join(t.floatingips, c.id == p.floatingip_id)
        .where(c.router_id == router["id"])
    )
    used = [row.fixed_ip_address for row in found]
    used += [row.internal_ip_address for row in forwarded]
    for subnet in going:
        network = ipaddress.ip_network(subnet.cidr)
        if any(routers.inside(network, address) for address in used):
            raise RouterInterfaceInUseByFloatingIP(subnet_id=subnet.id, router_id=router["id"])
    routers.check_routes_stay(tx, router["id"], router["routes"], going)
