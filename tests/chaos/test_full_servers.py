"""A database server whose disk has no byte left, in the middle of servers that are made.

Its data are on a small file system of its own, which a file fills. What cannot be written is refused
with 503 and done once there is room again; a daemon that gave up on a full disk is started again then, as
its supervisor would.
"""

import contextlib

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import dblab
import pytest
from bursts import begun, ended, worked
from databases import VARIABLE
from stranded import assert_nothing_stranded
from whole_cloud import WholeCloud

ROOM_MIB = {"mariadb": 320, "postgresql": 200}
TRIES = 400
BIG = {str(number): "x" * 255 for number in range(100)}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def server(request):
    if reason := dblab.missing(request.param):
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(
                dblab.running(request.param, room_mib=ROOM_MIB[request.param]))
        except dblab.NoRoom as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture
def cloud(server, tmp_path, monkeypatch):
    url = server.plain_url("NAME").replace("NAME", "{service}_{unique}")
    monkeypatch.setenv(VARIABLE, url)
    made = WholeCloud(tmp_path, ("h1", "h2"))
    yield made
    made.close()


def make_room(server):
    """Give the server its bytes back; started again if it has given up."""
    server.room.clear()
    with contextlib.suppress(Exception):
        server.admin("SELECT 1")
        return
    server.stop()
    server.start()


def until_refused(ask):
    """Ask until there is no room for the answer; returns what was answered before."""
    accepted = []
    for _ in range(TRIES):
        answer = ask()
        if answer.status == 503:
            return accepted
        accepted.append(answer)
    raise AssertionError(f"{TRIES} requests did not fill the disk")


def test_full_disk_refuses_what_it_cannot_write_and_strands_nothing(cloud, server, gate):
    cloud.start()
    ids = begun(cloud, gate)
    server.room.fill()
    try:
        accepted = until_refused(lambda: cloud.create(None, metadata=BIG))
        assert {answer.status for answer in accepted} <= {202}, accepted
        gate.open.set()
        worked(cloud)
    finally:
        make_room(server)
    ids += [answer["server"]["id"] for answer in accepted]
    cloud.wait_idle(timeout_s=150)
    found = {row["id"] for row in cloud.ask("GET", "/servers?limit=1000")["servers"]}
    assert found == set(ids)
    ended(cloud, ids)


def test_nothing_of_the_network_is_half_made_on_a_full_disk(cloud, server):
    network = cloud.furnish()
    server.room.fill()
    try:
        body = {"port": {"network_id": network, "description": "d" * 255}}
        made = until_refused(lambda: cloud.net("POST", "/ports", body))
        assert {answer.status for answer in made} <= {201}, made
        kept = [answer["port"]["id"] for answer in made]
        statuses = {cloud.net("DELETE", f"/ports/{one}").status for one in kept[:20]}
        assert statuses <= {204, 503}
    finally:
        make_room(server)
    left = {port["id"] for port in cloud.net("GET", "/ports?limit=1000")["ports"]}
    assert left <= set(kept) and set(kept[20:]) <= left
    for one in left:
        assert cloud.net("DELETE", f"/ports/{one}").status == 204
    assert_nothing_stranded(cloud)
