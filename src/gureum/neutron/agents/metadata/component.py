"""The component neutron-metadata-agent."""

from gureum.core.run import Runtime
from gureum.neutron.agents.component import AgentComponent
from gureum.neutron.agents.contract import NetworkState
from gureum.neutron.agents.metadata import agent
from gureum.neutron.agents.metadata.config import MetadataAgentOptions

_USUAL_PORT = 8775


class MetadataAgent(AgentComponent):
    """What guests ask at 169.254.169.254, forwarded to Nova."""

    name = "neutron-metadata-agent"

    def make(self, runtime: Runtime, server: NetworkState) -> agent.MetadataAgent:
        """Return the agent of this host."""
        options = runtime.config.get(MetadataAgentOptions)
        return agent.MetadataAgent(
            runtime.host,
            options,
            server,
            nova_host=options.nova_metadata_host or runtime.cloud.address,
            nova_port=options.nova_metadata_port or runtime.port(_USUAL_PORT),
        )
