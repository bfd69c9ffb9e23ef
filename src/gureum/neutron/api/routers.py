"""Routers. Follows: Network API v2.0, "Routers"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    Boolean,
    Cidr,
    Id,
    IpAddress,
    Json,
    ListOf,
    Nested,
    Page,
    String,
    Struct,
    operation,
)
from gureum.neutron.api.common import (
    ListQuery,
    ShowQuery,
    Standard,
    StandardCreate,
    StandardUpdate,
    View,
    bulk,
    bulk_answer,
    create_all,
    enforce_create,
    loader,
    owner,
    rule_target,
    view_target,
)
from gureum.neutron.errors import IpAddressInUse, OverQuota, PortInUse
from gureum.neutron.errors_l3 import (
    InvalidRoutes,
    RouterExternalGatewayInUseByFloatingIp,
    RouterInterfaceInUseByFloatingIP,
    RouterInterfaceNotFound,
    RouterInUse,
    RouterNotFound,
)
from gureum.neutron.logic import router_interfaces, routers
from gureum.neutron.store.query import list_page
from gureum.neutron.store.routers import ROUTER


class ExternalIp(Struct):
    """An address of the gateway."""

    subnet_id = Id("Subnet.", uuid=True, null=True)
    ip_address = IpAddress("Address.", null=True)


class GatewayInfo(Struct):
    """The gateway of a router."""

    network_id = Id("External network.", uuid=True, null=True)
    enable_snat = Boolean("Hide inner addresses behind the gateway's.")
    external_fixed_ips = ListOf(ExternalIp, "Wished addresses.", null=True, max=100)
    qos_policy_id = String("Not available.", null=True)


class Route(Struct):
    """A static route."""

    destination = Cidr("Where to.", required=True)
    nexthop = IpAddress("Through whom.", required=True)


class Router(Standard):
    """A router."""

    admin_state_up = Boolean("Whether it forwards.")
    status = String("ACTIVE, DOWN or ERROR.")
    external_gateway_info = Json("Gateway, or null.")
    routes = ListOf(Route, "Static routes.")
    distributed = Boolean("Whether it is on every host.", policy="get_router:distributed")
    ha = Boolean("Whether it has standbys.", policy="get_router:ha")
    flavor_id = Id("Flavor.")
    availability_zone_hints = ListOf(String(""), "Wanted zones.")
    availability_zones = ListOf(String(""), "Zones of its agents.")


class RouterCreate(StandardCreate):
    """A new router."""

    admin_state_up = Boolean("Whether it forwards.", default=True)
    external_gateway_info = Nested(
        GatewayInfo, "Gateway.", null=True, policy="create_router:external_gateway_info"
    )
    distributed = Boolean("On every host.", null=True, policy="create_router:distributed")
    ha = Boolean("With standbys.", null=True, policy="create_router:ha")
    availability_zone_hints = ListOf(String(""), "Wanted zones.", null=True)


class RouterUpdate(StandardUpdate):
    """Changes of a router."""

    admin_state_up = Boolean("Whether it forwards.")
    external_gateway_info = Nested(
        GatewayInfo, "Gateway.", null=True, policy="update_router:external_gateway_info"
    )
    routes = ListOf(Route, "Static routes.", null=True, max=1000)
    distributed = Boolean("On every host.", policy="update_router:distributed")
    ha = Boolean("With standbys.", policy="update_router:ha")


class InterfaceChange(Struct):
    """What to connect or disconnect."""

    subnet_id = Id("Subnet.", uuid=True)
    port_id = Id("Port.", uuid=True)


class Interface(Struct):
    """A connection of a router."""

    id = Id("Router.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    port_id = Id("Port.")
    network_id = Id("Network.")
    subnet_id = Id("First subnet.")
    subnet_ids = ListOf(Id(""), "Subnets.")
    tags = ListOf(String(""), "Tags of the router.")


class RoutesChange(Struct):
    """Static routes to add or remove."""

    routes = ListOf(Route, "Static routes.", required=True, max=1000)


class RouterRoutes(Struct):
    """A router with its static routes."""

    id = Id("Router.")
    name = String("Name.")
    routes = ListOf(Route, "Static routes.")


RouterBody = bulk("router", "routers", RouterCreate)
RouterMade = bulk_answer("router", "routers", Router)


def _enforce_gateway(ctx: Context, tx: Tx, verb: str, new: Any, target: Any) -> None:
    info = new.get("external_gateway_info")
    if info is None:
        return
    for name in ("network_id", "enable_snat", "external_fixed_ips"):
        if info.has(name) and info.get(name) is not None:
            rule = f"{verb}_router:external_gateway_info:{name}"
            tx.deps.policy.enforce(rule, ctx, target)


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_router", new, target)
    _enforce_gateway(ctx, tx, "create", new, target)
    return routers.create(ctx, tx, new, project_id)


@operation(
    "POST",
    "/routers",
    policy="create_router",
    request=RouterBody,
    response=RouterMade,
    errors=(OverQuota,),
)
def create_router(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a router, or several."""
    return create_all(ctx, tx, body, "router", "routers", Router, _make)


@operation(
    "GET", "/routers", policy="get_router", query=ListQuery, items=Router, response_wrap="routers", kept=True
)
def list_routers(ctx: Context, tx: Tx, query: Any) -> Page:
    """List routers."""
    return list_page(ctx, tx, ROUTER, query)


@operation(
    "GET",
    "/routers/{router_id}",
    policy="get_router",
    load=loader(ROUTER),
    target=view_target,
    query=ShowQuery,
    response=Router,
    response_wrap="router",
    errors=(RouterNotFound,),
    kept=True,
)
def show_router(ctx: Context, tx: Tx, router: View, query: Any) -> View:
    """Show a router."""
    return router


@operation(
    "PUT",
    "/routers/{router_id}",
    policy="update_router",
    load=loader(ROUTER, "update_router"),
    target=view_target,
    wrap="router",
    request=RouterUpdate,
    response=Router,
    errors=(RouterNotFound, InvalidRoutes, RouterExternalGatewayInUseByFloatingIp),
)
def update_router(ctx: Context, tx: Tx, router: View, new: Any) -> View:
    """Change a router, its gateway, its static routes."""
    _enforce_gateway(ctx, tx, "update", new, rule_target(router))
    return routers.update(ctx, tx, router, new)


@operation(
    "DELETE",
    "/routers/{router_id}",
    policy="delete_router",
    load=loader(ROUTER, "delete_router"),
    target=view_target,
    errors=(RouterNotFound, RouterInUse),
)
def delete_router(ctx: Context, tx: Tx, router: View) -> None:
    """Delete a router without interfaces."""
    routers.delete(ctx, tx, router)


@operation(
    "PUT",
    "/routers/{router_id}/add_router_interface",
    policy="add_router_interface",
    load=loader(ROUTER, "add_router_interface"),
    target=view_target,
    request=InterfaceChange,
    response=Interface,
    errors=(RouterNotFound, PortInUse, IpAddressInUse),
)
def add_router_interface(ctx: Context, tx: Tx, router: View, new: Any) -> View:
    """Connect a router to a subnet, by subnet or by port."""
    return router_interfaces.add(ctx, tx, router, new)


@operation(
    "PUT",
    "/routers/{router_id}/remove_router_interface",
    policy="remove_router_interface",
    load=loader(ROUTER, "remove_router_interface"),
    target=view_target,
    request=InterfaceChange,
    response=Interface,
    errors=(RouterNotFound, RouterInterfaceNotFound, RouterInterfaceInUseByFloatingIP),
)
def remove_router_interface(ctx: Context, tx: Tx, router: View, new: Any) -> View:
    """Disconnect a router from a subnet."""
    return router_interfaces.remove(ctx, tx, router, new)


@operation(
    "PUT",
    "/routers/{router_id}/add_extraroutes",
    policy="add_extraroutes",
    load=loader(ROUTER, "add_extraroutes"),
    target=view_target,
    wrap="router",
    request=RoutesChange,
    response=RouterRoutes,
    errors=(RouterNotFound, InvalidRoutes),
)
def add_extraroutes(ctx: Context, tx: Tx, router: View, new: Any) -> View:
    """Add static routes to a router."""
    return routers.add_routes(ctx, tx, router, new.routes)


@operation(
    "PUT",
    "/routers/{router_id}/remove_extraroutes",
    policy="remove_extraroutes",
    load=loader(ROUTER, "remove_extraroutes"),
    target=view_target,
    wrap="router",
    request=RoutesChange,
    response=RouterRoutes,
    errors=(RouterNotFound,),
)
def remove_extraroutes(ctx: Context, tx: Tx, router: View, new: Any) -> View:
    """Remove static routes from a router."""
    return routers.remove_routes(ctx, tx, router, new.routes)
