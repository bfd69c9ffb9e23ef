"""Options of neutron-openvswitch-agent."""

from dataclasses import dataclass

from gureum.core.config import option, section
from gureum.neutron.agents.base import AgentOptions


@section("neutron.ovs_agent", "The Open vSwitch L2 agent of a node.")
@dataclass(frozen=True, slots=True)
class OvsAgentOptions(AgentOptions):
    """How the L2 agent reaches Open vSwitch and the other hosts."""

    integration_bridge: str = option("Bridge that ports are plugged into.", default="br-int")
    bridge_mappings: dict[str, str] = option(
        "Physical network to the bridge that leads there; a missing bridge is made.", default={}
    )
    local_ip: str = option(
        "Address of this host that tunnels end at; empty means no tunnels.", default=""
    )
    tunnel_types: tuple[str, ...] = option(
        "Kinds of tunnels this host takes part in.", default=("vxlan",), choices=("vxlan", "gre")
    )
    vxlan_udp_port: int = option("UDP port of VXLAN.", default=4789, min=1, max=65535)
    datapath_type: str = option(
        "Datapath of bridges that the agent makes; auto takes the kernel's, if it has one.",
        default="auto",
        choices=("auto", "system", "netdev"),
    )
    ovsdb_connection: str = option(
        "Where Open vSwitch's database is.", default="unix:/var/run/openvswitch/db.sock"
    )
    arp_responder: bool = option(
        "Answer ARP for known guests on other hosts here, instead of flooding.", default=False
    )
    learned_timeout_s: int = option(
        "How long a MAC address learned from traffic is remembered.",
        default=300,
        unit="s",
        min=1,
        max=65535,
    )
