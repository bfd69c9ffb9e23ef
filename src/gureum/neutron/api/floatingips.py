"""Floating IPs. Follows: Network API v2.0, "Floating IPs"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Id, IpAddress, Json, Page, String, operation
from gureum.neutron.api.common import (
    ListQuery,
    ShowQuery,
    Unnamed,
    UnnamedCreate,
    UnnamedUpdate,
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
from gureum.neutron.api.ports import DnsName
from gureum.neutron.errors import IpAddressGenerationFailure, OverQuota
from gureum.neutron.errors_l3 import (
    ExternalGatewayForFloatingIPNotFound,
    FloatingIPNotFound,
    FloatingIPPortAlreadyAssociated,
)
from gureum.neutron.logic import floatingips
from gureum.neutron.store.query import list_page
from gureum.neutron.store.routers import FLOATINGIP


class FloatingIp(Unnamed):
    """A floating IP."""

    floating_network_id = Id("External network.")
    floating_ip_address = String("Address outside.")
    fixed_ip_address = String("Address inside, or null.")
    port_id = Id("Port inside, or null.")
    router_id = Id("Router that leads there, or null.")
    status = String("ACTIVE, DOWN or ERROR.")
    port_details = Json("Of the port inside, or null.")
    port_forwardings = Json("Ports that lead to ports inside.")
    dns_name = String("Name.")
    dns_domain = String("Domain.")


class FloatingIpCreate(UnnamedCreate):
    """A new floating IP."""

    floating_network_id = Id("External network.", uuid=True, required=True)
    port_id = Id("Port inside.", uuid=True, null=True)
    fixed_ip_address = IpAddress("Address inside.", null=True)
    floating_ip_address = IpAddress(
        "Wished address outside.", null=True, policy="create_floatingip:floating_ip_address"
    )
    subnet_id = Id("Subnet of the external network.", uuid=True, null=True)
    dns_name = DnsName("Name.", default="")
    dns_domain = DnsName("Domain.", default="")


class FloatingIpUpdate(UnnamedUpdate):
    """Changes of a floating IP."""

    port_id = Id("Port inside; null disassociates.", uuid=True, null=True)
    fixed_ip_address = IpAddress("Address inside.", null=True)


FloatingIpBody = bulk("floatingip", "floatingips", FloatingIpCreate)
FloatingIpMade = bulk_answer("floatingip", "floatingips", FloatingIp)


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_floatingip", new, target)
    return floatingips.create(ctx, tx, new, project_id)


@operation(
    "POST",
    "/floatingips",
    policy="create_floatingip",
    request=FloatingIpBody,
    response=FloatingIpMade,
    errors=(OverQuota, IpAddressGenerationFailure, ExternalGatewayForFloatingIPNotFound),
)
def create_floatingip(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a floating IP, or several."""
    return create_all(ctx, tx, body, "floatingip", "floatingips", FloatingIp, _make)


@operation(
    "GET",
    "/floatingips",
    policy="get_floatingip",
    query=ListQuery,
    items=FloatingIp,
    response_wrap="floatingips",
    kept=True,
)
def list_floatingips(ctx: Context, tx: Tx, query: Any) -> Page:
    """List floating IPs."""
    return list_page(ctx, tx, FLOATINGIP, query)


@operation(
    "GET",
    "/floatingips/{floatingip_id}",
    policy="get_floatingip",
    load=loader(FLOATINGIP),
    target=view_target,
    query=ShowQuery,
    response=FloatingIp,
    response_wrap="floatingip",
    errors=(FloatingIPNotFound,),
    kept=True,
)
def show_floatingip(ctx: Context, tx: Tx, floatingip: View, query: Any) -> View:
    """Show a floating IP."""
    return floatingip


@operation(
    "PUT",
    "/floatingips/{floatingip_id}",
    policy="update_floatingip",
    load=loader(FLOATINGIP, "update_floatingip"),
    target=view_target,
    wrap="floatingip",
    request=FloatingIpUpdate,
    response=FloatingIp,
    errors=(
        FloatingIPNotFound,
        FloatingIPPortAlreadyAssociated,
        ExternalGatewayForFloatingIPNotFound,
    ),
)
def update_floatingip(ctx: Context, tx: Tx, floatingip: View, new: Any) -> View:
    """Change a floating IP, associate or disassociate it."""
    return floatingips.update(ctx, tx, floatingip, new)


@operation(
    "DELETE",
    "/floatingips/{floatingip_id}",
    policy="delete_floatingip",
    load=loader(FLOATINGIP, "delete_floatingip"),
    target=view_target,
    errors=(FloatingIPNotFound,),
)
def delete_floatingip(ctx: Context, tx: Tx, floatingip: View) -> None:
    """Give a floating IP back."""
    floatingips.delete(ctx, tx, floatingip)
