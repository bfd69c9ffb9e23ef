"""Networks. Follows: Network API v2.0, "Networks", "Provider extended attributes", "External network"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Id, Integer, ListOf, Page, String, Struct, operation
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
from gureum.neutron.errors import InvalidSharedSetting, NetworkInUse, NetworkNotFound, OverQuota
from gureum.neutron.logic import networks
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import list_page

_TYPE, _PHYSICAL, _SEGMENT = (
    "provider:network_type",
    "provider:physical_network",
    "provider:segmentation_id",
)


class Segment(Struct):
    """One segment of a network with several."""

    provider_network_type = String("Type.", key=_TYPE, null=True)
    provider_physical_network = String("Physical network.", key=_PHYSICAL, null=True, max=64)
    provider_segmentation_id = Integer("Id.", key=_SEGMENT, null=True, max=2**32)


class Network(Standard):
    """A network."""

    admin_state_up = Boolean("Whether it forwards.")
    status = String("ACTIVE, DOWN, BUILD or ERROR.")
    subnets = ListOf(Id(""), "Ids of its subnets.")
    shared = Boolean("Whether other projects may use it.")
    availability_zone_hints = ListOf(String(""), "Wanted availability zones.")
    availability_zones = ListOf(String(""), "Zones of its DHCP agents.")
    mtu = Integer("Largest packet in bytes.")
    port_security_enabled = Boolean("Default of new ports.")
    router_external = Boolean("Whether it leads outside.", key="router:external")
    is_default = Boolean("Whether it is the default external network.")
    dns_domain = String("Domain of its ports.")
    ipv4_address_scope = Id("Scope of its IPv4 subnets.")
    ipv6_address_scope = Id("Scope of its IPv6 subnets.")
    provider_network_type = String("Type.", key=_TYPE, policy=f"get_network:{_TYPE}")
    provider_physical_network = String(
        "Physical network.", key=_PHYSICAL, policy=f"get_network:{_PHYSICAL}"
    )
    provider_segmentation_id = Integer("Id.", key=_SEGMENT, policy=f"get_network:{_SEGMENT}")
    segments = ListOf(Segment, "Segments, if several.", policy="get_network:segments")


class NetworkCreate(StandardCreate):
    """A new network."""

    admin_state_up = Boolean("Whether it forwards.", default=True)
    shared = Boolean("Open it to every project.", default=False, policy="create_network:shared")
    mtu = Integer("Largest packet in bytes; 0: the most that fits.", default=0, min=0)
    port_security_enabled = Boolean(
        "Default of new ports.", default=True, policy="create_network:port_security_enabled"
    )
    router_external = Boolean(
        "It leads outside.",
        key="router:external",
        default=False,
        policy="create_network:router:external",
    )
    is_default = Boolean(
        "The default external network.", default=False, policy="create_network:is_default"
    )
    availability_zone_hints = ListOf(String(""), "Wanted zones.", null=True)
    dns_domain = String("Domain of its ports.", default="")
    provider_network_type = String("Type.", key=_TYPE, null=True, policy=f"create_network:{_TYPE}")
    provider_physical_network = String(
        "Physical network.", key=_PHYSICAL, null=True, max=64, policy=f"create_network:{_PHYSICAL}"
    )
    provider_segmentation_id = Integer(
        "Id.", key=_SEGMENT, null=True, max=2**32, policy=f"create_network:{_SEGMENT}"
    )
    segments = ListOf(Segment, "Segments.", null=True, policy="create_network:segments")


class NetworkUpdate(StandardUpdate):
    """Changes of a network."""

    admin_state_up = Boolean("Whether it forwards.")
    shared = Boolean("Open it to every project.", policy="update_network:shared")
    mtu = Integer("Largest packet in bytes.", min=0)
    port_security_enabled = Boolean(
        "Default of new ports.", policy="update_network:port_security_enabled"
    )
    router_external = Boolean(
        "It leads outside.", key="router:external", policy="update_network:router:external"
    )
    is_default = Boolean("The default external network.", policy="update_network:is_default")
    dns_domain = String("Domain of its ports.")
    provider_network_type = String("Type.", key=_TYPE, policy=f"update_network:{_TYPE}")
    provider_physical_network = String(
        "Physical network.", key=_PHYSICAL, null=True, policy=f"update_network:{_PHYSICAL}"
    )
    provider_segmentation_id = Integer(
        "Id.", key=_SEGMENT, null=True, max=2**32, policy=f"update_network:{_SEGMENT}"
    )


NetworkBody = bulk("network", "networks", NetworkCreate)
NetworkMade = bulk_answer("network", "networks", Network)


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_network", new, target)
    return networks.create(ctx, tx, new, project_id)


@operation(
    "POST",
    "/networks",
    policy="create_network",
    request=NetworkBody,
    response=NetworkMade,
    errors=(OverQuota,),
)
def create_network(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a network, or several."""
    return create_all(ctx, tx, body, "network", "networks", Network, _make)


@operation(
    "GET",
    "/networks",
    policy="get_network",
    query=ListQuery,
    items=Network,
    response_wrap="networks",
    kept=True,
)
def list_networks(ctx: Context, tx: Tx, query: Any) -> Page:
    """List networks."""
    return list_page(ctx, tx, NETWORK, query)


@operation(
    "GET",
    "/networks/{network_id}",
    policy="get_network",
    load=loader(NETWORK),
    target=view_target,
    query=ShowQuery,
    response=Network,
    response_wrap="network",
    errors=(NetworkNotFound,),
    kept=True,
)
def show_network(ctx: Context, tx: Tx, network: View, query: Any) -> View:
    """Show a network."""
    return network


@operation(
    "PUT",
    "/networks/{network_id}",
    policy="update_network",
    load=loader(NETWORK, "update_network"),
    target=view_target,
    wrap="network",
    request=NetworkUpdate,
    response=Network,
    errors=(NetworkNotFound, InvalidSharedSetting),
)
def update_network(ctx: Context, tx: Tx, network: View, new: Any) -> View:
    """Change a network."""
    return networks.update(ctx, tx, network, new)


@operation(
    "DELETE",
    "/networks/{network_id}",
    policy="delete_network",
    load=loader(NETWORK, "delete_network"),
    target=view_target,
    errors=(NetworkNotFound, NetworkInUse),
)
def delete_network(ctx: Context, tx: Tx, network: View) -> None:
    """Delete a network and its subnets."""
    networks.delete(ctx, tx, network)
