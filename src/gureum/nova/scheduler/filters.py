"""Filters: one question each, whether a host may take a server.

Owns: the filters under their classic names. A filter returns why it refuses, or None; the reason may be
read by users, so it names no host. Must not: do I/O. Follows the Compute admin guide, "Compute schedulers".
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gureum.nova.scheduler.config import FilterSchedulerOptions
from gureum.nova.scheduler.contract import ScheduleRequest
from gureum.nova.scheduler.hosts import HostState

Refusal = str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What filters are given beside the host. placed: members of the group that have a host."""

    request: ScheduleRequest
    options: FilterSchedulerOptions
    placed: frozenset[str] = frozenset()


Filter = Callable[[HostState, Asked], Refusal]


def compute(host: HostState, asked: Asked) -> Refusal:
    """The compute service is up and enabled."""
    if host.disabled:
        return "the compute service is disabled"
    return None if host.up else "the compute service is down"


def availability_zone(host: HostState, asked: Asked) -> Refusal:
    """The host is in the wanted zone."""
    wanted = asked.request.zone
    if not wanted or wanted in {*_values(host, "availability_zone"), host.zone}:
        return None
    return "not in the wanted availability zone"


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_WORDS: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s>=": operator.ge,
    "s>": operator.gt,
    "s<=": operator.le,
    "s<": operator.lt,
}


def spec_matches(value: str, wanted: str) -> bool:
    """Whether a value satisfies an extra spec such as `>= 4`, `s== qemu`, `<in> abc`, `<or> a <or> b`."""
    words = wanted.split()
    if not words:
        return value == wanted
    word, rest = words[0], words[1:]
    if word == "<in>":
        return bool(rest) and rest[0] in value
    if word == "<all-in>":
        return all(part in value for part in rest)
    if word == "<or>":
        return value in [part for part in rest if part != "<or>"]
    if word in _WORDS:
        return bool(rest) and _WORDS[word](value, rest[0])
    if word in _COMPARISONS:
        try:
            return bool(rest) and _COMPARISONS[word](float(value), float(rest[0]))
        except ValueError:
            return False
    return value == wanted


def compute_capabilities(host: HostState, asked: Asked) -> Refusal:
    """The extra specs `capabilities:…`, and those without a scope, hold for the host."""
    for key, wanted in asked.request.extra_specs.items():
        scope, _, rest = key.partition(":")
        if rest and scope != "capabilities":
            continue
        value = _capability(host, rest or key)
        if value is None or not spec_matches(value, wanted):
            return f"the host lacks what the extra spec {key} asks for"
    return None


def _capability(host: HostState, name: str) -> str | None:
    """Find a fact such as `hypervisor_type` or `cpu_info:arch` of a host."""
    inventory, capabilities = host.inventory, host.capabilities
    facts: dict[str, Any] = {}
    if inventory is not None:
        facts = {
            "hypervisor_type": inventory.hypervisor_type,
            "hypervisor_version": inventory.hypervisor_version,
            "hypervisor_hostname": inventory.hypervisor_hostname,
            "vcpus_total": inventory.vcpus,
            "total_usable_ram_mb": inventory.memory_mib,
            "total_usable_disk_gb": inventory.disk_gib,
            "cpu_info:arch": inventory.cpu.arch,
            "cpu_info:model": inventory.cpu.model,
            "cpu_info:vendor": inventory.cpu.vendor,
            "cpu_info:features": " ".join(inventory.cpu.features),
            "cpu_info:topology:cores": inventory.cpu.cores,
            "cpu_info:topology:sockets": inventory.cpu.sockets,
            "cpu_info:topology:threads": inventory.cpu.threads,
        }
    if capabilities is not None:
        facts["virt_type"] = capabilities.virt_type
    facts |= {"num_instances": host.servers, "num_io_ops": host.building}
    for resource, key in (("VCPU", "vcpus"), ("MEMORY_MB", "ram_mb"), ("DISK_GB", "disk_mb")):
        if resource in host.room:
            scale = 1024 if resource == "DISK_GB" else 1
            facts[f"free_{key}"] = host.room[resource].free * scale
    return None if name not in facts else str(facts[name])


_ARCH_NAMES = {"amd64": "x86_64", "x86": "i686", "i386": "i686", "i586": "i686", "arm64": "aarch64"}
_HYPERVISOR_NAMES = {"kvm": "qemu"}


def image_properties(host: HostState, asked: Asked) -> Refusal:
    """Architecture, hypervisor type and version that the image asks for are the host's."""
    properties, inventory = asked.request.image_properties, host.inventory
    if inventory is None:
        return None
    wanted_arch = _first(properties, "hw_architecture", "architecture")
    if wanted_arch and _arch(wanted_arch) != _arch(inventory.cpu.arch):
        return f"the image needs the architecture {wanted_arch}"
    wanted_type = _first(properties, "img_hv_type", "hypervisor_type")
    if wanted_type and _hypervisor(wanted_type) != _hypervisor(inventory.hypervisor_type):
        return f"the image needs the hypervisor {wanted_type}"
    wanted_version = _first(properties, "img_hv_requested_version", "hypervisor_version_requires")
    if wanted_version and not _version_matches(inventory.hypervisor_version, wanted_version):
        return f"the image needs a hypervisor version {wanted_version}"
    return None


def _first(properties: Mapping[str, str], *names: str) -> str | None:
    return next((properties[name] for name in names if properties.get(name)), None)


def _arch(name: str) -> str:
    return _ARCH_NAMES.get(name.lower(), name.lower())


def _hypervisor(name: str) -> str:
    return _HYPERVISOR_NAMES.get(name.lower(), name.lower())


def _version_matches(version: int, wanted: str) -> bool:
    """Compare libvirt's number with texts such as `>=6.0` or `>=6.0, <10.0`."""
    have = (version // 1_000_000, version // 1_000 % 1_000, version % 1_000)
    compare = {
        "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
        "<": operator.lt, ">": operator.gt,
    }  # fmt: skip
    for part in wanted.split(","):
        text = part.strip()
        sign = next((known for known in compare if text.startswith(known)), "==")
        digits = text.removeprefix(sign).strip().split(".")
        if not all(digit.isdigit() for digit in digits):
            return False
        numbers = tuple([*map(int, digits), 0, 0][:3])
        if not compare[sign](have, numbers):
            return False
    return True


def anti_affinity(host: HostState, asked: Asked) -> Refusal:
    """No more members of an anti-affinity group are here than its rule allows."""
    group = asked.request.group
    if group is None or group.policy != "anti-affinity":
        return None
    most = int(group.rules.get("max_server_per_host", 1))
    here = len(host.near.intersection(group.members))
    return None if here < most else "a member of the server group is there already"


def affinity(host: HostState, asked: Asked) -> Refusal:
    """Members of an affinity group are here, when there are any."""
    group = asked.request.group
    if group is None or group.policy != "affinity":
        return None
    if not asked.placed or host.near.intersection(asked.placed):
        return None
    return "the other members of the server group are elsewhere"


def same_host(host: HostState, asked: Asked) -> Refusal:
    """A server that the hint `same_host` names is here."""
    wanted = _ids(asked.request.hints.get("same_host"))
    if not wanted or host.near.intersection(wanted):
        return None
    return "not the same host as the hint asks for"


def different_host(host: HostState, asked: Asked) -> Refusal:
    """No server that the hint `different_host` names is here."""
    unwanted = _ids(asked.request.hints.get("different_host"))
    if host.near.intersection(unwanted):
        return "not a different host as the hint asks for"
    return None


def _ids(hint: Any) -> list[str]:
    if hint is None:
        return []
    return [hint] if isinstance(hint, str) else [str(one) for one in hint]


def aggregate_extra_specs(host: HostState, asked: Asked) -> Refusal:
    """The extra specs `aggregate_instance_extra_specs:…` hold for an aggregate of the host."""
    prefix = "aggregate_instance_extra_specs:"
    for key, wanted in asked.request.extra_specs.items():
        if not key.startswith(prefix):
            continue
        values = _values(host, key.removeprefix(prefix))
        if not any(spec_matches(value, wanted) for value in values):
            return f"no aggregate has what the extra spec {key} asks for"
    return None


def multi_tenancy(host: HostState, asked: Asked) -> Refusal:
    """An aggregate with `filter_tenant_id` takes these projects only."""
    listed = _values(host, "filter_tenant_id")
    for facts in host.aggregates:
        for key, value in facts.metadata.items():
            if key.startswith("filter_tenant_id") and key != "filter_tenant_id":
                listed = [*listed, value]
    projects = {one.strip() for value in listed for one in value.split(",")}
    if projects and asked.request.project_id not in projects:
        return "reserved for other projects"
    return None


def io_ops(host: HostState, asked: Asked) -> Refusal:
    """Not too many servers are being built here."""
    if host.building < asked.options.max_io_ops_per_host:
        return None
    return "too many servers are being built there"


def num_instances(host: HostState, asked: Asked) -> Refusal:
    """Not too many servers are here."""
    return None if host.servers < asked.options.max_instances_per_host else "too many servers"


def all_hosts(host: HostState, asked: Asked) -> Refusal:
    """Every host will do."""
    return None


def _values(host: HostState, key: str) -> list[str]:
    return [facts.metadata[key] for facts in host.aggregates if key in facts.metadata]


FILTERS: dict[str, Filter] = {
    "AggregateInstanceExtraSpecsFilter": aggregate_extra_specs,
    "AggregateMultiTenancyIsolation": multi_tenancy,
    "AllHostsFilter": all_hosts,
    "AvailabilityZoneFilter": availability_zone,
    "ComputeCapabilitiesFilter": compute_capabilities,
    "ComputeFilter": compute,
    "DifferentHostFilter": different_host,
    "ImagePropertiesFilter": image_properties,
    "IoOpsFilter": io_ops,
    "NumInstancesFilter": num_instances,
    "SameHostFilter": same_host,
    "ServerGroupAffinityFilter": affinity,
    "ServerGroupAntiAffinityFilter": anti_affinity,
}


_NEEDS: dict[str, Callable[[Asked], Any]] = {
    "AllHostsFilter": lambda asked: False,
    "AvailabilityZoneFilter": lambda asked: asked.request.zone,
    "AggregateInstanceExtraSpecsFilter": lambda asked: asked.request.extra_specs,
    "ComputeCapabilitiesFilter": lambda asked: asked.request.extra_specs,
    "DifferentHostFilter": lambda asked: asked.request.hints.get("different_host"),
    "ImagePropertiesFilter": lambda asked: asked.request.image_properties,
    "SameHostFilter": lambda asked: asked.request.hints.get("same_host"),
    "ServerGroupAffinityFilter": lambda asked: asked.request.group,
    "ServerGroupAntiAffinityFilter": lambda asked: asked.request.group,
}
"""What a request must have for a filter to refuse anybody; the others look at the host alone."""


def passes_all(name: str, asked: Asked) -> bool:
    """Whether a filter has nothing to ask: it would let every host pass."""
    needs = _NEEDS.get(name)
    return needs is not None and not needs(asked)


def named(names: Sequence[str]) -> list[tuple[str, Filter]]:
    """Return filters by name or classic class path, in order. Raises: ValueError."""
    found = []
    for name in names:
        short = name.rsplit(".", 1)[-1]
        if short not in FILTERS:
            raise ValueError(f"unknown filter {name!r}; known: {', '.join(sorted(FILTERS))}")
        found.append((short, FILTERS[short]))
    return found


def servers_named(request: ScheduleRequest) -> Iterable[str]:
    """Return the servers of which it matters where they are."""
    yield from _ids(request.hints.get("same_host"))
    yield from _ids(request.hints.get("different_host"))
    if request.group is not None:
        yield from request.group.members
