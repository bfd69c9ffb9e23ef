"""What a type driver and a mechanism driver are.

A type driver knows which segments of its type may exist; the segments themselves are rows, and their
unique constraint decides. A mechanism driver says whether and how a port can be bound on a host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Segment:
    """One L2 segment. `physical_network` is "" and `segmentation_id` None where the type has none."""

    network_type: str
    physical_network: str = ""
    segmentation_id: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """Segmentation ids that projects get, both ends included."""

    physical_network: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class HostAgent:
    """A live L2 agent of a host."""

    agent_type: str
    host: str
    configurations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """How a port is plugged on a host."""

    vif_type: str
    vif_details: Mapping[str, Any]


class InvalidSegment(ValueError):
    """The asked segment cannot exist; the text says why."""


class TypeDriver(ABC):
    """One network type."""

    name: str
    overhead_bytes: int = 0
    is_tunnel: bool = False

    @abstractmethod
    def check(self, asked: Segment) -> Segment:
        """Check what an admin asked for; a missing id stays None. Raises: InvalidSegment."""

    @abstractmethod
    def ranges(self, physical_network: str | None) -> Sequence[Range]:
        """Return where free ids for projects come from ([]: nothing to choose)."""


class MechanismDriver(ABC):
    """One way to plug ports."""

    name: str
    agent_type: str

    @abstractmethod
    def bind(
        self, segment: Segment, agent: HostAgent, vnic_type: str, owner: str
    ) -> Binding | None:
        """Return how the agent would plug the port, or None when it cannot."""
