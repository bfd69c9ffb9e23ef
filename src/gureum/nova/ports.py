"""What Nova's control plane asks of Neutron in its own name: the ports of servers.

Owns: `ServerPorts` (a protocol, so that tests have one in memory), `Port`, and how a port becomes the
agent contract's PortSpec. Must not: be called in a transaction. Follows Networking API v2.0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from gureum.nova.agent.contract import PortSpec, RouteSpec, SubnetSpec
from gureum.nova.model import Address, Group, Nic

OWNER = "compute:"
"""`device_owner` of a server's port is this and the availability zone."""
NIC_KEY = "nova_nic"
"""Key in `binding:profile` by which a port that was made for a requested card is found again."""
KEEP_KEY = "nova_keep"
"""Key in `binding:profile` of ports that existed before the server and outlive it."""

VIF_TYPES = ("ovs", "bridge")
BINDING_FAILED = "binding_failed"


class PortsUnavailable(Exception):
    """Neutron does not answer as it should; try again."""

    code = "network_unavailable"
    retryable = True


class PortRefused(Exception):
    """Neutron refused: `status` and its own words."""

    code = "port_refused"

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Port:
    """A port as Neutron shows it to an administrator. profile: `binding:profile`."""

    id: str
    network_id: str
    mac: str
    project_id: str = ""
    name: str = ""
    status: str = "DOWN"
    device_id: str = ""
    device_owner: str = ""
    host: str = ""
    vif_type: str = "unbound"
    vif_details: Mapping[str, Any] = field(default_factory=dict)
    vnic_type: str = "normal"
    fixed_ips: tuple[tuple[str, str], ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    admin_state_up: bool = True
    security_groups: tuple[str, ...] = ()

    @property
    def nic_id(self) -> str | None:
        """The requested card that the port belongs to."""
        found = self.profile.get(NIC_KEY)
        return None if found is None else str(found)

    @property
    def keep(self) -> bool:
        """Whether the port outlives its server."""
        return bool(self.profile.get(KEEP_KEY))


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet as Neutron shows it."""

    id: str
    cidr: str
    ip_version: int
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    dhcp: bool = True
    ipv6_address_mode: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What belongs to ports: labels and MTU of their networks, subnets, floating addresses by port, names
    of security groups."""

    labels: Mapping[str, str] = field(default_factory=dict)
    mtus: Mapping[str, int] = field(default_factory=dict)
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    floating: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


class ServerPorts(Protocol):
    """Every method raises PortsUnavailable."""

    def of_servers(self, server_ids: Sequence[str]) -> list[Port]:
        """Return the ports whose device is one of the servers."""
        ...

    def get(self, port_id: str) -> Port | None:
        """Return a port, or None."""
        ...

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
        """Make a port that is bound to a host. Raises: PortRefused."""
        ...

    def bind(self, port: Port, *, nic_id: str, server_id: str, owner: str, host: str) -> Port:
        """Give an existing port to a server on a host. Raises: PortRefused."""
        ...

    def unbind(self, port: Port) -> None:
        """Take a port from its server and host; gone is fine."""
        ...

    def delete(self, port_id: str) -> None:
        """Delete a port; gone is fine."""
        ...

    def surroundings(self, ports: Sequence[Port]) -> Surroundings:
        """Return what belongs to ports."""
        ...


def port_spec(port: Port, around: Surroundings, tag: str | None = None) -> PortSpec:
    """Return a port as the compute agent plugs it."""
    subnets: dict[str, list[str]] = {}
    for subnet_id, address in port.fixed_ips:
        subnets.setdefault(subnet_id, []).append(address)
    return PortSpec(
        port_id=port.id,
        mac=port.mac,
        network_id=port.network_id,
        network_label=around.labels.get(port.network_id, ""),
        mtu=around.mtus.get(port.network_id, 1500),
        vif_type=port.vif_type if port.vif_type in VIF_TYPES else "unbound",
        vnic_type=port.vnic_type,
        bridge=str(port.vif_details.get("bridge_name") or "br-int"),
        subnets=tuple(
            _subnet_spec(around.subnets[subnet_id], addresses)
            for subnet_id, addresses in subnets.items()
            if subnet_id in around.subnets
        ),
        floating_ips=tuple(around.floating.get(port.id, ())),
        tag=tag,
    )


def _subnet_spec(subnet: Subnet, addresses: Sequence[str]) -> SubnetSpec:
    return SubnetSpec(
        id=subnet.id,
        cidr=subnet.cidr,
        ip_version=subnet.ip_version,
        addresses=tuple(addresses),
        gateway=subnet.gateway,
        dns=subnet.dns,
        routes=tuple(RouteSpec(destination, hop) for destination, hop in subnet.routes),
        dhcp=subnet.dhcp,
        ipv6_address_mode=subnet.ipv6_address_mode,
    )


def nic_of(port: Port, around: Surroundings, tag: str | None = None) -> Nic:
    """Return a port as it is kept beside its server."""
    spec = port_spec(port, around, tag)
    fixed = [Address(address, 6 if ":" in address else 4) for _, address in port.fixed_ips]
    floating = [
        Address(address, 6 if ":" in address else 4, "floating") for address in spec.floating_ips
    ]
    return Nic(
        port_id=port.id,
        network_id=port.network_id,
        network_label=spec.network_label,
        mac=port.mac,
        tag=tag,
        keep=port.keep,
        spec=msgspec.json.decode(msgspec.json.encode(spec)),
        addresses=(*fixed, *floating),
        groups=tuple(
            Group(id_, around.groups.get(id_, id_)) for id_ in sorted(port.security_groups)
        ),
    )
