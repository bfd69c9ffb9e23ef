"""Which wanted ports have a device, and the connection tracking zone of each.

Owns: Wiring, the memory of what is wired. Must not: make flows, or remember across restarts anything
that is not in Open vSwitch's database: a port's zone is in its interface's external_ids.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gureum.neutron.agents.book import StateBook
from gureum.neutron.agents.contract import L2Port, is_trusted
from gureum.neutron.agents.l2.ports import BadPort, WiredPort, learns
from gureum.neutron.agents.ovs.ovsdb import Bridge, Interface

ZONE_KEY = "gureum-zone"
_ZONES = range(1, 0xFFFF)


@dataclass(frozen=True, slots=True)
class Unwired:
    """Why a wanted port has no flows."""

    reason: str
    bad: bool = False


def devices_of(bridge: Bridge | None) -> dict[str, Interface]:
    """Return the interfaces that are there for a port, by the port's id.

    Two for one port exist while a guest is restarted: the newer one counts.
    """
    found: dict[str, Interface] = {}
    for interface in bridge.interfaces.values() if bridge is not None else ():
        port_id = interface.port_id
        if port_id is None or interface.ofport is None:
            continue
        other = found.get(port_id)
        if other is None or (other.ofport or 0) < interface.ofport:
            found[port_id] = interface
    return found


class Wiring:
    """What is wired now; `rewire` brings some ports up to date and says what that touched."""

    def __init__(self, claim: Callable[[Mapping[str, int]], None]) -> None:
        """`claim` empties new zones and stores them by interface name, before they are used."""
        self._claim = claim
        self._devices: dict[str, Interface] = {}
        self._zones: dict[str, int] = {}
        self.wired: dict[str, WiredPort] = {}
        self.unwired: dict[str, Unwired] = {}
        self.by_network: dict[str, dict[str, WiredPort]] = {}

    def look(self, devices: Mapping[str, Interface]) -> set[str]:
        """Take in the devices that are there now; return the ports whose device differs."""
        before, self._devices = self._devices, dict(devices)
        touched = {
            port_id
            for port_id in before.keys() | devices.keys()
            if _identity(before.get(port_id)) != _identity(devices.get(port_id))
        }
        for port_id in touched & before.keys():
            self._zones.pop(before[port_id].name, None)
        return touched

    def rewire(self, book: StateBook, port_ids: Iterable[str]) -> set[str]:
        """Decide anew about some ports; return the networks whose local ports changed."""
        candidates: dict[str, L2Port] = {}
        networks: set[str] = set()
        for port_id in port_ids:
            port = book.get("ports", port_id)
            reason = self._why_not(book, port_id, port)
            if reason is not None or port is None:
                networks |= self._drop(port_id)
                self.unwired.pop(port_id, None)
                if port is not None:
                    self.unwired[port_id] = Unwired(reason or "")
            else:
                candidates[port_id] = port
        self._allocate(book, candidates)
        for port in candidates.values():
            try:
                networks |= self._put(port, self._make(book, port))
            except BadPort as error:
                networks |= self._drop(port.id)
                self.unwired[port.id] = Unwired(str(error), bad=True)
        return networks

    def _why_not(self, book: StateBook, port_id: str, port: L2Port | None) -> str | None:
        if port is None:
            return "not wanted"
        if not port.admin_state_up:
            return "administratively down"
        if book.get("networks", port.network_id) is None:
            return "its network is not known"
        if port_id not in self._devices:
            return "no device"
        return None

    def _trusted(self, port: L2Port) -> bool:
        # A device_owner alone could be changed by a guest's owner; a guest's device cannot lie.
        return is_trusted(port.device_owner) and not self._devices[port.id].is_guest

    def _tracked(self, book: StateBook, port: L2Port) -> bool:
        if self._trusted(port) or not port.port_security_enabled:
            return False
        groups = [book.get("security_groups", group) for group in port.security_group_ids]
        known = [group for group in groups if group is not None]
        return not known or any(group.stateful for group in known)

    def _make(self, book: StateBook, port: L2Port) -> WiredPort:
        device = self._devices[port.id]
        zone = self._zones.get(device.name, 0) if self._tracked(book, port) else 0
        trusted = self._trusted(port)
        return WiredPort(port, device.ofport or 0, zone, trusted, learns(port, trusted=trusted))

    def _allocate(self, book: StateBook, candidates: Mapping[str, L2Port]) -> None:
        if not candidates:
            return
        zones: dict[str, int] = {}
        used: set[int] = set()
        for device in self._devices.values():
            text = device.external_ids.get(ZONE_KEY, "")
            stored = int(text) if text.isascii() and text.isdigit() else 0
            zone = self._zones.get(device.name, stored)
            if zone in _ZONES and zone not in used:
                zones[device.name] = zone
                used.add(zone)
        self._zones = zones
        free = (zone for zone in _ZONES if zone not in used)
        new: dict[str, int] = {}
        for port_id, port in candidates.items():
            name = self._devices[port_id].name
            if name not in self._zones and self._tracked(book, port):
                new[name] = next(free)
        if new:
            self._claim(new)
            self._zones.update(new)

    def _put(self, port: L2Port, wired: WiredPort) -> set[str]:
        self.unwired.pop(port.id, None)
        if self.wired.get(port.id) == wired:
            return set()
        networks = self._drop(port.id)
        self.wired[port.id] = wired
        self.by_network.setdefault(port.network_id, {})[port.id] = wired
        return networks | {port.network_id}

    def _drop(self, port_id: str) -> set[str]:
        wired = self.wired.pop(port_id, None)
        if wired is None:
            return set()
        network_id = wired.port.network_id
        rest = self.by_network[network_id]
        del rest[port_id]
        if not rest:
            del self.by_network[network_id]
        return {network_id}


def _identity(device: Interface | None) -> tuple[object, ...] | None:
    if device is None:
        return None
    return (device.uuid, device.name, device.ofport, device.is_guest)
