"""Heartbeat and reconciliation of a compute host, with the fake driver."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from nova_guests import guest

from gureum.core.bus import BusTimeout, Journal
from gureum.core.machine import HostNameTaken, taken
from gureum.nova.agent.config import ComputeOptions
from gureum.nova.agent.contract import (
    ComputeState,
    ExpectedGuest,
    ExpectedGuests,
    GuestState,
    HostReport,
)
from gureum.nova.agent.loops import ComputeLoops
from gureum.nova.agent.worker import ComputeWorker
from gureum.nova.drivers.base import SpawnOrder
from gureum.nova.drivers.fake import FakeDriver, FakeHost


class Conductor(ComputeState):
    """The other side, by hand."""

    def __init__(self) -> None:
        self.reports: list[HostReport] = []
        self.states: list[GuestState] = []
        self.answer: Callable[[list[str]], ExpectedGuests] = lambda seen: ExpectedGuests()
        self.down = False
        self.refused = 0
        self.refusal: HostNameTaken | None = None
        self.changed = threading.Condition()

    def report(self, report: HostReport) -> None:
        if self.down:
            raise BusTimeout("nobody answers")
        if self.refusal is not None:
            with self.changed:
                self.refused += 1
                self.changed.notify_all()
            raise self.refusal
        with self.changed:
            self.reports.append(report)
            self.changed.notify_all()

    def guest_states(self, host: str, states: list[GuestState]) -> None:
        assert host == "host-1"
        with self.changed:
            self.states.extend(states)
            self.changed.notify_all()

    def expected_guests(self, host: str, seen: list[str]) -> ExpectedGuests:
        assert host == "host-1"
        return self.answer(seen)

    def wait(self, what: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(what, timeout=10)


class Host:
    """A compute host with loops that the test steps."""

    def __init__(self, path: Path, **options: object) -> None:
        values = {"state_path": str(path), "report_interval": 0.1} | options
        self.options = ComputeOptions(**values)
        self.driver = FakeDriver(FakeHost("host-1"))
        self.worker = ComputeWorker(self.options, "host-1", self.driver, Journal(":memory:"))
        self.conductor = Conductor()
        self.loops = self.boot("boot-1")

    def boot(self, boot_id: str) -> ComputeLoops:
        return ComputeLoops(self.options, self.worker, self.conductor, boot_id)

    def spawn(self) -> str:
        order = guest()
        self.driver.spawn(SpawnOrder(order))
        return order.server_id

    def expect(self, *guests: ExpectedGuest, deleted: tuple[str, ...] = ()) -> None:
        self.conductor.answer = lambda seen: ExpectedGuests(guests, deleted)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_heartbeat_carries_the_inventory(host: Host) -> None:
    host.loops.report()
    report = host.conductor.reports[0]
    assert report.host == "host-1"
    assert report.inventory.vcpus == 64
    assert "spawn" in report.capabilities.verbs


def test_guests_that_agree_are_not_reported(host: Host) -> None:
    one = host.spawn()
    host.expect(ExpectedGuest(one, "running"))
    host.loops.reconcile()
    assert host.conductor.states == []


def test_guest_of_a_deleted_server_is_removed(host: Host) -> None:
    one = host.spawn()
    host.expect(deleted=(one,))
    host.loops.reconcile()
    assert host.driver.guest_states() == []


def test_guest_of_a_deleted_server_is_only_logged_when_asked(tmp_path: Path) -> None:
    host = Host(tmp_path, running_deleted_instance_action="log")
    one = host.spawn()
    host.expect(deleted=(one,))
    host.loops.reconcile()
    assert len(host.driver.guest_states()) == 1


def test_guest_that_both_lists_name_is_kept(host: Host) -> None:
    one = host.spawn()
    host.expect(ExpectedGuest(one, "running"), deleted=(one,))
    host.loops.reconcile()
    assert len(host.driver.guest_states()) == 1


def test_unknown_guest_is_left_alone(host: Host) -> None:
    host.spawn()
    host.expect()
    host.loops.reconcile()
    assert len(host.driver.guest_states()) == 1


def test_guest_destroyed_underneath_is_reported(host: Host) -> None:
    one = host.spawn()
    host.driver.vanish(one)
    host.expect(ExpectedGuest(one, "running"))
    host.loops.reconcile()
    assert host.conductor.states == [GuestState(one, "nostate", present=False)]


def test_other_power_state_is_reported(host: Host) -> None:
    one = host.spawn()
    host.driver.halt(one)
    host.expect(ExpectedGuest(one, "running"))
    host.loops.reconcile()
    assert host.conductor.states == [GuestState(one, "shutdown")]


def test_guest_on_which_a_saga_works_is_left_to_it(host: Host) -> None:
    one = host.spawn()
    host.driver.halt(one)
    host.expect(ExpectedGuest(one, "running", busy=True))
    host.loops.reconcile()
    assert host.conductor.states == []


def test_guest_on_which_this_agent_works_is_left_alone(host: Host) -> None:
    one = host.spawn()
    host.expect(deleted=(one,))
    with host.worker.orders.working_on(one):
        host.loops.reconcile()
    assert len(host.driver.guest_states()) == 1


def test_guests_that_ran_are_started_after_the_hosts_boot(host: Host) -> None:
    running, stopped = host.spawn(), host.spawn()
    host.expect(ExpectedGuest(running, "running"), ExpectedGuest(stopped, "shutdown"))
    host.driver.halt(stopped)
    host.loops.reconcile()
    host.driver.halt(running)
    host.boot("boot-2").reconcile()
    states = {state.guest_id: state.power_state for state in host.driver.guest_states()}
    assert states == {running: "running", stopped: "shutdown"}
    assert host.conductor.states == []


def test_guests_stay_off_after_a_boot_when_so_configured(tmp_path: Path) -> None:
    host = Host(tmp_path, resume_guests_state_on_host_boot=False)
    one = host.spawn()
    host.expect(ExpectedGuest(one, "running"))
    host.loops.reconcile()
    host.driver.halt(one)
    host.boot("boot-2").reconcile()
    assert host.conductor.states == [GuestState(one, "shutdown")]


def test_first_start_ever_is_not_a_boot(host: Host) -> None:
    one = host.spawn()
    host.driver.halt(one)
    host.expect(ExpectedGuest(one, "running"))
    host.loops.reconcile()
    assert host.conductor.states == [GuestState(one, "shutdown")]


def test_change_by_itself_is_reported_at_once(host: Host) -> None:
    one = host.spawn()
    host.expect(ExpectedGuest(one, "running"))
    host.loops.start()
    host.conductor.wait(lambda: len(host.conductor.reports) > 0)
    host.driver.halt(one)
    host.conductor.wait(lambda: GuestState(one, "shutdown") in host.conductor.states)
    host.loops.stop()


def test_loops_go_on_when_the_conductor_was_away(host: Host) -> None:
    host.conductor.down = True
    host.loops.start()
    trouble = threading.Event()
    for _ in range(100):
        if host.loops.trouble:
            break
        trouble.wait(0.05)
    assert host.loops.trouble.startswith("report")
    host.conductor.down = False
    host.conductor.wait(lambda: len(host.conductor.reports) > 1)
    host.loops.stop()
    assert host.loops.trouble == ""


def test_host_whose_name_is_anothers_reports_nothing_and_takes_no_orders(tmp_path: Path) -> None:
    host = Host(tmp_path, sync_power_state_interval=0.1)
    host.expect(ExpectedGuest("a guest of the other machine", "running"))
    host.conductor.refusal = taken("host-1", "another", None)
    member: list[bool] = []
    loops = ComputeLoops(
        host.options, host.worker, host.conductor, "boot-1", machine_id="ours",
        on_member=member.append,
    )  # fmt: skip
    loops.start()
    try:
        host.conductor.wait(lambda: host.conductor.refused > 3)
        assert "belongs to another machine" in loops.trouble
        assert (member, host.conductor.states) == ([], [])
        host.conductor.refusal = None
        host.conductor.wait(lambda: len(host.conductor.states) > 0)
        assert (member, loops.trouble) == ([True], "")
        assert host.conductor.reports[-1].machine_id == "ours"
        host.conductor.refusal, host.conductor.refused = taken("host-1", "another", None), 0
        host.conductor.wait(lambda: host.conductor.refused > 1)
        assert member == [True, False]
    finally:
        loops.stop()
