"""What the host has: for the heartbeat.

Owns: reading capacities, the processor, Placement's traits. Must not: count what is promised to
guests elsewhere; Placement does.
"""

import os
import platform
import shutil
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gureum.nova.agent.contract import CpuInfo
from gureum.nova.drivers.libvirt.files import write_atomically

GIB = 1 << 30

# Flags of /proc/cpuinfo -> traits, where the names are not the same in upper case.
_FLAG_TRAITS = {
    "pni": "SSE3",
    "sse4_1": "SSE41",
    "sse4_2": "SSE42",
    "avx512f": "AVX512F",
    "sha_ni": "SHA",
    "vmx": "VMX",
    "svm": "SVM",
    "pclmulqdq": "CLMUL",
    "aes": "AESNI",
    "fma": "FMA3",
    "bmi1": "BMI",
}
_SAME = (
    *("sse", "sse2", "ssse3", "sse4a", "avx", "avx2", "f16c", "bmi2", "abm"),
    *("avx512cd", "avx512bw", "avx512dq", "avx512vl", "mmx", "tbm", "xop", "fma4"),
)
_BUSES = ("VIRTIO", "SCSI", "SATA", "IDE", "USB")
_VIFS = ("VIRTIO", "E1000", "E1000E", "RTL8139", "NE2K_PCI", "PCNET", "VMXNET3")
_VIDEOS = ("VGA", "CIRRUS", "QXL", "VIRTIO", "BOCHS", "NONE")
_IMAGES = ("RAW", "QCOW2", "ISO", "AMI", "AKI", "ARI", "VMDK", "VDI", "VHD")


def traits(virt_type: str) -> tuple[str, ...]:
    """Return Placement's names of what guests of this host can have."""
    found = ["COMPUTE_NODE", "COMPUTE_NET_ATTACH_INTERFACE"]
    found += [f"COMPUTE_STORAGE_BUS_{bus}" for bus in _BUSES]
    found += [f"COMPUTE_NET_VIF_MODEL_{model}" for model in _VIFS]
    found += [f"COMPUTE_GRAPHICS_MODEL_{model}" for model in _VIDEOS]
    found += [f"COMPUTE_IMAGE_TYPE_{kind}" for kind in _IMAGES]
    found.append("HW_ARCH_X86_64" if platform.machine() == "x86_64" else "")
    if virt_type == "kvm":
        found += cpu_traits(_cpu_flags())
    return tuple(sorted(trait for trait in found if trait))


def cpu_traits(flags: Iterable[str]) -> list[str]:
    """Return traits of the processor by its flags in /proc/cpuinfo."""
    known = set(flags)
    names = [trait for flag, trait in _FLAG_TRAITS.items() if flag in known]
    names += [flag.upper() for flag in _SAME if flag in known]
    return [f"HW_CPU_X86_{name}" for name in names]


def _cpu_flags() -> list[str]:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("flags"):
            return line.split(":", 1)[1].split()
    return []


def cpu_info(capabilities_xml: str, get_info: list[int | str]) -> CpuInfo:
    """Return the processor from libvirt's capabilities and `getInfo`."""
    cpu = ET.fromstring(capabilities_xml).find("./host/cpu")
    sockets, cores, threads = (int(get_info[index]) for index in (5, 6, 7))
    if cpu is None:
        return CpuInfo(str(get_info[0]), "", "", sockets, cores, threads)
    return CpuInfo(
        arch=cpu.findtext("arch", str(get_info[0])),
        model=cpu.findtext("model", ""),
        vendor=cpu.findtext("vendor", ""),
        sockets=sockets,
        cores=cores,
        threads=threads,
        features=tuple(sorted(one.get("name", "") for one in cpu.findall("feature"))),
    )


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """The file system of the guests' disks."""

    total_gib: int
    used_gib: int
    free_gib: int


def disk_room(folder: Path) -> DiskRoom:
    """Return the room of the file system that holds `folder`."""
    usage = shutil.disk_usage(folder)
    return DiskRoom(usage.total // GIB, usage.used // GIB, usage.free // GIB)


def memory_used_mib() -> int:
    """Return the memory that the host's programs, guests among them, hold."""
    values: dict[str, int] = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) if rest.split() else 0
    free = values.get("MemAvailable", values.get("MemFree", 0))
    return max(0, values.get("MemTotal", 0) - free) // 1024


def uptime_text() -> str:
    """Return how long the host has been up, in the words of uptime(1)."""
    text = _read("/proc/uptime").split()
    if not text:
        return ""
    up = timedelta(seconds=int(float(text[0])))
    hours, minutes = divmod(up.seconds // 60, 60)
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    return f"up {up.days} days, {hours:2d}:{minutes:02d},  load average: {load}"


def host_uuid(state_path: Path) -> str:
    """Return the id of this compute node, made at its first start and kept."""
    path = state_path / "compute_id"
    try:
        return str(uuid.UUID(path.read_text().strip()))
    except (OSError, ValueError):
        made = str(uuid.uuid4())
        write_atomically(path, made.encode(), 0o644)
        return made


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
