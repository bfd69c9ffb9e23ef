"""A whole simulated cloud explains itself: one request id everywhere, traces, events, faults, top."""

import json
import logging
import os
import pty
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import eventually

from gureum import components
from gureum.__main__ import main
from gureum.cli import stories
from gureum.cli.figures import compare, parse
from gureum.cli.top import page
from gureum.core import trace
from gureum.core.trace_story import Line
from gureum.core.trace_story import parse as parse_line
from gureum.testing import Cloud

pytestmark = pytest.mark.timeout(120)

V = {"OpenStack-API-Version": "compute 2.84"}
HELD_S = 60.0
"""Longer than a test takes; clearing the faults lets the work go on."""
EVERYBODY = {
    "nova-api", "nova-scheduler", "nova-conductor", "nova-compute", "glance-api", "placement-api",
    "neutron-server", "neutron-openvswitch-agent", "neutron-dhcp-agent",
}  # fmt: skip


class Traced:
    """The cloud, its administrator and one of its users."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.admin = cloud.connect()
        identity: Any = self.admin.identity
        project = identity.create_project(name="traced", domain_id="default")
        user = identity.create_user(name="ann", password="secret-ann", domain_id="default")
        member = identity.find_role("member", ignore_missing=False)
        identity.assign_project_role_to_user(project, user, member)
        quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
        self.admin.compute.put(f"/os-quota-sets/{project.id}", json=quota)
        self.user = cloud.connect("ann", "secret-ann", "traced")
        network: Any = self.user.network
        self.network_id = network.create_network(name="net1").id
        network.create_subnet(network_id=self.network_id, ip_version=4, cidr="10.8.0.0/24")
        self.image_id = self.user.image.find_image("gureum-guest", ignore_missing=False).id

    def image(self) -> str:
        made: Any = self.admin.image.create_image(
            name="brief", data=b"\0" * 512, disk_format="raw", container_format="bare",
            visibility="public",
        )  # fmt: skip
        return str(made.id)

    def create(self, *, flavor: str = "g1", image: str = "", sent: str = "") -> tuple[str, str]:
        """Ask for a server; returns its id and the request's."""
        body = {"name": "s", "flavorRef": flavor, "imageRef": image or self.image_id,
                "networks": [{"uuid": self.network_id}]}  # fmt: skip
        headers = {**V, **({"X-Openstack-Request-Id": sent} if sent else {})}
        answer = self.user.compute.post("/servers", json={"server": body}, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["server"]["id"], answer.headers["x-openstack-request-id"]

    def server(self, server_id: str, *, admin: bool = False) -> Any:
        asker = self.admin if admin else self.user
        return asker.compute.get(f"/servers/{server_id}", headers=V).json()["server"]

    def settled(self, server_id: str) -> Any:
        eventually(lambda: self.server(server_id)["status"] != "BUILD")
        return self.server(server_id)

    def ports_are_made(self, request_id: str) -> None:
        """Wait for the border before the step `spawn`."""
        step = "nova.server.create ports"
        eventually(lambda: any(line.fields.get("what") == step for line in self.lines(request_id)))

    def events(self, server_id: str, request_id: str, *, admin: bool = False) -> dict[str, Any]:
        asker = self.admin if admin else self.user
        path = f"/servers/{server_id}/os-instance-actions/{request_id}"
        found: dict[str, Any] = asker.compute.get(path, headers=V).json()["instanceAction"]
        return found

    def run(self, *words: str) -> int:
        root = logging.getLogger()  # commands log as they like; here the cloud is in the same process
        before, level = root.handlers[:], root.level
        try:
            return main([words[0], "--state-dir", str(self.cloud.state_dir), *words[1:]])
        finally:
            root.handlers[:] = before
            root.setLevel(level)

    def lines(self, *words: str) -> list[Line]:
        files = stories.log_files([self.cloud.state_dir / "log"])
        return list(stories.lines_with(files, words))


@pytest.fixture(scope="module")
def traced() -> Iterator[Traced]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with Cloud(log_level="INFO") as cloud:
        yield Traced(cloud)
    root.handlers[:] = before
    root.setLevel(level)


def spans(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    todo = list(told["spans"])
    while todo:
        span = todo.pop(0)
        yield span
        todo = span["children"] + todo


def story(traced: Traced, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert traced.run("trace", *words, "--json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def is_look(line: Line) -> bool:
    """Whether a line is of the test's own waiting: a look that took a second is worth one."""
    return line.fields.get("method") == "GET"


def test_one_request_id_runs_through_everything_that_a_create_does(traced):
    sent = f"req-{uuid.uuid4()}"
    server_id, own = traced.create(sent=sent)
    assert own != sent
    assert traced.settled(server_id)["status"] == "ACTIVE"
    port = next(iter(traced.user.network.ports(device_id=server_id)))
    eventually(lambda: {stories.component_of(one) for one in traced.lines(sent)} >= EVERYBODY)
    about = traced.lines(server_id, port.id)
    assert len(about) >= 4
    assert [line for line in about if not line.names(sent) and not is_look(line)] == []
    # work over the bus and over HTTP, in the order of the calls; nothing of it has another id
    asked = [line.fields["what"] for line in traced.lines(sent) if line.is_span]
    for what in (
        "nova create_server", "glance show_image", "nova-scheduler.select", "placement put_allocations",
        "neutron create_port", "compute.spawn", "neutron-state.l2_state", "neutron-state.port_statuses",
        "nova create_external_events", "neutron-dhcp-agent", "neutron-openvswitch-agent",
    ):  # fmt: skip
        assert what in asked
    # what is kept: the saga of the request, and the action that a user reads
    sources = stories.Sources([], traced.cloud.runtime)
    (saga,) = stories.sagas_of_requests(sources, {sent})
    assert (saga.requester.request_id, saga.requester.global_request_id) == (own, sent)
    assert traced.events(server_id, own)["request_id"] == own


def test_without_an_id_of_the_client_the_first_services_id_runs_through(traced):
    server_id, own = traced.create()
    traced.settled(server_id)
    eventually(lambda: {stories.component_of(one) for one in traced.lines(own)} >= EVERYBODY)
    about = traced.lines(server_id)
    assert [line for line in about if not line.names(own) and not is_look(line)] == []


def test_trace_tells_the_story_as_a_tree_of_steps(traced, capsys):
    sent = f"req-{uuid.uuid4()}"
    server_id, own = traced.create(sent=sent)
    traced.settled(server_id)
    eventually(lambda: any("compute.spawn" in line.fields.get("what", "") for line in traced.lines(own)))
    eventually(lambda: any(line.event == "saga done" for line in traced.lines(own)))
    (told,) = story(traced, capsys, own)
    (root,) = told["spans"]
    assert (root["component"], root["fields"]["path"]) == ("nova-api", "/v2.1/servers")
    saga = next(child for child in root["children"] if child["kind"] == "saga")
    assert (saga["what"], saga["outcome"]) == ("nova.server.create", "done")
    steps = [child["what"].rsplit(" ", 1)[-1] for child in saga["children"]]
    assert steps[:3] == ["claim", "ports", "spawn"] and steps[-1] == "finish"
    by_name = dict(zip(steps, saga["children"], strict=True))
    inside = {
        name: {one["what"] for one in spans({"spans": [step]})} for name, step in by_name.items()
    }
    assert {"nova-scheduler.select", "placement put_allocations"} <= inside["claim"]
    assert {"neutron create_port", "neutron-dhcp-agent"} <= inside["ports"]
    assert {"compute.spawn", "glance show_image"} <= inside["spawn"]
    times = [span["offset_ms"] for span in saga["children"]]
    assert times == sorted(times) and all(time_ms >= 0 for time_ms in times)
    # the client's id, and the server's, lead to the same story
    assert story(traced, capsys, sent)[0]["spans"] == told["spans"]
    assert [one["request_id"] for one in story(traced, capsys, "--server", server_id)] == [sent]
    assert traced.run("trace", own) == 0
    text = capsys.readouterr().out
    for line in ("step claim: done", "job compute.spawn: done", "POST /v2.0/ports -> 201"):
        assert line in text
    assert "<-- failed" not in text


def test_trace_of_a_server_tells_every_verb_in_order(traced, capsys):
    server_id, created = traced.create()
    traced.settled(server_id)
    answer = traced.user.compute.post(f"/servers/{server_id}/action", json={"os-stop": None})
    stopped = answer.headers["x-openstack-request-id"]
    eventually(lambda: traced.server(server_id)["status"] == "SHUTOFF")
    told = story(traced, capsys, "--server", server_id)
    assert [one["request_id"] for one in told] == [created, stopped]
    assert [one["sagas"][0]["name"] for one in told] == ["nova.server.create", "nova.server.power"]


def test_trace_without_logs_is_told_from_the_saga_log(traced, capsys, tmp_path):
    server_id, own = traced.create()
    traced.settled(server_id)
    record = stories.story(stories.Sources([], traced.cloud.runtime), own)
    assert record is not None
    (saga,) = record.roots
    steps = [stories.step_name(node) for node in saga.children]
    assert steps[0] == "claim" and "spawn" in steps
    assert all(node.seconds is not None for node in saga.children)
    # and logs that were carried here from other machines need no cloud
    files = stories.log_files([traced.cloud.state_dir / "log"])
    copies = tmp_path / "node7.log"
    copies.write_text("".join(file.read_text() for file in files))
    none = str(tmp_path / "nothing")
    assert traced.run("trace", own, "--state-dir", none, "--log", str(copies), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {span["process"] for one in told for span in spans(one)} == {"node7"}


def test_story_is_the_same_from_the_logs_of_many_processes(traced, capsys, tmp_path):
    server_id, own = traced.create()
    traced.settled(server_id)
    eventually(lambda: any(line.event == "saga done" for line in traced.lines(own)))
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
    for number, file in enumerate(stories.log_files([traced.cloud.state_dir / "log"])):
        lines = file.read_text()  # read once: agents may have more to say meanwhile
        (one / file.name).write_text(lines)
        for text in lines.splitlines(keepends=True):
            line = parse_line(text, "x")
            name = stories.component_of(line) if line else ""
            # the older half of a busy process's log was rotated away
            part = f"{name or 'control'}.log" + (".1" if number or "claim" in text else "")
            with (many / part).open("a") as out:
                out.write(text)
    assert len(list(many.iterdir())) > 8
    none = str(tmp_path / "nothing")
    (apart,) = story(traced, capsys, own, "--state-dir", none, "--log", str(many))
    (together,) = story(traced, capsys, own, "--state-dir", none, "--log", str(one))
    assert len({span["process"] for span in spans(apart)}) > 8

    def shape(span: dict[str, Any]) -> Any:
        return span["what"], span["outcome"], [shape(child) for child in span["children"]]

    assert [shape(one) for one in apart["spans"]] == [shape(one) for one in together["spans"]]


def test_trace_of_what_still_goes_on_ends_at_its_step(traced, capsys):
    traced.cloud.faults.delay("spawn", HELD_S)
    try:
        server_id, own = traced.create()
        traced.ports_are_made(own)
        (told,) = story(traced, capsys, own)
        assert traced.run("trace", own) == 0
    finally:
        traced.cloud.faults.clear()
    assert told["duration_ms"] is None
    (saga,) = [one for one in spans(told) if one["kind"] == "saga"]
    assert saga["outcome"] == "running"
    steps = [(one["what"].split()[-1], one["duration_ms"]) for one in saga["children"]]
    assert [name for name, _ in steps] == ["claim", "ports", "spawn"]
    assert steps[-1][1] is None and None not in [took for _, took in steps[:-1]]
    assert "it goes on" in capsys.readouterr().out
    traced.settled(server_id)


def test_unknown_request_says_where_was_looked(traced, capsys):
    assert traced.run("trace", f"req-{uuid.uuid4()}") == 1
    assert "nothing is known" in capsys.readouterr().err
    assert traced.run("trace") == 1


class Recorder:
    """An exporter that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: dict[str, trace.Span] = {}

    def wants(self, trace_id: str) -> bool:
        return False  # only what a caller asks for

    def export(
        self, span: trace.Span, ended_at: float, outcome: str, failed: bool, fields: Any
    ) -> None:
        self.spans[span.id] = span


def test_traceparent_of_a_client_reaches_agents_over_http_and_bus(traced):
    recorder = Recorder()
    trace.export_to(recorder)
    client = f"00-{uuid.uuid4().hex}-{'c' * 16}-01"
    body = {"name": "s", "flavorRef": "g1", "imageRef": traced.image_id,
            "networks": [{"uuid": traced.network_id}]}  # fmt: skip
    try:
        answer = traced.user.compute.post(
            "/servers", json={"server": body}, headers={**V, "traceparent": client}
        )
        assert traced.settled(answer.json()["server"]["id"])["status"] == "ACTIVE"
        eventually(lambda: any(span.kind == "saga" for span in recorder.spans.values()))
    finally:
        trace.export_to(None)
    spans_made = recorder.spans
    assert {span.trace_id for span in spans_made.values()} == {client[3:35]}
    assert {"api", "ask", "saga", "step", "call", "job", "pass"} <= {
        span.kind for span in spans_made.values()
    }

    def path(span: trace.Span) -> list[str]:
        above = spans_made.get(span.parent_id or "")
        return [f"{span.kind} {span.name}", *(path(above) if above else [str(span.parent_id)])]

    (spawn,) = [span for span in spans_made.values() if span.name == "compute.spawn" and span.kind == "job"]
    assert path(spawn) == [
        "job compute.spawn", "ask compute.spawn", "step nova.server.create spawn",
        "saga nova.server.create", "api nova create_server", "c" * 16,
    ]  # fmt: skip
    made = next(span for span in spans_made.values() if span.name == "neutron create_port")
    assert path(made)[1].startswith("ask POST 127.0.0.1:")
    assert path(made)[2] == "step nova.server.create ports"


def test_logs_of_a_component_carry_its_tracebacks_and_no_others(traced, capsys):
    server_id, own = traced.create()
    traced.settled(server_id)
    log_file = traced.cloud.state_dir / "log" / "simulated.log"
    with log_file.open("a") as file:
        file.write(
            "2026-01-01T00:00:00.000000Z ERROR gureum.nova.agent.worker it broke request_id=req-9\n"
            "Traceback (most recent call last):\n"
            "2026-01-01T00:00:01.000000Z ERROR gureum.neutron.agents.base another broke\n"
            "Traceback of another\n"
        )
    capsys.readouterr()
    assert traced.run("logs", "nova-compute", "-n", "1000") == 0
    text = capsys.readouterr().out
    assert "guest spawned" in text and "Traceback (most recent call last):" in text
    assert "Traceback of another" not in text and "neutron.agents" not in text
    assert traced.run("logs", "--request", own, "-n", "1000") == 0
    seen = capsys.readouterr().out.splitlines()
    assert len(seen) > 10 and all(own in line for line in seen)


# -- failures, as users and administrators read them -----------------------------------------------


@pytest.fixture(scope="module")
def huge(traced: Traced) -> str:
    compute: Any = traced.admin.compute
    return str(compute.create_flavor(name="huge", ram=1024, vcpus=1, disk=9999).id)


def test_no_valid_host_names_hosts_and_amounts_to_administrators_only(traced, huge):
    server_id, own = traced.create(flavor=huge)
    seen = traced.settled(server_id)
    assert seen["status"] == "ERROR"
    why = "No valid host was found. Placement rejected 1 of 1 (not enough DISK_GB)."
    assert seen["fault"]["message"] == why
    host = traced.cloud.runtime.host
    assert host not in json.dumps(seen["fault"])
    inside = traced.server(server_id, admin=True)["fault"]["details"].splitlines()
    assert inside[0] == why
    assert inside[1].startswith(f"{host}: Placement: not enough DISK_GB (DISK_GB: 9999 asked, ")
    action = traced.events(server_id, own)
    assert action["message"] == "Error"
    (claim,) = action["events"]
    assert (claim["event"], claim["result"], claim["details"]) == ("create_claim", "Error", why)
    assert claim["start_time"] < claim["finish_time"]
    assert "traceback" not in claim and "host" not in claim
    assert host in traced.events(server_id, own, admin=True)["events"][0]["traceback"]


def test_failed_spawn_says_what_each_round_met(traced):
    traced.cloud.faults.fail("spawn", times=3)
    try:
        server_id, own = traced.create()
        seen = traced.settled(server_id)
    finally:
        traced.cloud.faults.clear()
    assert seen["fault"]["message"].startswith("Build of the server failed on a host.")
    assert "injected" not in json.dumps(seen["fault"])
    assert "injected fault" in traced.server(server_id, admin=True)["fault"]["details"]
    action = traced.events(server_id, own, admin=True)
    told = [(one["event"], one["result"]) for one in reversed(action["events"])]
    assert told[:3] == [
        ("create_claim", "Success"), ("create_ports", "Success"), ("create_spawn", "Error"),
    ]  # fmt: skip
    by_event = {one["event"]: one for one in action["events"]}
    assert by_event["create_ports"]["details"] == "Undone, since a later step failed."
    assert "injected fault" in by_event["create_spawn"]["traceback"]
    assert by_event["create_spawn"]["host"] == traced.cloud.runtime.host
    assert by_event["create_spawn"]["hostId"]
    user = {one["event"]: one for one in traced.events(server_id, own)["events"]}
    assert user["create_spawn"]["details"] == "Build of the server failed on a host."
    assert "injected" not in json.dumps(user)


def test_trace_of_a_failure_marks_it_and_says_why(traced, huge, capsys):
    server_id, own = traced.create(flavor=huge)
    traced.settled(server_id)
    eventually(lambda: any(line.event == "saga failed" for line in traced.lines(own)))
    capsys.readouterr()
    assert traced.run("trace", own) == 0
    text = capsys.readouterr().out
    failed = [line for line in text.splitlines() if line.endswith("<-- failed")]
    assert any("step claim: failed" in line for line in failed)
    assert "not enough DISK_GB (DISK_GB: 9999 asked" in text
    assert "undo of step claim: undone" in text


def test_image_that_goes_while_a_server_is_built_is_named(traced):
    image = traced.image()
    traced.cloud.faults.delay("spawn", HELD_S)
    try:
        server_id, own = traced.create(image=image)
        traced.ports_are_made(own)
        traced.admin.image.delete_image(image)
    finally:
        traced.cloud.faults.clear()
    seen = traced.settled(server_id)
    why = f"The image cannot be used: image {image} does not exist any more."
    assert seen["fault"]["message"] == why
    events = traced.events(server_id, own)["events"]
    assert [one["details"] for one in events if one["result"] == "Error"] == [why]


def test_spent_quota_of_ports_is_named(traced):
    quota = f"/quotas/{traced.user.current_project_id}"
    answer = traced.admin.network.put(quota, json={"quota": {"port": 0, "force": True}})
    assert answer.status_code == 200, answer.text
    try:
        server_id, own = traced.create()
        seen = traced.settled(server_id)
    finally:
        traced.admin.network.put(quota, json={"quota": {"port": 500}})
    assert seen["status"] == "ERROR"
    assert "Quota exceeded" in seen["fault"]["message"] and "port" in seen["fault"]["message"]
    failed = [one for one in traced.events(server_id, own)["events"] if one["result"] == "Error"]
    assert [one["event"] for one in failed] == ["create_ports"]


def test_network_without_a_subnet_is_refused_at_once(traced):
    network: Any = traced.user.network
    bare = network.create_network(name="bare")
    body = {"name": "s", "flavorRef": "g1", "imageRef": traced.image_id,
            "networks": [{"uuid": bare.id}]}  # fmt: skip
    answer = traced.user.compute.post("/servers", json={"server": body}, headers=V)
    assert answer.status_code == 400
    assert "requires a subnet" in answer.json()["badRequest"]["message"]


# -- top -------------------------------------------------------------------------------------------


def test_top_counts_what_happens_meanwhile(traced, capsys):
    assert traced.run("top", "--once", "--json", "--interval", "0.2") == 0
    seen = json.loads(capsys.readouterr().out)
    (process,) = seen["processes"]
    assert process["memory_mib"] > 20 and process["state"] == "running"
    agents = {one["agent"]: one for one in seen["agents"]}
    assert {"nova-compute", "nova-conductor", "neutron-dhcp-agent"} <= set(agents)
    assert all(one["up"] for one in agents.values())
    assert seen["troubles"] == []
    assert {"nova-scheduler", "compute"} <= {one["queue"].split("@")[0] for one in seen["queues"]}


def test_top_shows_a_verb_under_way_with_its_step(traced, capsys):
    traced.cloud.faults.delay("spawn", HELD_S)
    try:
        server_id, own = traced.create()
        traced.ports_are_made(own)
        assert traced.run("top", "--once", "--json", "--interval", "0.1") == 0
    finally:
        traced.cloud.faults.clear()
    seen = json.loads(capsys.readouterr().out)
    (verb,) = [one for one in seen["sagas"] if one["resource"] == server_id]
    assert (verb["saga"], verb["state"], verb["request"]) == ("nova.server.create", "running", own)
    assert verb["step"] == "spawn"
    traced.settled(server_id)
    assert {process["name"] for process in seen["processes"]} == {"simulated"}


@pytest.mark.slow
def test_top_draws_in_a_terminal_until_q(traced):
    ours, theirs = pty.openpty()
    words = ["top", "--state-dir", str(traced.cloud.state_dir), "--interval", "0.2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gureum", *words], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "LINES": "30"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while b"QUEUES" not in seen:
            ready, _, _ = select.select([ours], [], [], 30)
            assert ready, seen
            seen += os.read(ours, 65536)
        os.write(ours, b"q")
        while select.select([ours], [], [], 30)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the terminal's other side is closed
                break
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = seen.decode()
    assert text.startswith("\x1b[?1049h") and text.endswith("\x1b[?1049l\x1b[?25h")
    assert "simulated" in text and "nova-compute" in text and "Traceback" not in text


def test_figures_of_two_moments_become_rates():
    before = 'gureum_requests_total{operation="a",service="s",status="200"} 10.0\n'
    after = (
        'gureum_requests_total{operation="a",service="s",status="200"} 30.0\n'
        'gureum_requests_total{operation="a",service="s",status="500"} 4.0\n'
        'gureum_request_duration_seconds_bucket{le="0.01",operation="a",service="s"} 20.0\n'
        'gureum_request_duration_seconds_bucket{le="0.1",operation="a",service="s"} 24.0\n'
        'gureum_request_duration_seconds_bucket{le="+Inf",operation="a",service="s"} 24.0\n'
        'gureum_request_duration_seconds_sum{operation="a",service="s"} 0.48\n'
    )
    from gureum.cli.figures import Moment, Seen

    def moment(at: float, text: str) -> Moment:
        return Moment(at, [Seen("p", 1, "running", 0.0, 0, 50.0, parse(text))])

    seen = compare(moment(0.0, before), moment(2.0, after))
    assert seen["operations"] == [
        {"service": "s", "operation": "a", "per_s": 12.0, "mean_ms": 20.0, "p95_ms": 100.0,
         "errors_per_s": 2.0}
    ]  # fmt: skip
    assert seen["requests_per_s"] == 12.0
    seen["operations"] = [dict(seen["operations"][0], operation=f"op{n}") for n in range(100)]
    lines = page(seen, rows=24)
    assert len(lines) <= 24
    assert any("more" in line for line in lines)


def test_every_component_is_found_by_the_modules_it_is_made_of():
    for name, entry in components.COMPONENTS.items():
        _service, layer = entry.module.split(".")[1:3]
        if layer != "components":
            assert components.of_module(entry.module) == name
    assert components.of_module("gureum.nova.api.servers") == "nova-api"
    assert components.of_module("gureum.nova.sagas.server_create") == "nova-conductor"
    assert components.of_module("gureum.nova.agent.worker") == "nova-compute"
    assert components.of_module("gureum.nova.drivers.libvirt.images") == "nova-compute"
    assert components.of_module("gureum.glance.drivers.file") == "glance-api"
    assert components.of_module("gureum.core.saga.run") == ""
