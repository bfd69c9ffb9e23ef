"""What neutron-server and the agents of the node side may ask of each other.

Owns: the two bus contracts and every dataclass that crosses them. Must not: import a store, a
driver or an agent. An agent reads the wanted state of its host with a revision; the server answers
it in full or as the difference since that revision, and `StateBook` (base.py) takes both. Facts
about the attributes: https://docs.openstack.org/api-ref/network/v2/.

Every collection in a state answer holds items with a unique `id`; `removed` maps the collection's
name to the ids that are no longer wanted. When `full` is true, `removed` is empty and what is not
listed is gone. Nothing changed is answered with `full=False` and nothing listed. A `since` that the
server cannot account for (0, too old, or newer than its own revision) is answered in full.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from gureum.core.bus.contract import FAST, Contract, call, cast

L2_AGENT = "neutron-openvswitch-agent"
L3_AGENT = "neutron-l3-agent"
DHCP_AGENT = "neutron-dhcp-agent"
METADATA_AGENT = "neutron-metadata-agent"


def poke_address(binary: str, host: str) -> str:
    """Return the bus host under which one agent of one host serves NetworkAgent.

    Several agents share a host, and each must get its own poke.
    """
    return f"{binary}.{host}"


def tap_name(port_id: str) -> str:
    """Return the interface name of a guest's port: `tap` and eleven characters of its id."""
    return f"tap{port_id[:11]}"


@runtime_checkable
class Item(Protocol):
    """One wanted thing; `id` is unique within its collection."""

    @property
    def id(self) -> str:
        """Return the key of this item."""


@runtime_checkable
class StateAnswer(Protocol):
    """What L2State, L3State and DhcpState have in common."""

    @property
    def revision(self) -> int:
        """Return the revision that this answer brings the agent to; never goes back."""

    @property
    def full(self) -> bool:
        """Return whether everything is listed, or only what changed."""

    @property
    def removed(self) -> dict[str, list[str]]:
        """Return the ids that are gone, by collection name."""


# --- what all agents share --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FixedIp:
    """One address of a port. `prefix_len` is the subnet's, as interfaces need it."""

    subnet_id: str
    ip_address: str
    prefix_len: int = 32


@dataclass(frozen=True, slots=True)
class Route:
    """A static route: CIDR and the next hop's address."""

    destination: str
    nexthop: str


@dataclass(frozen=True, slots=True)
class SubnetInfo:
    """A subnet as the L3 and DHCP agents need it."""

    id: str
    cidr: str
    ip_version: int
    gateway_ip: str | None = None
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[Route, ...] = ()
    enable_dhcp: bool = True
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None


@dataclass(frozen=True, slots=True)
class AgentReport:
    """A heartbeat. `started_at` is ISO 8601 in UTC; `configurations` shows in the agents API.

    `machine_id`: see core/machine.py; "" is taken from every machine.
    """

    binary: str
    agent_type: str
    host: str
    topic: str
    started_at: str
    availability_zone: str = "nova"
    configurations: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    problems: tuple[str, ...] = ()
    machine_id: str = ""


@dataclass(frozen=True, slots=True)
class AgentAck:
    """The answer to a heartbeat; a `revision` above the agent's own means: ask for state."""

    revision: int
    admin_state_up: bool = True
    status: str = "alive"


# --- L2 ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class L2Network:
    """A network with ports on this host. `type` is local, flat, vlan, vxlan or gre."""

    id: str
    type: str
    mtu: int = 1500
    physical_network: str | None = None
    segmentation_id: int | None = None


@dataclass(frozen=True, slots=True)
class AddressPair:
    """An address (or CIDR) that a port may use besides its own; the MAC defaults to the port's."""

    ip_address: str
    mac_address: str | None = None


@dataclass(frozen=True, slots=True)
class L2Port:
    """A port bound to this host. `binding_profile` is the API's, untouched."""

    id: str
    network_id: str
    mac_address: str
    fixed_ips: tuple[FixedIp, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    device_id: str = ""
    device_owner: str = ""
    admin_state_up: bool = True
    port_security_enabled: bool = True
    security_group_ids: tuple[str, ...] = ()
    vnic_type: str = "normal"
    binding_profile: dict[str, Any] = field(default_factory=dict)

    @property
    def tap(self) -> str:
        """Return the interface name a guest's device has."""
        return tap_name(self.id)


@dataclass(frozen=True, slots=True)
class SgRule:
    """One security group rule; None means any. For ICMP the ports are type and code."""

    id: str
    direction: str
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A group that some port of this host wears. Stateless groups do not track connections."""

    id: str
    rules: tuple[SgRule, ...] = ()
    stateful: bool = True


@dataclass(frozen=True, slots=True)
class SgMembers:
    """The addresses (IPs or CIDRs) of a group that some rule names as its remote.

    `id` is the group's. Separate from the rules, so that a new member leaves the rules unchanged.
    """

    id: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """Where a remote port of a tunnelled network lives (l2population)."""

    mac_address: str
    vtep_ip: str
    ip_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkTunnels:
    """The other hosts of a tunnelled network; `id` is the network's.

    `vteps` get flooded frames (every host with a port of the network); `entries` may be empty (then
    the agent learns addresses from traffic).
    """

    id: str
    vteps: tuple[str, ...] = ()
    entries: tuple[FdbEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class L2State:
    """What the L2 agent of one host has to make true."""

    revision: int
    full: bool = True
    networks: tuple[L2Network, ...] = ()
    ports: tuple[L2Port, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    members: tuple[SgMembers, ...] = ()
    tunnels: tuple[NetworkTunnels, ...] = ()
    removed: dict[str, list[str]] = field(default_factory=dict)


# --- L3 ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RouterPort:
    """A router's port: an interface in one network, with the subnets it serves there."""

    id: str
    network_id: str
    mac_address: str
    device_owner: str
    mtu: int = 1500
    fixed_ips: tuple[FixedIp, ...] = ()
    subnets: tuple[SubnetInfo, ...] = ()
    admin_state_up: bool = True
    extra_subnets: tuple[SubnetInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class PortForwarding:
    """One forwarded port of a floating IP."""

    id: str
    protocol: str
    external_port: str
    internal_ip_address: str
    internal_port: str


@dataclass(frozen=True, slots=True)
class FloatingIp:
    """A floating IP on this router; `fixed_ip_address` is None while nothing is associated."""

    id: str
    floating_ip_address: str
    fixed_ip_address: str | None = None
    port_id: str | None = None
    port_forwardings: tuple[PortForwarding, ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """A router scheduled to this host. `gateway` is None without an external gateway."""

    id: str
    name: str = ""
    project_id: str = ""
    admin_state_up: bool = True
    ha: bool = False
    distributed: bool = False
    interfaces: tuple[RouterPort, ...] = ()
    gateway: RouterPort | None = None
    enable_snat: bool = True
    floating_ips: tuple[FloatingIp, ...] = ()
    routes: tuple[Route, ...] = ()
    ha_port: RouterPort | None = None
    ha_vr_id: int | None = None
    ha_priority: int = 50


@dataclass(frozen=True, slots=True)
class L3State:
    """What the L3 agent of one host has to make true."""

    revision: int
    full: bool = True
    routers: tuple[Router, ...] = ()
    removed: dict[str, list[str]] = field(default_factory=dict)


# --- DHCP and metadata ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DhcpOption:
    """An extra DHCP option of a port. Name and value are checked by the server and by the agent."""

    name: str
    value: str
    ip_version: int = 4


@dataclass(frozen=True, slots=True)
class DhcpPort:
    """A port that gets a lease; `hostname` is its DNS name or `host-…` from its address."""

    id: str
    mac_address: str
    fixed_ips: tuple[FixedIp, ...] = ()
    hostname: str = ""
    device_id: str = ""
    device_owner: str = ""
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()


@dataclass(frozen=True, slots=True)
class DhcpNetwork:
    """A network whose DHCP this host serves. The server makes the DHCP port; the agent plugs it.

    `isolated_metadata`: serve 169.254.169.254 from the DHCP namespace, since no router does.
    """

    id: str
    project_id: str = ""
    mtu: int = 1500
    admin_state_up: bool = True
    dns_domain: str = ""
    subnets: tuple[SubnetInfo, ...] = ()
    ports: tuple[DhcpPort, ...] = ()
    dhcp_port_id: str | None = None
    dhcp_port_mac: str | None = None
    dhcp_port_ips: tuple[FixedIp, ...] = ()
    isolated_metadata: bool = False


@dataclass(frozen=True, slots=True)
class DhcpState:
    """What the DHCP agent of one host has to make true."""

    revision: int
    full: bool = True
    networks: tuple[DhcpNetwork, ...] = ()
    removed: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetadataTarget:
    """The one server behind an address of a network or router."""

    port_id: str
    instance_id: str
    project_id: str


# --- what the agents tell ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """The state of a port, router or floating IP: ACTIVE, DOWN or ERROR; `detail` says why."""

    id: str
    status: str
    detail: str = ""


class NetworkState(Contract, topic="neutron-state", version=1):
    """Served by neutron-server. All methods are idempotent; `since` 0 asks for everything."""

    @call(timeout=FAST)
    def l2_state(self, host: str, since: int) -> L2State:
        """Return the wanted L2 state of a host."""
        raise NotImplementedError

    @call(timeout=FAST)
    def l3_state(self, host: str, since: int) -> L3State:
        """Return the routers of a host."""
        raise NotImplementedError

    @call(timeout=FAST)
    def dhcp_state(self, host: str, since: int) -> DhcpState:
        """Return the DHCP networks of a host."""
        raise NotImplementedError

    @call(timeout=FAST)
    def metadata_target(
        self, host: str, address: str, network_id: str | None, router_id: str | None
    ) -> MetadataTarget | None:
        """Return the server that owns an address in exactly this network or router."""
        raise NotImplementedError

    @call(timeout=FAST)
    def report(self, report: AgentReport) -> AgentAck:
        """Take a heartbeat; the first one registers the agent. Raises: HostNameTaken."""
        raise NotImplementedError

    @call(timeout=FAST)
    def port_statuses(self, host: str, updates: list[StatusUpdate]) -> None:
        """Take the L2 status of ports; updates of ports not bound to `host` are ignored."""
        raise NotImplementedError

    @call(timeout=FAST)
    def dhcp_ready(self, host: str, port_ids: list[str]) -> None:
        """Learn that these ports would get their lease now."""
        raise NotImplementedError

    @call(timeout=FAST)
    def router_statuses(
        self, host: str, routers: list[StatusUpdate], floating_ips: list[StatusUpdate]
    ) -> None:
        """Take the status of routers and floating IPs of a host."""
        raise NotImplementedError


MISSING, EXTRA, BROKEN = "missing", "extra", "broken"


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One thing of an agent's on its host that is not as it should be.

    `kind` says what it is (switch-port, flows, namespace, device, dnsmasq, …), `owner_id` whose it
    is: a port, network, router or security group; "" when nobody knows. `fault` is MISSING, EXTRA or
    BROKEN. `guest_id`: the guest that a switch port carries the mark of.
    """

    kind: str
    name: str
    owner_id: str
    fault: str
    text: str = ""
    guest_id: str = ""


@dataclass(frozen=True, slots=True)
class AgentInspection:
    """What an agent wants and finds, looked up anew between two passes.

    `wanted` holds the ids by collection. `looked_at` counts the things that were compared.
    """

    binary: str
    host: str
    revision: int
    wanted: dict[str, list[str]]
    items: tuple[FoundItem, ...] = ()
    problems: tuple[str, ...] = ()
    looked_at: int = 0


INSPECT_S = 120.0
"""How long a look at a whole host may take."""


class NetworkAgent(Contract, topic="neutron-agent", version=1):
    """Served by every agent under `poke_address(binary, host)`."""

    @call(timeout=INSPECT_S)
    def inspect(self) -> AgentInspection:
        """Compare what is wanted with what is there, and change nothing."""
        raise NotImplementedError

    @call(timeout=INSPECT_S)
    def mend(self) -> list[str]:
        """Ask for the state, look at everything and make it true; return the problems left."""
        raise NotImplementedError

    @cast()
    def changed(self, revision: int, kinds: list[str]) -> None:
        """Hint that what this agent wants has reached `revision`; a lost hint costs time."""
        raise NotImplementedError


def is_trusted(device_owner: str) -> bool:
    """Return whether a port belongs to the cloud itself (routers, DHCP, …), not to a guest."""
    return device_owner.startswith("network:")


def collections(answer: StateAnswer) -> dict[str, Sequence[Item]]:
    """Return the item collections of a state answer by name."""
    fields = getattr(type(answer), "__dataclass_fields__", {})
    return {
        name: value for name in fields if isinstance(value := getattr(answer, name), (tuple, list))
    }
