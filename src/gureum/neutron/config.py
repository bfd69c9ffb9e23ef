"""Options of neutron-server. Names are the classic ones where there is one."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("neutron", "The network service.")
@dataclass(frozen=True, slots=True)
class NeutronOptions:
    """neutron-server itself."""

    base_mac: str = option("First three or four octets of MACs.", default="fa:16:3e:00:00:00")
    api_limit_max: int = option(
        "Most items that one list answer holds (pagination_max_limit).", default=10000, min=1
    )
    agent_down_time: float = option(
        "An agent that has not reported for so long counts as dead.", default=75.0, unit="s", min=1
    )
    dhcp_agents_per_network: int = option("DHCP agents that serve a network.", default=1, min=1)
    dns_domain: str = option("Domain of the ports' names.", default="openstacklocal.")
    global_physnet_mtu: int = option("MTU of the physical networks.", default=1500, min=576)
    max_routes: int = option("Most static routes of a router.", default=30, min=0)
    max_dns_nameservers: int = option("Most name servers of a subnet.", default=5, min=0)
    max_subnet_host_routes: int = option("Most host routes of a subnet.", default=20, min=0)
    max_fixed_ips_per_port: int = option("Most addresses of a port.", default=30, min=1)
    max_allowed_address_pair: int = option("Most address pairs of a port.", default=10, min=0)
    notify_nova: bool = option("Tell Nova when a guest's port becomes active.", default=True)
    changes_kept: int = option(
        "Changes kept for the agents' deltas; an agent further behind gets the whole state.",
        default=50000,
        min=100,
    )


@section("neutron.ml2", "Network types and binding mechanisms.")
@dataclass(frozen=True, slots=True)
class Ml2Options:
    """ML2. Ranges are `physnet:first:last` and `first:last`."""

    type_drivers: tuple[str, ...] = option(
        "Known network types.",
        default=("local", "flat", "vlan", "vxlan", "gre"),
        choices=("local", "flat", "vlan", "vxlan", "gre"),
    )
    tenant_network_types: tuple[str, ...] = option(
        "Types that a network without a wish gets, the first with a free segment.",
        default=("vxlan",),
        choices=("local", "flat", "vlan", "vxlan", "gre"),
    )
    mechanism_drivers: tuple[str, ...] = option(
        "Asked in order who can bind a port.",
        default=("openvswitch", "linuxbridge"),
        choices=("openvswitch", "linuxbridge"),
    )
    flat_networks: tuple[str, ...] = option(
        "Physical networks for flat networks; * allows any.", default=("*",)
    )
    network_vlan_ranges: tuple[str, ...] = option(
        "Physical networks with VLANs, and the ids that projects get.", default=()
    )
    vni_ranges: tuple[str, ...] = option("VXLAN ids for projects.", default=("1:16777215",))
    tunnel_id_ranges: tuple[str, ...] = option("GRE ids for projects.", default=("1:16777215",))


@section("neutron.quotas", "Default quotas of a project; -1 is without limit.")
@dataclass(frozen=True, slots=True)
class QuotaOptions:
    """What a project may have unless its own quota says otherwise."""

    quota_network: int = option("Networks.", default=100, min=-1)
    quota_subnet: int = option("Subnets.", default=100, min=-1)
    quota_subnetpool: int = option("Subnet pools.", default=-1, min=-1)
    quota_port: int = option("Ports.", default=500, min=-1)
    quota_router: int = option("Routers.", default=10, min=-1)
    quota_floatingip: int = option("Floating IPs.", default=50, min=-1)
    quota_security_group: int = option("Security groups.", default=10, min=-1)
    quota_security_group_rule: int = option("Security group rules.", default=100, min=-1)
    quota_rbac_policy: int = option("RBAC policies.", default=10, min=-1)
    quota_address_group: int = option("Address groups.", default=10, min=-1)
