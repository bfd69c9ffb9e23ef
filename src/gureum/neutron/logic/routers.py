"""What can be done with routers: create, gateway, interfaces, static routes, delete.

Follows: Network API v2.0, "Routers".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Struct
from gureum.neutron.errors_l3 import (
    InvalidRoutes,
    RouterExternalGatewayInUseByFloatingIp,
    RouterInUse,
    RoutesExhausted,
)
from gureum.neutron.logic import ipam, l3_scheduling, port_parts, quota
from gureum.neutron.logic import ports as port_logic
from gureum.neutron.store import changes, rows
from gureum.neutron.store import routers as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import View, load_row, reload


def create(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Create a router. Raises: OverQuota, and what set_gateway raises."""
    quota.check(ctx, tx, project_id, "router")
    _refuse_kinds(new)
    router_id = rows.insert(
        tx,
        t.routers,
        project_id=project_id,
        name=new.get("name", "") or "",
        description=new.get("description", "") or "",
        admin_state_up=new.get("admin_state_up", True),
        status="ACTIVE",
        enable_snat=True,
        gateway_port_id=None,
        routes=[],
        availability_zone_hints=list(new.get("availability_zone_hints") or ()),
    )
    if new.get("external_gateway_info"):
        router = reload(ctx, tx, store.ROUTER, router_id)
        set_gateway(ctx, tx, router, new.get("external_gateway_info"))
    return reload(ctx, tx, store.ROUTER, router_id)


def _refuse_kinds(new: Struct) -> None:
    for name in ("ha", "distributed"):
        if new.get(name):
            raise BadRequest(f"Routers with {name}=True are not available in this cloud.")


def update(ctx: Context, tx: Tx, router: Mapping[str, Any], new: Struct) -> View:
    """Change a router. Raises: InvalidRoutes, RoutesExhausted, and what set_gateway raises."""
    rows.check_revision(ctx, router)
    _refuse_kinds(new)
    values: dict[str, Any] = {n: new.get(n) or "" for n in ("name", "description") if new.has(n)}
    if new.has("admin_state_up"):
        values["admin_state_up"] = new.admin_state_up
    rows.update(tx, t.routers, router, **values)
    if new.has("external_gateway_info"):
        set_gateway(ctx, tx, router, new.get("external_gateway_info"))
    if new.has("routes"):
        wanted = [_route(item) for item in new.get("routes") or ()]
        set_routes(tx, router, wanted)
    changes.note(tx, changes.router_items(tx, router["id"]))
    return reload(ctx, tx, store.ROUTER, router["id"])


def delete(ctx: Context, tx: Tx, router: Mapping[str, Any]) -> None:
    """Delete a router without interfaces. Raises: RouterInUse."""
    rows.check_revision(ctx, router)
    router_id = router["id"]
    if store.ports_of(tx, router_id):
        raise RouterInUse(id=router_id)
    if router["gateway_port_id"]:
        clear_gateway(ctx, tx, router)
    items = changes.router_items(tx, router_id)
    c = t.auto_topologies.c
    tx.update(t.auto_topologies, c.router_id == router_id, router_id=None)
    tx.delete_by(t.router_l3_agents.c.router_id, router_id)
    tx.delete_by(t.routers.c.id, router_id)
    rows.forget(tx, router_id)
    changes.note(tx, items)


# --- gateway ------------------------------------------------------------------------------------


def set_gateway(ctx: Context, tx: Tx, router: Mapping[str, Any], info: Struct | None) -> None:
    """Set, change or (None, or without a network) clear the gateway.

    Raises: BadRequest, RouterExternalGatewayInUseByFloatingIp, NetworkNotFound.
    """
    router_id = router["id"]
    if info is None or not info.get("network_id"):
        if router["gateway_port_id"]:
            clear_gateway(ctx, tx, router)
        return
    network = load_row(ctx, tx, NETWORK, info.get("network_id"))
    if not network.router_external:
        raise BadRequest(f"Bad router request: Network {network.id} is not an external network")
    asked = info.get("external_fixed_ips")
    wishes = None if asked is None else port_parts.wishes(tx, asked)
    enable_snat = info.get(
        "enable_snat", router["enable_snat"] if router["gateway_port_id"] else True
    )
    now = router["external_gateway_info"]
    if now is not None and now["network_id"] == network.id:
        if wishes is not None:
            _move_gateway(tx, router, wishes)
    else:
        if now is not None:
            clear_gateway(ctx, tx, router)
        _make_gateway(ctx, tx, router, network.id, wishes)
    tx.update_by(t.routers.c.id, router_id, enable_snat=enable_snat)
    changes.note(tx, changes.router_items(tx, router_id))


def _make_gateway(
    ctx: Context,
    tx: Tx,
    router: Mapping[str, Any],
    network_id: str,
    wishes: Sequence[ipam.Wish] | None,
) -> None:
    for subnet in ipam.subnets_of(tx, network_id):
        check_overlap(tx, router["id"], subnet, network_id)
    port = port_logic.add(
        ctx,
        tx,
        network_id,
        project_id="",
        device_owner=store.GATEWAY,
        device_id=router["id"],
        wishes=wishes,
    )
    if not port["fixed_ips"] and ipam.subnets_of(tx, network_id):
        raise BadRequest(f"Bad router request: No IPs available for external network {network_id}")
    tx.update_by(t.routers.c.id, router["id"], gateway_port_id=port["id"])
    bind_port(tx, router["id"], port["id"])


def bind_port(tx: Tx, router_id: str, port_id: str) -> None:
    """Put a new port on the router's host; scheduling a router moves all its ports."""
    from gureum.neutron.logic import binding

    host = l3_scheduling.host_of(tx, router_id)
    if not host:
        l3_scheduling.ensure(tx, router_id)
        return
    port = tx.by(t.ports.c.id, port_id)
    assert port is not None
    binding.rebind(tx, port._mapping, host)
    changes.note(
        tx,
        changes.port_items(tx, port_id, port.network_id, {host}, (), router_id=router_id),
    )


def _move_gateway(tx: Tx, router: Mapping[str, Any], wishes: Sequence[ipam.Wish]) -> None:
    port = tx.by(t.ports.c.id, router["gateway_port_id"])
    assert port is not None
    place = ipam.Place(port.network_id, port.id, port.mac_address, port.device_owner)
    ipam.change(tx, place, wishes, tx.deps.options.max_fixed_ips_per_port)
    host = l3_scheduling.host_of(tx, router["id"])
    changes.note(
        tx,
        changes.port_items(tx, port.id, port.network_id, {host}, (), router_id=router["id"]),
    )


def clear_gateway(ctx: Context, tx: Tx, router: Mapping[str, Any]) -> None:
    """Remove the gateway. Raises: RouterExternalGatewayInUseByFloatingIp."""
    router_id = router["id"]
    network_id = router["external_gateway_info"]["network_id"]
    c = t.floatingips.c
    using = sa.select(c.id).where(c.router_id == router_id, c.floating_network_id == network_id)
    if tx.first(using) is not None:
        raise RouterExternalGatewayInUseByFloatingIp(router_id=router_id, net_id=network_id)
    gateways = list(store.connected_subnets(tx, router_id, store.GATEWAY))
    check_routes_stay(tx, router_id, router["routes"], gateways)
    tx.update_by(t.routers.c.id, router_id, gateway_port_id=None, enable_snat=True)
    for port in store.ports_of(tx, router_id, store.GATEWAY):
        port_logic.remove(tx, port)


def check_routes_stay(
    tx: Tx, router_id: str, routes: Sequence[Mapping[str, str]], going: Sequence[Any]
) -> None:
    for subnet in going:
        network = ipaddress.ip_network(subnet.cidr)
        if any(inside(network, route["nexthop"]) for route in routes):
            from gureum.neutron.errors_l3 import RouterInterfaceInUseByRoute

            raise RouterInterfaceInUseByRoute(subnet_id=subnet.id, router_id=router_id)


def inside(network: Any, address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.version == network.version and parsed in network


def check_overlap(tx: Tx, router_id: str, subnet: Any, network_id: str) -> None:
    cidr = ipaddress.ip_network(subnet.cidr)
    for other in store.connected_subnets(tx, router_id):
        if other.id == subnet.id:
            if other.device_owner == store.INTERFACE:
                raise BadRequest(
                    f"Bad router request: Router already has a port on subnet {subnet.id}"
                )
            continue
        theirs = ipaddress.ip_network(other.cidr)
        if theirs.version == cidr.version and cidr.overlaps(theirs):  # type: ignore[arg-type]
            raise BadRequest(
                f"Bad router request: Cidr {cidr} of subnet {subnet.id} overlaps with cidr"
                f" {theirs} of subnet {other.id}"
            )


# --- static routes ------------------------------------------------------------------------------


def _route(item: Struct) -> dict[str, str]:
    return {"destination": item.get("destination"), "nexthop": item.get("nexthop")}


def set_routes(tx: Tx, router: Mapping[str, Any], wanted: Sequence[dict[str, str]]) -> None:
    """Replace the static routes. Raises: InvalidRoutes, RoutesExhausted."""
    router_id = router["id"]
    most = tx.deps.options.max_routes
    unique = [dict(pair) for pair in dict.fromkeys(tuple(sorted(r.items())) for r in wanted)]
    if len(unique) > most:
        raise RoutesExhausted(router_id=router_id, quota=most)
    connected = store.connected_subnets(tx, router_id)
    own = {subnet.ip_address for subnet in connected}
    networks = [ipaddress.ip_network(subnet.cidr) for subnet in connected]
    for route in unique:
        if not any(inside(network, route["nexthop"]) for network in networks):
            raise InvalidRoutes(routes=unique, reason="the nexthop is not connected with router")
        if route["nexthop"] in own:
            raise InvalidRoutes(routes=unique, reason="the nexthop is used by router")
    tx.update_by(t.routers.c.id, router_id, routes=unique)
    changes.note(tx, changes.router_items(tx, router_id))


def add_routes(ctx: Context, tx: Tx, router: Mapping[str, Any], more: Sequence[Struct]) -> View:
    """Add static routes to those that are there."""
    wanted = [*router["routes"], *(_route(item) for item in more)]
    set_routes(tx, router, wanted)
    rows.touch(tx, t.routers, router["id"])
    return reload(ctx, tx, store.ROUTER, router["id"])


def remove_routes(ctx: Context, tx: Tx, router: Mapping[str, Any], fewer: Sequence[Struct]) -> View:
    """Remove static routes; one that is not there is fine."""
    gone = [_route(item) for item in fewer]
    left = [route for route in router["routes"] if route not in gone]
    tx.update_by(t.routers.c.id, router["id"], routes=left)
    rows.touch(tx, t.routers, router["id"])
    changes.note(tx, changes.router_items(tx, router["id"]))
    return reload(ctx, tx, store.ROUTER, router["id"])
