"""What every hypervisor driver must do; each driver's test module subclasses it."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import tiny_guest
from nova_guests import guest, port

from gureum.nova.agent.contract import (
    FlavorSpec,
    GuestNotFound,
    GuestSpec,
    GuestStateConflict,
    ImageSpec,
    ImageUnavailable,
    Unsupported,
)
from gureum.nova.drivers.base import (
    ComputeDriver,
    HasConsoles,
    HasInterfaces,
    ImageSource,
    SpawnOrder,
)

TINY = tiny_guest.image()
TINY_IMAGE = ImageSpec(
    id="c0ffee00-0000-4000-8000-000000000099",
    size_bytes=len(TINY),
    checksum=hashlib.md5(TINY).hexdigest(),
)


class Images(ImageSource):
    """Images from memory; counts how often each is read."""

    def __init__(self, images: dict[str, tuple[ImageSpec, bytes]] | None = None) -> None:
        self.images = {TINY_IMAGE.id: (TINY_IMAGE, TINY)} | (images or {})
        self.reads: list[str] = []

    def show(self, image_id: str) -> ImageSpec:
        if image_id not in self.images:
            raise ImageUnavailable(f"image {image_id}: answered 404")
        return self.images[image_id][0]

    def read(self, image_id: str) -> Iterator[bytes]:
        self.reads.append(image_id)
        body = self.images[image_id][1]
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    def add(self, image_id: str, body: bytes, **changes: object) -> ImageSpec:
        spec = ImageSpec(id=image_id, size_bytes=len(body))
        spec = replace(spec, **changes)  # type: ignore[arg-type]
        self.images[image_id] = (spec, body)
        return spec


def order(images: Images | None = None, **changes: object) -> SpawnOrder:
    """Order a guest that boots the tiny image and has no network card."""
    values: dict[str, object] = {
        "image": TINY_IMAGE,
        "ports": (),
        "flavor": FlavorSpec("1", "m1.tiny", vcpus=1, memory_mib=64, disk_gib=0),
        "number": next(_numbers),
    }
    spec: GuestSpec = guest(**{**values, **changes})
    return SpawnOrder(spec, images or Images())


def _count() -> Iterator[int]:
    number = 1
    while True:
        yield number
        number += 1


_numbers = _count()


class DriverConformance:
    """Subclasses give a `driver` fixture that destroys what the test spawned."""

    def test_spawned_guest_runs_and_is_listed(self, driver: ComputeDriver) -> None:
        one = order()
        handle = driver.spawn(one)
        assert (handle.guest_id, handle.power_state) == (one.guest.server_id, "running")
        assert handle.name
        states = {state.guest_id: state.power_state for state in driver.guest_states()}
        assert states == {one.guest.server_id: "running"}
        assert driver.leftovers() == []

    def test_spawn_twice_is_the_same_guest(self, driver: ComputeDriver) -> None:
        one = order()
        assert driver.spawn(one) == driver.spawn(one)
        assert len(driver.guest_states()) == 1

    def test_spawn_without_power_is_shut_down(self, driver: ComputeDriver) -> None:
        assert driver.spawn(order(power_on=False)).power_state == "shutdown"

    def test_destroy_removes_and_may_be_repeated(self, driver: ComputeDriver) -> None:
        one = order()
        driver.spawn(one)
        driver.destroy(one.guest.server_id, delete_disks=True)
        assert driver.guest_states() == []
        driver.destroy(one.guest.server_id, delete_disks=True)
        driver.destroy(guest().server_id, delete_disks=True)
        assert driver.leftovers() == []

    def test_checkpoint_stops_a_spawn(self, driver: ComputeDriver) -> None:
        def stop() -> None:
            raise GuestStateConflict("not wanted any more")

        one = replace(order(), checkpoint=stop)
        with pytest.raises(GuestStateConflict):
            driver.spawn(one)
        assert driver.guest_states() == []
        driver.destroy(one.guest.server_id, delete_disks=True)
        assert driver.leftovers() == []

    def test_power_actions_lead_to_their_states_and_may_be_repeated(
        self, driver: ComputeDriver
    ) -> None:
        one = order()
        driver.spawn(one)
        steps = (
            ("pause", "paused"),
            ("unpause", "running"),
            ("suspend", "suspended"),
            ("resume", "running"),
            ("stop", "shutdown"),
            ("start", "running"),
        )
        for action, state in steps:
            for _ in range(2):
                assert driver.power(one.guest.server_id, action, 0).power_state == state
            listed = [found.power_state for found in driver.guest_states()]
            assert listed == [state]
        for action in ("reboot_hard", "reboot_soft"):
            assert driver.power(one.guest.server_id, action, 1).power_state == "running"

    def test_hard_reboot_runs_a_guest_from_any_state(self, driver: ComputeDriver) -> None:
        one = order()
        driver.spawn(one)
        for action in ("pause", "suspend", "stop"):
            driver.power(one.guest.server_id, action, 0)
            done = driver.power(one.guest.server_id, "reboot_hard", 0)
            assert done.power_state == "running"

    def test_action_in_the_wrong_state_is_a_conflict(self, driver: ComputeDriver) -> None:
        one = order(power_on=False)
        driver.spawn(one)
        for action in ("pause", "unpause", "suspend", "resume"):
            with pytest.raises(GuestStateConflict):
                driver.power(one.guest.server_id, action, 0)
        with pytest.raises(Unsupported):
            driver.power(one.guest.server_id, "explode", 0)

    def test_unknown_guest_is_not_found(self, driver: ComputeDriver) -> None:
        missing = guest().server_id
        asks: list[Callable[[], object]] = [
            lambda: driver.power(missing, "start", 0),
            lambda: driver.diagnostics(missing),
        ]
        if isinstance(driver, HasConsoles):
            asks += [
                lambda: driver.console_log(missing, 1),
                lambda: driver.vnc_console(missing),
            ]
        if isinstance(driver, HasInterfaces):
            asks.append(lambda: driver.attach_interface(missing, port(vif_type="unbound")))
        for ask in asks:
            with pytest.raises(GuestNotFound):
                ask()

    def test_screen_of_a_running_guest_has_an_address(self, driver: ComputeDriver) -> None:
        assert isinstance(driver, HasConsoles)
        one = order()
        driver.spawn(one)
        address = driver.vnc_console(one.guest.server_id)
        assert address.host == "127.0.0.1"
        assert 5900 <= address.port < 65536
        driver.power(one.guest.server_id, "stop", 0)
        with pytest.raises(GuestStateConflict):
            driver.vnc_console(one.guest.server_id)

    def test_diagnostics_of_a_running_guest_only(self, driver: ComputeDriver) -> None:
        one = order()
        driver.spawn(one)
        assert driver.diagnostics(one.guest.server_id)["vcpu.current"] == 1
        driver.power(one.guest.server_id, "stop", 0)
        with pytest.raises(GuestStateConflict):
            driver.diagnostics(one.guest.server_id)

    def test_console_log_has_the_last_lines(self, driver: ComputeDriver) -> None:
        assert isinstance(driver, HasConsoles)
        one = order()
        driver.spawn(one)
        deadline = threading.Event()
        for _ in range(200):
            if driver.console_log(one.guest.server_id, None).count("\n") >= tiny_guest.LINES:
                break
            deadline.wait(0.1)
        assert driver.console_log(one.guest.server_id, 3).count("\n") == 3
        assert driver.console_log(one.guest.server_id, 0) == ""
        assert driver.console_log(one.guest.server_id, None).count("\n") >= tiny_guest.LINES

    def test_inventory_counts_guests(self, driver: ComputeDriver) -> None:
        before = driver.inventory()
        driver.spawn(order())
        after = driver.inventory()
        assert after.running_guests == before.running_guests + 1
        assert after.vcpus_used == before.vcpus_used + 1
        assert after.memory_used_mib == before.memory_used_mib + 64
        assert after.vcpus > 0
        assert after.memory_mib > 0
        assert after.disk_gib > 0
        assert "COMPUTE_NODE" in after.traits

    def test_capabilities_name_the_verbs(self, driver: ComputeDriver) -> None:
        told = driver.capabilities()
        assert {"spawn", "destroy", "pause"} <= set(told.verbs)
        assert "qcow2" in told.disk_formats
