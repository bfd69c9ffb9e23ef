"""What can be done with port forwardings of a floating IP.

Follows: Network API v2.0, "Floating IPs port forwarding".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Struct
from gureum.neutron.errors_l3 import (
    FipInUseByPortForwarding,
    PortForwardingAlreadyExists,
    PortHasBindingFloatingIP,
)
from gureum.neutron.logic import floatingips
from gureum.neutron.store import addresses, changes, rows
from gureum.neutron.store import port_forwardings as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.ports import PORT
from gureum.neutron.store.query import View, load

Span = tuple[int, int]
MOST_PORTS = 1024
"""Ports of one forwarding; each is a rule of the router's table."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A forwarding as it shall be."""

    protocol: str
    external: Span
    internal: Span
    port_id: str
    address: str


def create(ctx: Context, tx: Tx, floatingip: Mapping[str, Any], new: Struct) -> View:
    """Add a forwarding. Raises: FipInUseByPortForwarding, PortForwardingAlreadyExists, BadRequest."""
    if floatingip["port_id"]:
        raise FipInUseByPortForwarding(id=floatingip["id"], reason="it is associated with a port")
    external, internal = _span(new, "external"), _span(new, "internal")
    if external is None or internal is None:
        raise BadRequest("Invalid input: external and internal port must be given.")
    wanted = _checked(
        ctx,
        tx,
        new.protocol,
        external,
        internal,
        new.internal_port_id,
        new.get("internal_ip_address"),
    )
    router_id = _router_of(tx, floatingip, wanted)
    _check_free(tx, floatingip["id"], wanted, None)
    forwarding_id = rows.new_id()
    tx.insert(
        t.port_forwardings,
        id=forwarding_id,
        project_id=floatingip["project_id"],
        floatingip_id=floatingip["id"],
        description=new.get("description", "") or "",
        **_columns(wanted),
    )
    tx.update_by(t.floatingips.c.id, floatingip["id"], router_id=router_id)
    _note(tx, floatingip["id"], router_id)
    return _reload(tx, forwarding_id)


def update(
    ctx: Context, tx: Tx, floatingip: Mapping[str, Any], forwarding: Mapping[str, Any], new: Struct
) -> View:
    """Change a forwarding. Raises: what create raises."""
    wanted = _checked(
        ctx,
        tx,
        new.get("protocol", forwarding["protocol"]),
        _span(new, "external") or (forwarding["external_first"], forwarding["external_last"]),
        _span(new, "internal") or (forwarding["internal_first"], forwarding["internal_last"]),
        new.get("internal_port_id", forwarding["internal_port_id"]),
        new.get("internal_ip_address")
        or (None if new.has("internal_port_id") else forwarding["internal_ip_address"]),
    )
    router_id = _router_of(tx, floatingip, wanted)
    _check_free(tx, floatingip["id"], wanted, forwarding["id"])
    values = _columns(wanted)
    if new.has("description"):
        values["description"] = new.get("description") or ""
    tx.update_by(t.port_forwardings.c.id, forwarding["id"], **values)
    _note(tx, floatingip["id"], router_id)
    return _reload(tx, forwarding["id"])


def delete(tx: Tx, forwarding_id: str) -> None:
    """Remove a forwarding; the last one frees the floating IP from its router."""
    c = t.port_forwardings.c
    row = tx.one(sa.select(t.port_forwardings).where(c.id == forwarding_id))
    if row is None:
        return
    router_id = tx.scalar(
        sa.select(t.floatingips.c.router_id).where(t.floatingips.c.id == row.floatingip_id)
    )
    tx.delete(t.port_forwardings, c.id == forwarding_id)
    if tx.first(sa.select(c.id).where(c.floatingip_id == row.floatingip_id)) is None:
        tx.update_by(
            t.floatingips.c.id,
            row.floatingip_id,
            router_id=None,
            status="DOWN",
        )
    if router_id:
        _note(tx, row.floatingip_id, router_id)


def port_changed(tx: Tx, port_id: str) -> None:
    """Remove the forwardings to addresses that a port has no more."""
    have = [item.ip_address for item in addresses.of_port(tx, port_id)]
    c = t.port_forwardings.c
    statement = sa.select(c.id).where(
        c.internal_port_id == port_id, c.internal_ip_address.not_in(have)
    )
    for row in tx.all(statement):
        delete(tx, row.id)


def port_removed(tx: Tx, port_id: str) -> None:
    """Remove the forwardings to a port."""
    for row in tx.among(t.port_forwardings.c.internal_port_id, [port_id]):
        delete(tx, row.id)


def _span(new: Struct, side: str) -> Span | None:
    single, text = new.get(f"{side}_port"), new.get(f"{side}_port_range")
    if single is not None and text is not None:
        raise BadRequest(f"Invalid input: {side}_port and {side}_port_range exclude each other.")
    if single is not None:
        return single, single
    if text is None:
        return None
    first, _, last = text.partition(":")
    span = int(first), int(last or first)
    if not 1 <= span[0] <= span[1] <= 65535:
        raise BadRequest(f"Invalid input: {side}_port_range {text} is not a range of ports.")
    return span


def _checked(
    ctx: Context,
    tx: Tx,
    protocol: str,
    external: Span,
    internal: Span,
    port_id: str,
    address: str | None,
) -> Wanted:
    if external[1] - external[0] >= MOST_PORTS:
        raise BadRequest(f"Invalid input: at most {MOST_PORTS} ports in a forwarding.")
    sizes = {last - first for first, last in (external, internal)}
    if len(sizes) > 1 and internal[0] != internal[1]:
        raise BadRequest("Invalid input: the port ranges must have the same size, or N:1.")
    port = load(ctx, tx, PORT, port_id)
    fixed = [item["ip_address"] for item in port["fixed_ips"] if ":" not in item["ip_address"]]
    if address is None:
        if not fixed:
            raise BadRequest(f"Invalid input: port {port_id} has no IPv4 address.")
        address = fixed[0]
    elif address not in fixed:
        raise BadRequest(f"Invalid input: port {port_id} does not have the address {address}.")
    return Wanted(protocol, external, internal, port_id, address)


def _router_of(tx: Tx, floatingip: Mapping[str, Any], wanted: Wanted) -> str:
    subnet_id = tx.scalar(
        sa.select(t.ip_allocations.c.subnet_id).where(
            t.ip_allocations.c.port_id == wanted.port_id,
            t.ip_allocations.c.ip_address == wanted.address,
        )
    )
    router_id = floatingips.router_to(
        tx, floatingip["floating_network_id"], subnet_id, wanted.port_id
    )
    if floatingip["router_id"] and floatingip["router_id"] != router_id:
        raise BadRequest(
            f"Invalid input: floating IP {floatingip['id']} is on router"
            f" {floatingip['router_id']}, the port is behind {router_id}."
        )
    return router_id


def _check_free(tx: Tx, floatingip_id: str, wanted: Wanted, own_id: str | None) -> None:
    f = t.floatingips.c
    tx.all(sa.select(f.id).where(f.id == floatingip_id).with_for_update())
    bound = sa.select(f.id).where(f.port_id == wanted.port_id, f.fixed_ip_address == wanted.address)
    if tx.first(bound) is not None:
        raise PortHasBindingFloatingIP(port_id=wanted.port_id, address=wanted.address)
    for row in store.of_floatingips(tx, [floatingip_id]).get(floatingip_id, ()):
        if row.id == own_id or row.protocol != wanted.protocol:
            continue
        outside = _overlap((row.external_first, row.external_last), wanted.external)
        inside = (
            row.internal_port_id == wanted.port_id
            and row.internal_ip_address == wanted.address
            and _overlap((row.internal_first, row.internal_last), wanted.internal)
        )
        if outside or inside:
            raise PortForwardingAlreadyExists(floatingip_id=floatingip_id, other=row.id)


def _overlap(one: Span, two: Span) -> bool:
    return one[0] <= two[1] and two[0] <= one[1]


def _columns(wanted: Wanted) -> dict[str, Any]:
    return {
        "protocol": wanted.protocol,
        "external_first": wanted.external[0],
        "external_last": wanted.external[1],
        "internal_first": wanted.internal[0],
        "internal_last": wanted.internal[1],
        "internal_port_id": wanted.port_id,
        "internal_ip_address": wanted.address,
    }


def _note(tx: Tx, floatingip_id: str, router_id: str) -> None:
    rows.touch(tx, t.floatingips, floatingip_id)
    changes.note(tx, changes.router_items(tx, router_id))


def _reload(tx: Tx, forwarding_id: str) -> View:
    row = tx.by(t.port_forwardings.c.id, forwarding_id)
    assert row is not None
    return store.view(row)
