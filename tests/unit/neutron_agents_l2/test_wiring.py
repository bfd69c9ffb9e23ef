"""Which port is wired, whom the agent trusts, zones that survive, statuses that arrive."""

import threading
from collections.abc import Iterator, Mapping

import pytest

from gureum.core.context import current_ids, log_ids
from gureum.core.runner import FakeRunner
from gureum.neutron.agents.book import StateBook
from gureum.neutron.agents.contract import (
    FixedIp,
    L2Network,
    L2Port,
    L2State,
    SecurityGroup,
    StatusUpdate,
)
from gureum.neutron.agents.l2.agent import OvsAgent
from gureum.neutron.agents.l2.config import OvsAgentOptions
from gureum.neutron.agents.l2.statuses import StatusReporter
from gureum.neutron.agents.l2.testing import FakeServer
from gureum.neutron.agents.l2.wiring import ZONE_KEY, Wiring, devices_of
from gureum.neutron.agents.ovs.ovsdb import Bridge, Interface


def port(name: str, **settings: object) -> L2Port:
    base: dict[str, object] = {
        "id": name, "network_id": "net", "mac_address": "fa:16:3e:00:00:01",
        "fixed_ips": (FixedIp("s", "10.0.0.5"),), "device_owner": "compute:nova",
        "security_group_ids": ("g",), **settings,
    }  # fmt: skip
    return L2Port(**base)  # type: ignore[arg-type]


def device(name: str, ofport: int, *, guest: bool = True, zone: str = "") -> Interface:
    ids = (
        {"iface-id": name} | ({"vm-id": "vm"} if guest else {}) | ({ZONE_KEY: zone} if zone else {})
    )
    return Interface(f"tap{name}", "br", ofport=ofport, uuid=f"row{ofport}", external_ids=ids)


def book_of(*ports: L2Port, stateful: bool = True) -> StateBook:
    book = StateBook()
    groups = (SecurityGroup("g", (), stateful),)
    networks = (L2Network("net", "local"),)
    book.take(L2State(1, networks=networks, ports=ports, security_groups=groups))
    return book


class Claims:
    def __init__(self) -> None:
        self.made: dict[str, int] = {}

    def __call__(self, zones: Mapping[str, int]) -> None:
        self.made.update(zones)


@pytest.fixture
def claims() -> Claims:
    return Claims()


@pytest.fixture
def wiring(claims: Claims) -> Wiring:
    return Wiring(claims)


def test_port_is_wired_when_wanted_and_present(wiring: Wiring) -> None:
    book = book_of(port("a"), port("b"), port("c", admin_state_up=False))
    wiring.look({"a": device("a", 1), "c": device("c", 3), "stranger": device("stranger", 9)})
    assert wiring.rewire(book, ["a", "b", "c", "stranger"]) == {"net"}
    assert set(wiring.wired) == {"a"}
    assert wiring.unwired["b"].reason == "no device"
    assert wiring.unwired["c"].reason == "administratively down"
    assert "stranger" not in wiring.unwired


def test_zones_differ_and_stored_ones_are_kept(wiring: Wiring, claims: Claims) -> None:
    book = book_of(port("a"), port("b"), port("c"))
    found = {"a": device("a", 1, zone="2"), "b": device("b", 2), "c": device("c", 3, zone="2")}
    wiring.look(found)
    wiring.rewire(book, ["a", "b", "c"])
    zones = {name: wired.zone for name, wired in wiring.wired.items()}
    assert zones["a"] == 2
    assert len(set(zones.values())) == 3
    assert set(claims.made) == {"tapb", "tapc"}
    wiring.rewire(book, ["a", "b", "c"])
    assert {name: wired.zone for name, wired in wiring.wired.items()} == zones


def test_new_device_of_a_port_gets_an_emptied_zone(wiring: Wiring, claims: Claims) -> None:
    book = book_of(port("a"))
    wiring.look({"a": device("a", 1)})
    wiring.rewire(book, ["a"])
    claims.made.clear()
    assert wiring.look({"a": device("a", 2)}) == {"a"}
    wiring.rewire(book, ["a"])
    assert claims.made == {"tapa": 1}
    assert wiring.wired["a"].ofport == 2


def test_abuse_34_device_owner_alone_earns_no_trust(wiring: Wiring) -> None:
    owner = "network:router_interface"
    book = book_of(port("a", device_owner=owner), port("b", device_owner=owner))
    wiring.look({"a": device("a", 1), "b": device("b", 2, guest=False)})
    wiring.rewire(book, ["a", "b"])
    assert wiring.wired["a"].filtered and not wiring.wired["a"].trusted
    assert wiring.wired["b"].trusted and wiring.wired["b"].zone == 0


def test_stateless_groups_track_nothing(wiring: Wiring) -> None:
    wiring.look({"a": device("a", 1)})
    wiring.rewire(book_of(port("a"), stateful=False), ["a"])
    assert wiring.wired["a"].zone == 0 and wiring.wired["a"].filtered


def test_bad_addresses_leave_a_port_unwired(wiring: Wiring) -> None:
    wiring.look({"a": device("a", 1)})
    wiring.rewire(book_of(port("a", fixed_ips=(FixedIp("s", "10.0.0.0/99"),))), ["a"])
    assert not wiring.wired and wiring.unwired["a"].bad


def test_newer_of_two_devices_counts() -> None:
    interfaces = {"old": device("a", 4), "new": device("a", 9), "none": Interface("x", "br")}
    assert devices_of(Bridge("br", interfaces=interfaces))["a"].ofport == 9


class _Database:
    """A database with a bridge that tests fill."""

    def __init__(self) -> None:
        self.interfaces: dict[str, Interface] = {}

    def start(self) -> None: ...

    def close(self) -> None: ...

    @property
    def snapshot(self) -> Mapping[str, Bridge]:
        return {"br-int": self.bridge("br-int")}

    def bridge(self, name: str) -> Bridge:
        return Bridge(name, "netdev", "secure", interfaces=dict(self.interfaces))

    def transact(self, change: object) -> None: ...


@pytest.fixture
def running() -> Iterator[tuple[OvsAgent, FakeServer, _Database]]:
    server, database = FakeServer(), _Database()
    options = OvsAgentOptions(poll_interval_s=60.0, report_interval_s=60.0)
    agent = OvsAgent("host", options, server, FakeRunner(), database)  # type: ignore[arg-type]
    server.on_change = lambda revision: agent.changed(revision, [])
    yield agent, server, database
    agent.stop()


def test_device_of_an_unknown_port_asks_the_server(
    running: tuple[OvsAgent, FakeServer, _Database],
) -> None:
    agent, server, database = running
    server.put("networks", L2Network("net", "local"))
    agent.start()
    server.on_change = lambda revision: None  # the hint is lost
    server.put("ports", port("a"))
    database.interfaces["tapa"] = device("a", 1)
    agent.wake()
    assert server.wait_status("a", "ACTIVE", 5.0).id == "a"


def test_device_that_comes_late_is_wired_for_the_request_that_asked_for_its_port(
    running: tuple[OvsAgent, FakeServer, _Database],
) -> None:
    agent, server, database = running
    asked: dict[str, str | None] = {}
    take = server.port_statuses

    def port_statuses(host: str, updates: list[StatusUpdate]) -> None:
        asked.update({f"{one.id} {one.status}": current_ids().get("request_id") for one in updates})
        take(host, updates)

    server.port_statuses = port_statuses  # type: ignore[method-assign]
    server.put("networks", L2Network("net", "local"))
    agent.start()
    for number, name in enumerate("ab", 1):
        with log_ids(request_id=f"req-{name}"):
            server.put("ports", port(name, mac_address=f"fa:16:3e:00:00:0{number}"))
        server.wait_status(name, "DOWN", 5.0)
    for name, number in (("b", 1), ("a", 2)):
        database.interfaces[f"tap{name}"] = device(name, number)
        agent.wake()
        server.wait_status(name, "ACTIVE", 5.0)
    assert asked["a ACTIVE"] == "req-a" and asked["b ACTIVE"] == "req-b"
    del database.interfaces["tapa"]
    agent.wake()
    server.wait_status("a", "DOWN", 5.0)
    assert asked["a DOWN"] is None  # nobody asked for that


def test_status_is_told_until_it_is_taken() -> None:
    told: list[list[StatusUpdate]] = []
    taken = threading.Event()

    class Server:
        def port_statuses(self, host: str, updates: list[StatusUpdate]) -> None:
            told.append(updates)
            if len(told) == 1:
                raise ConnectionError("away")
            taken.set()

    reporter = StatusReporter("host", Server())
    up = StatusUpdate("a", "ACTIVE")
    reporter.update({"a": up})
    reporter.start()
    assert taken.wait(5.0)
    reporter.update({"a": up})
    taken.clear()
    reporter.update({"a": up}, again=["a"])
    assert taken.wait(5.0)
    reporter.stop()
    assert told == [[up], [up], [up]]
