"""neutron-metadata-agent as a component of a process.

Owns: handing the agent its options, the bus and Nova's place. Must not: know what it does.
"""

from gureum.core.run import Component, Runtime
from gureum.neutron.agents.contract import NetworkState
from gureum.neutron.agents.metadata import agent
from gureum.neutron.agents.metadata.config import MetadataAgentOptions

_USUAL_PORT = 8775


class MetadataAgent(Component):
    """The component `neutron-metadata-agent`."""

    name = "neutron-metadata-agent"

    def __init__(self) -> None:
        self._agent: agent.MetadataAgent | None = None

    def start(self, runtime: Runtime) -> None:
        """Start the agent, in threads of its own."""
        options = runtime.config.get(MetadataAgentOptions)
        self._agent = agent.MetadataAgent(
            runtime.host,
            options,
            runtime.bus.client(NetworkState),
            nova_host=options.nova_metadata_host or runtime.cloud.address,
            nova_port=options.nova_metadata_port or runtime.port(_USUAL_PORT),
        )
        self._agent.start()

    def stop(self) -> None:
        """Stop the agent."""
        if self._agent is not None:
            self._agent.stop()
