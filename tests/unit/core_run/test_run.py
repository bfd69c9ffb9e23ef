"""Processes: order of start and stop, the paths every port answers, signals."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from loopback import free_port

from gureum.core.config import loads
from gureum.core.listen import AddressInUse, Health, HttpListeners
from gureum.core.metrics import Metrics
from gureum.core.run import CORE_SECTIONS, Component, Process, Runtime


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class Toy(Component):
    """A component that notes what happens to it and serves `hello`."""

    def __init__(self, name: str, journal: list[str], port: int = 0) -> None:
        self.name = name
        self.journal = journal
        self.port = port
        self.state = Health()

    def start(self, runtime: Runtime) -> None:
        self.journal.append(f"start {self.name}")
        if self.port:
            runtime.http.mount(self.name, "127.0.0.1", self.port, hello)

    def stop(self) -> None:
        self.journal.append(f"stop {self.name}")

    def health(self) -> Health:
        return self.state


class Broken(Toy):
    def start(self, runtime: Runtime) -> None:
        super().start(runtime)
        raise RuntimeError("cannot start")


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    text = f'[gureum]\nstate_dir = "{tmp_path}"\nport_offset = 3\n[process]\ndrain_s = 2\n'
    text += '[database.special]\nconnection = "sqlite://"\n'
    return Runtime(loads(text, CORE_SECTIONS), name="toy")


def test_components_start_in_order_and_stop_in_reverse(runtime):
    journal: list[str] = []
    process = Process(runtime, [Toy("a", journal), Toy("b", journal)])
    process.start()
    process.stop()
    assert journal == ["start a", "start b", "stop b", "stop a"]


def test_failed_start_stops_what_was_started(runtime):
    journal: list[str] = []
    process = Process(runtime, [Toy("a", journal), Broken("b", journal), Toy("c", journal)])
    with pytest.raises(RuntimeError):
        process.run()
    assert journal == ["start a", "start b", "stop b", "stop a"]


def test_component_that_hangs_in_stop_does_not_hold_up_the_others(runtime):
    release = threading.Event()

    class Hanging(Toy):
        def stop(self) -> None:
            release.wait(20)
            super().stop()

    journal: list[str] = []
    process = Process(runtime, [Toy("a", journal), Hanging("b", journal)])
    process.start()
    process.stop()
    assert journal == ["start a", "start b", "stop a"]
    assert process.unstopped == ["b"]
    release.set()


def test_several_ports_answer_from_one_process(runtime):
    ports = [free_port(), free_port()]
    process = Process(runtime, [Toy(f"p{port}", [], port) for port in ports])
    process.start()
    try:
        for port in ports:
            assert httpx.get(f"http://127.0.0.1:{port}/x").text == "/x"
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("http") == 1
    finally:
        process.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{ports[0]}/healthz")


def test_readyz_is_503_while_a_component_is_unwell(runtime):
    toy = Toy("toy", [], free_port())
    process = Process(runtime, [toy, Toy("other", [])])
    process.start()
    try:
        url = f"http://127.0.0.1:{toy.port}/readyz"
        assert httpx.get(url).json() == {
            "ready": True,
            "reasons": [],
            "components": {
                "toy": {"ok": True, "text": ""},
                "other": {"ok": True, "text": ""},
            },
        }
        toy.state = Health(False, "no database")
        answer = httpx.get(url)
        assert answer.status_code == 503
        assert answer.json()["components"]["toy"]["text"] == "no database"
        toy.state, process.components[1].state = Health(), Health(False, "no heartbeat")
        answer = httpx.get(url)
        assert answer.status_code == 200
        assert answer.json()["components"]["other"] == {"ok": False, "text": "no heartbeat"}
    finally:
        process.stop()


def test_metrics_tell_requests_and_asked_gauges(runtime):
    toy = Toy("toy", [], free_port())
    runtime.metrics.observe_request("demo", "list things", 200, 0.003)
    runtime.metrics.gauge_from(
        "gureum_things", "Things by state.", ("state",), lambda: [(("new",), 4.0)]
    )
    process = Process(runtime, [toy])
    process.start()
    try:
        page = httpx.get(f"http://127.0.0.1:{toy.port}/metrics").text
    finally:
        process.stop()
    total = 'gureum_requests_total{operation="list things",service="demo",status="200"} 1.0'
    assert total in page
    assert 'gureum_things{state="new"} 4.0' in page
    assert "process_resident_memory_bytes" in page


def test_metrics_tell_requests_under_way(runtime):
    asked, go_on = threading.Event(), threading.Event()

    async def slow(scope, receive, send):
        asked.set()
        await asyncio.to_thread(go_on.wait, 10)
        await hello(scope, receive, send)

    runtime.http.mount("slow", "127.0.0.1", free_port(), slow)
    runtime.http.open()
    runtime.http.serve()
    (listener,) = runtime.http.listeners
    try:
        assert runtime.http.in_progress() == [(("slow",), 0.0)]
        answers = []
        url = f"http://127.0.0.1:{listener.port}/x"
        asking = threading.Thread(target=lambda: answers.append(httpx.get(url).text))
        asking.start()
        assert asked.wait(10)
        assert 'gureum_requests_in_progress{component="slow"} 1.0' in runtime.metrics.render().decode()
        go_on.set()
        asking.join(10)
        assert answers == ["/x"]
    finally:
        go_on.set()
        runtime.http.drain()


def test_metrics_are_refused_to_other_machines(runtime):
    listeners = HttpListeners(Metrics(), dict)
    assert listeners.answer("toy", "/metrics", "192.0.2.7")[0] == 403
    assert listeners.answer("toy", "/metrics", "127.0.0.1")[0] == 200
    assert listeners.answer("toy", "/other", "127.0.0.1") is None


def test_gauge_that_cannot_be_read_is_left_out():
    def read():
        raise OSError("gone")

    metrics = Metrics()
    metrics.gauge_from("gureum_gone", "Gone.", (), read)
    assert b"\ngureum_gone " not in metrics.render()


def test_taken_port_is_named_with_the_command_that_tells_by_whom(runtime):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = Process(runtime, [Toy("toy", [], port)])
        with pytest.raises(AddressInUse, match=f"toy cannot listen at 127.0.0.1:{port}.*ss -ltnp"):
            process.start()
        process.stop()


def test_databases_are_one_object_a_name_and_may_live_elsewhere(runtime, tmp_path):
    assert runtime.database("keystone") is runtime.database("keystone")
    assert runtime.database_url("keystone") == f"sqlite:///{tmp_path}/db/keystone.sqlite"
    assert (tmp_path / "db").is_dir()
    assert runtime.database_url("special") == "sqlite://"
    runtime.close()


def test_ports_carry_the_offset_of_the_cloud(runtime):
    assert runtime.port(5000) == 5003


SCRIPT = """
import sys
from gureum.core.config import loads
from gureum.core.run import CORE_SECTIONS, Component, Process, Runtime

class Toy(Component):
    name = "toy"
    def start(self, runtime): print("started", flush=True)
    def stop(self): print("stopped", flush=True)

runtime = Runtime(loads("", CORE_SECTIONS))
sys.exit(Process(runtime, [Toy()], on_ready=lambda: print("ready", flush=True)).run())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_in_order_with_code_0(number):
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(2)] == ["started\n", "ready\n"]
    os.kill(child.pid, number)
    out, _ = child.communicate(timeout=20)
    assert (child.returncode, out) == (0, "stopped\n")
