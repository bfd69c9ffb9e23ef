"""Ports. Follows: Network API v2.0, "Ports", with its extensions for binding, security, DHCP and DNS."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    Boolean,
    Enum,
    Field,
    Id,
    Invalid,
    IpAddress,
    Json,
    ListOf,
    Mac,
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
from gureum.neutron.api.subnets import IpVersion
from gureum.neutron.errors import (
    IpAddressGenerationFailure,
    MacAddressInUse,
    NetworkNotFound,
    OverQuota,
    PortNotFound,
    ServicePortInUse,
)
from gureum.neutron.logic import ports
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.ports import PORT
from gureum.neutron.store.query import list_page, load

_VNIC_TYPES = (
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
)
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_OPTION_NAME = r"[A-Za-z0-9][A-Za-z0-9_:.-]{0,63}"


class FixedIp(Struct):
    """A wished address."""

    subnet_id = Id("Subnet.", uuid=True, null=True)
    ip_address = IpAddress("Address.", null=True)

    def check(self) -> None:
        """Ask for at least one."""
        if not self.get("subnet_id") and not self.get("ip_address"):
            raise Invalid("fixed_ips", "IP allocation requires subnet_id or ip_address")


class ShownIp(Struct):
    """An address of a port."""

    subnet_id = Id("Subnet.")
    ip_address = String("Address.")


class AddressOrCidr(Field[str]):
    """An address or a network, without host bits."""

    json_type = "string"

    def parser(self, version: Any) -> Any:
        import ipaddress

        def parse(value: Any, path: str) -> str:
            try:
                if not isinstance(value, str):
                    raise ValueError
                if "/" in value:
                    return str(ipaddress.ip_network(value, strict=False))
                return str(ipaddress.ip_address(value))
            except ValueError:
                raise Invalid(
                    path, f"'{str(value)[:60]}' is not a valid IP address", value
                ) from None

        return parse


class AddressPair(Struct):
    """An address that a port may use besides its own."""

    ip_address = AddressOrCidr("Address or CIDR.", required=True)
    mac_address = Mac("MAC; the port's own if missing.", null=True)


class OptionValue(String):
    """The value of a DHCP option: one line of printable text."""

    def parser(self, version: Any) -> Any:
        inner = super().parser(version)

        def parse(value: Any, path: str) -> str:
            text: str = inner(value, path)
            if re.search(r"[\x00-\x1f\x7f\u2028\u2029\x85]", text):
                raise Invalid(path, "the value has a line break or control character", None)
            return text

        return parse


class DhcpOption(Struct):
    """An extra DHCP option of a port."""

    opt_name = String("Name or number.", required=True, max=64, pattern=_OPTION_NAME)
    opt_value = OptionValue("Value; null removes it.", required=True, null=True, min=1)
    ip_version = IpVersion("4 or 6.", default=4)


class DnsName(Field[str]):
    """A host name, or a full name."""

    json_type = "string"

    def parser(self, version: Any) -> Any:
        def parse(value: Any, path: str) -> str:
            if value == "":
                return ""
            labels = value.rstrip(".").split(".") if isinstance(value, str) else [""]
            if len(str(value)) > 255 or not all(re.fullmatch(_LABEL, x) for x in labels):
                raise Invalid(path, f"'{str(value)[:60]}' not a valid PQDN or FQDN", value)
            return str(value).lower()

        return parse


class DnsAssignment(Struct):
    """The name of one address."""

    ip_address = String("Address.")
    hostname = String("Host name.")
    fqdn = String("Full name.")


class Port(Standard):
    """A port."""

    network_id = Id("Its network.")
    mac_address = String("MAC.")
    fixed_ips = ListOf(ShownIp, "Addresses.")
    admin_state_up = Boolean("Whether it forwards.")
    status = String("ACTIVE, DOWN, BUILD, ERROR or N/A.")
    device_id = String("What uses it.")
    device_owner = String("What kind of thing uses it.")
    security_groups = ListOf(Id(""), "Security groups.")
    port_security_enabled = Boolean("Whether it is filtered.")
    allowed_address_pairs = ListOf(AddressPair, "Further allowed addresses.")
    extra_dhcp_opts = ListOf(DhcpOption, "Extra DHCP options.")
    dns_name = String("Name.")
    dns_domain = String("Domain.")
    dns_assignment = ListOf(DnsAssignment, "Names of the addresses.")
    binding_vnic_type = String("Kind of device.", key="binding:vnic_type")
    binding_host_id = String("Host.", key="binding:host_id", policy="get_port:binding:host_id")
    binding_profile = Json(
        "What the host needs to know.", key="binding:profile", policy="get_port:binding:profile"
    )
    binding_vif_type = String(
        "How it is plugged.", key="binding:vif_type", policy="get_port:binding:vif_type"
    )
    binding_vif_details = Json(
        "Details of plugging.", key="binding:vif_details", policy="get_port:binding:vif_details"
    )


class PortCreate(StandardCreate):
    """A new port."""

    network_id = Id("Its network.", uuid=True, required=True)
    mac_address = Mac("MAC.", policy="create_port:mac_address")
    fixed_ips = ListOf(FixedIp, "Addresses.", null=True, max=100, policy="create_port:fixed_ips")
    admin_state_up = Boolean("Whether it forwards.", default=True)
    device_id = String("What uses it.", default="")
    device_owner = String("Kind of user.", default="", policy="create_port:device_owner")
    security_groups = ListOf(Id(""), "Security groups.", null=True, unique=True, max=100)
    port_security_enabled = Boolean("Filter it.", policy="create_port:port_security_enabled")
    allowed_address_pairs = ListOf(
        AddressPair,
        "Further allowed addresses.",
        null=True,
        default=None,
        max=1000,
        policy="create_port:allowed_address_pairs",
    )
    extra_dhcp_opts = ListOf(DhcpOption, "Extra DHCP options.", null=True, max=100)
    dns_name = DnsName("Name.", default="")
    dns_domain = DnsName("Domain.", default="")
    binding_vnic_type = Enum(
        "Kind of device.",
        *_VNIC_TYPES,
        key="binding:vnic_type",
        default="normal",
        policy="create_port:binding:vnic_type",
    )
    binding_host_id = String(
        "Host.", key="binding:host_id", null=True, policy="create_port:binding:host_id"
    )
    binding_profile = Json(
        "What the host needs to know.",
        key="binding:profile",
        kinds=(dict,),
        null=True,
        policy="create_port:binding:profile",
    )
    tags = ListOf(String("", min=1, max=255), "Tags.", max=50)


class PortUpdate(StandardUpdate):
    """Changes of a port."""

    mac_address = Mac("MAC; null for a new one.", null=True, policy="update_port:mac_address")
    fixed_ips = ListOf(FixedIp, "Addresses.", null=True, max=100, policy="update_port:fixed_ips")
    admin_state_up = Boolean("Whether it forwards.")
    device_id = String("What uses it.", null=True)
    device_owner = String("Kind of user.", null=True, policy="update_port:device_owner")
    security_groups = ListOf(Id(""), "Security groups.", null=True, unique=True, max=100)
    port_security_enabled = Boolean("Filter it.", policy="update_port:port_security_enabled")
    allowed_address_pairs = ListOf(
        AddressPair,
        "Further allowed addresses.",
        null=True,
        max=1000,
        policy="update_port:allowed_address_pairs",
    )
    extra_dhcp_opts = ListOf(DhcpOption, "Extra DHCP options.", null=True, max=100)
    dns_name = DnsName("Name.")
    dns_domain = DnsName("Domain.")
    binding_vnic_type = Enum(
        "Kind of device.",
        *_VNIC_TYPES,
        key="binding:vnic_type",
        policy="update_port:binding:vnic_type",
    )
    binding_host_id = String(
        "Host.", key="binding:host_id", null=True, policy="update_port:binding:host_id"
    )
    binding_profile = Json(
        "What the host needs to know.",
        key="binding:profile",
        kinds=(dict,),
        null=True,
        policy="update_port:binding:profile",
    )


PortBody = bulk("port", "ports", PortCreate)
PortMade = bulk_answer("port", "ports", Port)


_OWNER = sa.select(t.networks.c.project_id).where(t.networks.c.id == sa.bindparam("network"))


def load_port(ctx: Context, tx: Tx, port_id: str) -> View:
    """Return a visible port with the owner of its network."""
    view = load(ctx, tx, PORT, port_id)
    project = tx.scalar(_OWNER, {"network": view["network_id"]})
    return {**view, "network:tenant_id": project, "network:project_id": project}


def _enforce_addresses(ctx: Context, tx: Tx, verb: str, new: Any, target: dict[str, Any]) -> None:
    wishes = new.get("fixed_ips") or ()
    for name in ("ip_address", "subnet_id"):
        if any(wish.get(name) for wish in wishes):
            tx.deps.policy.enforce(f"{verb}_port:fixed_ips:{name}", ctx, target)


_OF_NETWORK = frozenset({"shared"})
"""What a new port has to know of its network, beside its row."""


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    network = load(ctx, tx, NETWORK, new.network_id, _OF_NETWORK)
    target = rule_target(
        {
            "project_id": project_id,
            "shared": network["shared"],
            "device_owner": new.get("device_owner", "") or "",
        },
        **{"network:tenant_id": network["project_id"]},
    )
    enforce_create(ctx, tx.deps.policy, "create_port", new, target)
    _enforce_addresses(ctx, tx, "create", new, target)
    usable = network["shared"] or network["project_id"] == ctx.project_id
    if not usable and not ctx.is_admin and "service" not in ctx.roles:
        raise NetworkNotFound(id=new.network_id)
    view = ports.create(ctx, tx, new, network, project_id)
    if new.get("tags"):
        tx.insert_many(
            t.tags,
            [{"resource_id": view["id"], "tag": tag} for tag in sorted(set(new.get("tags")))],
        )
        view["tags"] = sorted(set(new.get("tags")))
    return view


@operation(
    "POST",
    "/ports",
    policy="create_port",
    request=PortBody,
    response=PortMade,
    errors=(NetworkNotFound, OverQuota, IpAddressGenerationFailure, MacAddressInUse),
)
def create_port(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a port, or several."""
    return create_all(ctx, tx, body, "port", "ports", Port, _make)


@operation("GET", "/ports", policy="get_port", query=ListQuery, items=Port, response_wrap="ports", kept=True)
def list_ports(ctx: Context, tx: Tx, query: Any) -> Page:
    """List ports."""
    return list_page(ctx, tx, PORT, query)


@operation(
    "GET",
    "/ports/{port_id}",
    policy="get_port",
    load=load_port,
    target=view_target,
    query=ShowQuery,
    response=Port,
    response_wrap="port",
    errors=(PortNotFound,),
    kept=True,
)
def show_port(ctx: Context, tx: Tx, port: View, query: Any) -> View:
    """Show a port."""
    return port


@operation(
    "PUT",
    "/ports/{port_id}",
    policy="update_port",
    load=loader(PORT, "update_port", load_port),
    target=view_target,
    wrap="port",
    request=PortUpdate,
    response=Port,
    errors=(PortNotFound, IpAddressGenerationFailure, MacAddressInUse),
)
def update_port(ctx: Context, tx: Tx, port: View, new: Any) -> View:
    """Change a port."""
    _enforce_addresses(ctx, tx, "update", new, rule_target(port))
    return ports.update(ctx, tx, port, new)


@operation(
    "DELETE",
    "/ports/{port_id}",
    policy="delete_port",
    load=loader(PORT, "delete_port", load_port),
    target=view_target,
    errors=(PortNotFound, ServicePortInUse),
)
def delete_port(ctx: Context, tx: Tx, port: View) -> None:
    """Delete a port."""
    ports.delete(ctx, tx, port)
