"""What Nova's control plane asks of Placement, as facts.

Owns: `Placement` (a protocol, so that tests have one in memory), the resource classes of a server. Must
not: be called in a transaction. Follows the Placement API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from gureum.placement.client import Room

VCPU = "VCPU"
MEMORY_MB = "MEMORY_MB"
DISK_GB = "DISK_GB"


class PlacementError(Exception):
    """Placement refused, in a way that a repetition does not mend."""

    code = "placement"


class PlacementUnavailable(PlacementError):
    """Placement does not answer as it should; try again."""

    code = "placement_unavailable"
    retryable = True


class PlacementConflict(PlacementError):
    """Something changed meanwhile, or there is no room any more."""

    code = "placement_conflict"
    retryable = True


Usage = Room
"""What a provider has of a class (allocation ratio and reservation applied) and what is taken."""


class Candidate(msgspec.Struct, frozen=True):
    """A provider that has room for a request."""

    provider_id: str
    resources: Mapping[str, int]
    usages: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Stock:
    """One inventory of a provider."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0
    min_unit: int = 1
    max_unit: int = 0
    step_size: int = 1


@dataclass(frozen=True, slots=True)
class Allocated:
    """What a consumer holds: amounts by provider."""

    consumer_id: str
    by_provider: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Placement(Protocol):
    """Every method raises PlacementUnavailable, PlacementError."""

    def candidates(
        self,
        resources: Mapping[str, int],
        *,
        required: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[Candidate]:
        """Return providers with room and the traits."""
        ...

    def usages(self, provider_id: str) -> dict[str, Usage] | None:
        """Return what a provider has and what is taken; None when it is unknown."""
        ...

    def allocation(self, consumer_id: str) -> Allocated:
        """Return what a consumer holds; nothing is fine."""
        ...

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
        """Take room for a consumer that holds nothing. Raises: PlacementConflict.

        new: it was never given any, as far as the caller knows.
        """
        ...

    def release(self, consumer_id: str) -> None:
        """Give back all that a consumer holds; nothing is fine."""
        ...

    def consumers(self, provider_id: str) -> list[str]:
        """Return who holds something of a provider."""
        ...

    def put_provider(
        self,
        provider_id: str,
        name: str,
        stocks: Mapping[str, Stock],
        traits: Sequence[str],
    ) -> None:
        """Make a provider have these inventories and at least these traits; repeated is fine."""
        ...

    def remove_provider(self, provider_id: str) -> None:
        """Remove a provider; gone already is fine. Raises: PlacementConflict (it is in use)."""
        ...
