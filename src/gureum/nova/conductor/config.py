"""Options of the conductor."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("nova.conductor", "Sagas and what compute hosts tell.")
@dataclass(frozen=True, slots=True)
class ConductorOptions:
    """nova-conductor."""

    workers: int = option("Verbs on servers that run at the same time.", default=8, min=1, max=256)
    initial_cpu_allocation_ratio: float = option(
        "VCPUs of servers for each CPU of a host.", default=4.0, min=0.1
    )
    initial_ram_allocation_ratio: float = option(
        "Memory of servers for each MiB of a host.", default=1.0, min=0.1
    )
    initial_disk_allocation_ratio: float = option(
        "Disk of servers for each GiB of a host.", default=1.0, min=0.1
    )
    enable_new_services: bool = option(
        "Whether compute hosts that are heard of first may get servers at once.", default=True
    )
    reconcile_interval: float = option(
        "How often allocations, mappings and addresses are compared with the truth.",
        default=60.0,
        unit="s",
        min=1,
    )
