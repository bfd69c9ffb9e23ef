"""What one pass looks at, makes and removes, whatever the items are."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from gureum.core.runner import FakeRunner
from gureum.neutron.agents.book import Changes, StateBook
from gureum.neutron.agents.contract import EXTRA, FoundItem, L3State, Router
from gureum.neutron.agents.plumbing.driver import Kind, NamespaceDriver
from gureum.neutron.agents.plumbing.keeper import Keeper
from gureum.neutron.agents.plumbing.ovsports import OvsPort
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings


@dataclass
class Plugs:
    """A bridge without Open vSwitch."""

    ports: dict[str, OvsPort] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()

    def owner(self, item_id: str) -> str:
        return f"l3:{item_id}"

    def look(self) -> Surroundings:
        return Surroundings(dict(self.ports), self.outside)

    def unplug(self, devices: Iterable[str], namespace: str | None = None) -> None:
        for device in devices:
            del self.ports[device]

    def add(self, device: str, item_id: str) -> None:
        self.ports[device] = OvsPort(device, "port", "fa:16:3e:00:00:01", self.owner(item_id))


class Driver(NamespaceDriver[Router]):
    kind = Kind("router", "router-files", ("sleep",), "its router is not on this host")
    sysctls = {}

    def __init__(self, state: Path, plugs: Plugs) -> None:
        prefix = f"hd-{os.getpid()}-"
        super().__init__(prefix, str(state), FakeRunner(), cast(Plugger, plugs))
        self.stale: set[str] = set()
        self.broken: set[str] = set()
        self.applied: list[str] = []

    def drifted(self, item: Router, around: Surroundings) -> bool:
        return item.id in self.stale

    def look(self, item: Router, around: Surroundings) -> list[FoundItem]:
        if item.id in self.broken:
            raise OSError("no such device")
        return self._unwanted(item.id, around, {f"qr-{item.id}"})

    def apply(self, item: Router, around: Surroundings) -> tuple[str, ...]:
        if item.id in self.broken:
            raise OSError("no such device")
        self._room(item.id)
        self.applied.append(item.id)
        return ()


class World:
    """Two wanted routers, a and b; the clock stands."""

    def __init__(self, state: Path) -> None:
        self.now = 100.0
        self.plugs = Plugs()
        self.state = state
        self.driver = Driver(state, self.plugs)
        self.book = StateBook()
        self.changes = self.book.take(L3State(1, routers=(Router("a"), Router("b"))))
        self.keeper: Keeper[Router] = Keeper(
            "routers", self.driver, cast(Plugger, self.plugs), workers=1, verify_interval_s=60.0,
            stopping=lambda: False, clock=lambda: self.now,
        )  # fmt: skip

    def converge(self, changes: Changes | None = None) -> dict[str, str]:
        def apply(item: Router, around: Surroundings) -> str:
            return "; ".join(self.driver.apply(item, around))

        self.driver.applied.clear()
        return self.keeper.converge(self.book, changes or Changes(), apply)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "l3")


def test_first_pass_makes_all_and_the_next_one_nothing(world: World) -> None:
    assert world.converge(world.changes) == {"a": "", "b": ""}
    assert world.driver.known() == {"a", "b"}
    assert world.converge() == {}
    assert world.driver.applied == []


def test_drifted_and_strayed_items_are_made_again(world: World) -> None:
    world.converge(world.changes)
    world.driver.stale = {"a"}
    assert world.converge() == {"a": ""}
    world.driver.stale = set()
    world.plugs.add("qr-b", "b")
    world.plugs.outside = frozenset({"qr-b", "eth0"})
    assert world.converge() == {"b": ""}


def test_all_are_looked_at_after_the_interval_and_on_doubt(world: World) -> None:
    world.converge(world.changes)
    world.now += 61.0
    assert set(world.converge()) == {"a", "b"}
    assert world.converge() == {}
    world.keeper.doubt()
    assert set(world.converge()) == {"a", "b"}


def test_one_that_fails_holds_up_no_other(world: World) -> None:
    world.driver.broken = {"a"}
    assert world.converge(world.changes) == {"a": "OSError: no such device", "b": ""}


def test_what_is_not_wanted_any_more_is_removed(world: World) -> None:
    world.converge(world.changes)
    world.plugs.add("qr-b", "b")
    gone = world.book.take(L3State(2, routers=(Router("a"),)))
    assert world.converge(gone) == {"b": ""}
    assert world.driver.known() == {"a"}
    assert world.plugs.ports == {}


def test_leftovers_of_unknown_ones_go_with_the_next_full_look(world: World) -> None:
    world.converge(world.changes)
    world.plugs.add("qr-old", "old")
    (world.state / "older").mkdir()
    assert world.converge() == {}
    world.keeper.doubt()
    assert set(world.converge()) == {"a", "b", "old", "older"}
    assert world.plugs.ports == {}
    assert world.driver.known() == {"a", "b"}


def test_look_says_what_differs_and_changes_nothing(world: World) -> None:
    world.converge(world.changes)
    for device, owner in (("qr-a", "a"), ("qr-x", "a"), ("qr-old", "old")):
        world.plugs.add(device, owner)
    world.plugs.outside = frozenset({"qr-old"})
    world.driver.broken = {"b"}
    (world.state / "older").mkdir()
    items, count = world.keeper.look(world.book)
    found = {(item.kind, item.name.rpartition("/")[2]): item.fault for item in items}
    assert count == 4  # a, b, old, older
    assert found[("device", "qr-x")] == EXTRA
    assert ("device", "qr-a") not in found
    assert ("router", "b") in found
    assert ("router-files", "older") in found
    assert ("device", "qr-old") in found
    assert ("device", "old") in found  # it is in no namespace
    assert set(world.plugs.ports) == {"qr-a", "qr-x", "qr-old"}
