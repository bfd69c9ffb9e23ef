"""Port forwardings of floating IPs. Follows: Network API v2.0, "Floating IPs port forwarding"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Enum, Id, Integer, IpAddress, Page, String, Struct, operation
from gureum.neutron.api.common import ListQuery, ShowQuery, View, rule_target
from gureum.neutron.errors_l3 import (
    FipInUseByPortForwarding,
    FloatingIPNotFound,
    PortForwardingAlreadyExists,
    PortForwardingNotFound,
)
from gureum.neutron.logic import port_forwardings
from gureum.neutron.store import tables as t
from gureum.neutron.store.port_forwardings import PORT_FORWARDING
from gureum.neutron.store.query import list_page, load
from gureum.neutron.store.routers import FLOATINGIP

_PROTOCOLS = ("tcp", "udp")
_RANGE = r"\d{1,5}(:\d{1,5})?"


class PortForwarding(Struct):
    """A port forwarding."""

    id = Id("Id.")
    protocol = String("Protocol.")
    external_port = Integer("Port outside.")
    external_port_range = String("Ports outside.")
    internal_port = Integer("Port inside.")
    internal_port_range = String("Ports inside.")
    internal_port_id = Id("Port of the network inside.")
    internal_ip_address = String("Its address.")
    description = String("Free text.")


class PortForwardingCreate(Struct):
    """A new forwarding."""

    protocol = Enum("Protocol.", *_PROTOCOLS, fold=True, required=True)
    external_port = Integer("Port outside.", min=1, max=65535)
    external_port_range = String("Ports outside.", pattern=_RANGE)
    internal_port = Integer("Port inside.", min=1, max=65535)
    internal_port_range = String("Ports inside.", pattern=_RANGE)
    internal_port_id = Id("Port of the network inside.", uuid=True, required=True)
    internal_ip_address = IpAddress("Its address.", version=4, null=True)
    description = String("Free text.", default="")


class PortForwardingUpdate(Struct):
    """Changes of a forwarding."""

    protocol = Enum("Protocol.", *_PROTOCOLS, fold=True)
    external_port = Integer("Port outside.", min=1, max=65535)
    external_port_range = String("Ports outside.", pattern=_RANGE)
    internal_port = Integer("Port inside.", min=1, max=65535)
    internal_port_range = String("Ports inside.", pattern=_RANGE)
    internal_port_id = Id("Port of the network inside.", uuid=True)
    internal_ip_address = IpAddress("Its address.", version=4, null=True)
    description = String("Free text.")


def load_parent(ctx: Context, tx: Tx, floatingip_id: str, *forwarding_id: str) -> View:
    """Return a visible floating IP, and its forwarding under `_forwarding`."""
    view = load(ctx, tx, FLOATINGIP, floatingip_id)
    if not forwarding_id:
        return view
    forwarding = load(ctx, tx, PORT_FORWARDING, forwarding_id[0])
    if forwarding["floatingip_id"] != floatingip_id:  # the child of another parent
        raise PortForwardingNotFound(id=forwarding_id[0])
    return {**view, "_forwarding": forwarding}


def _target(ctx: Context, view: View, new: Any) -> Any:
    return rule_target(
        {"project_id": view["project_id"]}, **{"ext_parent:tenant_id": view["project_id"]}
    )


_PATH = "/floatingips/{floatingip_id}/port_forwardings"


@operation(
    "POST",
    _PATH,
    policy="create_floatingip_port_forwarding",
    load=load_parent,
    target=_target,
    wrap="port_forwarding",
    request=PortForwardingCreate,
    response=PortForwarding,
    errors=(FloatingIPNotFound, FipInUseByPortForwarding, PortForwardingAlreadyExists),
)
def create_port_forwarding(ctx: Context, tx: Tx, floatingip: View, new: Any) -> View:
    """Let a port of a floating IP lead to a port of a fixed address."""
    return port_forwardings.create(ctx, tx, floatingip, new)


@operation(
    "GET",
    _PATH,
    policy="get_floatingip_port_forwarding",
    load=load_parent,
    target=_target,
    query=ListQuery,
    items=PortForwarding,
    response_wrap="port_forwardings",
)
def list_port_forwardings(ctx: Context, tx: Tx, floatingip: View, query: Any) -> Page:
    """List the port forwardings of a floating IP."""
    where = t.port_forwardings.c.floatingip_id == floatingip["id"]
    return list_page(ctx, tx, PORT_FORWARDING, query, where)


@operation(
    "GET",
    _PATH + "/{port_forwarding_id}",
    policy="get_floatingip_port_forwarding",
    load=load_parent,
    target=_target,
    query=ShowQuery,
    response=PortForwarding,
    response_wrap="port_forwarding",
    errors=(PortForwardingNotFound,),
)
def show_port_forwarding(ctx: Context, tx: Tx, floatingip: View, query: Any) -> View:
    """Show a port forwarding."""
    forwarding: View = floatingip["_forwarding"]
    return forwarding


@operation(
    "PUT",
    _PATH + "/{port_forwarding_id}",
    policy="update_floatingip_port_forwarding",
    load=load_parent,
    target=_target,
    wrap="port_forwarding",
    request=PortForwardingUpdate,
    response=PortForwarding,
    errors=(PortForwardingNotFound, PortForwardingAlreadyExists),
)
def update_port_forwarding(ctx: Context, tx: Tx, floatingip: View, new: Any) -> View:
    """Change a port forwarding."""
    return port_forwardings.update(ctx, tx, floatingip, floatingip["_forwarding"], new)


@operation(
    "DELETE",
    _PATH + "/{port_forwarding_id}",
    policy="delete_floatingip_port_forwarding",
    load=load_parent,
    target=_target,
    errors=(PortForwardingNotFound,),
)
def delete_port_forwarding(ctx: Context, tx: Tx, floatingip: View) -> None:
    """Remove a port forwarding."""
    port_forwardings.delete(tx, floatingip["_forwarding"]["id"])
