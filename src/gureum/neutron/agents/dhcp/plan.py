"""What a network's DHCP means on a host: device, routes, dnsmasq's arguments and files. Pure.

Owns: the translation of a `DhcpNetwork`. Must not: do I/O.
Follows: dnsmasq(8); RFC 2131, RFC 3442 (who gets option 121 ignores option 3, so the default route stands
in both), RFC 8415. Facts about the modes: https://docs.openstack.org/api-ref/network/v2/#subnets.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gureum.neutron.agents.contract import DhcpNetwork, DhcpPort, FixedIp, SubnetInfo
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.dhcp.options import BadOption, is_hostname, typed
from gureum.neutron.agents.plumbing.links import Device, RouteHop, canonical
from gureum.neutron.agents.plumbing.proxy import METADATA_IPV4, METADATA_IPV6

_DHCPV6_MODES = ("dhcpv6-stateful", "dhcpv6-stateless")
_NO_SERVER = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Served:
    """A subnet with DHCP, and the address that the DHCP port has in it."""

    subnet: SubnetInfo
    own: FixedIp

    @property
    def tag(self) -> str:
        """Return dnsmasq's tag of the subnet."""
        return f"subnet-{self.subnet.id}"


@dataclass(frozen=True, slots=True)
class Files:
    """The files that dnsmasq reads again at a SIGHUP."""

    hosts: str
    opts: str
    addn_hosts: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything wanted in one DHCP namespace."""

    network: DhcpNetwork
    served: tuple[Served, ...]
    device: Device
    routes: tuple[RouteHop, ...]
    metadata_ipv4: bool
    metadata_ipv6: bool
    files: Files
    bindings: dict[str, str]
    refused: tuple[str, ...]

    @property
    def metadata(self) -> bool:
        """Whether metadata is served at all."""
        return self.metadata_ipv4 or self.metadata_ipv6


def tap(port_id: str) -> str:
    """Return the DHCP port's interface name."""
    return f"tap{port_id[:11]}"


def served(network: DhcpNetwork) -> tuple[Served, ...]:
    """Return the subnets that this network's dnsmasq serves."""
    own = {fixed.subnet_id: fixed for fixed in network.dhcp_port_ips}
    return tuple(
        Served(subnet, own[subnet.id])
        for subnet in network.subnets
        if subnet.id in own and wants_dhcp(subnet)
    )


def wants_dhcp(subnet: SubnetInfo) -> bool:
    """Return whether a subnet needs a DHCP server (with SLAAC alone it does not)."""
    if not subnet.enable_dhcp:
        return False
    return subnet.ip_version == 4 or subnet.ipv6_address_mode in _DHCPV6_MODES


def serves(network: DhcpNetwork) -> bool:
    """Return whether a network needs a DHCP server at all."""
    return network.admin_state_up and any(map(wants_dhcp, network.subnets))


def plan(network: DhcpNetwork, options: DhcpAgentOptions, *, ipv6: bool = True) -> Plan | None:
    """Return what a network wants of its namespace, or None when it wants none.

    ipv6: whether the kernel speaks it.
    Raises: ValueError when a subnet wants DHCP and the server made no port for it.
    """
    if not serves(network):
        return None
    subnets = served(network)
    if not subnets or not network.dhcp_port_id or not network.dhcp_port_mac:
        raise ValueError("the network has no DHCP port yet")
    asked = options.force_metadata or (
        options.enable_isolated_metadata and network.isolated_metadata
    )
    metadata = asked and any(one.subnet.ip_version == 4 for one in subnets)
    metadata_ipv6 = asked and ipv6 and any(one.ip_version == 6 for one in network.subnets)
    addresses = [canonical(f"{ip.ip_address}/{ip.prefix_len}") for ip in network.dhcp_port_ips]
    if metadata:
        addresses.append(f"{METADATA_IPV4}/32")
    if metadata_ipv6:
        addresses.append(f"{METADATA_IPV6}/64")
    name = tap(network.dhcp_port_id)
    device = Device(name, network.dhcp_port_mac, network.mtu, tuple(addresses))
    domain = domain_of(network, options)
    refused: list[str] = []
    opts = [line for one in subnets for line in _subnet_options(one, subnets, domain, metadata)]
    for port in network.ports:
        opts += _port_options(port, refused)
    leased = [(port, *_leased(port, subnets)) for port in network.ports]
    files = Files(
        hosts=_text(line for port, v4, v6 in leased for line in _host(port, v4, v6, domain)),
        opts=_text(opts),
        addn_hosts=_text(line for port in network.ports for line in _names(port, domain)),
    )
    bindings = {
        fixed.ip_address: port.mac_address.lower()
        for port, v4, v6 in leased
        for fixed in (*v4, *v6)
    }
    return Plan(
        network,
        subnets,
        device,
        _routes(subnets, name),
        metadata,
        metadata_ipv6,
        files,
        bindings,
        tuple(refused),
    )


def domain_of(network: DhcpNetwork, options: DhcpAgentOptions) -> str:
    """Return the domain of a network's guests, without a dot at the end."""
    domain = (network.dns_domain or options.dns_domain).rstrip(".")
    return domain if is_hostname(domain) else ""


def dnsmasq_args(wanted: Plan, folder: Path, options: DhcpAgentOptions) -> tuple[str, ...]:
    """Return the arguments of dnsmasq. What changes often stands in files instead."""
    args = [
        "dnsmasq",
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
        f"--user={options.dnsmasq_user}",
        f"--group={options.dnsmasq_group}",
        f"--pid-file={folder / 'dnsmasq.pid'}",
        f"--dhcp-hostsfile={folder / 'hosts'}",
        f"--dhcp-optsfile={folder / 'opts'}",
        f"--addn-hosts={folder / 'addn_hosts'}",
        f"--dhcp-leasefile={folder / 'leases'}",
        "--dhcp-authoritative",
        "--dhcp-match=set:ipxe,175",
        "--bind-dynamic",
        f"--interface={wanted.device.name}",
        "--except-interface=lo",
        "--quiet-dhcp",
        "--quiet-dhcp6",
        f"--dhcp-lease-max={_lease_max(wanted.served, options)}",
        f"--dhcp-option-force=option:mtu,{wanted.network.mtu}",
    ]
    duration = "infinite" if options.dhcp_lease_duration < 0 else f"{options.dhcp_lease_duration}s"
    args += [f"--dhcp-range={_range(one)},{duration}" for one in wanted.served]
    domain = domain_of(wanted.network, options)
    if domain:
        args += [f"--domain={domain}", f"--local=/{domain}/"]
    args += [f"--server={server}" for server in options.dnsmasq_dns_servers]
    return tuple(args)


def _range(one: Served) -> str:
    network = ipaddress.ip_network(one.subnet.cidr)
    if network.version == 4:
        return f"set:{one.tag},{network.network_address},static,{network.netmask}"
    # dnsmasq takes no DHCPv6 range wider than /64.
    return f"set:{one.tag},{network.network_address},static,{max(network.prefixlen, 64)}"


def _lease_max(subnets: tuple[Served, ...], options: DhcpAgentOptions) -> int:
    room = sum(ipaddress.ip_network(one.subnet.cidr).num_addresses for one in subnets)
    return min(room, options.dnsmasq_lease_max)


# --- files -----------------------------------------------------------------------------------------


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _subnet_options(
    one: Served, subnets: tuple[Served, ...], domain: str, metadata: bool
) -> list[str]:
    servers = [dns for dns in one.subnet.dns_nameservers if _version(dns) == one.subnet.ip_version]
    if one.subnet.ip_version == 6:
        servers = servers or [one.own.ip_address]
        lines = [f"tag:{one.tag},option6:dns-server," + ",".join(f"[{dns}]" for dns in servers)]
        if any(dns in _NO_SERVER for dns in servers):
            lines = [f"tag:{one.tag},option6:dns-server"]
        if domain:
            lines.append(f"tag:{one.tag},option6:domain-search,{domain}")
        return lines
    servers = servers or [one.own.ip_address]
    if any(dns in _NO_SERVER for dns in servers):
        servers = []
    lines = [",".join([f"tag:{one.tag}", "option:dns-server", *servers])]
    routes = _classless(one, subnets, metadata)
    gateway = one.subnet.gateway_ip
    if routes:
        if gateway:
            routes.append(f"0.0.0.0/0,{gateway}")
        lines.append(f"tag:{one.tag},option:classless-static-route,{','.join(routes)}")
        lines.append(f"tag:{one.tag},249,{','.join(routes)}")
    # Without a value dnsmasq sends no router at all; silence would name dnsmasq itself.
    lines.append(f"tag:{one.tag},option:router" + (f",{gateway}" if gateway else ""))
    return lines


def _classless(one: Served, subnets: tuple[Served, ...], metadata: bool) -> list[str]:
    own = {route.destination for route in one.subnet.host_routes}
    routes = [
        f"{route.destination},{route.nexthop}"
        for route in one.subnet.host_routes
        if _version(route.nexthop) == 4
    ]
    if metadata and f"{METADATA_IPV4}/32" not in own:
        routes.insert(0, f"{METADATA_IPV4}/32,{one.own.ip_address}")
    routes += [
        f"{other.subnet.cidr},0.0.0.0"
        for other in subnets
        if other is not one and other.subnet.ip_version == 4 and other.subnet.cidr not in own
    ]
    return routes


def _port_options(port: DhcpPort, refused: list[str]) -> list[str]:
    lines = []
    for option in port.extra_dhcp_opts:
        try:
            lines.append(typed(option).line(_port_tag(port)))
        except BadOption as error:
            refused.append(f"port {port.id}: {error}")
    return lines


def _port_tag(port: DhcpPort) -> str:
    return f"port-{port.id}"


def _leased(
    port: DhcpPort, subnets: tuple[Served, ...]
) -> tuple[tuple[FixedIp, ...], tuple[FixedIp, ...]]:
    """The IPv4 address that DHCP gives a port (one device, one lease), and its DHCPv6 addresses."""
    by_id = {one.subnet.id: one.subnet for one in subnets}
    four = [ip for ip in port.fixed_ips if _version_in(by_id, ip) == 4]
    six = [
        ip
        for ip in port.fixed_ips
        if _version_in(by_id, ip) == 6
        and by_id[ip.subnet_id].ipv6_address_mode == "dhcpv6-stateful"
    ]
    return tuple(four[:1]), tuple(six)


def _version_in(by_id: dict[str, SubnetInfo], ip: FixedIp) -> int | None:
    return by_id[ip.subnet_id].ip_version if ip.subnet_id in by_id else None


def _host(
    port: DhcpPort, v4: tuple[FixedIp, ...], v6: tuple[FixedIp, ...], domain: str
) -> list[str]:
    head = [port.mac_address]
    if port.extra_dhcp_opts:
        head.append(f"set:{_port_tag(port)}")
    lines = [
        ",".join([*head, fqdn(port, ip.ip_address, domain), _bracketed(ip.ip_address)])
        for ip in (*v4, *v6)
    ]
    if not lines and port.extra_dhcp_opts:
        lines.append(",".join(head))
    return lines


def _names(port: DhcpPort, domain: str) -> list[str]:
    lines = []
    for ip in port.fixed_ips:
        full = fqdn(port, ip.ip_address, domain)
        short = full.partition(".")[0]
        lines.append(f"{ip.ip_address} {full}" + (f" {short}" if short != full else ""))
    return lines


def fqdn(port: DhcpPort, address: str, domain: str) -> str:
    """Return the name of a port's address: its DNS name, or `host-10-0-0-5`."""
    name = port.hostname.rstrip(".").lower()
    if not is_hostname(name):
        name = "host-" + address.replace(".", "-").replace(":", "-")
    return f"{name}.{domain}" if domain and not name.endswith(f".{domain}") else name


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _routes(subnets: tuple[Served, ...], device: str) -> tuple[RouteHop, ...]:
    """Default routes, for answers to guests behind routers."""
    hops: dict[int, RouteHop] = {}
    for one in subnets:
        subnet = one.subnet
        if subnet.gateway_ip and subnet.ip_version not in hops:
            everything = "0.0.0.0/0" if subnet.ip_version == 4 else "::/0"
            if subnet.gateway_ip != one.own.ip_address:
                hops[subnet.ip_version] = RouteHop(everything, subnet.gateway_ip, device)
    return tuple(hops.values())
