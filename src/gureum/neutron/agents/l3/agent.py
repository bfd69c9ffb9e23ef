"""neutron-l3-agent: keeps the routers of this host as the server wants them.

Owns: which routers to look at in a pass, and telling the server how they are. Must not: flush anything;
a router that fails is a Problem of its own. What a pass does to one router is in router.py.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gureum.core import log as logs
from gureum.core.runner import Runner
from gureum.neutron.agents.base import Agent, Reports
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    L3_AGENT,
    FloatingIp,
    FoundItem,
    L3State,
    Router,
    StatusUpdate,
)
from gureum.neutron.agents.l3.config import L3AgentOptions
from gureum.neutron.agents.l3.router import RouterDriver
from gureum.neutron.agents.ovs.ovsdb import DEFAULT_REMOTE
from gureum.neutron.agents.ovs.watch import SwitchWatch, bridge_socket
from gureum.neutron.agents.plumbing.announce import Announcer
from gureum.neutron.agents.plumbing.keeper import Keeper
from gureum.neutron.agents.plumbing.ovsports import OvsPorts
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings

log = logs.get(__name__)

_KIND = "routers"


class L3Server(Reports, Protocol):
    """The part of NetworkState that this agent calls."""

    def l3_state(self, host: str, since: int) -> L3State:
        """Return the routers of a host."""

    def router_statuses(
        self, host: str, routers: list[StatusUpdate], floating_ips: list[StatusUpdate]
    ) -> None:
        """Take how they are."""


class L3Agent(Agent):
    """The L3 agent of one host."""

    binary = L3_AGENT
    agent_type = "L3 agent"
    topic = "l3_agent"

    def __init__(
        self,
        host: str,
        options: L3AgentOptions,
        server: L3Server,
        runner: Runner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(host, options, server)
        runner = runner or Runner()
        self._options = options
        self._l3_server = server
        self._announcer = Announcer()
        self._plugger = Plugger(OvsPorts(runner, options.integration_bridge), "l3")
        self._driver = RouterDriver(options, runner, self._plugger, self._announcer)
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
        self._told: dict[str, str] = {}

    def fetch(self, since: int) -> L3State:
        """Ask the server for the routers of this host."""
        return self._l3_server.l3_state(self.host, since)

    def configurations(self) -> dict[str, Any]:
        """Return what the agents API shows."""
        routers = list(self.book.all(_KIND).values())
        return {
            "agent_mode": "legacy",
            "routers": len(routers),
            "ex_gw_ports": sum(1 for router in routers if router.gateway),
            "interfaces": sum(len(router.interfaces) for router in routers),
            "floating_ips": sum(len(router.floating_ips) for router in routers),
            "handle_internal_only_routers": True,
            "interface_driver": "openvswitch",
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
        """Look at every router in the next pass."""
        self._keeper.doubt()

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        """Compare every router with what is there, and find what is left of others."""
        return self._keeper.look(book)

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Make changed routers as wanted; from time to time look at all, and for leftovers."""
        results = self._keeper.converge(book, changes, self._apply)
        wanted = book.all(_KIND)
        live = {item: text for item, text in results.items() if item in wanted}
        self._tell(live, wanted, changes.of(_KIND))
        return [Problem(_KIND, item, text) for item, text in results.items() if text]

    def _apply(self, router: Router, around: Surroundings) -> str:
        return "; ".join(self._driver.apply(router, around))

    # --- telling -------------------------------------------------------------------------------

    def _tell(
        self, results: dict[str, str], wanted: Mapping[str, Router], changed: set[str]
    ) -> None:
        """Report changed routers, and others whose status differs from what was last told."""
        routers, floating_ips = [], []
        for router_id, text in results.items():
            router = wanted[router_id]
            if router_id in changed:
                for item in (router_id, *(floating.id for floating in router.floating_ips)):
                    self._told.pop(item, None)
            status = "ERROR" if text else "ACTIVE" if router.admin_state_up else "DOWN"
            routers.append(StatusUpdate(router_id, status, text))
            floating_ips += [
                StatusUpdate(floating.id, floating_status(router, floating, status))
                for floating in router.floating_ips
            ]
        routers = [update for update in routers if self._is_news(update)]
        floating_ips = [update for update in floating_ips if self._is_news(update)]
        if not routers and not floating_ips:
            return
        self._l3_server.router_statuses(self.host, routers, floating_ips)
        for update in (*routers, *floating_ips):
            self._told[update.id] = f"{update.status} {update.detail}"

    def _is_news(self, update: StatusUpdate) -> bool:
        return self._told.get(update.id) != f"{update.status} {update.detail}"


def floating_status(router: Router, floating: FloatingIp, router_status: str) -> str:
    """Return the status of a floating IP, given how its router is."""
    if router.gateway is None or not (floating.fixed_ip_address or floating.port_forwardings):
        return "DOWN"
    return router_status
