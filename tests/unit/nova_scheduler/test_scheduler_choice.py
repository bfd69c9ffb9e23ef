"""A decision over real databases: aggregates, groups, hints, subsets, the retry of failed hosts."""

import random
import uuid

import pytest
from databases import fresh

from gureum.core.db.types import utc_now
from gureum.nova.agent.contract import HostReport
from gureum.nova.conductor.compute_state import ComputeStateWorker
from gureum.nova.conductor.config import ConductorOptions
from gureum.nova.conductor.guest_spec import schedule_request
from gureum.nova.conductor.testing import MemoryPlacement
from gureum.nova.config import NovaOptions
from gureum.nova.drivers.fake import FakeDriver, FakeHost
from gureum.nova.model import BuildRequest
from gureum.nova.scheduler.choose import HostChooser, resources_of, traits_of
from gureum.nova.scheduler.config import FilterSchedulerOptions, SchedulerOptions
from gureum.nova.scheduler.contract import ScheduleRequest
from gureum.nova.store import servers as store
from gureum.nova.store import tables as t

REQUEST = ScheduleRequest("s1", "project", "user", 1, 512, 1)


class Hosts:
    def __init__(self, directory):
        self.api = fresh("nova_api", f"sqlite:///{directory}/api.sqlite")
        self.cell = fresh("nova_cell1", f"sqlite:///{directory}/cell.sqlite")
        t.API.create_all(self.api.engine)
        t.CELL.create_all(self.cell.engine)
        self.placement = MemoryPlacement()
        self.conductor = ComputeStateWorker(
            self.api, self.cell, [], None, self.placement, ConductorOptions()
        )
        for name in ("h1", "h2", "h3"):
            driver, now = FakeDriver(FakeHost(name=name, vcpus=4)), utc_now().isoformat()
            self.conductor.report(
                HostReport(name, now, now, driver.inventory(), driver.capabilities())
            )

    def select(self, request=REQUEST, *, nova=None, **options):
        chooser = HostChooser(
            self.api, [self.cell], self.placement, FilterSchedulerOptions(**options),
            SchedulerOptions(), nova or NovaOptions(), draw=random.Random(5),
        )
        return chooser.select(request)

    def aggregate(self, name, hosts, **metadata):
        with self.api.write() as tx:
            tx.insert(t.aggregates, id=str(uuid.uuid4()), name=name, created_at=utc_now())
            number = tx.one(t.aggregates.select().where(t.aggregates.c.name == name)).number
            for host in hosts:
                tx.insert(t.aggregate_hosts, aggregate_number=number, host=host)
            for key, value in metadata.items():
                tx.insert(t.aggregate_metadata, aggregate_number=number, key=key, value=value)

    def server(self, host, server_id=None):
        server_id = server_id or str(uuid.uuid4())
        with self.cell.write() as tx:
            store.insert(tx, {
                "id": server_id, "project_id": "p", "user_id": "u", "name": "n", "hostname": "n",
                "vm_state": "active", "flavor_id": "1", "flavor_name": "f", "vcpus": 1,
                "memory_mib": 512, "disk_gib": 1, "flavor": {"extra_specs": {"a": "b"}},
                "image": {"properties": {"c": "d"}}, "host": host, "reservation_id": "r",
                "swap_mib": 100, "ephemeral_gib": 2, "created_at": utc_now(),
            }, BuildRequest(zone="east"), metadata={})
        return server_id


@pytest.fixture
def hosts(tmp_path):
    return Hosts(tmp_path)


def names(selection):
    return [host.host for host in selection.hosts]


def test_all_hosts_come_in_order_of_weight(hosts):
    provider = next(p for p, name in hosts.placement.names.items() if name == "h1")
    hosts.placement.allocate("other", provider, {"MEMORY_MB": 1024}, project_id="p", user_id="u")
    selection = hosts.select()
    assert names(selection) == ["h2", "h3", "h1"]
    assert selection.hosts[0].resources == {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
    assert selection.hosts[0].zone == "nova"
    assert selection.explanation.weights["h1"]["RAMWeigher"] == 0.0


def test_zone_is_the_aggregates(hosts):
    hosts.aggregate("east", ["h2"], availability_zone="east")
    (chosen,) = hosts.select(ScheduleRequest("s", "p", "u", 1, 1, 1, zone="east")).hosts
    assert (chosen.host, chosen.zone) == ("h2", "east")
    assert names(hosts.select(nova=NovaOptions(default_schedule_zone="east"))) == ["h2"]


def test_hints_and_groups_find_servers(hosts):
    near = hosts.server("h2")
    request = ScheduleRequest("s", "p", "u", 1, 1, 1, hints={"same_host": near})
    assert names(hosts.select(request)) == ["h2"]
    request = ScheduleRequest("s", "p", "u", 1, 1, 1, hints={"different_host": [near]})
    assert names(hosts.select(request)) == ["h1", "h3"]


def test_request_is_read_from_the_rows(hosts):
    server_id, member = hosts.server(None), hosts.server("h3")
    with hosts.api.write() as tx:
        tx.insert(t.server_groups, id="g1", project_id="p", user_id="u", name="g",
                  policy="anti-affinity", rules={}, created_at=utc_now())
        for one in (server_id, member):
            tx.insert(t.server_group_members, group_id="g1", server_id=one, user_id="u")
    with hosts.cell.read() as tx:
        row, wanted = store.get(tx, server_id), store.request_of(tx, server_id)
    with hosts.api.read() as tx:
        request = schedule_request(tx, wanted, row, exclude_hosts=["h1"])
    assert (request.disk_gib, request.zone) == (1 + 2 + 1, "east")
    assert request.extra_specs == {"a": "b"} and request.image_properties == {"c": "d"}
    assert (request.group.policy, request.group.members) == ("anti-affinity", (member,))
    hosts.aggregate("east", ["h1", "h2", "h3"], availability_zone="east")
    assert names(hosts.select(request, enabled_filters=(
        "AvailabilityZoneFilter", "ServerGroupAntiAffinityFilter"))) == ["h2"]


def test_named_host_is_taken_only_when_filters_agree(hosts):
    request = ScheduleRequest("s", "p", "u", 1, 1, 1, requested_host="h2", zone="moon")
    selection = hosts.select(request)
    assert selection.hosts == ()
    assert "RequestedDestination rejected 2 of 3" in selection.explanation.text()
    forced = ScheduleRequest("s", "p", "u", 1, 1, 1, force_node="h2", zone="moon")
    assert names(hosts.select(forced)) == ["h2"]


def test_subset_is_drawn_at_random(hosts):
    drawn = {names(hosts.select(host_subset_size=3))[0] for _ in range(1)}
    assert drawn <= {"h1", "h2", "h3"}


def test_resources_and_traits_of_extra_specs():
    request = ScheduleRequest(
        "s", "p", "u", 2, 512, 0,
        extra_specs={"resources:VCPU": "0", "resources:CUSTOM_GPU": "1",
                     "trait:HW_CPU_X86_AVX": "required", "trait:CUSTOM_OLD": "forbidden"},
        image_properties={"trait:STORAGE_DISK_SSD": "required"},
    )
    assert resources_of(request) == {"MEMORY_MB": 512, "CUSTOM_GPU": 1}
    assert traits_of(request) == (["HW_CPU_X86_AVX", "STORAGE_DISK_SSD"], ["CUSTOM_OLD"])


def test_unknown_filter_is_refused_at_the_start(hosts):
    with pytest.raises(ValueError, match="unknown filter"):
        hosts.select(enabled_filters=("Nonsense",))
