"""Each filter lets the right hosts through and says why it refuses the others."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from gureum.nova.agent.contract import CpuInfo, Inventory
from gureum.nova.scheduler import filters
from gureum.nova.scheduler.config import DEFAULT_FILTERS, FilterSchedulerOptions
from gureum.nova.scheduler.contract import Group, ScheduleRequest
from gureum.nova.scheduler.filters import Asked
from gureum.nova.scheduler.hosts import HostState, Room
from gureum.nova.scheduler.weighers import weigh
from gureum.nova.store.scheduling import AggregateFacts

INVENTORY = Inventory(
    hypervisor_hostname="n1", hypervisor_type="QEMU", hypervisor_version=9000000,
    host_ip="10.0.0.1", vcpus=8, memory_mib=16384, disk_gib=100, vcpus_used=0, memory_used_mib=0,
    disk_used_gib=0, disk_available_gib=100, running_guests=0,
    cpu=CpuInfo("x86_64", "Nehalem", "Intel", 1, 4, 2, ("sse", "avx")),
)
HOST = HostState("h1", "n1", "p1", inventory=INVENTORY,
                 room={"VCPU": Room(32, 2), "MEMORY_MB": Room(16384, 512), "DISK_GB": Room(100, 0)})
REQUEST = ScheduleRequest("s1", "project", "user", 1, 512, 1)


def ask(name, *, host=HOST, options=None, placed=(), **request):
    ((_, question),) = filters.named([name])
    return question(host, Asked(replace(REQUEST, **request), options or FilterSchedulerOptions(),
                                frozenset(placed)))


def aggregated(**metadata):
    return changed(HOST, aggregates=(AggregateFacts("a", metadata),))


def test_compute_filter_wants_an_enabled_service_that_is_up():
    assert ask("ComputeFilter") is None
    assert ask("ComputeFilter", host=changed(HOST, up=False)) == "the compute service is down"
    assert ask("ComputeFilter", host=changed(HOST, disabled=True)) == (
        "the compute service is disabled"
    )


def test_zone_filter():
    east = changed(aggregated(availability_zone="east"), zone="east")
    assert ask("AvailabilityZoneFilter", zone=None) is None
    assert ask("AvailabilityZoneFilter", zone="nova") is None
    assert ask("AvailabilityZoneFilter", zone="east", host=east) is None
    assert ask("AvailabilityZoneFilter", zone="west", host=east) is not None


@pytest.mark.parametrize(
    ("value", "wanted", "matches"),
    [
        ("4", ">= 4", True), ("3", ">= 4", False), ("4", "= 4", True), ("5", "= 4", True),
        ("4", "== 4", True), ("5", "== 4", False), ("5", "!= 4", True), ("3", "<= 4", True),
        ("x", ">= 4", False), ("qemu", "s== qemu", True), ("qemu", "s!= qemu", False),
        ("b", "s> a", True), ("a", "s>= a", True), ("a", "s<= a", True), ("a", "s< b", True),
        ("a", "<or> a <or> b", True), ("c", "<or> a <or> b", False),
        ("sse avx", "<in> avx", True), ("sse", "<in> avx", False),
        ("sse avx", "<all-in> sse avx", True), ("sse", "<all-in> sse avx", False),
        ("plain", "plain", True), ("plain", "other", False), ("", "", True),
    ],
)
def test_extra_spec_language(value, wanted, matches):
    assert filters.spec_matches(value, wanted) is matches


def test_capabilities_filter_reads_scoped_and_plain_specs():
    name = "ComputeCapabilitiesFilter"
    assert ask(name, extra_specs={"capabilities:cpu_info:arch": "x86_64"}) is None
    assert ask(name, extra_specs={"capabilities:cpu_info:features": "<in> avx"}) is None
    assert ask(name, extra_specs={"hypervisor_type": "s== QEMU"}) is None
    assert ask(name, extra_specs={"free_ram_mb": ">= 1024"}) is None
    assert ask(name, extra_specs={"vcpus_total": ">= 64"}) is not None
    assert ask(name, extra_specs={"unheard_of": "1"}) is not None
    assert ask(name, extra_specs={"hw:cpu_policy": "dedicated", "quota:vif": "1"}) is None


@pytest.mark.parametrize(
    ("properties", "passes"),
    [
        ({}, True), ({"hw_architecture": "x86_64"}, True), ({"architecture": "amd64"}, True),
        ({"hw_architecture": "aarch64"}, False), ({"img_hv_type": "qemu"}, True),
        ({"img_hv_type": "kvm"}, True), ({"hypervisor_type": "vmware"}, False),
        ({"img_hv_requested_version": ">=6.0, <10.0"}, True),
        ({"img_hv_requested_version": ">=10"}, False),
        ({"img_hv_requested_version": "nonsense"}, False),
        ({"img_hv_requested_version": "==9.0.0"}, True),
    ],
)
def test_image_properties_filter(properties, passes):
    assert (ask("ImagePropertiesFilter", image_properties=properties) is None) is passes


def test_anti_affinity_counts_members():
    group = Group("g", "anti-affinity", members=("m1", "m2"))
    near = changed(HOST, near=frozenset({"m1"}))
    name = "ServerGroupAntiAffinityFilter"
    assert ask(name, group=group) is None
    assert ask(name, group=group, host=near) is not None
    assert ask(name, group=replace(group, rules={"max_server_per_host": 2}), host=near) is None
    assert ask(name, group=replace(group, policy="affinity"), host=near) is None


def test_affinity_follows_placed_members():
    group = Group("g", "affinity", members=("m1",))
    name = "ServerGroupAffinityFilter"
    assert ask(name, group=group) is None  # the first member may go anywhere
    assert ask(name, group=group, placed={"m1"}) is not None
    assert ask(name, group=group, placed={"m1"}, host=changed(HOST, near=frozenset({"m1"}))) is None


def test_same_and_different_host_hints():
    near = changed(HOST, near=frozenset({"a"}))
    assert ask("SameHostFilter", hints={"same_host": "a"}, host=near) is None
    assert ask("SameHostFilter", hints={"same_host": ["a"]}) is not None
    assert ask("DifferentHostFilter", hints={"different_host": ["a", "b"]}, host=near) is not None
    assert ask("DifferentHostFilter", hints={"different_host": "a"}) is None


def test_aggregate_filters():
    name = "AggregateInstanceExtraSpecsFilter"
    wants = {"aggregate_instance_extra_specs:ssd": "true"}
    assert ask(name, extra_specs=wants, host=aggregated(ssd="true")) is None
    assert ask(name, extra_specs=wants) is not None
    name = "AggregateMultiTenancyIsolation"
    assert ask(name) is None
    assert ask(name, host=aggregated(filter_tenant_id="project, other")) is None
    assert ask(name, host=aggregated(filter_tenant_id="other")) is not None
    assert ask(name, host=aggregated(filter_tenant_id_2="project")) is None


def test_load_filters():
    few = FilterSchedulerOptions(max_instances_per_host=3, max_io_ops_per_host=2)
    crowded = changed(HOST, servers=3, building=2)
    for name in ("NumInstancesFilter", "IoOpsFilter"):
        assert ask(name, options=few) is None
        assert ask(name, options=few, host=crowded) is not None
    assert ask("AllHostsFilter", host=crowded) is None


def test_classic_class_paths_are_understood():
    path = "nova.scheduler.filters.compute_filter.ComputeFilter"
    assert filters.named([path]) == [("ComputeFilter", filters.compute)]
    assert len(filters.named(DEFAULT_FILTERS)) == len(DEFAULT_FILTERS)
    with pytest.raises(ValueError, match="unknown filter 'NoFilter'"):
        filters.named(["NoFilter"])


def full(host, used):
    return changed(HOST, host=host, node=f"n-{host}", building=0,
                   room={"MEMORY_MB": Room(100, used), "VCPU": Room(10, 0), "DISK_GB": Room(9, 0)})


def shown(hosts, weights):
    return {host.node: weights.shown(host) for host in hosts}


def test_weighers_spread_and_stack():
    hosts = [full("a", 50), full("b", 0), full("c", 100)]
    spread = shown(hosts, weigh(hosts, REQUEST, FilterSchedulerOptions()))
    assert spread == {
        "n-a": {"RAMWeigher": 0.5, "sum": 0.5}, "n-b": {"RAMWeigher": 1.0, "sum": 1.0},
        "n-c": {"RAMWeigher": 0.0, "sum": 0.0},
    }
    stack = shown(hosts, weigh(hosts, REQUEST, FilterSchedulerOptions(ram_weight_multiplier=-1.0)))
    assert max(stack, key=lambda node: stack[node]["sum"]) == "n-c"


def test_building_servers_push_away():
    hosts = [changed(full("a", 0), building=3), full("b", 0)]
    weights = shown(hosts, weigh(hosts, REQUEST, FilterSchedulerOptions()))
    assert weights["n-a"]["IoOpsWeigher"] == -1.0 and weights["n-b"]["sum"] == 0.0


def test_soft_group_policies():
    hosts = [changed(full("a", 0), near=frozenset({"m1"})), full("b", 0)]
    for policy, best in (("soft-affinity", "n-a"), ("soft-anti-affinity", "n-b")):
        request = replace(REQUEST, group=Group("g", policy, members=("m1",)))
        weights = shown(hosts, weigh(hosts, request, FilterSchedulerOptions()))
        assert max(weights, key=lambda node: weights[node]["sum"]) == best
