"""Options of neutron-metadata-agent."""

from dataclasses import dataclass

from gureum.core.config import option, section
from gureum.neutron.agents.base import AgentOptions


@section("neutron.metadata_agent", "Forwards guests' metadata requests to Nova, signed.")
@dataclass(frozen=True, slots=True)
class MetadataAgentOptions(AgentOptions):
    """How neutron-metadata-agent works."""

    metadata_proxy_socket: str = option(
        "Unix socket that the proxies in the namespaces send to.",
        default="{run_dir}/metadata_proxy.sock",
    )
    metadata_proxy_group: str = option(
        "Group of the proxies: besides root the only ones who may use the socket.",
        default="haproxy",
    )
    metadata_proxy_shared_secret: str = option(
        "Secret that Nova's metadata service shares; empty refuses every request.",
        default="",
        secret=True,
    )
    nova_metadata_host: str = option(
        "Where Nova's metadata service listens; empty means the cloud's address.", default=""
    )
    nova_metadata_port: int = option(
        "Its port; 0 means 8775 plus the cloud's offset.", default=0, min=0, max=65535
    )
    nova_metadata_protocol: str = option(
        "How it is asked.", default="http", choices=("http", "https")
    )
    nova_metadata_insecure: bool = option("Take any TLS certificate from it.", default=False)
    nova_timeout_s: float = option(
        "How long it may take for one answer.", default=30.0, unit="s", min=0.1
    )
    metadata_workers: int = option(
        "Requests forwarded at the same time.", default=16, unit="threads", min=1, max=256
    )
    metadata_backlog: int = option("Connections that may wait.", default=1024, min=1)
    cache_s: float = option(
        "How long the server behind an address is remembered.",
        default=5.0,
        unit="s",
        min=0,
        max=60,
    )
