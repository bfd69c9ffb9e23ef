"""Databases that are busy, full, read-only, restarted, or whose answers are lost, under a running cloud.

SQLite's faults are made with its own pragmas and a second connection; MariaDB and PostgreSQL are private
servers (tests/real/dblab.py) that are killed or cut, through their real connections.
"""

import contextlib
import signal
import sqlite3
import threading

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import dblab
import pytest
import sqlalchemy as sa
from bursts import begun, ended, worked
from databases import VARIABLE
from stranded import assert_nothing_stranded
from whole_cloud import WholeCloud

# -- SQLite ----------------------------------------------------------------------------------------


def of_name(cloud, name):
    """Return a database of the cloud by its name."""
    return {"nova_api": cloud.api, "nova_cell1": cloud.cells["cell1"],
            **cloud.session.databases}[name]


@contextlib.contextmanager
def pragma(database, *sick, well):
    """Give every connection of a database a pragma for as long as the block lasts."""
    now = list(sick)

    def set_up(connection, record, proxy):
        for text in now:
            connection.execute(f"PRAGMA {text}")

    sa.event.listen(database.engine, "checkout", set_up)
    try:
        yield
    finally:
        now[:] = well


@contextlib.contextmanager
def full(database):
    with database.read() as tx:
        pages = tx.scalar(sa.text("PRAGMA page_count"))
    with pragma(database, f"max_page_count={pages}", well=["max_page_count=1000000000"]):
        yield


@contextlib.contextmanager
def read_only(database):
    with pragma(database, "query_only=ON", well=["query_only=OFF"]):
        yield


@contextlib.contextmanager
def busy(database):
    """Another process writes and does not end."""
    other = sqlite3.connect(database.url.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pragma(database, "busy_timeout=20", well=["busy_timeout=10000"]):
            yield
    finally:
        other.rollback()
        other.close()


FAULTS = {"full": full, "read-only": read_only, "busy": busy}
NAMES = ("nova_api", "nova_cell1", "network", "placement")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    made = WholeCloud(tmp_path, ("h1",))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_sick_sqlite_refuses_and_strands_nothing(cloud, fault, name):
    network = cloud.furnish()
    old, other = cloud.server(network), cloud.server(network)
    with FAULTS[fault](of_name(cloud, name)):
        statuses = [cloud.create(network, metadata={str(n): "x" * 255 for n in range(100)}).status
                    for _ in range(4)]
        statuses += [cloud.ask("DELETE", f"/servers/{old}").status, cloud.act(other, "os-stop").status]
        cloud.run(rounds=3)
    assert set(statuses) <= {202, 204, 503}, statuses
    cloud.run()
    assert cloud.act(other, "os-stop").status in (202, 409)
    assert cloud.ask("DELETE", f"/servers/{old}").status in (204, 404)
    again = cloud.create(network)
    assert again.status == 202
    assert_nothing_stranded(cloud)
    assert (cloud.status(old), cloud.status(other)) == (None, "SHUTOFF")
    assert cloud.status(again["server"]["id"]) == "ACTIVE"
    found = cloud.ask("GET", "/servers")["servers"]
    assert len(found) - 2 == statuses[:4].count(202)


def test_each_fault_is_felt(cloud):
    for name, fault in FAULTS.items():
        with fault(cloud.api):
            assert cloud.ask("POST", "/flavors", {"flavor": {
                "name": name * 10, "ram": 1, "vcpus": 1, "disk": 1, "id": "f" * 200,
                "description": "d" * 65000}}, token="admin").status == 503, name


# -- servers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def server(request):
    if reason := dblab.missing(request.param):
        pytest.skip(reason)
    with dblab.running(request.param) as made:
        yield made


@contextlib.contextmanager
def cloud_on(server, port, directory, monkeypatch, *, url_of=None):
    url = (url_of or server.url)("NAME").replace("NAME", "{service}_{unique}")
    monkeypatch.setenv(VARIABLE, url.replace(str(server.port), str(port)))
    made = WholeCloud(directory, ("h1", "h2"))
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", [None, signal.SIGKILL], ids=["restarted", "killed"])
def test_database_server_that_goes_and_comes_back_costs_time_only(
    server, how, gate, tmp_path, monkeypatch
):
    with cloud_on(server, server.port, tmp_path, monkeypatch) as cloud:
        cloud.start()
        ids = begun(cloud, gate)
        server.stop(how)
        try:
            gate.open.set()  # what hosts have done cannot be marked now
            threading.Event().wait(1.0)
        finally:
            server.start()
        ended(cloud, ids)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_lost_answers_of_real_commits_strand_nothing(server, gate, tmp_path, monkeypatch):
    wire = dblab.Cut(server.port)
    try:
        with cloud_on(server, wire.port, tmp_path, monkeypatch) as cloud:
            gate.open.set()
            network = cloud.furnish()
            cloud.start()
            ids, unknown = [], 0
            for _ in range(20):
                wire.break_at_commit()
                answer = cloud.create(network)
                assert answer.status in (202, 503), answer
                unknown += answer.status == 503
                ids += [answer["server"]["id"]] if answer.status == 202 else []
                threading.Event().wait(0.05)
            cloud.wait_idle(timeout_s=150)
            found = {row["id"] for row in cloud.ask("GET", "/servers")["servers"]}
            assert set(ids) <= found and len(found - set(ids)) <= unknown
            ended(cloud, sorted(found))
    finally:
        wire.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_connections_that_are_cut_in_transactions_strand_nothing(
    server, gate, tmp_path, monkeypatch
):
    with cloud_on(server, server.port, tmp_path, monkeypatch) as cloud:
        gate.open.set()
        cloud.start()
        ids = begun(cloud, gate)
        cuts = 0
        for _ in range(8):
            for database in (cloud.api, *cloud.cells.values(), *cloud.session.databases.values()):
                with contextlib.suppress(sa.exc.DBAPIError):  # one that ended by itself meanwhile
                    cuts += server.cut_connections(database.url.database)
            threading.Event().wait(0.15)
        assert cuts > 0
        ended(cloud, ids)


READ_ONLY = {
    "mariadb": (["SET GLOBAL read_only = 1"], ["SET GLOBAL read_only = 0"]),
    "postgresql": (
        ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"],
        ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"],
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_server_that_turns_read_only_refuses_and_strands_nothing(
    server, gate, tmp_path, monkeypatch
):
    sick, well = READ_ONLY[server.kind]
    with cloud_on(server, server.port, tmp_path, monkeypatch, url_of=server.plain_url) as cloud:
        cloud.start()
        ids = begun(cloud, gate)
        server.admin(*sick)
        try:
            while (answer := cloud.create(None)).status == 202:  # PostgreSQL hears of it a little later
                ids.append(answer["server"]["id"])
            refused = [answer, cloud.ask("DELETE", f"/servers/{ids[0]}"),
                       cloud.act(ids[0], "lock", None),
                       cloud.net("POST", "/networks", {"network": {"name": "n"}})]
            assert [one.status for one in refused] == [503] * 4, refused
            assert cloud.ask("GET", f"/servers/{ids[0]}").status == 200
            gate.open.set()
            worked(cloud)
        finally:
            server.admin(*well)
        ended(cloud, ids)
