"""Verbs on servers: power, lock, reset, delete by force, consoles; and what was done."""

import hashlib
import re
from datetime import timedelta

import pytest
from nova_cloud import FakeHost

from gureum.core.bus.contract import NoServer
from gureum.core.db.types import utc_now
from gureum.nova.agent.contract import GuestNotFound
from gureum.nova.console_auth import ConsoleAuthWorker
from gureum.nova.store import tables


def act(cloud, server_id, name, value=None, **how):
    return cloud("POST", f"/servers/{server_id}/action", {name: value}, **how)


@pytest.mark.parametrize(
    ("action", "value", "state", "task_state", "saga_action"),
    [
        ("os-stop", None, "active", "powering-off", "stop"),
        ("os-start", None, "stopped", "powering-on", "start"),
        ("reboot", {"type": "SOFT"}, "active", "rebooting", "reboot_soft"),
        ("reboot", {"type": "hard"}, "stopped", "rebooting_hard", "reboot_hard"),
        ("pause", None, "active", "pausing", "pause"),
        ("unpause", None, "paused", "unpausing", "unpause"),
        ("suspend", None, "active", "suspending", "suspend"),
        ("resume", None, "suspended", "resuming", "resume"),
    ],
)
def test_power_verb_submits_a_saga(cloud, action, value, state, task_state, saga_action):
    server_id = cloud.up()
    cloud.finish(server_id, vm_state=state)
    assert act(cloud, server_id, action, value).status == 202
    saga = cloud.sagas(server_id)[-1]
    assert saga.name == "nova.server.power"
    assert saga_action.encode() in saga.params
    shown = cloud("GET", f"/servers/{server_id}")["server"]
    assert shown["OS-EXT-STS:task_state"] == task_state


@pytest.mark.parametrize(
    ("action", "value", "state"),
    [
        ("os-start", None, "active"),
        ("os-stop", None, "stopped"),
        ("reboot", {"type": "SOFT"}, "stopped"),
        ("pause", None, "stopped"),
        ("unpause", None, "active"),
        ("suspend", None, "paused"),
        ("resume", None, "active"),
    ],
)
def test_power_verb_in_the_wrong_state_is_409(cloud, action, value, state):
    server_id = cloud.up()
    cloud.finish(server_id, vm_state=state)
    answer = act(cloud, server_id, action, value)
    assert answer.status == 409
    verb = action.removeprefix("os-")
    assert answer["conflictingRequest"]["message"] == (
        f"Cannot '{verb}' instance {server_id} while it is in vm_state {state}"
    )


def test_one_verb_at_a_time(cloud):
    server_id = cloud.up()
    assert act(cloud, server_id, "os-stop").status == 202
    answer = act(cloud, server_id, "pause")
    assert answer.status == 409
    assert "task_state powering-off" in answer["conflictingRequest"]["message"]
    shown = cloud("GET", f"/servers/{server_id}")["server"]
    assert shown["status"] == "ACTIVE"
    assert act(cloud, server_id, "reboot", {"type": "HARD"}).status == 409


def test_status_while_rebooting(cloud):
    server_id = cloud.up()
    act(cloud, server_id, "reboot", {"type": "HARD"})
    assert cloud("GET", f"/servers/{server_id}")["server"]["status"] == "HARD_REBOOT"


def test_bad_actions_are_400(cloud):
    server_id = cloud.up()
    assert act(cloud, server_id, "reboot", {"type": "MAYBE"}).status == 400
    assert act(cloud, server_id, "reboot", {}).status == 400
    assert act(cloud, server_id, "fly").status == 400
    assert cloud("POST", f"/servers/{server_id}/action", {}).status == 400
    assert cloud("POST", f"/servers/{server_id}/action", {"pause": None, "x": 1}).status == 400
    assert act(cloud, server_id, "os-stop", token="reader").status == 403


def test_verb_without_host_is_409(cloud):
    server_id = cloud.create()
    cloud.finish(server_id, vm_state="error")
    assert act(cloud, server_id, "os-stop").status == 409


def test_locked_server_is_left_alone(cloud):
    server_id = cloud.up()
    assert act(cloud, server_id, "lock", {"locked_reason": "mine"}, version="2.73").status == 202
    shown = cloud("GET", f"/servers/{server_id}", version="2.73")["server"]
    assert (shown["locked"], shown["locked_reason"]) == (True, "mine")
    for name, value in (("os-stop", None), ("reboot", {"type": "SOFT"}), ("forceDelete", None)):
        assert act(cloud, server_id, name, value).status == 409, name
    assert cloud("DELETE", f"/servers/{server_id}").status == 409
    meta = {"metadata": {"a": "b"}}
    assert cloud("POST", f"/servers/{server_id}/metadata", meta).status == 409
    assert act(cloud, server_id, "os-stop", token="admin").status == 202
    assert act(cloud, server_id, "unlock").status == 202
    assert cloud("GET", f"/servers/{server_id}", version="2.9")["server"]["locked"] is False


def test_what_an_administrator_locked_stays_locked(cloud):
    foreign = cloud.up(token="admin")
    with cloud.deps.cell1.write() as tx:
        tx.update(tables.servers, tables.servers.c.id == foreign, locked_by="admin")
    assert act(cloud, foreign, "unlock").status == 403
    assert act(cloud, foreign, "lock").status == 202, "locking again changes nothing"
    assert act(cloud, foreign, "unlock").status == 403
    assert act(cloud, foreign, "unlock", token="admin").status == 202


def test_reset_state_is_for_administrators(cloud):
    server_id = cloud.up()
    act(cloud, server_id, "os-stop")
    assert act(cloud, server_id, "os-resetState", {"state": "error"}).status == 403
    done = act(cloud, server_id, "os-resetState", {"state": "error"}, token="admin")
    assert done.status == 202
    assert cloud("GET", f"/servers/{server_id}")["server"]["status"] == "ERROR"
    assert cloud.sagas(server_id)[-1].cancel
    bad = act(cloud, server_id, "os-resetState", {"state": "flying"}, token="admin")
    assert bad.status == 400


def test_force_delete(cloud):
    server_id = cloud.up()
    assert act(cloud, server_id, "forceDelete").status == 202
    assert cloud.sagas(server_id)[-1].name == "nova.server.delete"
    assert b'"force":true' in cloud.sagas(server_id)[-1].params


# -- consoles --------------------------------------------------------------------------------------


def test_console_output(cloud):
    server_id = cloud.up()
    for length, output in ((2, "line 19\n"), (3, "line 18\nline 19\n"), (0, "")):
        answer = act(cloud, server_id, "os-getConsoleOutput", {"length": length})
        assert answer["output"] == output
    for value in ({}, None, {"length": -1}, {"length": None}, {"length": ""}):
        answer = act(cloud, server_id, "os-getConsoleOutput", value)
        assert answer["output"].startswith("line 0"), value
    assert act(cloud, server_id, "os-getConsoleOutput", {"length": "5"}).status == 200
    assert act(cloud, server_id, "os-getConsoleOutput", {"length": -2}).status == 400
    assert act(cloud, server_id, "os-getConsoleOutput", {"length": "x"}).status == 400
    building = cloud.create()
    assert act(cloud, building, "os-getConsoleOutput", {}).status == 409


def test_host_that_does_not_answer_is_503(cloud):
    server_id = cloud.up()

    class Silent(FakeHost):
        def console_log(self, guest_id, length):
            raise NoServer("nobody")

    cloud.deps.compute = lambda host: Silent()
    answer = act(cloud, server_id, "os-getConsoleOutput", {})
    assert answer.status == 503
    assert "nobody" not in str(answer.body)


def token_of(url):
    assert url.startswith("http://127.0.0.1:6080/vnc_lite.html?path=%3Ftoken%3D")
    return url.split("%3D", 1)[1]


def test_console_token_is_hashed_short_lived_and_bound(cloud):
    server_id = cloud.up()
    asked = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    answer = cloud("POST", f"/servers/{server_id}/remote-consoles", asked, version="2.6")
    assert answer.status == 200
    token = token_of(answer["remote_console"]["url"])
    with cloud.deps.api.read() as tx:
        [row] = tx.all(tables.console_tokens.select())
    assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str(row)
    auth = ConsoleAuthWorker(cloud.deps)
    target = auth.validate(token)
    assert target is not None and target.server_id == server_id
    assert auth.validate(token + "x") is None
    assert auth.session_alive(server_id)
    shown = cloud("GET", f"/os-console-auth-tokens/{token}", token="admin", version="2.99")
    assert shown["console"]["instance_uuid"] == server_id
    assert cloud("GET", f"/os-console-auth-tokens/{token}", version="2.99").status == 403
    with cloud.deps.api.write() as tx:
        tx.update(
            tables.console_tokens,
            tables.console_tokens.c.server_id == server_id,
            expires_at=utc_now() - timedelta(seconds=1),
        )
    assert auth.validate(token) is None


def test_console_of_a_deleted_server_opens_nothing(cloud):
    server_id = cloud.up()
    answer = act(cloud, server_id, "os-getVNCConsole", {"type": "novnc"})
    token = token_of(answer["console"]["url"])
    auth = ConsoleAuthWorker(cloud.deps)
    assert auth.validate(token) is not None
    cloud.gone(server_id)
    assert auth.validate(token) is None
    assert not auth.session_alive(server_id)


def test_console_that_cannot_be_had_is_400(cloud):
    server_id = cloud.up()
    path = f"/servers/{server_id}/remote-consoles"
    for protocol, kind in (("vnc", "xvpvnc"), ("spice", "spice-html5"), ("vnc", "serial")):
        asked = {"remote_console": {"protocol": protocol, "type": kind}}
        assert cloud("POST", path, asked, version="2.6").status == 400
    assert (
        act(cloud, server_id, "os-getVNCConsole", {"type": "novnc"}, token="reader").status == 403
    )


def test_console_of_a_guest_that_is_not_there_is_409(cloud):
    server_id = cloud.up()

    class Empty(FakeHost):
        def vnc_console(self, guest_id):
            raise GuestNotFound("no such guest")

    cloud.deps.compute = lambda host: Empty()
    assert act(cloud, server_id, "os-getVNCConsole", {"type": "novnc"}).status == 409


# -- what was done ---------------------------------------------------------------------------------


def actions(cloud, server_id, query="", **how):
    answer = cloud("GET", f"/servers/{server_id}/os-instance-actions{query}", **how)
    assert answer.status == 200, answer.body
    return answer


def test_every_verb_is_an_action(cloud):
    server_id = cloud.up()
    act(cloud, server_id, "os-stop")
    found = actions(cloud, server_id)["instanceActions"]
    assert [item["action"] for item in found] == ["stop", "create"]
    assert found[0]["user_id"] == "user-member"
    assert found[0]["instance_uuid"] == server_id
    assert re.fullmatch(r"req-[0-9a-f-]{36}", found[0]["request_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", found[0]["start_time"])


def test_actions_have_pages_since_2_58(cloud):
    server_id = cloud.up()
    act(cloud, server_id, "lock")
    first = actions(cloud, server_id, "?limit=1", version="2.58")
    assert [item["action"] for item in first["instanceActions"]] == ["lock"]
    href = first["links"][0]["href"].split("os-instance-actions")[1]
    second = actions(cloud, server_id, href, version="2.58")
    assert [item["action"] for item in second["instanceActions"]] == ["create"]
    path = f"/servers/{server_id}/os-instance-actions"
    assert cloud("GET", f"{path}?marker=nope", version="2.58").status == 400
    assert cloud("GET", f"{path}?nonsense=1", version="2.58").status == 400
    late = actions(cloud, server_id, "?changes-since=2999-01-01T00:00:00Z", version="2.58")
    assert late["instanceActions"] == []
    early = actions(cloud, server_id, "?changes-before=2000-01-01T00:00:00Z", version="2.66")
    assert early["instanceActions"] == []


def test_actions_of_a_deleted_server_since_2_21(cloud):
    server_id = cloud.up()
    cloud.gone(server_id)
    path = f"/servers/{server_id}/os-instance-actions"
    assert cloud("GET", path, version="2.20").status == 404
    assert cloud("GET", path, version="2.21").status == 200
    assert cloud("GET", path, version="2.21", token="other").status == 404


def test_events_are_the_steps_of_the_saga(cloud):
    server_id = cloud.up()
    act(cloud, server_id, "os-stop")
    saga = cloud.sagas(server_id)[-1]
    store = cloud.deps.saga_store
    with cloud.deps.cell1.write() as tx:
        tx.insert(
            store.steps, saga_id=saga.id, round=0, name="power", position=0, state="undone",
            tries=1, undo_tries=0, error_code="x", error_text="It failed.",
            error_detail="Traceback: inside", started_at=1.0, undo_started_at=2.0, undone_at=60.0,
        )  # fmt: skip
    cloud.finish(server_id, state="failed")
    request = actions(cloud, server_id)["instanceActions"][0]["request_id"]
    path = f"/servers/{server_id}/os-instance-actions/{request}"
    assert "events" not in cloud("GET", path)["instanceAction"]
    action = cloud("GET", path, version="2.84")["instanceAction"]
    assert action["message"] == "Error"
    [event] = action["events"]
    assert event["event"] == "stop_power"
    assert event["result"] == "Error"
    assert event["details"] == "It failed."
    assert event["finish_time"] == "1970-01-01T00:00:02.000000", "when it failed, not its undo's end"
    assert event["hostId"]
    assert "traceback" not in event and "host" not in event
    [event] = cloud("GET", path, version="2.84", token="admin")["instanceAction"]["events"]
    assert (event["traceback"], event["host"]) == ("Traceback: inside", "one")
    [event] = cloud("GET", path, version="2.51")["instanceAction"]["events"]
    assert "hostId" not in event and "details" not in event
    missing = f"/servers/{server_id}/os-instance-actions/req-none"
    assert cloud("GET", missing).status == 404


def test_events_tell_tries_what_was_undone_and_where(cloud):
    server_id = cloud.up()
    act(cloud, server_id, "os-stop")
    saga = cloud.sagas(server_id)[-1]
    steps = (
        {"name": "find", "state": "undone", "tries": 1, "result": '{"host": "two"}',
         "finished_at": 2.0, "undone_at": 9.0},
        {"name": "power", "state": "done", "tries": 3, "result": "{}", "finished_at": 3.0},
        {"name": "tell", "state": "undone", "tries": 2, "error_code": "x", "error_text": "No.",
         "error_detail": "inside", "undone_at": 8.0},
    )  # fmt: skip
    with cloud.deps.cell1.write() as tx:
        for position, step in enumerate(steps):
            tx.insert(
                cloud.deps.saga_store.steps, saga_id=saga.id, round=0, position=position,
                undo_tries=0, started_at=1.0, **step,
            )  # fmt: skip
    request = actions(cloud, server_id)["instanceActions"][0]["request_id"]
    path = f"/servers/{server_id}/os-instance-actions/{request}"
    tell, power, find = cloud("GET", path, version="2.84", token="admin")["instanceAction"]["events"]
    assert (find["result"], find["details"], find["host"]) == (
        "Success", "Undone, since a later step failed.", "two",
    )  # fmt: skip
    assert (power["result"], power["details"], power["host"]) == ("Success", "Tried 3 times.", "two")
    assert (tell["result"], tell["details"]) == ("Error", "No. Tried 2 times.")
    assert tell["traceback"] == "inside"
