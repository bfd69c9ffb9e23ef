"""Options of the scheduler, under their classic names."""

from dataclasses import dataclass

from gureum.core.config import option, section

DEFAULT_FILTERS = (
    "ComputeFilter",
    "AvailabilityZoneFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
    "SameHostFilter",
    "DifferentHostFilter",
)


@section("nova.scheduler", "How nova-scheduler works.")
@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """The scheduler as a whole."""

    max_placement_results: int = option(
        "Most allocation candidates that placement is asked for.", default=1000, min=1
    )
    workers: int = option("Decisions at the same time.", default=4, min=1, max=64)


@section("nova.filter_scheduler", "Which hosts come into question, and which is best.")
@dataclass(frozen=True, slots=True)
class FilterSchedulerOptions:
    """Filters and weighers."""

    enabled_filters: tuple[str, ...] = option(
        "Filters in the order in which they are asked.", default=DEFAULT_FILTERS
    )
    host_subset_size: int = option(
        "The host is drawn at random from so many of the best.", default=1, min=1
    )
    max_instances_per_host: int = option(
        "NumInstancesFilter: most servers on a host.", default=50, min=1
    )
    max_io_ops_per_host: int = option(
        "IoOpsFilter: most servers that are being built on a host.", default=8, min=1
    )
    ram_weight_multiplier: float = option(
        "How much free memory counts; negative stacks servers.", default=1.0
    )
    cpu_weight_multiplier: float = option("How much free VCPUs count.", default=1.0)
    disk_weight_multiplier: float = option("How much free disk counts.", default=1.0)
    io_ops_weight_multiplier: float = option(
        "How much servers that are being built count.", default=-1.0
    )
    soft_affinity_weight_multiplier: float = option(
        "How much members of a soft-affinity group draw.", default=1.0, min=0
    )
    soft_anti_affinity_weight_multiplier: float = option(
        "How much members of a soft-anti-affinity group push away.", default=1.0, min=0
    )
