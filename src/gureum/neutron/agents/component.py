"""A networking agent as a component of a process: served on the bus, started, stopped, asked how it is.

Owns: AgentComponent. Must not: know what an agent does; a subclass makes the agent from its options.
"""

from abc import abstractmethod

from gureum.core.machine import machine_id
from gureum.core.run import Component, Health, Runtime
from gureum.neutron.agents.base import Agent
from gureum.neutron.agents.contract import NetworkState


class AgentComponent(Component):
    """Base of the components of networking agents."""

    def __init__(self) -> None:
        self._agent: Agent | None = None

    @abstractmethod
    def make(self, runtime: Runtime, server: NetworkState) -> Agent:
        """Return the agent of this host."""

    def start(self, runtime: Runtime) -> None:
        """Begin to converge; neutron-server may come later."""
        self._agent = self.make(runtime, runtime.bus.client(NetworkState))
        self._agent.machine_id = machine_id(runtime.cloud.state_dir)
        self._agent.serve(runtime.bus)
        self._agent.start()

    def stop(self) -> None:
        """Stop within a second; traffic goes on."""
        if self._agent is not None:
            self._agent.stop()

    def health(self) -> Health:
        """Ill when the server or the host cannot be worked with."""
        if self._agent is None:
            return Health(False, "not started")
        trouble = self._agent.trouble()
        return Health(not trouble, trouble or f"{len(self._agent.problems)} problems")
