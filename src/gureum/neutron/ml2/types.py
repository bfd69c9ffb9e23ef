"""The network types local, flat, vlan, vxlan and gre.

Follows: Neutron administration guide, "ML2 plug-in"; RFC 7348 (VXLAN ids have 24 bits), RFC 2890 (GRE
keys have 32).
"""

from __future__ import annotations

from collections.abc import Sequence

from gureum.neutron.ml2.base import InvalidSegment, Range, Segment, TypeDriver


class Local(TypeDriver):
    """A network that never leaves its host."""

    name = "local"

    def check(self, asked: Segment) -> Segment:
        """See TypeDriver."""
        if asked.physical_network or asked.segmentation_id is not None:
            raise InvalidSegment(
                "provider:physical_network and provider:segmentation_id are prohibited for local"
                " provider network"
            )
        return asked

    def ranges(self, physical_network: str | None) -> Sequence[Range]:
        """See TypeDriver."""
        return ()


class Flat(TypeDriver):
    """A physical network without tags."""

    name = "flat"

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, asked: Segment) -> Segment:
        """See TypeDriver."""
        if not asked.physical_network:
            raise InvalidSegment("physical_network required for flat provider network")
        if asked.segmentation_id is not None:
            raise InvalidSegment("segmentation_id is prohibited for flat provider network")
        if "*" not in self._allowed and asked.physical_network not in self._allowed:
            raise InvalidSegment(
                f"physical_network '{asked.physical_network}' unknown for flat provider network"
            )
        return Segment(self.name, asked.physical_network, 0)

    def ranges(self, physical_network: str | None) -> Sequence[Range]:
        """See TypeDriver."""
        return ()


class Vlan(TypeDriver):
    """IEEE 802.1Q tags on physical networks."""

    name = "vlan"

    def __init__(self, ranges: Sequence[str]) -> None:
        self._ranges: list[Range] = []
        self._physical: set[str] = set()
        for text in ranges:
            physnet, *ends = text.split(":")
            self._physical.add(physnet)
            if len(ends) == 2:
                self._ranges.append(Range(physnet, int(ends[0]), int(ends[1])))

    def check(self, asked: Segment) -> Segment:
        """See TypeDriver."""
        if not asked.physical_network and asked.segmentation_id is not None:
            raise InvalidSegment("segmentation_id requires physical_network for VLAN network")
        if asked.physical_network and asked.physical_network not in self._physical:
            raise InvalidSegment(
                f"physical_network '{asked.physical_network}' unknown for VLAN provider network"
            )
        if asked.segmentation_id is not None and not 1 <= asked.segmentation_id <= 4094:
            raise InvalidSegment("segmentation_id out of range (1 through 4094)")
        return asked

    def ranges(self, physical_network: str | None) -> Sequence[Range]:
        """See TypeDriver."""
        return [r for r in self._ranges if physical_network in (None, "", r.physical_network)]


class Tunnel(TypeDriver):
    """An overlay with a number: vxlan and gre."""

    is_tunnel = True

    def __init__(self, name: str, overhead_bytes: int, most: int, ranges: Sequence[str]) -> None:
        self.name = name
        self.overhead_bytes = overhead_bytes
        self._most = most
        self._ranges = [
            Range("", int(first), int(last)) for first, last in (r.split(":") for r in ranges)
        ]

    def check(self, asked: Segment) -> Segment:
        """See TypeDriver."""
        if asked.physical_network:
            raise InvalidSegment(f"provider:physical_network specified for {self.name} network")
        if asked.segmentation_id is not None and not 1 <= asked.segmentation_id <= self._most:
            raise InvalidSegment(f"segmentation_id out of range (1 through {self._most})")
        return asked

    def ranges(self, physical_network: str | None) -> Sequence[Range]:
        """See TypeDriver."""
        return self._ranges
