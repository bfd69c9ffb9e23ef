"""What can be done with subnets.

Owns: the checks of CIDR, gateway, pools and IPv6 modes, and what a new subnet means for the ports that
are there already. Follows: Network API v2.0, "Subnets"; RFC 4862 (SLAAC needs a /64).
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Struct
from gureum.neutron.errors import (
    DNSNameServersExhausted,
    GatewayConflictWithAllocationPools,
    HostRoutesExhausted,
    InvalidAllocationPool,
    InvalidInput,
    IpAddressInUse,
    OutOfBoundsAllocationPool,
    OverlappingAllocationPools,
    SubnetInUse,
)
from gureum.neutron.errors_pools import NetworkSubnetPoolAffinityError
from gureum.neutron.logic import dhcp, ipam, quota, subnet_allocation
from gureum.neutron.logic import ports as port_logic
from gureum.neutron.logic.networks import check_mtu
from gureum.neutron.store import addresses, changes, rows
from gureum.neutron.store import ports as port_store
from gureum.neutron.store import subnets as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import View, reload

Net = ipaddress.IPv4Network | ipaddress.IPv6Network
_SLAAC = ("slaac", "dhcpv6-stateless")


def create(ctx: Context, tx: Tx, new: Struct, network: Mapping[str, Any], project_id: str) -> View:
    """Create a subnet. Raises: the errors of this module's imports."""
    quota.check(ctx, tx, project_id, "subnet")
    version = _version(new)
    pool_id = subnet_allocation.pool_of(ctx, tx, new, network, version)
    if pool_id is not None:
        version = tx.scalar(
            sa.select(t.subnetpools.c.ip_version).where(t.subnetpools.c.id == pool_id)
        )
        cidr = subnet_allocation.allocate(tx, pool_id, new, project_id)
    else:
        if not new.get("cidr"):
            raise BadRequest(
                "Bad subnets request: a subnetpool must be specified in the absence of a cidr."
            )
        cidr = ipaddress.ip_network(new.get("cidr"))
    if version is None:
        raise InvalidInput(
            error_message="An ip_version must be specified in the absence of cidr and subnetpool_id"
        )
    check_mtu(network["id"], network["mtu"], version)
    _check_cidr(tx, cidr, version, network["id"], pool_id)
    _check_ipv6(new, version, cidr)
    gateway = _gateway(new, cidr)
    pools = _pools(new, cidr, gateway)
    _check_limits(tx, new)
    subnet_id = rows.new_id()
    rows.insert(
        tx,
        t.subnets,
        id=subnet_id,
        project_id=project_id,
        name=new.get("name", "") or "",
        description=new.get("description", "") or "",
        network_id=network["id"],
        ip_version=version,
        cidr=str(cidr),
        gateway_ip=gateway,
        enable_dhcp=new.get("enable_dhcp", True),
        ipv6_ra_mode=new.get("ipv6_ra_mode"),
        ipv6_address_mode=new.get("ipv6_address_mode"),
        subnetpool_id=pool_id,
        segment_id=None,
        dns_publish_fixed_ip=new.get("dns_publish_fixed_ip", False),
        allocation_pools=pools,
        dns_nameservers=list(new.get("dns_nameservers") or ()),
        host_routes=_routes(new, cidr),
        service_types=list(new.get("service_types") or ()),
    )
    rows.touch(tx, t.networks, network["id"])
    if version == 6:
        _give_auto_addresses(tx, network["id"], subnet_id)
    dhcp.network_changed(ctx, tx, network["id"])
    _note(tx, network["id"])
    return reload(ctx, tx, store.SUBNET, subnet_id)


def _version(new: Struct) -> int | None:
    version = new.get("ip_version")
    cidr = new.get("cidr")
    if cidr and version and ipaddress.ip_network(cidr).version != version:
        raise InvalidInput(error_message=f"ip_version {version} does not match cidr {cidr}")
    if cidr and not version:
        return int(ipaddress.ip_network(cidr).version)
    return version


def _check_cidr(tx: Tx, cidr: Net, version: int, network_id: str, pool_id: str | None) -> None:
    if cidr.prefixlen == 0:
        raise InvalidInput(error_message="0 is not allowed as CIDR prefix length")
    if cidr.is_multicast or cidr.is_loopback:
        raise InvalidInput(error_message="Multicast or loopback IP subnet is not supported")
    for other in ipam.subnets_of(tx, network_id):
        if other.ip_version != version:
            continue
        if cidr.overlaps(ipaddress.ip_network(other.cidr)):  # type: ignore[arg-type]
            raise InvalidInput(
                error_message=f"Requested subnet with cidr: {cidr} for network: {network_id}"
                " overlaps with another subnet"
            )
        if other.subnetpool_id != pool_id:
            raise NetworkSubnetPoolAffinityError()


def _check_ipv6(new: Struct, version: int, cidr: Net) -> None:
    ra, address = new.get("ipv6_ra_mode"), new.get("ipv6_address_mode")
    if version == 4:
        for name, value in (("ipv6_ra_mode", ra), ("ipv6_address_mode", address)):
            if value is not None:
                raise InvalidInput(error_message=f"{name} is not valid when ip_version is 4")
        return
    if (ra or address) and not new.get("enable_dhcp", True):
        raise InvalidInput(
            error_message="ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is"
            " set to False"
        )
    if ra and address and ra != address:
        raise InvalidInput(
            error_message=f"ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}'"
            " is not valid. If both attributes are set, they must be the same value"
        )
    if (ra in _SLAAC or address in _SLAAC) and cidr.prefixlen != 64:
        raise InvalidInput(
            error_message=f"Invalid CIDR {cidr} for IPv6 address mode. OpenStack uses the EUI-64"
            " address format, which requires the prefix to be /64"
        )


def _gateway(new: Struct, cidr: Net) -> str | None:
    if new.has("gateway_ip"):
        asked: str | None = new.get("gateway_ip")
        if asked is not None:
            check_gateway(cidr, asked)
        return asked
    if cidr.num_addresses == 1:
        return str(cidr.network_address)
    if cidr.version == 4 and cidr.prefixlen == 31:
        return str(cidr.network_address)
    return str(cidr.network_address + 1)


def check_gateway(cidr: Net, gateway: str) -> None:
    """Refuse a gateway that no host can be. Raises: InvalidInput."""
    address = ipaddress.ip_address(gateway)
    if address.version != cidr.version:
        raise InvalidInput(
            error_message=f"gateway_ip '{gateway}' is not an IPv{cidr.version} address"
        )
    if cidr.version == 6 and address.is_link_local:
        return
    if cidr.version == 4 and cidr.prefixlen < 31:
        if address in (cidr.network_address, cidr.broadcast_address):
            raise InvalidInput(error_message="Gateway is not valid on subnet")
    elif cidr.version == 6 and cidr.prefixlen < 127 and address == cidr.network_address:
        raise InvalidInput(error_message="Gateway is not valid on subnet")


def _pools(new: Struct, cidr: Net, gateway: str | None) -> list[dict[str, str]]:
    asked = new.get("allocation_pools")
    if asked:
        return check_pools(asked, cidr, gateway)
    return default_pools(cidr, gateway)


def default_pools(cidr: Net, gateway: str | None) -> list[dict[str, str]]:
    """Return every usable address but the gateway as pools."""
    first, last = int(cidr.network_address), int(cidr.broadcast_address)
    kind = type(cidr.network_address)
    if cidr.version == 4 and cidr.prefixlen < 31:
        first, last = first + 1, last - 1
    elif cidr.version == 6 and cidr.prefixlen < 127:
        first += 1
    spans = [(first, last)]
    if gateway is not None:
        hole = int(ipaddress.ip_address(gateway))
        if ipaddress.ip_address(gateway) in cidr:
            spans = [(first, hole - 1), (hole + 1, last)]
            spans = [(a, b) for a, b in ((max(a, first), min(b, last)) for a, b in spans) if a <= b]
    return [{"start": str(kind(a)), "end": str(kind(b))} for a, b in spans]


def check_pools(asked: Sequence[Struct], cidr: Net, gateway: str | None) -> list[dict[str, str]]:
    """Return checked pools in order. Raises: InvalidAllocationPool and its relatives."""
    spans: list[tuple[int, int, dict[str, str]]] = []
    for item in asked:
        start, end = ipaddress.ip_address(item.get("start")), ipaddress.ip_address(item.get("end"))
        shown = f"{start}-{end}"
        if start.version != cidr.version or end.version != cidr.version or int(start) > int(end):
            raise InvalidAllocationPool(pool=shown)
        usable_low = int(cidr.network_address)
        usable_high = int(cidr.broadcast_address)
        if cidr.version == 4 and cidr.prefixlen < 31:
            usable_low, usable_high = usable_low + 1, usable_high - 1
        elif cidr.version == 6 and cidr.prefixlen < 127:
            usable_low += 1
        if int(start) < usable_low or int(end) > usable_high:
            raise OutOfBoundsAllocationPool(pool=shown, cidr=str(cidr))
        spans.append((int(start), int(end), {"start": str(start), "end": str(end)}))
    spans.sort(key=lambda span: span[0])
    for before, after in itertools.pairwise(spans):
        if after[0] <= before[1]:
            raise OverlappingAllocationPools(
                pool_1=_shown(before[2]), pool_2=_shown(after[2]), cidr=str(cidr)
            )
    _check_gateway_outside([span[2] for span in spans], gateway)
    return [span[2] for span in spans]


def _shown(pool: Mapping[str, str]) -> str:
    return f"{pool['start']}-{pool['end']}"


def _check_gateway_outside(pools: Sequence[Mapping[str, str]], gateway: str | None) -> None:
    if gateway is None:
        return
    number = int(ipaddress.ip_address(gateway))
    version = ipaddress.ip_address(gateway).version
    for pool in pools:
        start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        if start.version == version and int(start) <= number <= int(end):
            raise GatewayConflictWithAllocationPools(ip_address=gateway, pool=_shown(pool))


def _check_limits(tx: Tx, new: Struct) -> None:
    options = tx.deps.options
    servers = new.get("dns_nameservers") or ()
    if len(servers) > options.max_dns_nameservers:
        raise DNSNameServersExhausted(quota=options.max_dns_nameservers)
    if len(new.get("host_routes") or ()) > options.max_subnet_host_routes:
        raise HostRoutesExhausted(quota=options.max_subnet_host_routes)


def _routes(new: Struct, cidr: Net) -> list[dict[str, str]]:
    found = []
    for item in new.get("host_routes") or ():
        destination, nexthop = item.get("destination"), item.get("nexthop")
        version = ipaddress.ip_network(destination).version
        if version != cidr.version or ipaddress.ip_address(nexthop).version != cidr.version:
            raise InvalidInput(
                error_message=f"host_routes {destination} via {nexthop} are not IPv{cidr.version}"
            )
        found.append({"destination": destination, "nexthop": nexthop})
    return found


def _give_auto_addresses(tx: Tx, network_id: str, subnet_id: str) -> None:
    subnet = tx.by(t.subnets.c.id, subnet_id)
    if subnet is None or not ipam.is_auto(subnet):
        return
    found = tx.all(
        sa.select(t.ports).where(
            t.ports.c.network_id == network_id,
            t.ports.c.device_owner.not_in((*ipam.ROUTER_OWNERS, "network:floatingip")),
        )
    )
    for port in found:
        own = addresses.Allocated(subnet_id, ipam.eui64(subnet.cidr, port.mac_address))
        addresses.take(tx, network_id, port.id, [own], len(addresses.of_port(tx, port.id)))
        _note_port(tx, port)


def _note_port(tx: Tx, port: Any) -> None:
    host = port_store.binding_of(tx, port.id).host
    groups = port_store.groups_of(tx, [port.id]).get(port.id, [])
    changes.note(tx, changes.port_items(tx, port.id, port.network_id, {host}, groups))


def _note(tx: Tx, network_id: str) -> None:
    items = changes.dhcp_items(tx, network_id) | changes.network_router_items(tx, network_id)
    changes.note(tx, items)


# --- change and delete --------------------------------------------------------------------------


def update(ctx: Context, tx: Tx, subnet: Mapping[str, Any], new: Struct) -> View:
    """Change a subnet. Raises: the errors of this module's imports."""
    rows.check_revision(ctx, subnet)
    cidr = ipaddress.ip_network(subnet["cidr"])
    values: dict[str, Any] = {n: new.get(n) or "" for n in ("name", "description") if new.has(n)}
    for name in ("enable_dhcp", "dns_publish_fixed_ip"):
        if new.has(name):
            values[name] = new.get(name)
    _check_limits(tx, new)
    if new.has("dns_nameservers"):
        values["dns_nameservers"] = list(new.get("dns_nameservers") or ())
    if new.has("host_routes"):
        values["host_routes"] = _routes(new, cidr)
    if new.has("service_types"):
        values["service_types"] = list(new.get("service_types") or ())
    gateway = subnet["gateway_ip"]
    if new.has("gateway_ip") and new.get("gateway_ip") != gateway:
        gateway = values["gateway_ip"] = _new_gateway(tx, subnet, cidr, new.get("gateway_ip"))
    if new.has("allocation_pools"):
        values["allocation_pools"] = check_pools(new.get("allocation_pools") or (), cidr, gateway)
    elif "gateway_ip" in values:
        _check_gateway_outside(subnet["allocation_pools"], gateway)
    if not values.get("enable_dhcp", True) and (
        subnet["ipv6_ra_mode"] or subnet["ipv6_address_mode"]
    ):
        raise InvalidInput(error_message="Cannot disable enable_dhcp with ipv6 attributes set")
    rows.update(tx, t.subnets, subnet, **values)
    dhcp.network_changed(ctx, tx, subnet["network_id"])
    _note(tx, subnet["network_id"])
    return reload(ctx, tx, store.SUBNET, subnet["id"])


def _new_gateway(tx: Tx, subnet: Mapping[str, Any], cidr: Net, gateway: str | None) -> str | None:
    if gateway is not None:
        check_gateway(cidr, gateway)
    now = subnet["gateway_ip"]
    if now is not None:
        holder = addresses.owner_of(tx, subnet["network_id"], now)
        if holder is not None:
            owner = tx.scalar(
                sa.select(t.ports.c.device_owner).where(t.ports.c.id == holder.port_id)
            )
            if owner == "network:router_interface":
                raise GatewayIpInUse(ip_address=now, port_id=holder.port_id)
    return gateway


class GatewayIpInUse(IpAddressInUse):
    """A router has the gateway's address."""

    code = "gateway_in_use"
    text = "Current gateway ip {ip_address} already in use by port {port_id}. Unable to update."


def delete(ctx: Context, tx: Tx, subnet: Mapping[str, Any]) -> None:
    """Delete a subnet whose addresses nobody but the cloud itself uses. Raises: SubnetInUse."""
    rows.check_revision(ctx, subnet)
    subnet_id, network_id = subnet["id"], subnet["network_id"]
    row = tx.by(t.subnets.c.id, subnet_id)
    found = store.user_ports(tx, subnet_id, ("network:dhcp",))
    if row is not None and ipam.is_auto(row):
        found = [port for port in found if port.device_owner in ipam.ROUTER_OWNERS]
    if found:
        raise SubnetInUse(
            id=subnet_id, reason="One or more ports have an IP allocation from this subnet."
        )
    holders = tx.all(
        sa.select(t.ports)
        .join(t.ip_allocations, t.ip_allocations.c.port_id == t.ports.c.id)
        .where(t.ip_allocations.c.subnet_id == subnet_id)
    )
    tx.delete_by(t.ip_allocations.c.subnet_id, subnet_id)
    for port in holders:
        if port.device_owner == "network:dhcp" and not addresses.of_port(tx, port.id):
            port_logic.remove(tx, port)
        else:
            _note_port(tx, port)
    tx.delete_by(t.subnets.c.id, subnet_id)
    rows.forget(tx, subnet_id)
    rows.touch(tx, t.networks, network_id)
    dhcp.network_changed(ctx, tx, network_id)
    _note(tx, network_id)
