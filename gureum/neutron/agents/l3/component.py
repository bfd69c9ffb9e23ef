"""neutron-l3-agent as a component of a process.

Owns: handing the agent its options, the bus and the name of the host. Must not: know what it does.
"""

from gureum.core.run import Component, Health, Runtime
from gureum.neutron.agents.contract import NetworkState
from gureum.neutron.agents.l3 import agent
from gureum.neutron.agents.l3.config import L3AgentOptions


class L3Agent(Component):
    """The component `neutron-l3-agent`."""

    name = "neutron-l3-agent"

    def __init__(self) -> None:
        self._agent: agent.L3Agent | None = None

    def start(self, runtime: Runtime) -> None:
        """Start the agent, in threads of its own."""
        server = runtime.bus.client(NetworkState)
        self._agent = agent.L3Agent(runtime.host, runtime.config.get(L3AgentOptions), server)
        self._agent.serve(runtime.bus)
        self._agent.start()

    def stop(self) -> None:
        """Stop the agent; traffic goes on."""
        if self._agent is not None:
            self._agent.stop()

    def health(self) -> Health:
        """Whether the last pass left nothing undone."""
        problems = self._agent.problems if self._agent is not None else ()
        return Health(not problems, "; ".join(map(str, problems[:3])))
