"""The component neutron-openvswitch-agent."""

from gureum.core.run import Runtime
from gureum.neutron.agents.component import AgentComponent
from gureum.neutron.agents.contract import NetworkState
from gureum.neutron.agents.l2.agent import OvsAgent
from gureum.neutron.agents.l2.config import OvsAgentOptions


class OpenvswitchAgent(AgentComponent):
    """Ports of guests on a host."""

    name = "neutron-openvswitch-agent"

    def make(self, runtime: Runtime, server: NetworkState) -> OvsAgent:
        """Return the L2 agent of this host."""
        return OvsAgent(runtime.host, runtime.config.get(OvsAgentOptions), server)
