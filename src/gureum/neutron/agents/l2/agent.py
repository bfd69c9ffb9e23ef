"""neutron-openvswitch-agent: converges this host's integration bridge on the wanted L2 state.

Owns: deciding which flow units a change touches, and reporting what came of it. Must not: build flows
itself, flush, or recompute what did not change. Follows docs/adr/0010-l2-pipeline.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gureum.core import log as logs
from gureum.core import trace
from gureum.core.context import Stories, current_ids, log_ids
from gureum.core.runner import Runner
from gureum.neutron.agents.base import Agent
from gureum.neutron.agents.book import Changes, Problem, StateBook
from gureum.neutron.agents.contract import (
    BROKEN,
    EXTRA,
    L2_AGENT,
    MISSING,
    FoundItem,
    NetworkState,
    StateAnswer,
    StatusUpdate,
)
from gureum.neutron.agents.l2 import networks, pipeline, ports, rules
from gureum.neutron.agents.l2.config import OvsAgentOptions
from gureum.neutron.agents.l2.networks import BadNetwork, NetworkView, Uplinks
from gureum.neutron.agents.l2.statuses import ACTIVE, DOWN, StatusReporter
from gureum.neutron.agents.l2.uplinks import ensure_uplinks, pick_datapath, read_uplinks
from gureum.neutron.agents.l2.wiring import ZONE_KEY, Wiring, devices_of
from gureum.neutron.agents.ovs.edit import Edit
from gureum.neutron.agents.ovs.flows import Applied, Flow, FlowTable, flush_zone
from gureum.neutron.agents.ovs.ovsdb import Interface, Ovsdb
from gureum.neutron.agents.ovs.watch import SwitchWatch, bridge_socket
from gureum.neutron.agents.plumbing.ovsports import OWNER

log = logs.get(__name__)

_PORT, _NETWORK, _UPLINK, _GROUP = "ports", "networks", "uplinks", "security_groups"
_MEMBERS, _TUNNELS = "members", "tunnels"
_STATIC, _VTEPS = ("static", ""), ("vteps", "")
# Units of flows to the kind of item that has a problem when they fail.
_BLAME = {_PORT: _PORT, _NETWORK: _NETWORK, _UPLINK: _NETWORK, _GROUP: _GROUP}


@dataclass(slots=True)
class _Dirty:
    """What has to be computed again in one pass."""

    ports: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    uplinks: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    vteps: bool = False

    def __bool__(self) -> bool:
        return bool(self.ports or self.networks or self.uplinks or self.groups or self.vteps)


class OvsAgent(Agent):
    """The L2 agent; `runner` and `ovsdb` are given by tests only."""

    binary: ClassVar[str] = L2_AGENT
    agent_type: ClassVar[str] = "Open vSwitch agent"
    topic: ClassVar[str] = "N/A"

    def __init__(
        self,
        host: str,
        options: OvsAgentOptions,
        server: NetworkState,
        runner: Runner | None = None,
        ovsdb: Ovsdb | None = None,
    ) -> None:
        super().__init__(host, options, server)
        self.options = options
        self._state = server
        self._runner = runner or Runner()
        self._ovsdb = ovsdb or Ovsdb(options.ovsdb_connection, on_change=self.wake)
        self._table = FlowTable(options.integration_bridge, self._runner)
        path = bridge_socket(options.ovsdb_connection, options.integration_bridge)
        self._watch = SwitchWatch(path, self._switch_came)
        self._wiring = Wiring(self._claim_zones)
        self._reporter = StatusReporter(host, server)
        self._static = pipeline.static_flows()
        self._uplinks: Uplinks | None = None
        self._datapath_type = ""
        self._stateful: dict[str, bool] = {}
        self._members: dict[str, rules.Members] = {}
        # Networks with ports here, and whether some of them have MACs that must be learned.
        self._shapes: dict[str, bool | None] = {}
        self._wait_for_state: set[str] = set()
        self._sweep = False
        self._asked_by: dict[str, dict[str, str | None]] = {}

    # --- Agent ------------------------------------------------------------------------------------

    def fetch(self, since: int) -> StateAnswer:
        """Ask for the wanted L2 state of this host."""
        answer: StateAnswer = self._state.l2_state(self.host, since)
        return answer

    def configurations(self) -> dict[str, Any]:
        """Return what the agents API shows."""
        return {
            "integration_bridge": self.options.integration_bridge,
            "bridge_mappings": dict(self.options.bridge_mappings),
            "tunnel_types": list(self.options.tunnel_types) if self.options.local_ip else [],
            "tunneling_ip": self.options.local_ip or None,
            "l2_population": True,
            "arp_responder_enabled": self.options.arp_responder,
            "datapath_type": self._datapath_type,
            "devices": len(self._wiring.wired),
            "ovs_hybrid_plug": False,
        }

    def on_start(self) -> None:
        """Make what is missing of bridges, patches and tunnel ports."""
        self._ovsdb.start()
        self._watch.start()
        self._datapath_type = pick_datapath(self.options, self._ovsdb.snapshot, self._runner)
        self._connect()
        self._reporter.start()

    def on_stop(self) -> None:
        """Let go of the database and the reporter."""
        self._watch.stop()
        self._reporter.stop()
        self._ovsdb.close()

    def converge(self, book: StateBook, changes: Changes) -> list[Problem]:
        """Bring flows in line with the wanted state and the devices that are there."""
        devices = devices_of(self._ovsdb.bridge(self.options.integration_bridge))
        moved = self._wiring.look(devices)
        ids = self._requests_of(moved)
        if not ids:
            problems = self._converge(book, changes, devices, moved)
        else:  # a device came that a request waits for
            with log_ids(**ids), trace.Span(trace.PASS, self.binary, log) as span:
                problems = self._converge(book, changes, devices, moved)
                span.end(failed=bool(problems), host=self.host, devices=len(moved))
        self._remember_requests(book, changes.of(_PORT))
        return problems

    def _requests_of(self, port_ids: set[str]) -> dict[str, str | None]:
        """The ids of those who asked for ports whose device came only now; none within a request."""
        if current_ids().get("request_id"):
            return {}
        stories = Stories()
        for port_id in sorted(port_ids & self._asked_by.keys()):
            stories.note(self._asked_by[port_id])
        return stories.take()

    def _remember_requests(self, book: StateBook, changed: set[str]) -> None:
        """Keep who asked for a port until its device is there."""
        if current_ids().get("request_id"):
            self._asked_by.update({port_id: dict(current_ids()) for port_id in changed})
        for port_id in [*self._asked_by]:
            if port_id in self._wiring.wired or book.get(_PORT, port_id) is None:
                del self._asked_by[port_id]

    def _converge(
        self,
        book: StateBook,
        changes: Changes,
        devices: Mapping[str, Interface],
        moved: set[str],
    ) -> list[Problem]:
        dirty = self._dirty(book, changes, moved)
        self._look_for_unknown(book, devices)
        self._sweep_ports(book)
        self._refresh_uplinks(book, dirty)
        problems: list[Problem] = []
        if dirty:
            self._stage_ports(book, dirty, problems)
            self._stage_networks(book, dirty, problems)
            self._stage_groups(book, dirty, problems)
        else:
            self._table.verify()
        self._table.stage(_STATIC, self._static)
        applied = self._table.commit()
        if applied.added or applied.deleted:
            log.info("flows changed", added=applied.added, deleted=applied.deleted)
        problems += self._blame(applied)
        self._tell(book, changes, problems)
        return problems

    def _switch_came(self) -> None:
        """A new ovs-vswitchd has none of our flows."""
        self._table.doubt()
        self.wake()

    # --- an audit's look -----------------------------------------------------------------------

    def doubt(self) -> None:
        """Read the switch's flows again in the next pass, and take off ports that nobody has."""
        self._table.doubt()
        self._sweep = True

    def look(self, book: StateBook) -> tuple[list[FoundItem], int]:
        """Compare flows with the switch's own, and its ports with the wanted ones."""
        bridge = self._ovsdb.bridge(self.options.integration_bridge)
        if bridge is None:
            name = self.options.integration_bridge
            return [FoundItem("bridge", name, "", MISSING, "the integration bridge is gone")], 1
        items = []
        missing, extra = self._table.differences()
        for (kind, item_id), count in sorted(missing.items()):
            text = f"{count} flows are missing"
            items.append(FoundItem("flows", kind, item_id, MISSING, text))
        for cookie in sorted(extra):
            items.append(FoundItem("flow", f"{cookie:#x}", "", EXTRA, "no port wants it"))
        ports = book.all(_PORT)
        for interface in bridge.interfaces.values():
            port_id = interface.port_id
            if port_id is not None and port_id not in ports:
                guest_id = interface.external_ids.get("vm-id", "")
                text = "its port is not wanted on this host"
                items.append(
                    FoundItem("switch-port", interface.name, port_id, EXTRA, text, guest_id)
                )
        for port_id, unwired in self._wiring.unwired.items():
            if unwired.bad:
                items.append(FoundItem("flows", _PORT, port_id, BROKEN, unwired.reason))
        return items, len(self._table.flows()) + len(bridge.interfaces)

    # --- what a change touches --------------------------------------------------------------------

    def _dirty(self, book: StateBook, changes: Changes, moved: set[str]) -> _Dirty:
        dirty = _Dirty()
        dirty.ports = changes.of(_PORT) | moved
        dirty.networks = changes.of(_NETWORK)
        dirty.uplinks = changes.of(_NETWORK) | changes.of(_TUNNELS)
        dirty.vteps = bool(changes.of(_TUNNELS))
        dirty.groups = changes.of(_GROUP)
        members = changes.of(_MEMBERS)
        for group_id in members:
            found = book.get(_MEMBERS, group_id)
            self._members[group_id] = rules.read_members(found) if found else rules.NO_MEMBERS
        if members:
            dirty.groups |= {
                group.id
                for group in book.all(_GROUP).values()
                if members & rules.remote_groups(group)
            }
        if dirty.networks:  # ports may have waited for their network
            dirty.ports |= {
                port.id
                for port in book.all(_PORT).values()
                if port.network_id in dirty.networks
                and (port.id not in self._wiring.wired or not book.get(_NETWORK, port.network_id))
            }
        dirty.ports |= self._ports_with_new_tracking(book, changes.of(_GROUP))
        return dirty

    def _ports_with_new_tracking(self, book: StateBook, group_ids: set[str]) -> set[str]:
        turned = set()
        for group_id in group_ids:
            group = book.get(_GROUP, group_id)
            stateful = group.stateful if group is not None else True
            if self._stateful.get(group_id, True) != stateful:
                turned.add(group_id)
            self._stateful[group_id] = stateful
        if not turned:
            return set()
        return {
            port.id
            for port in book.all(_PORT).values()
            if turned.intersection(port.security_group_ids)
        }

    def _look_for_unknown(self, book: StateBook, devices: Mapping[str, Interface]) -> None:
        """A device that nobody wants yet: the hint may be lost, so ask, once a device."""
        unknown = {port_id for port_id in devices if book.get(_PORT, port_id) is None}
        if unknown - self._wait_for_state:
            self.wake(fetch=True)
        self._wait_for_state = unknown

    def _sweep_ports(self, book: StateBook) -> None:
        """When an audit asked for it: remove ports of nothing. Guests' and other agents' stay."""
        bridge = self._ovsdb.bridge(self.options.integration_bridge)
        sweep, self._sweep = self._sweep, False
        if not sweep or bridge is None:
            return
        for interface in bridge.interfaces.values():
            port_id = interface.port_id
            owned = interface.is_guest or OWNER in interface.external_ids
            if port_id is not None and book.get(_PORT, port_id) is None and not owned:
                log.warning("port of nothing is removed", port=interface.name, port_id=port_id)
                self._ovsdb.unplug(bridge.name, interface.name)

    # --- bridges ----------------------------------------------------------------------------------

    def _connect(self) -> Uplinks:
        found = read_uplinks(self._ovsdb.snapshot, self.options)
        if found is None:
            ensure_uplinks(self._ovsdb, self.options, self._datapath_type)
            found = read_uplinks(self._ovsdb.snapshot, self.options)
        if found is None:
            raise LookupError("uplinks of the integration bridge went away")
        return found

    def _refresh_uplinks(self, book: StateBook, dirty: _Dirty) -> None:
        found = self._connect()
        if found != self._uplinks:
            self._uplinks = found
            dirty.uplinks |= set(book.all(_NETWORK))
            dirty.vteps = True

    def _claim_zones(self, zones: Mapping[str, int]) -> None:
        """Empty zones and store them with their interfaces, before flows use them."""
        for zone in zones.values():
            flush_zone(self._runner, self.options.integration_bridge, zone)

        def store(edit: Edit) -> None:
            for name, zone in zones.items():
                edit.set_external_ids("Interface", name, {ZONE_KEY: str(zone)})

        self._ovsdb.transact(store)

    # --- flows ------------------------------------------------------------------------------------

    def _stage_ports(self, book: StateBook, dirty: _Dirty, problems: list[Problem]) -> None:
        dirty.networks |= self._wiring.rewire(book, dirty.ports)
        for port_id in dirty.ports:
            wired = self._wiring.wired.get(port_id)
            if wired is None:
                self._table.stage((_PORT, port_id), ())
                unwired = self._wiring.unwired.get(port_id)
                if unwired is not None and unwired.bad:
                    problems.append(Problem(_PORT, port_id, unwired.reason))
                continue
            self._table.stage(
                (_PORT, port_id), ports.port_flows(wired, self.options.learned_timeout_s)
            )

    def _view(self, book: StateBook, network_id: str) -> NetworkView | None:
        network = book.get(_NETWORK, network_id)
        if network is None:
            return None
        here = tuple(self._wiring.by_network.get(network_id, {}).values())
        return NetworkView(network, here, book.get(_TUNNELS, network_id))

    def _stage_networks(self, book: StateBook, dirty: _Dirty, problems: list[Problem]) -> None:
        for network_id in dirty.networks | dirty.uplinks:
            view = self._view(book, network_id)
            shape = None
            if view is not None and view.ports:
                shape = any(port.learns for port in view.ports)
                self._table.stage((_NETWORK, network_id), networks.local_flows(view))
            else:
                self._table.stage((_NETWORK, network_id), ())
            # Thousands of remote addresses are not computed again for one more local port.
            if network_id in dirty.uplinks or shape != self._shapes.get(network_id):
                self._stage_uplink(network_id, view, problems)
            self._shapes[network_id] = shape
            if shape is None:
                del self._shapes[network_id]
        if dirty.vteps:
            tunnels = book.all(_TUNNELS).values()
            self._table.stage(_VTEPS, networks.vtep_flows(tunnels, self._uplinks or Uplinks()))

    def _stage_uplink(
        self, network_id: str, view: NetworkView | None, problems: list[Problem]
    ) -> None:
        flows: list[Flow] = []
        if view is not None and view.ports:
            try:
                flows = networks.uplink_flows(
                    view,
                    self._uplinks or Uplinks(),
                    self.options.learned_timeout_s,
                    self.options.arp_responder,
                )
            except BadNetwork as error:
                problems.append(Problem(_NETWORK, network_id, str(error)))
        self._table.stage((_UPLINK, network_id), flows)

    def _stage_groups(self, book: StateBook, dirty: _Dirty, problems: list[Problem]) -> None:
        for group_id in dirty.groups:
            group = book.get(_GROUP, group_id)
            if group is None:
                self._table.stage((_GROUP, group_id), ())
                continue
            flows, wrong = rules.group_flows(group, self._members)
            problems += [Problem(_GROUP, group_id, text) for text in wrong]
            self._table.stage((_GROUP, group_id), flows)

    def _blame(self, applied: Applied) -> Iterable[Problem]:
        for (kind, item_id), text in applied.failed.items():
            yield Problem(_BLAME.get(kind, kind), item_id, text)
        if _VTEPS in applied.failed:
            self._uplinks = None  # makes the next pass stage them again

    # --- reporting --------------------------------------------------------------------------------

    def _tell(self, book: StateBook, changes: Changes, problems: Iterable[Problem]) -> None:
        bad = {(problem.kind, problem.id): problem.text for problem in problems}
        statuses = {}
        for port_id, port in book.all(_PORT).items():
            text = bad.get((_PORT, port_id)) or bad.get((_NETWORK, port.network_id)) or ""
            unwired = self._wiring.unwired.get(port_id)
            if unwired is not None:
                text = text or unwired.reason
            up = port_id in self._wiring.wired and not text
            statuses[port_id] = StatusUpdate(port_id, ACTIVE if up else DOWN, text)
        self._reporter.update(statuses, again=changes.changed.get(_PORT, ()))
