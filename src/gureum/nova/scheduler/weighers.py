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
        return float(host.room[resource].free) if resource in host.room else 0.0

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


def weigh(
    hosts: Sequence[HostState], request: ScheduleRequest, options: FilterSchedulerOptions
) -> dict[str, dict[str, float]]:
    """Return, by node, the weight each weigher gives and their `sum`; weighers that say nothing are
    left out."""
    found: dict[str, dict[str, float]] = {host.node: {} for host in hosts}
    for name, multiplier, weigher in weighers(options):
        values = [weigher(host, request) for host in hosts]
        least, most = min(values), max(values)
        if multiplier == 0 or least == most:
            continue
        for host, value in zip(hosts, values, strict=True):
            found[host.node][name] = round(multiplier * (value - least) / (most - least), 4)
    for weights in found.values():
        weights["sum"] = round(sum(weights.values()), 4)
    return found
