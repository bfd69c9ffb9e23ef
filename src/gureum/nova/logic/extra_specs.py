"""Extra specs of flavors: which names and values are known.

Follows the configuration guide, "Extra Specs". From microversion 2.86 on, a name in a known namespace
must be one of these and its value must fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gureum.nova.errors import Bad

NAME = re.compile(r"[a-zA-Z0-9-_:. ]{1,255}")

NAMESPACES = frozenset(
    {
        "accel",
        "aggregate_instance_extra_specs",
        "capabilities",
        "hw",
        "hw_rng",
        "hw_video",
        "os",
        "pci_passthrough",
        "powervm",
        "quota",
        "resources",
        "trait",
        "vmware",
    }
)

Check = Callable[[str], bool]


def _one_of(*words: str) -> Check:
    allowed = frozenset(words)
    return lambda value: value in allowed


def _matches(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _number(low: int, high: int | None = None) -> Check:
    def check(value: str) -> bool:
        try:
            number = int(value)
        except ValueError:
            return False
        return number >= low and (high is None or number <= high)

    return check


def _anything(value: str) -> bool:
    return True


_BOOLEAN = _matches(r"(?i)(true|false|t|f|1|0|yes|no|y|n|on|off)")
_CPUS = _matches(r"[\^]?\d+((-\d+)?(,\^?\d+(-\d+)?)*)")
_COUNT = _number(0)
_POSITIVE = _number(1)

KNOWN: Mapping[str, Check] = {
    "accel:device_profile": _anything,
    "hw:boot_menu": _BOOLEAN,
    "hw:cpu_cores": _POSITIVE,
    "hw:cpu_dedicated_mask": _CPUS,
    "hw:cpu_max_cores": _POSITIVE,
    "hw:cpu_max_sockets": _POSITIVE,
    "hw:cpu_max_threads": _POSITIVE,
    "hw:cpu_policy": _one_of("dedicated", "shared", "mixed"),
    "hw:cpu_realtime": _BOOLEAN,
    "hw:cpu_realtime_mask": _matches(r"(\^)?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*"),
    "hw:cpu_sockets": _POSITIVE,
    "hw:cpu_thread_policy": _one_of("prefer", "isolate", "require"),
    "hw:cpu_threads": _POSITIVE,
    "hw:emulator_threads_policy": _one_of("isolate", "share"),
    "hw:ephemeral_encryption": _BOOLEAN,
    "hw:ephemeral_encryption_format": _one_of("luks"),
    "hw:hide_hypervisor_id": _BOOLEAN,
    "hw:input_bus": _one_of("usb", "virtio"),
    "hw:locked_memory": _BOOLEAN,
    "hw:maxphysaddr_bits": _COUNT,
    "hw:maxphysaddr_mode": _one_of("passthrough", "emulate"),
    "hw:mem_encryption": _BOOLEAN,
    "hw:mem_encryption_model": _one_of("amd-sev", "amd-sev-es"),
    "hw:mem_page_size": _matches(r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)"),
    "hw:numa_nodes": _POSITIVE,
    "hw:pci_numa_affinity_policy": _one_of("required", "preferred", "legacy", "socket"),
    "hw:pmem": _anything,
    "hw:pmu": _BOOLEAN,
    "hw:serial_port_count": _number(0, 8),
    "hw:sound_model": _one_of("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"),
    "hw:tpm_model": _one_of("tpm-tis", "tpm-crb"),
    "hw:tpm_secret_security": _one_of("user", "host", "deployment"),
    "hw:tpm_version": _one_of("1.2", "2.0"),
    "hw:usb_model": _one_of(
        "piix3-uhci",
        "piix4-uhci",
        "ehci",
        "ich9-ehci1",
        "vt82c686b-uhci",
        "pci-ohci",
        "nec-xhci",
        "qemu-xhci",
    ),
    "hw:vif_multiqueue_enabled": _BOOLEAN,
    "hw:viommu_model": _one_of("intel", "smmuv3", "virtio", "auto"),
    "hw:virtio_packed_ring": _BOOLEAN,
    "hw:virtualization_bits": _anything,
    "hw:watchdog_action": _one_of("none", "pause", "poweroff", "reset", "disabled"),
    "hw_rng:allowed": _BOOLEAN,
    "hw_rng:rate_bytes": _COUNT,
    "hw_rng:rate_period": _COUNT,
    "hw_video:ram_max_mb": _COUNT,
    "os:monitors": _COUNT,
    "os:secure_boot": _one_of("disabled", "required", "optional"),
    "os:vif_multiqueue": _BOOLEAN,
    "pci_passthrough:alias": _matches(r"[^:]+:\d+(,[^:]+:\d+)*"),
    "quota:cpu_period": _COUNT,
    "quota:cpu_quota": _number(-1),
    "quota:cpu_shares": _COUNT,
    "quota:disk_read_bytes_sec": _COUNT,
    "quota:disk_read_iops_sec": _COUNT,
    "quota:disk_total_bytes_sec": _COUNT,
    "quota:disk_total_iops_sec": _COUNT,
    "quota:disk_write_bytes_sec": _COUNT,
    "quota:disk_write_iops_sec": _COUNT,
    "quota:vif_inbound_average": _COUNT,
    "quota:vif_inbound_burst": _COUNT,
    "quota:vif_inbound_peak": _COUNT,
    "quota:vif_outbound_average": _COUNT,
    "quota:vif_outbound_burst": _COUNT,
    "quota:vif_outbound_peak": _COUNT,
}

FAMILIES: tuple[tuple[re.Pattern[str], Check], ...] = (
    (re.compile(r"accel:device_profile.*"), _anything),
    (re.compile(r"aggregate_instance_extra_specs:.+"), _anything),
    (re.compile(r"capabilities:.+"), _anything),
    (re.compile(r"hw:numa_cpus\.\d+"), _CPUS),
    (re.compile(r"hw:numa_mem\.\d+"), _POSITIVE),
    (re.compile(r"powervm:.+"), _anything),
    (
        re.compile(r"quota:(cpu|memory|disk_io|vif)_(limit|reservation|shares_level|shares_share)"),
        _anything,
    ),
    (re.compile(r"resources\d*:[A-Z0-9_]+"), _COUNT),
    (re.compile(r"resources[a-zA-Z0-9_-]*:[A-Z0-9_]+"), _COUNT),
    (re.compile(r"trait[a-zA-Z0-9_-]*:[A-Z0-9_]+"), _one_of("required", "forbidden")),
    (re.compile(r"vmware:.+"), _anything),
)


def checked(values: Mapping[str, Any], *, known_only: bool) -> dict[str, str]:
    """Return the specs as text. `known_only` checks names and values of known namespaces. Raises: Bad."""
    out: dict[str, str] = {}
    for name, raw in values.items():
        if NAME.fullmatch(name) is None:
            raise Bad(f"Invalid input for field/attribute extra_specs. {name[:80]!r} is no name.")
        if not isinstance(raw, str | int | float) or isinstance(raw, bool):
            raise Bad(f"Invalid input for field/attribute {name}. The value must be text.")
        value = str(raw)
        if len(value) > 255:
            raise Bad(f"Invalid input for field/attribute {name}. The value is too long.")
        if known_only:
            _check_known(name, value)
        out[name] = value
    return out


def _check_known(name: str, value: str) -> None:
    space = name.split(":", 1)[0]
    if ":" not in name or re.sub(r"(resources|trait).*", r"\1", space) not in NAMESPACES:
        return
    check = KNOWN.get(name)
    if check is None:
        check = next((test for form, test in FAMILIES if form.fullmatch(name)), None)
    if check is None:
        raise Bad(
            f"Validation failed; extra spec '{name}' does not appear to be a valid extra spec."
        )
    if not check(value):
        raise Bad(f"Validation failed; '{value}' is not a valid value for extra spec '{name}'.")
