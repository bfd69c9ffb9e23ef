"""Each process of a distributed cloud is killed in its turn, while users make and delete servers.

One process of each component, so that nobody stands in for it: its supervisor starts it again, what it was at
goes on, and in the end the audit finds nothing. The database server, the broker and memcached die in
`tests/unit/cli/test_distributed_cloud.py` and in `test_broker_faults.py`.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import httpx
import pytest
from test_distributed_cloud import Cloud

from gureum.provision import daemons, supervisor
from gureum.testing.ports import free_offset

WAIT_S = 120.0
USERS = 2
GOOD = {200, 202, 204, 404}
AWAY = {503, "refused"}
"""What a user may be told while something is away."""
OTHERS = {"mariadb", "rabbitmq", "memcached", "bootstrap"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cloud():
    if lacking := daemons.missing(daemons.MARIADB):
        pytest.skip(f"Debian packages are missing: {', '.join(lacking)}")
    base = Path(tempfile.mkdtemp(prefix="gureum-k-"))
    os.chmod(base, 0o711)  # the daemons run as users of their own and pass through
    made = Cloud(base, daemons.MARIADB)
    try:
        made.gureum("up", "--simulated", "--distributed", "--port-offset", str(free_offset()))
        yield made
    finally:
        made.gureum("down", "--purge", "--yes", code=None)
        shutil.rmtree(base)


class User:
    """Makes servers and deletes them, one after the other, whatever is away meanwhile."""

    def __init__(self, cloud, number, network, image, flavor):
        self.cloud, self.number = cloud, number
        self.body = {"imageRef": image, "flavorRef": flavor, "networks": [{"uuid": network}]}
        self.told, self.broken, self.rounds = Counter(), [], 0
        self.stop = threading.Event()
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.token = ""
        self.thread = threading.Thread(target=self._live)

    def ask(self, method, url, **more):
        """Ask once; returns the status, or "refused" when nobody was there or the answer was lost."""
        try:
            answer = self.http.request(method, url, headers={
                "x-auth-token": self.token, "openstack-api-version": "compute 2.90"}, **more)
        except httpx.TransportError:
            self.told["refused"] += 1
            return "refused", None
        self.told[answer.status_code] += 1
        if answer.status_code not in GOOD | AWAY | {201}:
            self.broken.append((method, url, answer.status_code, answer.text))
        return answer.status_code, answer

    def until(self, method, url, wanted, what=lambda answer: True, **more):
        """Ask again until the answer is a wanted one. Raises: AssertionError."""
        deadline = time.monotonic() + WAIT_S
        while True:
            status, answer = self.ask(method, url, **more)
            if status in wanted and what(answer):
                return answer
            assert time.monotonic() < deadline, (method, url, status, answer and answer.text)
            threading.Event().wait(0.1)

    def login(self):
        sdk_auth = self.cloud.auth()
        answer = self.until("POST", self.cloud.url(5000) + "/v3/auth/tokens", {201}, json=sdk_auth)
        self.token = answer.headers["x-subject-token"]

    def _live(self):
        try:
            self.login()
            for number in itertools.count():
                if self.stop.is_set():
                    return
                self._round(f"user{self.number}-{number}")
                self.rounds += 1
        except Exception as error:  # told by the test, in its own thread
            self.broken.append(error)

    def _round(self, name):
        servers = self.cloud.url(8774) + "/v2.1/servers"
        listed = f"{servers}/detail?name=^{name}$"
        status, answer = self.ask("POST", servers, json={"server": {"name": name, **self.body}})
        while status in AWAY:  # it may have been made all the same
            found = self.until("GET", listed, {200}).json()["servers"]
            if found:
                break
            status, answer = self.ask("POST", servers, json={"server": {"name": name, **self.body}})
        one = found[0]["id"] if status in AWAY else answer.json()["server"]["id"]
        shown = self.until("GET", f"{servers}/{one}", {200},
                           lambda answer: answer.json()["server"]["status"] in ("ACTIVE", "ERROR"))
        if shown.json()["server"]["status"] == "ERROR":
            self.broken.append(shown.json()["server"])
        self.until("DELETE", f"{servers}/{one}", {204, 404})
        self.until("GET", f"{servers}/{one}", {404})
        assert self.until("GET", listed, {200}).json()["servers"] == []


def auth_of(cloud):
    """Return the body of a login as the administrator."""
    with cloud.connect() as sdk:
        password = sdk.config.auth["password"]
    who = {"name": "admin", "domain": {"name": "Default"}}
    return {"auth": {"identity": {"methods": ["password"], "password": {
        "user": {**who, "password": password}}}, "scope": {"project": who}}}


def processes(cloud):
    """Return the processes by name, as the supervisor last wrote them down."""
    status = supervisor.read_status(cloud.place.run_dir)
    return {child.name: child for child in status.children if child.name not in OTHERS}


def until(fact, what):
    deadline = time.monotonic() + WAIT_S
    while not (seen := fact()):
        assert time.monotonic() < deadline, what()
        threading.Event().wait(0.1)
    return seen


@contextlib.contextmanager
def users_of(cloud):
    with cloud.connect() as sdk:
        network = sdk.network.create_network(name="n")
        sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.5.0.0/20")
        image, flavor = next(sdk.image.images()), next(sdk.compute.flavors())
    auth = auth_of(cloud)
    cloud.auth = lambda: auth
    made = [User(cloud, number, network.id, image.id, flavor.id) for number in range(USERS)]
    for one in made:
        one.thread.start()
    try:
        yield made
    finally:
        for one in made:
            one.stop.set()
        for one in made:
            one.thread.join()
            one.http.close()


def test_every_process_is_killed_under_load_and_nothing_is_lost(cloud):
    names = sorted(processes(cloud))
    assert {"keystone", "nova-conductor", "nova-compute", "neutron-simulated-agents"} <= set(names)
    with users_of(cloud) as users:

        def gone_on(since):
            return all(one.rounds >= rounds + 2 or one.broken
                       for one, rounds in zip(users, since, strict=True))

        for name in names:
            since = [one.rounds for one in users]
            before = processes(cloud)[name]
            os.kill(before.pid, signal.SIGKILL)

            def back(name=name, before=before):
                now = processes(cloud)[name]
                return now.state == "running" and now.pid != before.pid

            until(back, lambda name=name: processes(cloud)[name])
            until(lambda since=since: gone_on(since), lambda: [one.told for one in users])
            assert [one.broken for one in users] == [[]] * USERS, name
    assert [one.broken for one in users] == [[]] * USERS
    assert all(one.told["refused"] + one.told[503] for one in users)
    cloud.until_well()
    after = processes(cloud)
    assert all(after[name].restarts == 1 for name in names), after

    def looked():
        report = json.loads(cloud.gureum("audit", "--json", "--grace", "0", code=None))
        cloud.report = report
        return report["clean"] and report["count"] == 0

    until(looked, lambda: cloud.report)
    with cloud.connect() as sdk:
        assert list(sdk.compute.servers(all_projects=True)) == []
        owned = [port for port in sdk.network.ports() if port.device_owner.startswith("compute:")]
        assert owned == []
