"""What can be done with floating IPs.

Owns: the address taken from the external network, the association with a fixed address of a port, and
the router that leads there. Follows: Network API v2.0, "Floating IPs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Tx
from gureum.core.spec import BadRequest, Struct
from gureum.neutron.errors import IpAddressGenerationFailure
from gureum.neutron.errors_l3 import (
    ExternalGatewayForFloatingIPNotFound,
    FipInUseByPortForwarding,
    FloatingIPPortAlreadyAssociated,
)
from gureum.neutron.logic import binding, ipam, quota
from gureum.neutron.logic import ports as port_logic
from gureum.neutron.store import addresses, changes, rows
from gureum.neutron.store import routers as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.ports import PORT
from gureum.neutron.store.query import View, load, load_row, reload
from gureum.neutron.store.subnets import SUBNET

OWNER = "network:floatingip"


def create(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Take an address from an external network, and associate it if a port is named.

    Raises: OverQuota, BadRequest, what associate raises.
    """
    quota.check(ctx, tx, project_id, "floatingip")
    network = load_row(ctx, tx, NETWORK, new.get("floating_network_id"))
    if not network.router_external:
        raise BadRequest(
            f"Bad floatingip request: Network {network.id} is not a valid external network"
        )
    floatingip_id = rows.new_id()
    port = port_logic.add(
        ctx,
        tx,
        network.id,
        project_id="",
        device_owner=OWNER,
        device_id=floatingip_id,
        wishes=_wishes(ctx, tx, new, network.id),
        status="N/A",
    )
    address = _address_of(port, network.id)
    rows.insert(
        tx,
        t.floatingips,
        id=floatingip_id,
        project_id=project_id,
        name="",
        description=new.get("description", "") or "",
        floating_network_id=network.id,
        floating_ip_address=address,
        floating_port_id=port["id"],
        port_id=None,
        fixed_ip_address=None,
        router_id=None,
        status="DOWN",
        dns_name=new.get("dns_name", "") or "",
        dns_domain=new.get("dns_domain", "") or "",
    )
    view = reload(ctx, tx, store.FLOATINGIP, floatingip_id)
    if new.get("port_id"):
        associate(ctx, tx, view, new.get("port_id"), new.get("fixed_ip_address"))
        return reload(ctx, tx, store.FLOATINGIP, floatingip_id)
    if new.get("fixed_ip_address"):
        raise BadRequest(
            "Bad floatingip request: fixed_ip_address cannot be specified without a port_id"
        )
    return view


def _wishes(ctx: Context, tx: Tx, new: Struct, network_id: str) -> list[ipam.Wish]:
    subnet_id, address = new.get("subnet_id"), new.get("floating_ip_address")
    if subnet_id or address:
        return [ipam.Wish(subnet_id, address)]
    subnets = [s for s in ipam.subnets_of(tx, network_id) if s.ip_version == 4]
    if not subnets:
        raise BadRequest(
            f"Bad floatingip request: Network {network_id} does not contain any IPv4 subnet"
        )
    fitting = [s for s in subnets if not s.service_types or OWNER in s.service_types]
    addresses.lock_subnets(tx, (subnet.id for subnet in fitting))
    for subnet in fitting:
        if addresses.next_free(tx, subnet) is not None:
            return [ipam.Wish(subnet.id)]
    raise IpAddressGenerationFailure(network_id=network_id)


def _address_of(port: Mapping[str, Any], network_id: str) -> str:
    for item in port["fixed_ips"]:
        if ":" not in item["ip_address"]:
            return str(item["ip_address"])
    raise BadRequest(
        f"Bad floatingip request: Network {network_id} does not contain any IPv4 subnet"
    )


def update(ctx: Context, tx: Tx, floatingip: Mapping[str, Any], new: Struct) -> View:
    """Change, associate (a port) or disassociate (null). Raises: what associate raises."""
    rows.check_revision(ctx, floatingip)
    values: dict[str, Any] = {}
    if new.has("description"):
        values["description"] = new.get("description") or ""
    rows.update(tx, t.floatingips, floatingip, **values)
    # before floating IPs had other attributes, an empty change meant "disassociate"
    if new.has("port_id") or not new.given:
        port_id = new.get("port_id")
        if not port_id:
            if new.get("fixed_ip_address"):
                raise BadRequest(
                    "Bad floatingip request: fixed_ip_address cannot be specified without a port_id"
                )
            disassociate(tx, [floatingip["id"]])
        else:
            associate(ctx, tx, floatingip, port_id, new.get("fixed_ip_address"))
    elif new.get("fixed_ip_address"):
        if not floatingip["port_id"]:
            raise BadRequest(
                "Bad floatingip request: fixed_ip_address cannot be specified without a port_id"
            )
        associate(ctx, tx, floatingip, floatingip["port_id"], new.get("fixed_ip_address"))
    return reload(ctx, tx, store.FLOATINGIP, floatingip["id"])


def associate(
    ctx: Context, tx: Tx, floatingip: Mapping[str, Any], port_id: str, fixed_ip: str | None
) -> None:
    """Lead the floating address to a fixed one.

    Raises: BadRequest, ExternalGatewayForFloatingIPNotFound, FloatingIPPortAlreadyAssociated.
    """
    _check_no_forwardings(tx, floatingip["id"])
    port = load(ctx, tx, PORT, port_id)
    if port["device_owner"] == OWNER:
        raise BadRequest(f"Bad floatingip request: Port {port_id} is a floating IP's own")
    if port["project_id"] != floatingip["project_id"] and not ctx.is_admin:
        raise BadRequest(
            f"Bad floatingip request: Port {port_id} is associated with a different tenant than"
            f" Floating IP {floatingip['id']} and therefore cannot be bound"
        )
    subnet_id, address = _fixed_of(port, fixed_ip)
    router_id = router_to(tx, floatingip["floating_network_id"], subnet_id, port_id)
    c = t.floatingips.c
    other = tx.first(
        sa.select(c.id, c.floating_ip_address).where(
            c.port_id == port_id,
            c.fixed_ip_address == address,
            c.id != floatingip["id"],
        )
    )
    already = FloatingIPPortAlreadyAssociated(
        port_id=port_id,
        fip_id=floatingip["id"],
        floating_ip_address=floatingip["floating_ip_address"],
        fixed_ip=address,
        net_id=floatingip["floating_network_id"],
    )
    if other is not None:
        raise already
    try:
        tx.update(
            t.floatingips,
            c.id == floatingip["id"],
            port_id=port_id,
            fixed_ip_address=address,
            router_id=router_id,
            status="DOWN" if floatingip["router_id"] != router_id else floatingip["status"],
        )
    except Conflict:
        raise already from None
    items = changes.router_items(tx, router_id)
    if floatingip["router_id"] and floatingip["router_id"] != router_id:
        items |= changes.router_items(tx, floatingip["router_id"])
    changes.note(tx, items)
    binding.guests_changed(tx, [port_id])


def _check_no_forwardings(tx: Tx, floatingip_id: str) -> None:
    c = t.port_forwardings.c
    if tx.first(sa.select(c.id).where(c.floatingip_id == floatingip_id)) is not None:
        raise FipInUseByPortForwarding(id=floatingip_id, reason="it has port forwardings")


def _fixed_of(port: Mapping[str, Any], asked: str | None) -> tuple[str, str]:
    candidates = [
        (item["subnet_id"], item["ip_address"])
        for item in port["fixed_ips"]
        if ":" not in item["ip_address"]
    ]
    if asked is not None:
        for subnet_id, address in candidates:
            if address == asked:
                return subnet_id, address
        raise BadRequest(
            f"Bad floatingip request: Port {port['id']} does not have fixed ip {asked}"
        )
    if not candidates:
        raise BadRequest(
            f"Bad floatingip request: Cannot add floating IP to port {port['id']} that has no"
            " fixed IPv4 addresses"
        )
    return candidates[0]


def router_to(tx: Tx, network_id: str, subnet_id: str, port_id: str) -> str:
    """Return the router that leads from an external network to a subnet.

    Raises: ExternalGatewayForFloatingIPNotFound.
    """
    gateways = t.ports.alias("gateways")
    statement = (
        sa.select(t.routers.c.id)
        .join(t.ports, t.ports.c.device_id == t.routers.c.id)
        .join(t.ip_allocations, t.ip_allocations.c.port_id == t.ports.c.id)
        .join(t.subnets, t.subnets.c.id == t.ip_allocations.c.subnet_id)
        .join(gateways, gateways.c.id == t.routers.c.gateway_port_id)
        .where(
            t.ports.c.device_owner == store.INTERFACE,
            t.ip_allocations.c.subnet_id == subnet_id,
            gateways.c.network_id == network_id,
        )
        .order_by((t.ip_allocations.c.ip_address == t.subnets.c.gateway_ip).desc(), t.routers.c.id)
        .limit(1)
    )
    found = tx.first(statement)
    if found is None:
        raise ExternalGatewayForFloatingIPNotFound(
            external_network_id=network_id, subnet_id=subnet_id, port_id=port_id
        )
    return str(found.id)


def disassociate(tx: Tx, floatingip_ids: Sequence[str]) -> None:
    """Let floating addresses lead nowhere."""
    c = t.floatingips.c
    found = tx.all(
        sa.select(c.id, c.router_id, c.port_id).where(
            c.id.in_(floatingip_ids), c.port_id.is_not(None)
        )
    )
    if not found:
        return
    tx.update(
        t.floatingips,
        c.id.in_([row.id for row in found]),
        port_id=None,
        fixed_ip_address=None,
        router_id=None,
        status="DOWN",
        revision_number=c.revision_number + 1,
    )
    items: set[changes.Item] = set()
    for router_id in {row.router_id for row in found if row.router_id}:
        items |= changes.router_items(tx, router_id)
    changes.note(tx, items)
    binding.guests_changed(tx, [row.port_id for row in found])


def delete(ctx: Context, tx: Tx, floatingip: Mapping[str, Any]) -> None:
    """Give the address back."""
    rows.check_revision(ctx, floatingip)
    _check_no_forwardings(tx, floatingip["id"])
    row = tx.by(t.floatingips.c.id, floatingip["id"])
    if row is not None:
        remove(tx, row)


def remove(tx: Tx, floatingip: sa.Row[Any]) -> None:
    """Take a floating IP and its port away."""
    disassociate(tx, [floatingip.id])
    tx.delete_by(t.floatingips.c.id, floatingip.id)
    rows.forget(tx, floatingip.id)
    port = tx.by(t.ports.c.id, floatingip.floating_port_id)
    if port is not None:
        port_logic.remove(tx, port)


__all__ = ["OWNER", "SUBNET", "addresses", "associate", "create", "delete", "disassociate"]
