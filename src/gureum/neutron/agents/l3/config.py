"""Options of neutron-l3-agent."""

from dataclasses import dataclass

from gureum.core.config import option, section
from gureum.neutron.agents.base import AgentOptions


@section("neutron.l3_agent", "Routers in namespaces on this host.")
@dataclass(frozen=True, slots=True)
class L3AgentOptions(AgentOptions):
    """How neutron-l3-agent works."""

    integration_bridge: str = option("Bridge that router ports are plugged into.", default="br-int")
    namespace_prefix: str = option("Start of a router namespace's name.", default="qrouter-")
    state_path: str = option("Files of daemons, a folder a router.", default="{state_dir}/l3")
    verify_interval_s: float = option(
        "How often every router is compared with what is there, without a hint.",
        default=60.0,
        unit="s",
        min=0.1,
    )
    workers: int = option("Routers converged at the same time.", default=2, min=1, max=32)
    enable_metadata_proxy: bool = option("Serve metadata in routers.", default=True)
    metadata_proxy_socket: str = option(
        "Unix socket of the metadata agent.", default="{run_dir}/metadata_proxy.sock"
    )
    metadata_port: int = option(
        "Port inside the namespace that metadata requests are redirected to.",
        default=9697,
        min=1,
        max=65535,
    )
    metadata_connections: int = option(
        "Metadata connections at a time, each router.", default=256, min=1
    )
    metadata_proxy_user: str = option("User of the metadata proxy.", default="haproxy")
    metadata_proxy_group: str = option("Group of the metadata proxy.", default="haproxy")
    min_rtr_adv_interval_s: int = option(
        "Least time between router advertisements.", default=30, unit="s", min=3, max=1350
    )
    max_rtr_adv_interval_s: int = option(
        "Most time between router advertisements.", default=100, unit="s", min=4, max=1800
    )
