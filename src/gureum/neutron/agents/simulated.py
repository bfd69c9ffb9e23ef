"""Networking agents without a network: what a simulated cloud runs instead of the real ones.

Owns: agents that take the wanted state as the real ones do and at once report everything as made.
Must not: touch the host. Follows: agents/contract.py, so that neutron-server cannot tell them apart.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from gureum.core.faults import FaultPoint, SimulatedOptions
from gureum.core.machine import machine_id
from gureum.core.run import Component, Health, Runtime
from gureum.neutron.agents.base import Agent, AgentOptions
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    DHCP_AGENT,
    L2_AGENT,
    L3_AGENT,
    METADATA_AGENT,
    DhcpPort,
    DhcpState,
    Item,
    L2State,
    L3State,
    NetworkState,
    StateAnswer,
    StatusUpdate,
)

T = TypeVar("T", bound=Item)


class NotMade(Exception):
    """An injected fault."""


class _Simulated(Agent):
    """An agent that has nothing to make; `point` says what is held up, and what fails."""

    def __init__(
        self, host: str, options: AgentOptions, server: NetworkState, point: FaultPoint
    ) -> None:
        super().__init__(host, options, server)
        self.server = server
        self.point = point

    def made(
        self, verb: str, kind: str, items: Iterable[T | None]
    ) -> tuple[list[T], list[Problem]]:
        """Return the items that a real agent would have made by now, and those that failed."""
        done: list[T] = []
        problems: list[Problem] = []
        for item in items:
            if item is None:
                continue
            try:
                self.point.act(verb)
            except NotMade as error:
                problems.append(Problem(kind, item.id, str(error)))
            else:
                done.append(item)
        return done, problems


class SimulatedL2(_Simulated):
    """Every port is plugged."""

    binary: ClassVar[str] = L2_AGENT
    agent_type: ClassVar[str] = "Open vSwitch agent"
    topic: ClassVar[str] = "N/A"

    def fetch(self, since: int) -> L2State:
        """Ask for the ports of this host."""
        return self.server.l2_state(self.host, since)

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Report new ports as ACTIVE."""
        wanted = [book.get("ports", id) for id in sorted(changes.changed.get("ports", ()))]
        ports, problems = self.made("plug", "ports", wanted)
        updates = [
            StatusUpdate(port.id, "ACTIVE" if port.admin_state_up else "DOWN") for port in ports
        ]
        if updates:
            self.server.port_statuses(self.host, updates)
        return problems

    def configurations(self) -> dict[str, Any]:
        """Every network type reaches this host."""
        self.point.act("report")
        return {
            "integration_bridge": "br-int",
            "bridge_mappings": {"physnet1": "br-ex"},
            "tunnel_types": ["vxlan", "gre"],
            "tunneling_ip": "127.0.0.1",
            "datapath_type": "simulated",
            "devices": len(self.book.all("ports")),
        }


class SimulatedL3(_Simulated):
    """Every router routes."""

    binary: ClassVar[str] = L3_AGENT
    agent_type: ClassVar[str] = "L3 agent"
    topic: ClassVar[str] = "l3_agent"

    def fetch(self, since: int) -> L3State:
        """Ask for the routers of this host."""
        return self.server.l3_state(self.host, since)

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Report routers and their floating IPs."""
        wanted = [book.get("routers", id) for id in sorted(changes.changed.get("routers", ()))]
        routers, problems = self.made("router", "routers", wanted)
        floating_ips = [
            StatusUpdate(fip.id, "ACTIVE" if fip.fixed_ip_address else "DOWN")
            for router in routers
            for fip in router.floating_ips
        ]
        if routers:
            updates = [StatusUpdate(router.id, "ACTIVE") for router in routers]
            self.server.router_statuses(self.host, updates, floating_ips)
        return problems

    def configurations(self) -> dict[str, Any]:
        """The mode that the server schedules to."""
        self.point.act("report")
        return {"agent_mode": "legacy", "routers": len(self.book.all("routers"))}


class SimulatedDhcp(_Simulated):
    """Every port would get its lease."""

    binary: ClassVar[str] = DHCP_AGENT
    agent_type: ClassVar[str] = "DHCP agent"
    topic: ClassVar[str] = "dhcp_agent"

    def __init__(
        self, host: str, options: AgentOptions, server: NetworkState, point: FaultPoint
    ) -> None:
        super().__init__(host, options, server, point)
        self._told: dict[str, dict[str, DhcpPort]] = {}

    def fetch(self, since: int) -> DhcpState:
        """Ask for the networks of this host."""
        return self.server.dhcp_state(self.host, since)

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Report what is new or different among the ports of changed networks as ready."""
        ids = changes.changed.get("networks", set())
        wanted = [book.get("networks", id) for id in sorted(ids)]
        networks, problems = self.made("network", "networks", wanted)
        now = {network.id: {port.id: port for port in network.ports} for network in networks}
        news = [
            port.id
            for network, ports in now.items()
            for port in ports.values()
            if self._told.get(network, {}).get(port.id) != port
        ]
        if news:
            self.server.dhcp_ready(self.host, news)
        self._told |= now
        for gone in changes.removed.get("networks", ()):
            self._told.pop(gone, None)
        return problems

    def configurations(self) -> dict[str, Any]:
        """What the agents API shows."""
        self.point.act("report")
        return {"dhcp_driver": "simulated", "networks": len(self.book.all("networks"))}


class SimulatedMetadata(_Simulated):
    """Nobody asks it."""

    binary: ClassVar[str] = METADATA_AGENT
    agent_type: ClassVar[str] = "Metadata agent"
    topic: ClassVar[str] = "N/A"

    def fetch(self, since: int) -> StateAnswer:
        """It has no state of its own."""
        return L3State(revision=max(since, 1), full=False)

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Nothing to do."""
        return []

    def configurations(self) -> dict[str, Any]:
        """Nothing to show."""
        self.point.act("report")
        return {}


class SimulatedAgents(Component):
    """The agents of one simulated host."""

    name = "neutron-simulated-agents"

    def __init__(self) -> None:
        self._agents: list[Agent] = []

    def start(self, runtime: Runtime) -> None:
        """Begin to report; neutron-server may come later."""
        server = runtime.bus.client(NetworkState)
        kinds = (SimulatedL2, SimulatedL3, SimulatedDhcp, SimulatedMetadata)
        options = runtime.config.get(SimulatedOptions)
        for kind in kinds:
            point = FaultPoint(kind.binary, runtime.host, options, NotMade, runtime.stopping)
            agent = kind(runtime.host, AgentOptions(), server, point)
            agent.machine_id = machine_id(runtime.cloud.state_dir)
            self._agents.append(agent)
            agent.serve(runtime.bus)
            agent.start()

    def stop(self) -> None:
        """Stop within a second."""
        for agent in self._agents:
            agent.stop()

    def health(self) -> Health:
        """Ill when the server cannot be worked with."""
        trouble = "; ".join(filter(None, (agent.trouble() for agent in self._agents)))
        return Health(not trouble, trouble)
