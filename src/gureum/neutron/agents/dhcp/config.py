"""Options of neutron-dhcp-agent."""

from dataclasses import dataclass

from gureum.core.config import option, section
from gureum.neutron.agents.base import AgentOptions


@section("neutron.dhcp_agent", "Addresses for guests, by dnsmasq in namespaces on this host.")
@dataclass(frozen=True, slots=True)
class DhcpAgentOptions(AgentOptions):
    """How neutron-dhcp-agent works."""

    integration_bridge: str = option("Bridge that DHCP ports are plugged into.", default="br-int")
    namespace_prefix: str = option("Start of a DHCP namespace's name.", default="qdhcp-")
    state_path: str = option(
        "Files of dnsmasq, a folder a network; leases survive here.", default="{state_dir}/dhcp"
    )
    verify_interval_s: float = option(
        "How often every network is compared with what is there, without a hint.",
        default=60.0,
        unit="s",
        min=0.1,
    )
    workers: int = option("Networks converged at the same time.", default=2, min=1, max=32)
    dns_domain: str = option(
        "Domain of guests, where the network has none.", default="openstacklocal"
    )
    dnsmasq_dns_servers: tuple[str, ...] = option(
        "Where dnsmasq asks about other names; empty: it knows only the network's own.",
        default=(),
    )
    dhcp_lease_duration: int = option(
        "How long a lease lasts; -1 is forever.", default=86400, unit="s", min=-1
    )
    dnsmasq_lease_max: int = option("Leases at a time, each network.", default=65536, min=1)
    dnsmasq_user: str = option("User of dnsmasq after its start.", default="nobody")
    dnsmasq_group: str = option("Group of dnsmasq after its start.", default="nogroup")
    enable_isolated_metadata: bool = option(
        "Serve metadata on networks without a router.", default=True
    )
    force_metadata: bool = option("Serve metadata on every network with DHCP.", default=False)
    metadata_proxy_socket: str = option(
        "Unix socket of the metadata agent.", default="{run_dir}/metadata_proxy.sock"
    )
    metadata_connections: int = option(
        "Metadata connections at a time, each network.", default=256, min=1
    )
    metadata_proxy_user: str = option("User of the metadata proxy.", default="haproxy")
    metadata_proxy_group: str = option("Group of the metadata proxy.", default="haproxy")
