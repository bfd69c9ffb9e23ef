"""The configured type and mechanism drivers together.

Owns: which type a network gets, its MTU, who binds a port. Must not: touch a database; the store does
the allocation that `ranges` describes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gureum.core.config import ConfigError
from gureum.core.problems import Problem
from gureum.neutron.config import Ml2Options
from gureum.neutron.ml2.base import (
    Binding,
    HostAgent,
    InvalidSegment,
    MechanismDriver,
    Segment,
    TypeDriver,
)
from gureum.neutron.ml2.mechanisms import LinuxBridge, OpenVSwitch
from gureum.neutron.ml2.types import Flat, Local, Tunnel, Vlan

UNBOUND = Binding("unbound", {})
FAILED = Binding("binding_failed", {})


def _check(key: str, values: Iterable[str], known: Collection[str]) -> None:
    """Raises: ConfigError, with the key, the value and what to write instead."""
    problems = [
        Problem("neutron.ml2", key, f"{value!r} is no driver here; use one of: {', '.join(known)}")
        for value in values
        if value not in known
    ]
    if problems:
        raise ConfigError(problems)


class Ml2:
    """ML2 as configured."""

    def __init__(self, options: Ml2Options, physical_mtu: int) -> None:
        known: dict[str, TypeDriver] = {
            "local": Local(),
            "flat": Flat(options.flat_networks),
            "vlan": Vlan(options.network_vlan_ranges),
            "vxlan": Tunnel("vxlan", 50, 2**24 - 1, options.vni_ranges),
            "gre": Tunnel("gre", 42, 2**32 - 1, options.tunnel_id_ranges),
        }
        mechanisms: dict[str, MechanismDriver] = {
            "openvswitch": OpenVSwitch(),
            "linuxbridge": LinuxBridge(),
        }
        _check("type_drivers", options.type_drivers, known)
        _check("mechanism_drivers", options.mechanism_drivers, mechanisms)
        _check("tenant_network_types", options.tenant_network_types, options.type_drivers)
        self.types = {name: known[name] for name in options.type_drivers}
        self.tenant_types = tuple(options.tenant_network_types)
        self.mechanisms = tuple(mechanisms[name] for name in options.mechanism_drivers)
        self.physical_mtu = physical_mtu

    def driver(self, network_type: str) -> TypeDriver:
        """Return the driver of a type. Raises: InvalidSegment."""
        found = self.types.get(network_type)
        if found is None:
            raise InvalidSegment(f"network_type value '{network_type}' not supported")
        return found

    def max_mtu(self, segments: Sequence[Segment]) -> int:
        """Return the largest MTU that every segment carries."""
        overhead = max(
            (
                self.types[s.network_type].overhead_bytes
                for s in segments
                if s.network_type in self.types
            ),
            default=0,
        )
        return self.physical_mtu - overhead

    def bind(
        self,
        segments: Sequence[Segment],
        agents: Sequence[HostAgent],
        vnic_type: str,
        owner: str,
    ) -> Binding:
        """Return the first binding that a mechanism offers on the host, or a failed one."""
        for mechanism in self.mechanisms:
            for agent in agents:
                if agent.agent_type != mechanism.agent_type:
                    continue
                for segment in segments:
                    binding = mechanism.bind(segment, agent, vnic_type, owner)
                    if binding is not None:
                        return binding
        return FAILED
