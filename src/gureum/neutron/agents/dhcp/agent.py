"""neutron-dhcp-agent: keeps the DHCP of this host's networks as the server wants it.

Owns: which networks to look at in a pass, and telling the server which ports would get a lease now.
Must not: flush anything; a network that fails is a Problem of its own. What a pass does to one network
is in network.py.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gureum.core import log as logs
from gureum.core.runner import Runner
from gureum.neutron.agents.base import Agent, Reports
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    DHCP_AGENT,
    DhcpNetwork,
    DhcpState,
    FoundItem,
)
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.dhcp.network import NetworkDriver
from gureum.neutron.agents.ovs.ovsdb import DEFAULT_REMOTE
from gureum.neutron.agents.ovs.watch import SwitchWatch, bridge_socket
from gureum.neutron.agents.plumbing.announce import Announcer
from gureum.neutron.agents.plumbing.keeper import Keeper
from gureum.neutron.agents.plumbing.ovsports import OvsPorts
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings

log = logs.get(__name__)

_KIND = "networks"


class DhcpServer(Reports, Protocol):
    """The part of NetworkState that this agent calls."""

    def dhcp_state(self, host: str, since: int) -> DhcpState:
        """Return the networks of a host."""

    def dhcp_ready(self, host: str, port_ids: list[str]) -> None:
        """Learn which ports would get their lease now."""


class DhcpAgent(Agent):
    """The DHCP agent of one host."""

    binary = DHCP_AGENT
    agent_type = "DHCP agent"
    topic = "dhcp_agent"

    def __init__(
        self,
        host: str,
        options: DhcpAgentOptions,
        server: DhcpServer,
        runner: Runner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(host, options, server)
        runner = runner or Runner()
        self._options = options
        self._dhcp_server = server
        self._announcer = Announcer()
        self._plugger = Plugger(OvsPorts(runner, options.integration_bridge), "dhcp")
        self._driver = NetworkDriver(options, runner, self._plugger, self._announcer)
        self._keeper = Keeper(
            _KIND,
            self._driver,
            self._plugger,
            workers=options.workers,
            verify_interval_s=options.verify_interval_s,
            stopping=lambda: self.stopping,
            clock=clock,
        )
        path = bridge_socket(DEFAULT_REMOTE, options.integration_bridge)
        self._watch = SwitchWatch(path, self.wake)
        self._ready: dict[str, set[str]] = {}
        self._served: set[str] = set()

    def fetch(self, since: int) -> DhcpState:
        """Ask the server for the networks of this host."""
        return self._dhcp_server.dhcp_state(self.host, since)

    def configurations(self) -> dict[str, Any]:
        """Return what the agents API shows."""
        networks = list(self.book.all(_KIND).values())
        return {
            "dhcp_driver": "dnsmasq",
            "dhcp_lease_duration": self._options.dhcp_lease_duration,
            "networks": len(networks),
            "subnets": sum(len(network.subnets) for network in networks),
            "ports": sum(len(network.ports) for network in networks),
            "log_agent_heartbeats": False,
        }

    def on_start(self) -> None:
        """Wait for the integration bridge."""
        self._plugger.check()
        self._watch.start()

    def on_stop(self) -> None:
        """Stop announcing."""
        self._watch.stop()
        self._announcer.stop()

    def doubt(self) -> None:
        """Look at every network in the next pass."""
        self._keeper.doubt()

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        """Compare every network with what is there, and find what is left of others."""
        return self._keeper.look(book)

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Make changed networks as wanted; from time to time look at all, and for leftovers."""
        self._served = set()
        results = self._keeper.converge(book, changes, self._apply)
        wanted = book.all(_KIND)
        self._tell(results, wanted, changes.of(_KIND))
        return [Problem(_KIND, item, text) for item, text in results.items() if text]

    def _apply(self, network: DhcpNetwork, around: Surroundings) -> str:
        refused = self._driver.apply(network, around)
        self._served.add(network.id)  # what is refused are options: leases are given all the same
        return "; ".join(refused)

    def _tell(
        self, results: Mapping[str, str], wanted: Mapping[str, DhcpNetwork], changed: set[str]
    ) -> None:
        """Tell about ports of changed networks, and of others what was not told yet."""
        for item in set(self._ready) - set(wanted):
            del self._ready[item]
        news: list[str] = []
        now: dict[str, set[str]] = {}
        for item in results:
            if item not in wanted or item not in self._served:
                continue
            now[item] = {port.id for port in wanted[item].ports}
            told = set() if item in changed else self._ready.get(item, set())
            news += sorted(now[item] - told)
        if news:
            self._dhcp_server.dhcp_ready(self.host, news)
        self._ready |= now
