"""Placement and Neutron in memory, for tests of Nova's control plane.

Owns: `MemoryPlacement`, `MemoryPorts`. Must not: be imported outside of tests.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gureum.nova.placement import (
    Allocated,
    Candidate,
    PlacementConflict,
    Stock,
    Usage,
)
from gureum.nova.ports import KEEP_KEY, NIC_KEY, Port, PortRefused, Subnet, Surroundings


@dataclass
class MemoryPlacement:
    """`Placement` with real arithmetic and no network."""

    names: dict[str, str] = field(default_factory=dict)
    stocks: dict[str, dict[str, Stock]] = field(default_factory=dict)
    traits: dict[str, set[str]] = field(default_factory=dict)
    held: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def usages(self, provider_id: str) -> dict[str, Usage] | None:
        """Return what a provider has and what is taken."""
        with self.lock:
            if provider_id not in self.stocks:
                return None
            return {
                name: Usage(
                    int((stock.total - stock.reserved) * stock.allocation_ratio),
                    sum(h.get(provider_id, {}).get(name, 0) for h in self.held.values()),
                )
                for name, stock in self.stocks[provider_id].items()
            }

    def candidates(
        self,
        resources: Mapping[str, int],
        *,
        required: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[Candidate]:
        """Return providers with room and the traits."""
        found = []
        with self.lock:
            for provider_id in self.stocks:
                usages = self.usages(provider_id) or {}
                fits = all(
                    name in usages and usages[name].capacity - usages[name].used >= amount
                    for name, amount in resources.items()
                )
                traits = self.traits.get(provider_id, set())
                if fits and traits >= set(required) and not traits & set(forbidden):
                    found.append(Candidate(provider_id, dict(resources), usages))
        return found[:limit]

    def allocation(self, consumer_id: str) -> Allocated:
        """Return what a consumer holds."""
        return Allocated(consumer_id, dict(self.held.get(consumer_id, {})))

    def allocate(
        self,
        consumer_id: str,
        provider_id: str,
        resources: Mapping[str, int],
        *,
        project_id: str,
        user_id: str,
        new: bool = False,
    ) -> None:
        """Take room."""
        with self.lock:
            wanted = {provider_id: dict(resources)}
            if self.held.get(consumer_id) == wanted:
                return
            usages = self.usages(provider_id) or {}
            for name, amount in resources.items():
                if name not in usages or usages[name].capacity - usages[name].used < amount:
                    raise PlacementConflict(f"no room for {name}")
            self.held[consumer_id] = wanted

    def release(self, consumer_id: str) -> None:
        """Give room back."""
        self.held.pop(consumer_id, None)

    def consumers(self, provider_id: str) -> list[str]:
        """Return who holds something of a provider."""
        return [name for name, held in self.held.items() if provider_id in held]

    def put_provider(
        self, provider_id: str, name: str, stocks: Mapping[str, Stock], traits: Sequence[str]
    ) -> None:
        """Note a provider."""
        self.names[provider_id] = name
        self.stocks[provider_id] = {k: v for k, v in stocks.items() if v.total > 0}
        self.traits[provider_id] = set(traits)

    def remove_provider(self, provider_id: str) -> None:
        """Forget a provider."""
        if self.consumers(provider_id):
            raise PlacementConflict("in use")
        self.stocks.pop(provider_id, None)


@dataclass
class MemoryPorts:
    """`ServerPorts` with one subnet a network. `refuse`: networks on which no port can be made.

    unplugged: networks whose ports no agent plugs.
    """

    ports: dict[str, Port] = field(default_factory=dict)
    refuse: set[str] = field(default_factory=set)
    unbindable: set[str] = field(default_factory=set)
    unplugged: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0

    def add(self, network_id: str, *, device_id: str = "") -> Port:
        """Make a port that existed before, as a user would."""
        with self.lock:
            self.count += 1
            number = self.count
            port = Port(
                id=f"00000000-0000-4000-8000-{number:012d}",
                network_id=network_id,
                mac=f"fa:16:3e:00:00:{number:02x}",
                device_id=device_id,
                fixed_ips=((f"subnet-of-{network_id}"[:36], f"10.0.0.{number + 1}"),),
            )
            self.ports[port.id] = port
            return port

    def of_servers(self, server_ids: Sequence[str]) -> list[Port]:
        """Return the ports of servers."""
        return [port for port in self.ports.values() if port.device_id in server_ids]

    def get(self, port_id: str) -> Port | None:
        """Return a port."""
        return self.ports.get(port_id)

    def create(
        self,
        *,
        nic_id: str,
        network_id: str,
        project_id: str,
        server_id: str,
        owner: str,
        host: str,
        fixed_ip: str | None,
        security_groups: Sequence[str],
    ) -> Port:
        """Make a port."""
        if network_id in self.refuse:
            raise PortRefused(409, "No more IP addresses available on network.")
        port = replace(
            self.add(network_id, device_id=server_id),
            project_id=project_id,
            device_owner=owner,
            profile={NIC_KEY: nic_id},
            security_groups=tuple(security_groups),
        )
        return self._bound(port, host)

    def _bound(self, port: Port, host: str) -> Port:
        vif_type = "binding_failed" if host in self.unbindable else "ovs"
        status = "DOWN" if port.network_id in self.unplugged else "ACTIVE"
        bound = replace(
            port,
            host=host,
            vif_type=vif_type,
            vif_details={"bridge_name": "br-int"},
            status=status,
        )
        self.ports[port.id] = bound
        return bound

    def bind(self, port: Port, *, nic_id: str, server_id: str, owner: str, host: str) -> Port:
        """Give a port to a server."""
        given = replace(
            port,
            device_id=server_id,
            device_owner=owner,
            profile={**port.profile, NIC_KEY: nic_id, KEEP_KEY: True},
        )
        return self._bound(given, host)

    def unbind(self, port: Port) -> None:
        """Take a port back."""
        if port.id in self.ports:
            self.ports[port.id] = replace(
                port, device_id="", device_owner="", host="", vif_type="unbound",
                vif_details={}, profile={},
            )  # fmt: skip

    def delete(self, port_id: str) -> None:
        """Delete a port."""
        self.ports.pop(port_id, None)

    def surroundings(self, ports: Sequence[Port]) -> Surroundings:
        """Return one subnet a network."""
        subnets = {
            subnet_id: Subnet(subnet_id, "10.0.0.0/24", 4, gateway="10.0.0.1")
            for port in ports
            for subnet_id, _ in port.fixed_ips
        }
        return Surroundings(
            labels={port.network_id: "private" for port in ports},
            mtus={port.network_id: 1450 for port in ports},
            subnets=subnets,
            groups={g: f"name of {g}" for port in ports for g in port.security_groups},
        )
