"""The fake driver does what every driver must."""

from collections.abc import Iterator

import pytest
from driver_conformance import DriverConformance, order

from gureum.nova.agent.contract import ImageUnusable
from gureum.nova.drivers.fake import FakeDriver


class TestFakeDriver(DriverConformance):
    """The conformance suite."""

    @pytest.fixture
    def driver(self) -> Iterator[FakeDriver]:
        yield FakeDriver()


def test_planned_fault_strikes_once() -> None:
    driver = FakeDriver()
    driver.faults.fail("spawn", 2, lambda: ImageUnusable("planned"))
    driver.spawn(order())
    second = order()
    with pytest.raises(ImageUnusable):
        driver.spawn(second)
    assert driver.spawn(second).power_state == "running"


def test_change_underneath_is_told() -> None:
    driver = FakeDriver()
    told: list[str] = []
    driver.watch(told.append)
    one = order()
    driver.spawn(one)
    driver.halt(one.guest.server_id)
    driver.vanish(one.guest.server_id)
    assert told == [one.guest.server_id] * 2
