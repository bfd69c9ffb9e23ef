"""Weighers: which of the hosts that will do is best.

Each weigher's values are stretched to 0…1 over the hosts and multiplied; the sum decides. Must not: do I/O.
Follows the Compute admin guide, "Compute schedulers", section "Weights".
"""

from collections.abc import Callable, Sequence

from gureum.nova.scheduler.config import FilterSchedulerOptions
from gureum.nova.scheduler.contract import ScheduleRequest
from gureum.nova.scheduler.hosts import HostState

Weigh = Callable[[HostState, ScheduleRequest], float]


def _free(resource: str) -> Weigh:
    def weigh(host: HostState, request: ScheduleRequest) -> float:
        room = host.room.get(resource)
        return float(room.capacity - room.used) if room is not None else 0.0

    return weigh


def _building(host: HostState, request: ScheduleRequest) -> float:
    return float(host.building)


def _group_members(policy: str) -> Weigh:
    def weigh(host: HostState, request: ScheduleRequest) -> float:
        group = request.group
        if group is None or group.policy != policy:
            return 0.0
        return float(len(host.near.intersection(group.members)))

    return weigh


def weighers(options: FilterSchedulerOptions) -> list[tuple[str, float, Weigh]]:
    """Return (name, multiplier, weigher)."""
    return [
        ("RAMWeigher", options.ram_weight_multiplier, _free("MEMORY_MB")),
        ("CPUWeigher", options.cpu_weight_multiplier, _free("VCPU")),
        ("DiskWeigher", options.disk_weight_multiplier, _free("DISK_GB")),
        ("IoOpsWeigher", options.io_ops_weight_multiplier, _building),
        (
            "ServerGroupSoftAffinityWeigher",
            options.soft_affinity_weight_multiplier,
            _group_members("soft-affinity"),
        ),
        (
            "ServerGroupSoftAntiAffinityWeigher",
            -options.soft_anti_affinity_weight_multiplier,
            _group_members("soft-anti-affinity"),
        ),
    ]


_OF_GROUPS = frozenset({"ServerGroupSoftAffinityWeigher", "ServerGroupSoftAntiAffinityWeigher"})


class Weights:
    """What each weigher gave each host: `total` by host, and all of it in words."""

    def __init__(self) -> None:
        self._given: list[tuple[str, dict[HostState, float]]] = []
        self._total: dict[HostState, float] = {}

    def give(self, name: str, values: dict[HostState, float]) -> None:
        """Add the weights that one weigher gave."""
        self._given.append((name, values))
        have = self._total
        self._total = {host: have.get(host, 0.0) + value for host, value in values.items()}

    def total(self, host: HostState) -> float:
        """Return the sum for a host."""
        return round(self._total.get(host, 0.0), 4)

    def shown(self, host: HostState) -> dict[str, float]:
        """Return every weight of a host by weigher, and their `sum`."""
        shown = {name: round(values[host], 4) for name, values in self._given}
        return {**shown, "sum": self.total(host)}


def weigh(
    hosts: Sequence[HostState], request: ScheduleRequest, options: FilterSchedulerOptions
) -> Weights:
    """Return the weights of hosts; weighers that say nothing are left out."""
    found = Weights()
    for name, multiplier, weigher in weighers(options):
        if multiplier == 0 or (request.group is None and name in _OF_GROUPS):
            continue
        values = [weigher(host, request) for host in hosts]
        least, most = min(values), max(values)
        if least == most:
            continue
        scale = multiplier / (most - least)
        found.give(
            name,
            {host: scale * (value - least) for host, value in zip(hosts, values, strict=True)},
        )
    return found
