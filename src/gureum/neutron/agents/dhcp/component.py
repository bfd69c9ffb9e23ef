"""The component neutron-dhcp-agent."""

from gureum.core.run import Runtime
from gureum.neutron.agents.component import AgentComponent
from gureum.neutron.agents.contract import NetworkState
from gureum.neutron.agents.dhcp import agent
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions


class DhcpAgent(AgentComponent):
    """Addresses for guests on a host."""

    name = "neutron-dhcp-agent"

    def make(self, runtime: Runtime, server: NetworkState) -> agent.DhcpAgent:
        """Return the agent of this host."""
        return agent.DhcpAgent(runtime.host, runtime.config.get(DhcpAgentOptions), server)
