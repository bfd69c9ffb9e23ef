"""The component neutron-l3-agent."""

from gureum.core.run import Runtime
from gureum.neutron.agents.component import AgentComponent
from gureum.neutron.agents.contract import NetworkState
from gureum.neutron.agents.l3 import agent
from gureum.neutron.agents.l3.config import L3AgentOptions


class L3Agent(AgentComponent):
    """Routers and floating addresses on a host."""

    name = "neutron-l3-agent"

    def make(self, runtime: Runtime, server: NetworkState) -> agent.L3Agent:
        """Return the agent of this host."""
        return agent.L3Agent(runtime.host, runtime.config.get(L3AgentOptions), server)
