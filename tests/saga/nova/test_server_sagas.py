"""What becomes of servers: hosts, failures, deletes at any moment, power, and what hosts report."""

import threading
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from nova_world import NETWORK, NovaWorld, nic

from gureum.core.db.types import utc_now
from gureum.nova import sagas
from gureum.nova.agent.contract import GuestState, HypervisorFailed, ImageUnusable
from gureum.nova.logic import saga_params
from gureum.nova.model import BuildRequest, Group, RequestedNic
from gureum.nova.reconcilers import ports as port_loop
from gureum.nova.reconcilers.allocations import Allocations
from gureum.nova.reconcilers.housekeeping import PruneSagas, SignOfLife
from gureum.nova.reconcilers.mappings import Mappings
from gureum.nova.reconcilers.ports import KnownPorts
from gureum.nova.store import hosts, mappings
from gureum.nova.store import servers as store
from gureum.nova.store.tables import CELL0, CELL1, schedule_records, server_mappings, services

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def world(tmp_path):
    world = NovaWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def three(tmp_path):
    world = NovaWorld(tmp_path, ("h1", "h2", "h3"))
    yield world
    world.close()


def change_service(world, host, **values):
    with world.cells[CELL1].write() as tx:
        tx.update(services, services.c.host == host, **values)


def records(world, server_id, cell=CELL1):
    with world.cells[cell].read() as tx:
        wanted = schedule_records.select().where(schedule_records.c.server_id == server_id)
        return tx.all(wanted)


# -- creating --------------------------------------------------------------------------------------


def test_server_gets_host_ports_guest_and_is_active(world):
    given = world.ports.add(NETWORK)
    cards = (nic(tag="front"), RequestedNic(id="card-2", port_id=given.id))
    server_id = world.active_server(nics=cards)
    row = world.row(server_id)
    assert (row.host, row.node, row.availability_zone) == ("h1", "h1.example", "nova")
    assert (row.power_state, row.root_device_name) == (1, "/dev/vda")
    assert row.launched_at is not None
    first, second = world.nics(server_id)
    assert (first.tag, first.keep, second.port_id, second.keep) == ("front", False, given.id, True)
    assert first.network_label == "private" and first.spec["mtu"] == 1450
    assert [a.address for a in first.addresses] == ["10.0.0.3"]
    assert first.spec["subnets"][0]["gateway"] == "10.0.0.1"
    assert world.ports.ports[given.id].device_owner == "compute:nova"
    assert world.placement.allocation(server_id).by_provider == {
        world.provider("h1"): {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
    }


def test_secrets_do_not_outlive_the_build(world):
    server_id = world.active_server()
    (saga,) = world.sagas_of(server_id)
    assert b"s3cret" not in saga.params
    assert msgspec.json.decode(saga.params) == {"server_id": server_id}


def test_decision_is_recorded(three):
    server_id = three.active_server()
    (record,) = records(three, server_id)
    assert record.chosen_host == three.row(server_id).host
    assert record.explanation["known"] == 3
    assert [count["name"] for count in record.explanation["counts"]][:2] == [
        "Placement", "ComputeFilter"
    ]


def test_server_without_a_host_is_in_cell0_and_says_why(three):
    change_service(three, "h1", disabled=True, disabled_reason="secret plans")
    change_service(three, "h2", last_seen_at=utc_now() - timedelta(hours=1))
    server_id = three.new_server(memory_mib=512, nics=(nic(),),
                                 request=BuildRequest(zone="moon", nics=(nic(),)))
    three.run()
    assert three.row(server_id) is None
    row = three.row(server_id, CELL0)
    assert (row.vm_state, row.host) == ("error", None)
    (fault,) = three.faults(server_id, CELL0)
    assert fault.code == 500
    assert fault.message == (
        "No valid host was found. ComputeFilter rejected 2 of 3 (1: the compute service is"
        " disabled; 1: the compute service is down), AvailabilityZoneFilter rejected 1 of 1"
        " (not in the wanted availability zone)."
    )
    assert "h1" not in fault.message and "secret" not in fault.message
    assert "\nh2: ComputeFilter: the compute service is down\n" in fault.details
    assert three.mapping(server_id).cell == CELL0
    assert three.effects(server_id) == []
    with three.cells[CELL0].read() as tx:
        assert store.metadata_of(tx, [server_id]) == {server_id: {"role": "web"}}
    assert len(records(three, server_id, CELL0)) == 1


def test_server_that_is_too_large_is_told_what_is_missing(world):
    server_id = world.new_server(memory_mib=10**7)
    world.run()
    (fault,) = world.faults(server_id, CELL0)
    assert fault.message == (
        "No valid host was found. Placement rejected 1 of 1 (not enough MEMORY_MB)."
    )


def test_no_compute_hosts_at_all(tmp_path):
    world = NovaWorld(tmp_path, ())
    server_id = world.new_server()
    world.run()
    (fault,) = world.faults(server_id, CELL0)
    assert fault.message == "No valid host was found. There are no compute hosts."
    world.close()


def test_failed_spawn_goes_to_another_host(three):
    for driver in three.drivers.values():
        driver.faults.fail("spawn")
    three.drivers["h3"].faults._planned.clear()
    server_id = three.active_server(nics=(nic(),))
    assert three.row(server_id).host == "h3"
    assert three.guests() == {server_id: "h3"}
    assert len(three.ports.ports) == 1
    assert list(three.placement.allocation(server_id).by_provider) == [three.provider("h3")]
    (saga,) = three.sagas_of(server_id)
    assert saga.round == 2
    assert [row.error_code for row in saga.steps if row.name == "spawn"] == [
        "hypervisor_failed", "hypervisor_failed", None
    ]


def test_spawn_that_fails_everywhere_is_an_error_in_its_cell(three):
    for driver in three.drivers.values():
        driver.faults.fail("spawn")
    server_id = three.new_server(nics=(nic(),))
    three.run()
    row = three.row(server_id)
    assert (row.vm_state, row.host) == ("error", None)
    (fault,) = three.faults(server_id)
    assert fault.message == "Build of the server failed on a host."
    assert "planned: spawn" in fault.details
    assert three.effects(server_id) == []


def test_spawn_that_fails_on_the_only_host_says_so(world):
    world.drivers["h1"].faults.fail("spawn")
    server_id = world.new_server()
    world.run()
    (fault,) = world.faults(server_id)
    assert fault.message == (
        "Build of the server failed on a host. No valid host was found."
        " Retry rejected 1 of 1 (the server failed there already)."
    )
    assert world.row(server_id).vm_state == "error"


def test_unusable_image_is_not_tried_elsewhere(three):
    for driver in three.drivers.values():
        driver.faults.fail("spawn", error=lambda: ImageUnusable("it has a backing file"))
    server_id = three.new_server()
    three.run()
    (fault,) = three.faults(server_id)
    assert fault.message == "The image cannot be used: it has a backing file"
    assert three.sagas_of(server_id)[0].round == 0


def test_refused_port_is_told_to_the_user(world):
    world.ports.refuse.add(NETWORK)
    server_id = world.new_server(nics=(nic(),))
    world.run()
    (fault,) = world.faults(server_id)
    assert fault.message == (
        "The network service refused a port: No more IP addresses available on network."
    )
    assert world.effects(server_id) == []


@pytest.mark.parametrize("device", [None, "another-server"])
def test_port_that_is_gone_or_taken_fails_the_build(world, device):
    port_id = "00000000-0000-4000-8000-00000000dead"
    if device:
        port_id = world.ports.add(NETWORK, device_id=device).id
    server_id = world.new_server(nics=(RequestedNic(id="c", port_id=port_id),))
    world.run()
    (fault,) = world.faults(server_id)
    assert fault.message in (
        f"Port {port_id} could not be found.", f"Port {port_id} is still in use."
    )
    if device:
        assert world.ports.ports[port_id].device_id == device


def test_host_that_cannot_bind_a_port_is_left(three):
    three.ports.unbindable |= {"h1", "h2"}
    server_id = three.active_server(nics=(nic(),))
    assert three.row(server_id).host == "h3"


def test_dead_host_is_left_for_another(three):
    busy = threading.Event()

    class Dead:
        def spawn(self, key, generation, guest):
            busy.set()
            threading.Event().wait(5)
            raise HypervisorFailed("never read")

    alive = three.deps.compute
    first = []

    def compute(host, timeout_s):
        if not first or first[0] == host:
            first[:] = [host]
            change_service(three, host, forced_down=True)
            return Dead()
        return alive(host, timeout_s)

    three.deps = three.replaced(compute=compute)
    server_id = three.active_server()
    assert three.row(server_id).host != first[0]
    assert busy.is_set()


def test_many_servers_share_the_hosts(three):
    ids = [three.new_server() for _ in range(6)]
    three.run()
    placed = [three.row(server_id).host for server_id in ids]
    assert sorted(placed) == ["h1", "h1", "h2", "h2", "h3", "h3"]


def test_forced_host_is_taken_without_filters(three):
    change_service(three, "h2", disabled=True)
    server_id = three.active_server(request=BuildRequest(force_host="h2"))
    assert three.row(server_id).host == "h2"


# -- deleting --------------------------------------------------------------------------------------


def test_delete_leaves_nothing_and_frees_quota(world):
    server_id = world.active_server(nics=(nic(),))
    world.delete_server(server_id)
    world.run()
    assert world.row(server_id) is None
    gone = world.row(server_id, deleted=True)
    assert (gone.vm_state, gone.deleted) == ("deleted", True) and gone.terminated_at is not None
    assert world.mapping(server_id).deleted_at is not None
    assert world.effects(server_id) == [] and world.ports.ports == {}


def test_delete_during_the_build_cancels_it(world):
    driver = world.drivers["h1"]
    spawning, go_on = threading.Event(), threading.Event()
    real = driver.spawn

    def spawn(order):
        spawning.set()
        assert go_on.wait(20)
        order.checkpoint()
        return real(order)

    driver.spawn = spawn
    server_id = world.new_server(nics=(nic(),))
    building = threading.Thread(target=world.run)
    building.start()
    assert spawning.wait(20)
    world.delete_server(server_id)
    go_on.set()
    building.join(30)
    world.run()
    assert world.row(server_id) is None
    assert [s.state for s in world.sagas_of(server_id)] == ["done", "cancelled"]
    assert world.effects(server_id) == [] and world.guests() == {}
    assert world.faults(server_id) == []


def test_delete_does_not_wait_for_a_long_spawn(world):
    driver = world.drivers["h1"]
    spawning, stop = threading.Event(), threading.Event()

    def spawn(order):
        spawning.set()
        while not stop.wait(0.05):
            order.checkpoint()  # what a driver does between its actions
        raise AssertionError("nobody hurried the spawn")

    driver.spawn = spawn
    server_id = world.new_server(nics=(nic(),))
    building = threading.Thread(target=world.run)
    building.start()
    assert spawning.wait(20)
    world.delete_server(server_id)
    building.join(30)
    stop.set()
    world.run()
    assert world.row(server_id) is None and world.effects(server_id) == []


def test_delete_on_a_dead_host_does_not_wait_for_it(world):
    server_id = world.active_server(nics=(nic(),))
    change_service(world, "h1", forced_down=True)
    world.delete_server(server_id)
    world.run()
    assert world.row(server_id) is None
    assert world.placement.allocation(server_id).by_provider == {}
    assert world.guests() == {server_id: "h1"}
    expected = world.conductor.expected_guests("h1", [server_id])
    assert expected.deleted == (server_id,)


def test_delete_of_a_server_in_cell0(world):
    server_id = world.new_server(memory_mib=10**7)
    world.run()
    world.delete_server(server_id, CELL0)
    world.run()
    assert world.row(server_id, CELL0) is None
    assert world.mapping(server_id).deleted_at is not None


def test_delete_that_waits_behind_a_build_without_a_host_finds_it_in_cell0(world):
    server_id = world.new_server(memory_mib=10**7)
    real = world.deps.scheduler.select

    class Slow:
        def select(self, request):
            world.delete_server(server_id)
            return real(request)

    world.deps = world.replaced(scheduler=Slow())
    world.run()
    assert world.row(server_id) is None and world.row(server_id, CELL0) is None
    assert world.mapping(server_id).deleted_at is not None


# -- power -----------------------------------------------------------------------------------------


def test_power_verbs_change_states(world):
    server_id = world.active_server()
    for action, wanted in (
        ("stop", ("stopped", 4)), ("start", ("active", 1)), ("pause", ("paused", 3)),
        ("unpause", ("active", 1)), ("suspend", ("suspended", 7)), ("resume", ("active", 1)),
        ("reboot_soft", ("active", 1)), ("reboot_hard", ("active", 1)),
    ):
        world.power(server_id, action)
        world.run()
        row = world.row(server_id)
        assert (row.vm_state, row.power_state) == wanted, action


def test_broken_guest_puts_the_server_in_error(world):
    server_id = world.active_server()
    world.drivers["h1"].faults.fail("stop")
    world.power(server_id, "stop")
    world.run()
    assert world.row(server_id).vm_state == "error"
    (fault,) = world.faults(server_id)
    assert fault.message == "The server could not be told to stop."
    assert "planned: stop" in fault.details


def test_unreachable_host_leaves_the_state(world):
    server_id = world.active_server()
    change_service(world, "h1", forced_down=True)
    world.power(server_id, "stop")
    world.run()
    assert world.row(server_id).vm_state == "active"
    assert len(world.faults(server_id)) == 1


def test_state_conflict_leaves_the_server_as_it_was(world):
    server_id = world.active_server()
    world.power(server_id, "resume")
    world.run()
    world.power(server_id, "stop")
    world.run()
    world.power(server_id, "unpause")
    world.run()
    assert world.row(server_id).vm_state == "stopped"
    assert world.faults(server_id) == []


# -- cards -----------------------------------------------------------------------------------------


def test_card_is_attached_and_detached(world):
    server_id = world.active_server(nics=(nic(),))
    attach = saga_params.InterfaceAttachParams(server_id, nic(tag="two"))
    with world.cells[CELL1].write() as tx:
        world.submit(tx, sagas.ATTACH, attach, "attach_interface")
    world.run()
    first, second = world.nics(server_id)
    assert second.tag == "two"
    assert world.drivers["h1"].ports_of(server_id) == (first.port_id, second.port_id)
    detach = saga_params.InterfaceDetachParams(server_id, first.port_id)
    with world.cells[CELL1].write() as tx:
        world.submit(tx, sagas.DETACH, detach, "detach_interface")
    world.run()
    assert [n.port_id for n in world.nics(server_id)] == [second.port_id]
    assert list(world.ports.ports) == [second.port_id]


def test_card_whose_network_is_full_changes_nothing(world):
    server_id = world.active_server(nics=(nic(),))
    world.ports.refuse.add(NETWORK)
    attach = saga_params.InterfaceAttachParams(server_id, nic())
    with world.cells[CELL1].write() as tx:
        world.submit(tx, sagas.ATTACH, attach, "attach_interface")
    world.run()
    assert world.row(server_id).vm_state == "active"
    assert len(world.nics(server_id)) == len(world.ports.ports) == 1


# -- what hosts report -----------------------------------------------------------------------------


def settle(world, server_id):
    """Let the row be old enough that a host's word counts."""
    from gureum.nova.store.tables import servers

    with world.cells[CELL1].write() as tx:
        tx.update(servers, servers.c.id == server_id, updated_at=utc_now() - timedelta(minutes=1))


def test_report_makes_service_node_mapping_and_provider(world):
    with world.cells[CELL1].read() as tx:
        (node,) = hosts.list_nodes(tx)
        (service,) = hosts.list_services(tx)
    assert (node.host, node.hypervisor_hostname, service.binary) == (
        "h1", "h1.example", "nova-compute"
    )
    assert world.placement.names == {node.id: "h1.example"}
    with world.api.read() as tx:
        assert mappings.cell_of_host(tx, "h1") == CELL1
    written = dict(world.placement.stocks)
    world.placement.stocks.clear()
    world.report("h1")
    assert world.placement.stocks == {}  # unchanged: not written again
    world.placement.stocks.update(written)


def test_guest_that_powered_off_by_itself_is_shown_as_stopped(world):
    server_id = world.active_server()
    world.conductor.guest_states("h1", [GuestState(server_id, "shutdown")])
    assert world.row(server_id).vm_state == "active"  # the row is younger than the word
    settle(world, server_id)
    world.conductor.guest_states("h1", [GuestState(server_id, "shutdown")])
    row = world.row(server_id)
    assert (row.vm_state, row.power_state) == ("stopped", 4)


def test_guest_that_disappeared_is_an_error_with_a_fault(world):
    server_id = world.active_server()
    settle(world, server_id)
    for _ in range(2):
        world.conductor.guest_states("h1", [GuestState(server_id, "nostate", present=False)])
        settle(world, server_id)
    assert world.row(server_id).vm_state == "error"
    (fault,) = world.faults(server_id)
    assert fault.message == "The server disappeared from its host."


def test_word_of_another_host_or_during_a_verb_is_ignored(world):
    server_id = world.active_server()
    settle(world, server_id)
    world.conductor.guest_states("h9", [GuestState(server_id, "shutdown")])
    world.power(server_id, "stop")
    world.conductor.guest_states("h1", [GuestState(server_id, "paused")])
    assert world.row(server_id).vm_state == "active"


def test_expected_guests_tell_busy_deleted_moved_and_unknown(three):
    here = three.active_server(request=BuildRequest(force_host="h1"))
    busy = three.active_server(request=BuildRequest(force_host="h1"))
    gone = three.active_server(request=BuildRequest(force_host="h1"))
    elsewhere = three.active_server(request=BuildRequest(force_host="h2"))
    three.power(busy, "stop")
    three.delete_server(gone)
    three.engine().run_due(limit=0)
    with three.cells[CELL1].write() as tx:
        store.mark_deleted(tx, gone)
        three.store.finish(tx, three.store.of_resource(tx, gone)[0], "done", None)
    expected = three.conductor.expected_guests("h1", [here, busy, gone, elsewhere, "stranger"])
    assert {g.guest_id: (g.power_state, g.busy) for g in expected.guests} == {
        here: ("running", False), busy: ("running", True)
    }
    assert set(expected.deleted) == {gone, elsewhere}


# -- reconcilers -----------------------------------------------------------------------------------


def test_orphaned_allocations_are_given_back(world):
    kept, gone = world.active_server(), world.active_server()
    with world.cells[CELL1].write() as tx:
        store.mark_deleted(tx, gone)
    with world.api.write() as tx:
        mappings.mark_deleted(tx, gone)
    world.placement.held["not-a-server"] = {world.provider("h1"): {"VCPU": 1}}
    loop = Allocations(world.deps, world.store, 60)
    assert loop.reconcile() == 1
    assert set(world.placement.held) == {kept, "not-a-server"}
    assert loop.reconcile() == 0


def test_allocation_of_a_running_build_is_left_alone(world):
    server_id = world.new_server()
    world.placement.held[server_id] = {world.provider("h1"): {"VCPU": 1}}
    assert Allocations(world.deps, world.store, 60).reconcile() == 0


def test_mappings_are_corrected(world):
    live, lost, dead, moved = (world.active_server() for _ in range(4))
    with world.cells[CELL1].write() as tx:
        store.forget(tx, lost)
        store.mark_deleted(tx, dead)
        bundle = store.export(tx, moved)
        store.forget(tx, moved)
    with world.cells[CELL0].write() as tx:
        store.take(tx, bundle)
    loop = Mappings(world.deps, 60)
    assert loop.reconcile() == 0  # too young
    with world.api.write() as tx:
        tx.update(server_mappings, server_mappings.c.server_id.is_not(None),
                  created_at=utc_now() - timedelta(hours=2))
    assert loop.reconcile() == 3
    assert world.mapping(lost) is None
    assert world.mapping(dead).deleted_at is not None
    assert (world.mapping(moved).cell, world.mapping(live).cell) == (CELL0, CELL1)


def test_known_ports_follow_neutron(world):
    server_id = world.active_server(nics=(nic(tag="a"), nic()))
    loop = KnownPorts(world.deps, world.store, 60)
    assert loop.reconcile() == 0
    first, second = world.nics(server_id)
    world.ports.delete(second.port_id)
    assert loop.reconcile() == 1
    assert [n.port_id for n in world.nics(server_id)] == [first.port_id]
    port = world.ports.ports[first.port_id]
    world.ports.ports[port.id] = replace(port, security_groups=("g2", "g1"))
    assert loop.reconcile() == 1
    assert world.nics(server_id)[0].groups == (Group("g1", "name of g1"), Group("g2", "name of g2"))
    assert loop.reconcile() == 0
    world.power(server_id, "stop")
    world.ports.delete(first.port_id)
    assert loop.reconcile() == 0  # a verb is at work
    world.run()
    assert loop.reconcile() == 1


def test_ports_of_many_servers_are_read_in_turns(world, monkeypatch):
    monkeypatch.setattr(port_loop, "AT_ONCE", 2)
    cards = [world.nics(world.active_server(nics=(nic(),)))[0] for _ in range(3)]
    loop = KnownPorts(world.deps, world.store, 60)
    for card in cards:
        world.ports.delete(card.port_id)
    assert [loop.reconcile() for _ in range(4)] == [2, 1, 0, 0]


def test_services_show_that_they_live_and_old_sagas_go(world):
    assert SignOfLife(world.cells[CELL1], "ctl", "nova-conductor").reconcile() == 0
    with world.cells[CELL1].read() as tx:
        assert {s.binary for s in hosts.list_services(tx)} == {"nova-compute", "nova-conductor"}
    world.active_server()
    world.clock.now += 100 * 24 * 3600
    assert PruneSagas(world.cells, world.store).reconcile() == 1
