"""A port is not ready while what its component stands on is gone, and says what that is."""

import threading
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from loopback import free_port

from gureum.core import readiness
from gureum.core.bus.base import Bus
from gureum.core.bus.local import LocalBus
from gureum.core.config import loads
from gureum.core.listen import nothing
from gureum.core.readiness import Probe
from gureum.core.run import CORE_SECTIONS, Component, Process, Runtime


class BrokenBus(LocalBus):
    text = ""

    def trouble(self) -> str:
        return self.text


class Part(Component):
    def __init__(self, name: str, port: int, needs: tuple[str, ...]) -> None:
        self.name, self.port, self.needs = name, port, needs

    def start(self, runtime: Runtime) -> None:
        runtime.http.mount(self.name, "127.0.0.1", self.port, nothing)
        for need in self.needs:
            if need == "bus":
                _ = runtime.bus
            else:
                with runtime.database(need).write() as tx:
                    tx.execute(sa.text("create table if not exists t (a int)"))

    def stop(self) -> None:
        pass


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)


@pytest.fixture
def running(tmp_path: Path, monkeypatch, no_memory):
    bus = BrokenBus()
    monkeypatch.setattr("gureum.core.run.open_bus", lambda url, role=None: bus)
    text = f'[gureum]\nstate_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\n[process]\ndrain_s = 1\n'
    runtime = Runtime(loads(text, CORE_SECTIONS), name="both")
    parts = [Part("a", free_port(), ("one", "bus")), Part("b", free_port(), ("two",))]
    own = free_port()
    runtime.http.mount("both", "127.0.0.1", own, nothing)
    process = Process(runtime, parts)
    process.start()
    yield {"a": parts[0].port, "b": parts[1].port, "both": own}, bus, tmp_path
    process.stop()


def ask(port: int, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False)


def test_everything_there_is_ready(running):
    ports, _bus, _folder = running
    for port in ports.values():
        answer = ask(port, "/healthcheck")
        assert (answer.status_code, answer.text) == (200, "OK")
        assert ask(port, "/readyz").json()["reasons"] == []


def test_a_database_that_is_gone_is_told_by_who_needs_it(running):
    ports, _bus, folder = running
    (folder / "db" / "two.sqlite").unlink()
    assert ask(ports["a"], "/healthcheck").status_code == 200
    for name in ("b", "both"):
        answer = ask(ports[name], "/healthcheck")
        assert answer.status_code == 503
        assert answer.text.startswith("b: database two is gone: ")
    body = ask(ports["b"], "/readyz").json()
    assert not body["ready"] and "database two" in body["components"]["b"]["text"]
    assert ask(ports["b"], "/healthz").status_code == 200


def test_a_bus_that_is_gone_is_told_and_comes_back(running):
    ports, bus, _folder = running
    bus.text = "the bus is gone: no hub"
    answer = ask(ports["a"], "/healthcheck", accept="application/json")
    assert answer.status_code == 503
    assert answer.json() == {"detailed": False, "reasons": ["a: the bus is gone: no hub"]}
    assert ask(ports["b"], "/healthcheck").status_code == 200
    bus.text = ""
    assert ask(ports["a"], "/healthcheck").status_code == 200


def test_a_file_takes_a_process_out_of_service(running):
    ports, _bus, folder = running
    (folder / "healthcheck_disable").touch()
    assert ask(ports["a"], "/healthcheck").text == "DISABLED BY FILE"
    assert ask(ports["a"], "/readyz").status_code == 503
    (folder / "healthcheck_disable").unlink()
    assert ask(ports["a"], "/readyz").status_code == 200


def test_a_probe_that_hangs_does_not_hold_up_the_answer(monkeypatch, no_memory):
    monkeypatch.setattr(readiness, "LIMIT_S", 0.1)
    release = threading.Event()
    asked: list[float] = []

    def hang() -> str:
        asked.append(time.monotonic())
        release.wait(10)
        return ""

    probe = Probe("database x", hang)
    for _ in range(3):
        assert probe.trouble() == "database x does not answer within 0.1 s"
    assert len(asked) == 1  # questions do not pile up behind the one that hangs
    release.set()
    deadline = time.monotonic() + 5
    while probe.trouble():
        assert time.monotonic() < deadline


def test_an_answer_counts_for_a_moment():
    asked: list[int] = []
    probe = Probe("x", lambda: (asked.append(1), "")[1])
    for _ in range(5):
        assert probe.trouble() == ""
    assert len(asked) == 1


def test_a_leaf_without_a_hub_says_so(tmp_path):
    from gureum.core.bus import open_bus

    leaf: Bus = open_bus(f"local://{tmp_path}/bus.sock?role=leaf")
    assert "no hub at" in leaf.trouble()
    hub = open_bus(f"local://{tmp_path}/bus.sock?role=hub")
    deadline = time.monotonic() + 10
    while leaf.trouble():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    leaf.close()
    hub.close()
