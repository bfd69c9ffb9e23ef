"""The mechanisms Open vSwitch and Linux bridge."""

from __future__ import annotations

from typing import Any

from gureum.neutron.ml2.base import Binding, HostAgent, MechanismDriver, Segment

_TUNNELS = ("vxlan", "gre")


def reaches(segment: Segment, agent: HostAgent, bridge_key: str) -> bool:
    """Return whether a host is connected to a segment, as its agent reports."""
    told = agent.configurations
    if segment.network_type in _TUNNELS:
        kinds = told.get("tunnel_types")
        return kinds is None or segment.network_type in kinds
    if segment.network_type in ("flat", "vlan"):
        mappings = told.get(bridge_key)
        return mappings is None or segment.physical_network in mappings
    return True


class OpenVSwitch(MechanismDriver):
    """Ports of br-int."""

    name = "openvswitch"
    agent_type = "Open vSwitch agent"

    def bind(
        self, segment: Segment, agent: HostAgent, vnic_type: str, owner: str
    ) -> Binding | None:
        """See MechanismDriver."""
        if vnic_type != "normal" or not reaches(segment, agent, "bridge_mappings"):
            return None
        told = agent.configurations
        details: dict[str, Any] = {
            "connectivity": "l2",
            "port_filter": True,
            "ovs_hybrid_plug": False,
            "datapath_type": str(told.get("datapath_type", "system")),
            "bridge_name": str(told.get("integration_bridge", "br-int")),
            "bound_drivers": {"0": self.name},
        }
        return Binding("ovs", details)


class LinuxBridge(MechanismDriver):
    """One bridge a network."""

    name = "linuxbridge"
    agent_type = "Linux bridge agent"

    def bind(
        self, segment: Segment, agent: HostAgent, vnic_type: str, owner: str
    ) -> Binding | None:
        """See MechanismDriver."""
        if vnic_type != "normal" or not reaches(segment, agent, "interface_mappings"):
            return None
        if segment.network_type == "gre":
            return None
        details = {"connectivity": "l2", "port_filter": True, "bound_drivers": {"0": self.name}}
        return Binding("bridge", details)
