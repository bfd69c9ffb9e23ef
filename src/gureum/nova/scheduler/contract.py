# mypy: disable-error-code="empty-body"
"""What the scheduler is asked, and what it answers.

Owns: `ScheduleRequest`, `Selection`, the contract. Must not: import a store.
"""

from dataclasses import dataclass, field
from typing import Any

from gureum.core.bus.contract import Contract, call

SELECT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Group:
    """The server group of a server; `members` are the other servers in it."""

    id: str
    policy: str
    rules: dict[str, Any] = field(default_factory=dict)
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """One server that needs a host. Sizes as in its flavor; disk_gib is root, ephemeral and swap.

    exclude_hosts: where it already failed. force_host/force_node: no filter is asked.
    requested_host/requested_node: the filters still decide.
    """

    server_id: str
    project_id: str
    user_id: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    extra_specs: dict[str, str] = field(default_factory=dict)
    image_properties: dict[str, str] = field(default_factory=dict)
    zone: str | None = None
    hints: dict[str, Any] = field(default_factory=dict)
    group: Group | None = None
    exclude_hosts: tuple[str, ...] = ()
    force_host: str | None = None
    force_node: str | None = None
    requested_host: str | None = None
    requested_node: str | None = None
    limit: int = 5


@dataclass(frozen=True, slots=True)
class SelectedHost:
    """A host that will do; `resources` is what to allocate of its provider."""

    host: str
    node: str
    provider_id: str
    zone: str
    resources: dict[str, int]
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class FilterCount:
    """One filter of a decision: how many hosts it was asked about, and whom it refused why.

    `name` is "Placement" for hosts that placement did not offer.
    """

    name: str
    asked: int
    refused: int
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why hosts were chosen or refused. `hosts` (host -> what spoke against it) is for operators."""

    known: int
    counts: tuple[FilterCount, ...] = ()
    hosts: dict[str, str] = field(default_factory=dict)
    weights: dict[str, dict[str, float]] = field(default_factory=dict)

    def text(self) -> str:
        """Return what a user may read: numbers and reasons, no names of hosts."""
        if not self.known:
            return "No valid host was found. There are no compute hosts."
        parts = []
        for count in self.counts:
            if count.refused:
                reasons = "; ".join(
                    f"{number}: {reason}" if len(count.reasons) > 1 else reason
                    for reason, number in sorted(count.reasons.items(), key=lambda i: -i[1])
                )
                parts.append(f"{count.name} rejected {count.refused} of {count.asked} ({reasons})")
        return "No valid host was found. " + ", ".join(parts) + "."


@dataclass(frozen=True, slots=True)
class Selection:
    """Hosts in the order in which they should be tried; none when none will do."""

    hosts: tuple[SelectedHost, ...]
    explanation: Explanation


class Scheduler(Contract, topic="nova-scheduler", version=1):
    """nova-scheduler; any of them may answer."""

    @call(timeout=SELECT_TIMEOUT_S)
    def select(self, request: ScheduleRequest) -> Selection:
        """Return the best hosts for a server. Claims nothing."""
        ...
