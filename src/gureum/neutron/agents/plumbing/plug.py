"""Plugs internal ports into a namespace: the port in Open vSwitch, the device where it belongs.

Owns: the way of one device from ovs-vsctl into its namespace, and its way back. Must not: set addresses.
Copes with what a crash or a restart of ovs-vswitchd leaves: a port without a device, a device that
reappeared outside of its namespace.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gureum.core import log as logs
from gureum.neutron.agents.plumbing import links
from gureum.neutron.agents.plumbing.ovsports import OvsPort, OvsPorts

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is there before a pass: our ports in Open vSwitch, devices outside of namespaces."""

    ports: Mapping[str, OvsPort]
    outside: frozenset[str]

    def of(self, owner: str) -> list[str]:
        """Return the devices that belong to one router or network."""
        return [name for name, port in self.ports.items() if port.owner == owner]

    def owner_ids(self) -> set[str]:
        """Return the ids of every router or network that owns a port."""
        return {port.owner.partition(":")[2] for port in self.ports.values()}

    def lacking(self, owner: str, devices: Iterable[str]) -> bool:
        """Return whether a router or network misses a port, or has one too many."""
        return set(self.of(owner)) != set(devices)

    def strayed(self) -> set[str]:
        """Return the ids of owners with a device outside of its namespace."""
        found = self.ports.keys() & self.outside
        return {self.ports[name].owner.partition(":")[2] for name in found}


class Plugger:
    """Plugs and unplugs the devices of one agent kind ("l3", "dhcp") on one bridge."""

    def __init__(self, ovs: OvsPorts, agent: str) -> None:
        self._ovs = ovs
        self._agent = agent

    def owner(self, item_id: str) -> str:
        """Return the mark of everything that belongs to a router or network."""
        return f"{self._agent}:{item_id}"

    def check(self) -> None:
        """Raise RuntimeError when there is nothing to plug into yet."""
        if not self._ovs.has_bridge():
            raise RuntimeError("the integration bridge is not there yet")

    def look(self) -> Surroundings:
        """Read what is there."""
        return Surroundings(self._ovs.owned(self._agent), frozenset(links.here()))

    def plug(
        self, around: Surroundings, namespace: str, present: Iterable[str], port: OvsPort
    ) -> None:
        """Bring a port's device into its namespace, where `present` are the devices already."""
        if around.ports.get(port.device) != port:
            self._ovs.ensure(port)
        if port.device in present:
            if port.device not in around.outside:
                return
            # ovs-vswitchd was restarted: it made the device anew outside, and the one inside, which
            # is persistent, leads nowhere any more.
            links.delete(namespace, port.device)
        if links.move_into(namespace, port.device):
            log.info("device plugged", device=port.device, namespace=namespace)
            return
        # In the database, but no device anywhere: make it anew.
        self._ovs.remove([port.device])
        self._ovs.ensure(port)
        if not links.move_into(namespace, port.device):
            raise RuntimeError(f"Open vSwitch made no device {port.device}")
        log.warning("device made anew", device=port.device, namespace=namespace)

    def unplug(self, devices: Iterable[str], namespace: str | None = None) -> None:
        """Remove ports and their devices, also dead ones that stand in `namespace`."""
        names = sorted(devices)
        if names:
            self._ovs.remove(names)
            if namespace is not None:
                for name in names:
                    links.delete(namespace, name)
            log.info("devices unplugged", devices=",".join(names))
