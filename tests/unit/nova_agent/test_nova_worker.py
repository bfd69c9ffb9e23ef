"""nova-compute over the bus, with the fake driver: keys, fences, a destroy that meets a spawn."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from nova_guests import guest, port

from gureum.core.bus import AgentError, Fenced, Journal, open_bus
from gureum.nova.agent.config import ComputeOptions
from gureum.nova.agent.contract import (
    ComputeAgent,
    GuestNotFound,
    GuestStateConflict,
    HypervisorFailed,
    Unsupported,
)
from gureum.nova.agent.orders import Interrupted
from gureum.nova.agent.worker import ComputeWorker
from gureum.nova.drivers.fake import FakeDriver, FakeHost


class Node:
    """A compute host on a bus of its own."""

    def __init__(self, path: Path, driver: FakeDriver | None = None) -> None:
        self.path = path
        self.driver = driver or FakeDriver(FakeHost("host-1"))
        self.bus = open_bus("local://")
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.path / "journal.sqlite")
        self.worker = ComputeWorker(ComputeOptions(), "host-1", self.driver, self.journal)
        self.service = self.bus.serve(ComputeAgent, self.worker, "host-1", workers=8)
        self.client = self.bus.client(ComputeAgent, "host-1", timeout_s=20)

    def restart(self) -> None:
        self.service.close()
        self.journal.close()
        self.start()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.bus.close()


def test_spawn_twice_makes_one_guest(node: Node) -> None:
    order = guest()
    first = node.client.spawn("s1/spawn", 1, order)
    assert first.host == "host-1"
    assert first.name == "instance-0000002a"
    assert node.client.spawn("s1/spawn", 2, order) == first
    assert len(node.client.power_states()) == 1


def test_spawn_key_is_remembered_over_a_restart(node: Node) -> None:
    order = guest()
    first = node.client.spawn("s1/spawn", 1, order)
    node.restart()
    assert node.client.spawn("s1/spawn", 1, order) == first


def test_older_generation_is_fenced(node: Node) -> None:
    order = guest()
    node.client.spawn("s1/spawn", 5, order)
    with pytest.raises(Fenced):
        node.client.destroy("s1/spawn.undo", 4, order.server_id, True)
    assert len(node.client.power_states()) == 1


def test_destroy_of_a_guest_that_never_was_is_no_error(node: Node) -> None:
    node.client.destroy("s1/spawn.undo", 1, guest().server_id, True)


def test_late_spawn_does_not_bring_a_destroyed_guest_back(node: Node) -> None:
    order = guest()
    node.client.destroy("s1/spawn.undo", 1, order.server_id, True)
    with pytest.raises(Fenced):
        node.client.spawn("s1/spawn", 1, order)
    node.restart()
    with pytest.raises(Fenced):
        node.client.spawn("s1/spawn", 1, order)
    assert node.client.power_states() == []
    assert node.client.spawn("s2/spawn", 1, order).guest_id == order.server_id


class StuckDriver(FakeDriver):
    """Waits inside spawn until told to go on, then looks at the checkpoint."""

    def __init__(self) -> None:
        super().__init__(FakeHost("host-1"))
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def spawn(self, order):  # type: ignore[no-untyped-def]
        self.entered.set()
        while not self.go_on.wait(0.01):
            order.checkpoint()
        return super().spawn(order)


@pytest.mark.parametrize("saga", ["s1", "s2"])
def test_destroy_stops_a_running_spawn(tmp_path: Path, saga: str) -> None:
    driver = StuckDriver()
    node = Node(tmp_path, driver)
    order = guest()
    errors: list[AgentError] = []

    def spawn() -> None:
        try:
            node.client.spawn("s1/spawn", 1, order)
        except AgentError as error:
            errors.append(error)

    threads = [threading.Thread(target=spawn) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert driver.entered.wait(10)
    node.client.destroy(f"{saga}/destroy", 1, order.server_id, True)
    driver.go_on.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    if saga == "s1":
        assert all(isinstance(error, Fenced | Interrupted) for error in errors)
        assert len(errors) == 3
        assert node.client.power_states() == []
    else:
        assert isinstance(errors[0], Interrupted)
    node.bus.close()


def test_the_third_spawn_fails_and_the_key_may_be_tried_again(node: Node) -> None:
    node.driver.faults.fail("spawn", 3)
    orders = [guest(number=n) for n in range(3)]
    for index in (0, 1):
        node.client.spawn(f"s{index}/spawn", 1, orders[index])
    with pytest.raises(HypervisorFailed, match="planned"):
        node.client.spawn("s2/spawn", 1, orders[2])
    assert node.client.spawn("s2/spawn", 1, orders[2]).power_state == "running"


def test_guest_passes_through_its_power_states(node: Node) -> None:
    order = guest()
    node.client.spawn("s1/spawn", 1, order)
    steps = [
        ("pause", "paused"),
        ("unpause", "running"),
        ("suspend", "suspended"),
        ("resume", "running"),
        ("stop", "shutdown"),
        ("start", "running"),
        ("reboot_soft", "running"),
        ("reboot_hard", "running"),
    ]
    for index, (action, state) in enumerate(steps):
        done = node.client.power(f"p{index}/{action}", 1, order.server_id, action, 1)
        assert done.power_state == state


def test_impossible_power_actions_say_so(node: Node) -> None:
    order = guest()
    with pytest.raises(GuestNotFound):
        node.client.power("p0/x", 1, order.server_id, "start", 1)
    node.client.spawn("s1/spawn", 1, order)
    node.client.power("p1/x", 1, order.server_id, "stop", 0)
    with pytest.raises(GuestStateConflict):
        node.client.power("p2/x", 1, order.server_id, "unpause", 1)
    with pytest.raises(Unsupported):
        node.client.power("p3/x", 1, order.server_id, "explode", 1)


def test_card_plugged_twice_is_there_once(node: Node) -> None:
    order = guest(ports=())
    node.client.spawn("s1/spawn", 1, order)
    node.client.attach_interface("a/1", 1, order.server_id, port())
    node.client.attach_interface("b/1", 1, order.server_id, port())
    assert node.driver.ports_of(order.server_id) == (port().port_id,)
    node.client.detach_interface("c/1", 1, order.server_id, port())
    assert node.driver.ports_of(order.server_id) == ()


def test_console_log_shows_the_last_lines(node: Node) -> None:
    order = guest()
    node.client.spawn("s1/spawn", 1, order)
    assert node.client.console_log(order.server_id, 3).count("\n") == 3
    assert node.client.console_log(order.server_id, None).count("\n") > 3
    with pytest.raises(GuestNotFound):
        node.client.console_log(guest().server_id, 3)


def test_fake_guests_outlive_the_process_when_kept(tmp_path: Path) -> None:
    path = tmp_path / "guests.json"
    node = Node(tmp_path, FakeDriver(path=path))
    order = guest()
    node.client.spawn("s1/spawn", 1, order)
    node.bus.close()
    assert [state.guest_id for state in FakeDriver(path=path).guest_states()] == [order.server_id]


def test_config_drive_is_built_when_asked_for(node: Node) -> None:
    plain, driven = guest(), guest(config_drive=True)
    assert not node.client.spawn("s1/spawn", 1, plain).config_drive
    assert node.client.spawn("s2/spawn", 1, driven).config_drive
