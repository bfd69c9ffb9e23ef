"""Subnets. Follows: Network API v2.0, "Subnets"."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    Boolean,
    Cidr,
    Enum,
    Id,
    Integer,
    Invalid,
    IpAddress,
    ListOf,
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
from gureum.neutron.errors import (
    GatewayConflictWithAllocationPools,
    NetworkNotFound,
    OverQuota,
    SubnetInUse,
    SubnetNotFound,
)
from gureum.neutron.logic import subnets
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import list_page, load
from gureum.neutron.store.subnets import SUBNET

_MODES = ("dhcpv6-stateful", "dhcpv6-stateless", "slaac")


class IpVersion(Integer):
    """4 or 6."""

    def __init__(self, text: str, **common: Any) -> None:
        super().__init__(text, **common)

    def parser(self, version: Any) -> Any:
        inner = super().parser(version)

        def parse(value: Any, path: str) -> int:
            number: int = inner(value, path)
            if number not in (4, 6):
                raise Invalid(path, f"'{number}' is not in [4, 6]", value)
            return number

        return parse


class Pool(Struct):
    """A range of addresses."""

    start = IpAddress("First address.", required=True)
    end = IpAddress("Last address.", required=True)


class HostRoute(Struct):
    """A static route."""

    destination = Cidr("Where to.", required=True)
    nexthop = IpAddress("Through whom.", required=True)


class Subnet(Standard):
    """A subnet."""

    network_id = Id("Its network.")
    ip_version = Integer("4 or 6.")
    cidr = String("Its addresses.")
    gateway_ip = String("Gateway, or null.")
    allocation_pools = ListOf(Pool, "Ranges that ports get addresses from.")
    dns_nameservers = ListOf(String(""), "Name servers for guests.")
    host_routes = ListOf(HostRoute, "Routes for guests.")
    enable_dhcp = Boolean("Whether DHCP serves it.")
    ipv6_ra_mode = String("Who sends router advertisements, and how.")
    ipv6_address_mode = String("How guests get IPv6 addresses.")
    subnetpool_id = Id("Pool that it was taken from.")
    segment_id = Id("Segment.", policy="get_subnet:segment_id")
    service_types = ListOf(String(""), "Device owners that it is kept for.")
    dns_publish_fixed_ip = Boolean("Whether fixed addresses are published.")
    shared = Boolean("Whether its network is shared.")


class SubnetCreate(StandardCreate):
    """A new subnet."""

    network_id = Id("Its network.", uuid=True, required=True)
    ip_version = IpVersion("4 or 6.", null=True)
    cidr = Cidr("Its addresses.", null=True)
    prefixlen = Integer("Size to take from a pool.", null=True, min=0, max=128)
    gateway_ip = IpAddress("Gateway; null for none.", null=True)
    allocation_pools = ListOf(Pool, "Ranges that ports get addresses from.", max=100)
    dns_nameservers = ListOf(IpAddress(""), "Name servers.", null=True, unique=True, max=100)
    host_routes = ListOf(HostRoute, "Routes.", null=True, unique=True, max=1000)
    enable_dhcp = Boolean("Whether DHCP serves it.", default=True)
    ipv6_ra_mode = Enum("Router advertisements.", *_MODES, null=True)
    ipv6_address_mode = Enum("How guests get addresses.", *_MODES, null=True)
    subnetpool_id = String("Pool to take it from.", null=True)
    use_default_subnetpool = Boolean("Take it from the default pool.", default=False)
    segment_id = Id("Segment.", null=True, policy="create_subnet:segment_id")
    service_types = ListOf(
        String("", max=255), "Device owners.", unique=True, policy="create_subnet:service_types"
    )
    dns_publish_fixed_ip = Boolean("Publish fixed addresses.", default=False)


class SubnetUpdate(StandardUpdate):
    """Changes of a subnet."""

    gateway_ip = IpAddress("Gateway; null for none.", null=True)
    allocation_pools = ListOf(Pool, "Ranges that ports get addresses from.", max=100)
    dns_nameservers = ListOf(IpAddress(""), "Name servers.", null=True, unique=True, max=100)
    host_routes = ListOf(HostRoute, "Routes.", null=True, unique=True, max=1000)
    enable_dhcp = Boolean("Whether DHCP serves it.")
    segment_id = Id("Segment.", null=True, policy="update_subnet:segment_id")
    service_types = ListOf(
        String("", max=255), "Device owners.", unique=True, policy="update_subnet:service_types"
    )
    dns_publish_fixed_ip = Boolean("Publish fixed addresses.")


SubnetBody = bulk("subnet", "subnets", SubnetCreate)
SubnetMade = bulk_answer("subnet", "subnets", Subnet)


def load_subnet(ctx: Context, tx: Tx, subnet_id: str) -> View:
    """Return a visible subnet with the owner of its network."""
    view = load(ctx, tx, SUBNET, subnet_id)
    project = tx.scalar(
        sa.select(t.networks.c.project_id).where(t.networks.c.id == view["network_id"])
    )
    return {**view, "network:tenant_id": project, "network:project_id": project}


_OF_NETWORK = frozenset({"shared"})
"""What a new subnet has to know of its network, beside its row."""


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    network = load(ctx, tx, NETWORK, new.network_id, _OF_NETWORK)
    target = rule_target(
        {"project_id": project_id, "shared": network["shared"]},
        **{"network:tenant_id": network["project_id"]},
    )
    enforce_create(ctx, tx.deps.policy, "create_subnet", new, target)
    if network["project_id"] != ctx.project_id and not ctx.is_admin:
        tx.deps.policy.enforce("update_network", ctx, rule_target(network))
    return subnets.create(ctx, tx, new, network, project_id)


@operation(
    "POST",
    "/subnets",
    policy="create_subnet",
    request=SubnetBody,
    response=SubnetMade,
    errors=(NetworkNotFound, OverQuota),
)
def create_subnet(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a subnet, or several."""
    return create_all(ctx, tx, body, "subnet", "subnets", Subnet, _make)


@operation(
    "GET",
    "/subnets",
    policy="get_subnet",
    query=ListQuery,
    items=Subnet,
    response_wrap="subnets",
    kept=True,
)
def list_subnets(ctx: Context, tx: Tx, query: Any) -> Page:
    """List subnets."""
    return list_page(ctx, tx, SUBNET, query)


@operation(
    "GET",
    "/subnets/{subnet_id}",
    policy="get_subnet",
    load=load_subnet,
    target=view_target,
    query=ShowQuery,
    response=Subnet,
    response_wrap="subnet",
    errors=(SubnetNotFound,),
    kept=True,
)
def show_subnet(ctx: Context, tx: Tx, subnet: View, query: Any) -> View:
    """Show a subnet."""
    return subnet


@operation(
    "PUT",
    "/subnets/{subnet_id}",
    policy="update_subnet",
    load=loader(SUBNET, "update_subnet", load_subnet),
    target=view_target,
    wrap="subnet",
    request=SubnetUpdate,
    response=Subnet,
    errors=(SubnetNotFound, GatewayConflictWithAllocationPools),
)
def update_subnet(ctx: Context, tx: Tx, subnet: View, new: Any) -> View:
    """Change a subnet."""
    return subnets.update(ctx, tx, subnet, new)


@operation(
    "DELETE",
    "/subnets/{subnet_id}",
    policy="delete_subnet",
    load=loader(SUBNET, "delete_subnet", load_subnet),
    target=view_target,
    errors=(SubnetNotFound, SubnetInUse),
)
def delete_subnet(ctx: Context, tx: Tx, subnet: View) -> None:
    """Delete a subnet."""
    subnets.delete(ctx, tx, subnet)
