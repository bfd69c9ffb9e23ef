"""Weighers: which of the hosts that will do is best.

Each weigher's values are stretched to 0…1 over the hosts and multiplied; the sum decides. Must not: do I/O.
Follows the Compute admin guide, "Compute schedulers", section "Weights".
"""

from collections.abc import Callable, Sequence

from gureum.nova.scheduler.config import FilterSchedulerOptions
from gureum.nova.scheduler.contract import ScheduleRequest
from gureum.nova.scheduler.hosts import HostState

Weigh = Callable[[Sequence[HostState], ScheduleRequest], list[float]]


def _free(resource: str) -> Weigh:
    def weigh(hosts: Sequence[HostState], request: ScheduleRequest) -> list[float]:
        rooms = [host.room.get(resource) for host in hosts]
        return [float(room.capacity - room.used) if room is not None else 0.0 for room in rooms]

    return weigh


def _building(hosts: Sequence[HostState], request: ScheduleRequest) -> list[float]:
    return [float(host.building) for host in hosts]


def _group_members(policy: str) -> Weigh:
    def weigh(hosts: Sequence[HostState], request: ScheduleRequest) -> list[float]:
        group = request.group
        if group is None or group.policy != policy:
            return [0.0] * len(hosts)
        return [float(len(host.near.intersection(group.members))) for host in hosts]

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

    def __init__(self, hosts: Sequence[HostState] = ()) -> None:
        self._hosts = hosts
        self._place = {host: place for place, host in enumerate(hosts)}
        self._given: list[tuple[str, list[float]]] = []
        self._total = [0.0] * len(hosts)

    def give(self, name: str, values: list[float]) -> None:
        """Add the weights that one weigher gave, in the order of the hosts."""
        self._given.append((name, values))
        self._total = [have + value for have, value in zip(self._total, values, strict=True)]

    def total(self, host: HostState) -> float:
        """Return the sum for a host."""
        return round(self._total[self._place[host]], 4)

    def best_first(self) -> list[HostState]:
        """Return the hosts by sum, those that are alike by name."""
        keys = [
            (-round(total, 4), host.host, place)
            for place, (total, host) in enumerate(zip(self._total, self._hosts, strict=True))
        ]
        return [self._hosts[place] for _, _, place in sorted(keys)]

    def shown(self, host: HostState) -> dict[str, float]:
        """Return every weight of a host by weigher, and their `sum`."""
        place = self._place[host]
        shown = {name: round(values[place], 4) for name, values in self._given}
        return {**shown, "sum": self.total(host)}


def weigh(
    hosts: Sequence[HostState], request: ScheduleRequest, options: FilterSchedulerOptions
) -> Weights:
    """Return the weights of hosts; weighers that say nothing are left out."""
    found = Weights(hosts)
    for name, multiplier, weigher in weighers(options):
        if not hosts or multiplier == 0 or (request.group is None and name in _OF_GROUPS):
            continue
        values = weigher(hosts, request)
        least, most = min(values), max(values)
        if least == most:
            continue
        scale = multiplier / (most - least)
        found.give(name, [scale * (value - least) for value in values])
    return found
