"""neutron-metadata-agent: from the namespaces' proxies to Nova's metadata service.

Owns: the parts' life and the heartbeat. It wants no state of the server: it asks per request.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from gureum.core import log as logs
from gureum.neutron.agents.base import Agent, Reports
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import METADATA_AGENT, MISSING, FoundItem
from gureum.neutron.agents.metadata.config import MetadataAgentOptions
from gureum.neutron.agents.metadata.forward import Forwarder
from gureum.neutron.agents.metadata.server import SocketServer
from gureum.neutron.agents.metadata.targets import Directory, Targets

log = logs.get(__name__)


class MetadataServer(Reports, Directory, Protocol):
    """The part of NetworkState that this agent calls."""


@dataclass(frozen=True, slots=True)
class _NoState:
    """The answer of nobody: this agent has nothing to converge."""

    revision: int = 0
    full: bool = True
    removed: dict[str, list[str]] = field(default_factory=dict)


class MetadataAgent(Agent):
    """The metadata agent of one host. `nova_host` and `nova_port` are already resolved."""

    binary = METADATA_AGENT
    agent_type = "Metadata agent"
    topic = "N/A"

    def __init__(
        self,
        host: str,
        options: MetadataAgentOptions,
        server: MetadataServer,
        *,
        nova_host: str,
        nova_port: int,
    ) -> None:
        super().__init__(host, options, server)
        self._options = options
        self._nova_host, self._nova_port = nova_host, nova_port
        shown = f"[{nova_host}]" if ":" in nova_host else nova_host
        self._forwarder = Forwarder(
            Targets(host, server, options.cache_s),
            f"{options.nova_metadata_protocol}://{shown}:{nova_port}",
            options.metadata_proxy_shared_secret,
            options.nova_timeout_s,
            verify=not options.nova_metadata_insecure,
        )
        self._socket = SocketServer(
            options.metadata_proxy_socket,
            options.metadata_proxy_group,
            self._forwarder.answer,
            options.metadata_workers,
            options.metadata_backlog,
        )

    def on_start(self) -> None:
        """Listen."""
        self._socket.start()

    def on_stop(self) -> None:
        """Stop listening."""
        self._socket.stop()
        self._forwarder.close()

    def configurations(self) -> dict[str, Any]:
        """Return what the agents API shows; never the secret."""
        return {
            "metadata_proxy_socket": self._options.metadata_proxy_socket,
            "nova_metadata_host": self._nova_host,
            "nova_metadata_port": self._nova_port,
            "log_agent_heartbeats": False,
        }

    def fetch(self, since: int) -> _NoState:
        """Return that nothing is wanted."""
        return _NoState()

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Listen again when the socket's file is not ours any more."""
        if not self._socket.is_reachable():
            log.warning("metadata socket is gone, it is made anew")
            self._socket.listen()
        return []

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        """Look whether the proxies reach us."""
        if self._socket.is_reachable():
            return [], 1
        path = self._options.metadata_proxy_socket
        return [FoundItem("metadata-socket", path, "", MISSING, "the proxies cannot reach it")], 1
