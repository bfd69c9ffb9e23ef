"""network_data.json: the guest's cards, networks and name servers.

Owns: that document. Follows the Nova user guide, "Metadata", and its published JSON schema for
network_data.json (links, networks, services).
"""

import ipaddress
from typing import Any

from gureum.nova.agent.contract import PortSpec, SubnetSpec

_LINK_TYPES = {"ovs": "ovs", "bridge": "bridge"}


def network_data(ports: tuple[PortSpec, ...]) -> dict[str, Any]:
    """Return the document for the guest's ports, in the order of its cards."""
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []
    for port in ports:
        links.append(
            {
                "id": port.device,
                "vif_id": port.port_id,
                "type": _LINK_TYPES.get(port.vif_type, "phy"),
                "mtu": port.mtu,
                "ethernet_mac_address": port.mac,
            }
        )
        for subnet in port.subnets:
            for address in subnet.addresses or ("",):
                networks.append(_network(len(networks), port, subnet, address))
            services.extend(
                service
                for service in ({"type": "dns", "address": dns} for dns in subnet.dns)
                if service not in services
            )
    return {"links": links, "networks": networks, "services": services}


def _network(index: int, port: PortSpec, subnet: SubnetSpec, address: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": f"network{index}",
        "link": port.device,
        "network_id": port.network_id,
        "type": _network_type(subnet),
    }
    if subnet.dhcp and subnet.ip_version == 4:
        return entry
    wanted = ipaddress.ip_network(subnet.cidr)
    if address:
        entry["ip_address"] = f"{address}/{wanted.prefixlen}" if subnet.ip_version == 6 else address
        entry["netmask"] = str(wanted.netmask)
    entry["routes"] = _routes(subnet)
    entry["services"] = [{"type": "dns", "address": dns} for dns in subnet.dns]
    return entry


def _network_type(subnet: SubnetSpec) -> str:
    if subnet.ip_version == 4:
        return "ipv4_dhcp" if subnet.dhcp else "ipv4"
    modes = {
        "slaac": "ipv6_slaac",
        "dhcpv6-stateful": "ipv6_dhcpv6-stateful",
        "dhcpv6-stateless": "ipv6_dhcpv6-stateless",
    }
    return modes.get(subnet.ipv6_address_mode or "", "ipv6_dhcp" if subnet.dhcp else "ipv6")


def _routes(subnet: SubnetSpec) -> list[dict[str, str]]:
    any_address = "0.0.0.0" if subnet.ip_version == 4 else "::"
    routes = []
    if subnet.gateway:
        routes.append({"network": any_address, "netmask": any_address, "gateway": subnet.gateway})
    for route in subnet.routes:
        wanted = ipaddress.ip_network(route.destination, strict=False)
        routes.append(
            {
                "network": str(wanted.network_address),
                "netmask": str(wanted.netmask),
                "gateway": route.gateway,
            }
        )
    return routes
