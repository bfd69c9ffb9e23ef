"""What a router means on a host: devices, addresses, routes, router advertisements. Pure.

Owns: the translation of a `Router` into what plumbing/ understands. Must not: do I/O.
Facts: https://docs.openstack.org/api-ref/network/v2/#routers-routers.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from gureum.neutron.agents.contract import Router, RouterPort, SubnetInfo
from gureum.neutron.agents.plumbing.links import Device, RouteHop, canonical
from gureum.neutron.agents.plumbing.proxy import METADATA_IPV6

INTERNAL_PREFIX = "qr-"
GATEWAY_PREFIX = "qg-"


@dataclass(frozen=True, slots=True)
class PlannedPort:
    """A router's port and the device that stands for it."""

    port: RouterPort
    device: Device
    is_gateway: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything wanted in one router namespace; `refused` says what cannot be made true.

    ipv6_metadata: the devices on which the metadata service has its IPv6 address.
    """

    ports: tuple[PlannedPort, ...]
    routes: tuple[RouteHop, ...]
    refused: tuple[str, ...]
    ipv6_metadata: tuple[str, ...] = ()

    @property
    def gateway(self) -> PlannedPort | None:
        """Return the external port, if there is one."""
        return next((port for port in self.ports if port.is_gateway), None)


def device_name(prefix: str, port_id: str) -> str:
    """Return `qr-` or `qg-` and the first eleven characters of the port's id."""
    return f"{prefix}{port_id[:11]}"


def plan(router: Router, *, ipv6_metadata: bool = False) -> Plan:
    """Return what a router wants of its namespace."""
    asked = [
        port.id
        for port in router.interfaces
        if ipv6_metadata
        and port.admin_state_up
        and any(subnet.ip_version == 6 for subnet in port.subnets)
    ]
    address = (f"{METADATA_IPV6}/64",)
    ports = [
        _port(port, INTERNAL_PREFIX, address if port.id in asked else ())
        for port in router.interfaces
    ]
    if router.gateway:
        ports.append(_port(router.gateway, GATEWAY_PREFIX, _floating_addresses(router)))
    routes, refused = _routes(router, ports)
    devices = tuple(device_name(INTERNAL_PREFIX, port_id) for port_id in asked)
    return Plan(tuple(ports), tuple(routes), tuple(refused), devices)


def own_addresses(port: RouterPort) -> list[str]:
    """Return the addresses of a port as `address/length`."""
    return [canonical(f"{ip.ip_address}/{ip.prefix_len}") for ip in port.fixed_ips]


def gateway_ipv4(router: Router) -> str | None:
    """Return the IPv4 address that internal networks are hidden behind."""
    if router.gateway is None:
        return None
    for fixed in router.gateway.fixed_ips:
        if ipaddress.ip_address(fixed.ip_address).version == 4:
            return fixed.ip_address
    return None


def _floating_addresses(router: Router) -> tuple[str, ...]:
    return tuple(
        canonical(f"{floating.floating_ip_address}/32")
        for floating in router.floating_ips
        if floating.fixed_ip_address or floating.port_forwardings
    )


def _port(port: RouterPort, prefix: str, more: tuple[str, ...]) -> PlannedPort:
    name = device_name(prefix, port.id)
    addresses = dict.fromkeys([*own_addresses(port), *more])
    device = Device(name, port.mac_address, port.mtu, tuple(addresses), port.admin_state_up)
    return PlannedPort(port, device, prefix == GATEWAY_PREFIX)


def _routes(router: Router, ports: list[PlannedPort]) -> tuple[list[RouteHop], list[str]]:
    hops: list[RouteHop] = []
    refused: list[str] = []
    for route in router.routes:
        device = _device_towards(route.nexthop, ports)
        if device is None:
            refused.append(f"route {route.destination}: {route.nexthop} is on no connected subnet")
        else:
            hops.append(RouteHop(route.destination, route.nexthop, device))
    set_defaults: set[int] = {
        ipaddress.ip_network(hop.destination, strict=False).version
        for hop in hops
        if ipaddress.ip_network(hop.destination, strict=False).prefixlen == 0
    }
    for port in ports:
        if port.is_gateway and port.device.up:
            hops += _outside_routes(port, set_defaults)
    return hops, refused


def _outside_routes(gateway: PlannedPort, set_defaults: set[int]) -> list[RouteHop]:
    """Default routes by version, and subnets of the external network that are on the link."""
    hops = []
    connected = [ipaddress.ip_interface(address).network for address in gateway.device.addresses]
    done = set(set_defaults)
    for subnet in gateway.port.subnets:
        if not subnet.gateway_ip or subnet.ip_version in done:
            continue
        done.add(subnet.ip_version)
        everything = "0.0.0.0/0" if subnet.ip_version == 4 else "::/0"
        neighbour = ipaddress.ip_address(subnet.gateway_ip)
        onlink = not neighbour.is_link_local and not _within(neighbour, connected)
        hops.append(RouteHop(everything, subnet.gateway_ip, gateway.device.name, onlink))
    for subnet in gateway.port.extra_subnets:
        network = ipaddress.ip_network(subnet.cidr)
        if network not in connected:
            hops.append(RouteHop(subnet.cidr, None, gateway.device.name))
    return hops


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _within(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address.version == net.version and address in net for net in networks)


def _device_towards(nexthop: str, ports: list[PlannedPort]) -> str | None:
    address = ipaddress.ip_address(nexthop)
    for port in ports:
        networks = [ipaddress.ip_interface(text).network for text in port.device.addresses]
        if port.device.up and _within(address, networks):
            return port.device.name
    return None


# --- router advertisements -------------------------------------------------------------------------


def advertised(port: RouterPort) -> list[SubnetInfo]:
    """Return the IPv6 subnets that the router announces on a port."""
    return [s for s in port.subnets if s.ip_version == 6 and s.ipv6_ra_mode]


def radvd_config(router: Router, min_interval_s: int, max_interval_s: int) -> str:
    """Return radvd.conf of a router, or the empty text when it has nothing to announce."""
    blocks = []
    for port in router.interfaces:
        subnets = advertised(port)
        if subnets and port.admin_state_up:
            blocks.append(_radvd_interface(port, subnets, min_interval_s, max_interval_s))
    return "\n".join(blocks)


def _radvd_interface(
    port: RouterPort, subnets: list[SubnetInfo], min_interval_s: int, max_interval_s: int
) -> str:
    modes = {subnet.ipv6_ra_mode for subnet in subnets}
    lines = [
        f"interface {device_name(INTERNAL_PREFIX, port.id)}",
        "{",
        "  AdvSendAdvert on;",
        f"  MinRtrAdvInterval {min_interval_s};",
        f"  MaxRtrAdvInterval {max_interval_s};",
        f"  AdvLinkMTU {port.mtu};",
    ]
    if "dhcpv6-stateful" in modes:
        lines.append("  AdvManagedFlag on;")
    if "dhcpv6-stateless" in modes:
        lines.append("  AdvOtherConfigFlag on;")
    servers = [dns for subnet in subnets for dns in subnet.dns_nameservers if ":" in dns]
    servers = [dns for dns in dict.fromkeys(servers) if dns != "::"]
    if servers and modes != {"dhcpv6-stateful"}:
        lines.append(f"  RDNSS {' '.join(servers[:3])} {{}};")
    for subnet in subnets:
        autonomous = "off" if subnet.ipv6_ra_mode == "dhcpv6-stateful" else "on"
        network = ipaddress.ip_network(subnet.cidr)
        lines += [f"  prefix {network}", "  {", "    AdvOnLink on;"]
        lines += [f"    AdvAutonomous {autonomous};", "  };"]
    lines += ["};", ""]
    return "\n".join(lines)
