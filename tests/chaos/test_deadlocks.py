"""Deadlocks: the database takes a transaction back in the middle, and no user hears of it.

First at every statement of every request that writes, one by one, as the transaction that loses sees it; then
by eight users at once on real servers, where the losers are the servers' choice.
"""

import threading

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import dblab
import pytest
from bursts import ended
from databases import VARIABLE
from stranded import assert_nothing_stranded
from whole_cloud import WholeCloud

from gureum.core.db import Unavailable
from gureum.core.db.engine import Tx

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

USERS, EACH = 8, 6
MOST = 200
"""More statements than any request needs."""


class Loser:
    """The nth statement of the transactions that write loses a deadlock; counts them."""

    def __init__(self, monkeypatch):
        self.nth, self.count = 0, 0
        real, loser, asking = Tx.execute, self, threading.get_ident()

        def execute(tx, statement, params=None):
            if tx.writable and threading.get_ident() == asking:
                loser.count += 1
                if loser.count == loser.nth:
                    raise Unavailable("(1213, 'Deadlock found when trying to get lock')")
            return real(tx, statement, params)

        monkeypatch.setattr(Tx, "execute", execute)

    def at(self, nth):
        """Lose at that statement from now on; 0 at none."""
        self.nth, self.count = nth, 0


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    made = WholeCloud(tmp_path, ("h1",))
    yield made
    made.close()


def post(noun, **values):
    """Return how one of a noun is made and removed."""
    return (lambda c: c.net("POST", f"/{noun}s", {noun.replace("-", "_"): values}),
            lambda c, made: c.net("DELETE", f"/{noun}s/{made[noun.replace('-', '_')]['id']}"))


REQUESTS = {
    # name: (ask, take back)
    "server": (lambda c: c.create(None), lambda c, made: c.ask(
        "DELETE", f"/servers/{made['server']['id']}")),
    "keypair": (lambda c: c.ask("POST", "/os-keypairs", {"keypair": {
        "name": "k", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
        "IFo4yAPkkHsjWmzYKcHbYaWdqdPAhkrSpJd6DhNLJc1k"}}),
        lambda c, made: c.ask("DELETE", "/os-keypairs/k")),
    "server group": (lambda c: c.ask("POST", "/os-server-groups", {"server_group": {
        "name": "g", "policy": "affinity"}}), lambda c, made: c.ask(
        "DELETE", f"/os-server-groups/{made['server_group']['id']}")),
    "network": post("network", name="n"),
    "subnet": post("subnet", network_id="NETWORK", ip_version=4, cidr="10.77.0.0/24"),
    "port": post("port", network_id="NETWORK"),
    "router": post("router", name="r"),
    "security group": post("security-group", name="g"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_deadlock_at_any_statement_of_a_request_is_not_told_to_the_user(cloud, name, monkeypatch):
    network = cloud.furnish()
    net = cloud.net
    cloud.net = lambda method, path, body=None: net(method, path, body and {
        noun: {key: network if value == "NETWORK" else value for key, value in values.items()}
        for noun, values in body.items()})
    ask, take_back = REQUESTS[name]
    loser, lost = Loser(monkeypatch), 0
    for nth in range(1, MOST):
        loser.at(nth)
        made = ask(cloud)
        assert made.status in (200, 201, 202), (nth, made)
        losing, first = loser.count >= nth, loser.count
        loser.at(nth)
        gone = take_back(cloud, made)
        assert gone.status in (202, 204), (nth, gone)
        lost += losing + (loser.count >= nth)
        loser.at(0)
        cloud.run()
        if not losing and loser.count < nth:
            break
    assert first < nth < MOST and lost > 5
    assert_nothing_stranded(cloud)


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def server(request):
    if reason := dblab.missing(request.param):
        pytest.skip(reason)
    with dblab.running(request.param) as made:
        yield made


def test_eight_users_at_once_hear_of_no_deadlock(server, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, server.plain_url("NAME").replace("NAME", "{service}_{unique}"))
    cloud = WholeCloud(tmp_path, ("h1", "h2"))
    try:
        network = cloud.furnish()
        cloud.start()
        answers, start = [], threading.Barrier(USERS)

        def use():
            start.wait()
            for _ in range(EACH):
                answers.append(cloud.create(network))
                port = cloud.net("POST", "/ports", {"port": {"network_id": network}})
                answers.append(port)
                answers.append(cloud.net("POST", "/networks", {"network": {"name": "n"}}))
                answers.append(cloud.net("DELETE", f"/ports/{port['port']['id']}"))

        users = [threading.Thread(target=use) for _ in range(USERS)]
        for one in users:
            one.start()
        for one in users:
            one.join()
        refused = [answer for answer in answers if answer.status not in (201, 202, 204)]
        assert refused == [] and len(answers) == USERS * EACH * 4
        ids = [answer["server"]["id"] for answer in answers if answer.status == 202]
        ended(cloud, ids)
    finally:
        cloud.close()
