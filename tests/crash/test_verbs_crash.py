"""Every verb of several steps is killed before and after every commit and every act of the hypervisor.

The API, the conductor and the host die together by SIGKILL, at a point within the request or the steps. What
starts on the rest either ends the verb or takes it back; `stranded` compares every part of the cloud.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

from stranded import stranded
from test_nova_crash import Points, in_child
from verbs import VERBS
from whole_cloud import WholeCloud

from gureum.nova.drivers.fake import FakeDriver

STRIDE = int(os.environ.get("GUREUM_CRASH_STRIDE", "3"))
"""Every how many points a round is made; 1 tries them all."""
HOSTS = ("h1",)
BEFORE = ("ACTIVE", 1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


class AllPoints(Points):
    """Also around power and cards."""

    def install(self):
        super().install()
        for name in ("power", "attach_interface", "detach_interface"):
            setattr(FakeDriver, name, self._around(getattr(FakeDriver, name)))


def find(cloud, server_id):
    """Return the server that the verb is about, and the network."""
    network = cloud.net("GET", "/networks?name=private")["networks"][0]["id"]
    return server_id or None, network


def first_life(directory, ask, server_id, deadly):
    points = AllPoints(deadly)
    cloud = WholeCloud(directory, HOSTS)
    _, network = find(cloud, server_id)
    points.install()
    points.armed = True
    answer = ask(cloud, server_id, network)
    (directory / "answer").write_text(str(answer.status))
    cloud.run()
    points.armed = False
    (directory / "points").write_text(str(points.count))


def second_life(directory, server_id):
    cloud = WholeCloud(directory, HOSTS)
    cloud.clock.now += 60  # the leases of the dead have ended
    cloud.settle()
    servers = cloud.ask("GET", "/servers/detail")["servers"]
    found = [(s["status"], len(cloud.nics(s["id"]))) for s in servers if server_id in (None, s["id"])]
    floating = cloud.net("GET", "/floatingips")["floatingips"]
    routers = cloud.net("GET", "/routers")["routers"]
    (directory / "found").write_text(json.dumps({
        "servers": found, "stranded": stranded(cloud),
        "floating": [bool(one["port_id"]) for one in floating], "routers": len(routers),
    }))


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Folders of a cloud with nothing, and of one with a server, a router and an external network."""

    def make(with_server):
        directory = tmp_path_factory.mktemp("server" if with_server else "bare")

        def work():
            cloud = WholeCloud(directory, HOSTS)
            network = cloud.furnish()
            outside = cloud.net("POST", "/networks", {"network": {
                "name": "public", "router:external": True}}, token="service")["network"]["id"]
            cloud.net("POST", "/subnets", {"subnet": {
                "network_id": outside, "cidr": "203.0.113.0/24", "ip_version": 4}}, token="service")
            router = cloud.net("POST", "/routers", {"router": {
                "external_gateway_info": {"network_id": outside}}})["router"]["id"]
            subnet = cloud.net("GET", f"/subnets?network_id={network}")["subnets"][0]["id"]
            cloud.net("PUT", f"/routers/{router}/add_router_interface", {"subnet_id": subnet})
            made = cloud.server(network) if with_server else ""
            (directory / "server").write_text(made)
            cloud.close()

        assert in_child(work) == 0
        return directory

    return {True: make(True), False: make(False)}


def sweep(template, tmp_path, ask, judge):
    """Kill at every STRIDEth point, and judge what the second life finds."""
    server_id = (template / "server").read_text() or None
    quiet = tmp_path / "quiet"
    shutil.copytree(template, quiet)
    assert in_child(lambda: first_life(quiet, ask, server_id, 0)) == 0
    points = int((quiet / "points").read_text())
    assert points >= 2
    for deadly in range(1, points + 1, STRIDE):
        directory = tmp_path / f"killed-at-{deadly}"
        shutil.copytree(template, directory)
        ended = in_child(lambda d=directory, at=deadly: first_life(d, ask, server_id, at))
        assert ended == -signal.SIGKILL, f"point {deadly} of {points} was not reached"
        assert in_child(lambda d=directory: second_life(d, server_id)) == 0
        found = json.loads((directory / "found").read_text())
        answered = (directory / "answer").exists()
        where = f"after a kill at point {deadly} of {points} (answered: {answered}): {found}"
        assert found["stranded"] == [], where
        judge(found, answered, where)
        shutil.rmtree(directory)
    print(f"{points} points, {len(range(1, points + 1, STRIDE))} rounds")


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_point_a_server_verb_ends_or_never_was(verb, templates, tmp_path):
    before, ask, wanted = VERBS[verb]
    after = [list(one) for one in wanted if one[0] is not None]
    gone = any(one[0] is None for one in wanted)

    def judge(found, answered, where):
        servers = found["servers"]
        if not servers:
            assert gone and not (verb == "create" and answered), where
            return
        assert len(servers) == 1, where
        unchanged = before and not answered and servers[0] == list(BEFORE)
        taken_back = verb == "attach" and servers[0] == list(BEFORE)
        assert servers[0] in after or unchanged or taken_back, where

    sweep(templates[before], tmp_path, ask, judge)


def port_of(cloud, server_id):
    return cloud.net("GET", f"/ports?device_id={server_id}")["ports"][0]["id"]


def public(cloud):
    return cloud.net("GET", "/networks?name=public", token="service")["networks"][0]["id"]


NETWORK_VERBS = {
    "floating-ip": lambda cloud, server_id, network: cloud.net("POST", "/floatingips", {"floatingip": {
        "floating_network_id": public(cloud), "port_id": port_of(cloud, server_id)}}),
    "router": lambda cloud, server_id, network: cloud.net("POST", "/routers", {"router": {
        "external_gateway_info": {"network_id": public(cloud)}}}),
    "router-gone": lambda cloud, server_id, network: cloud.net(
        "PUT", "/routers/" + cloud.net("GET", "/routers")["routers"][0]["id"],
        {"router": {"external_gateway_info": None}}),
}


@pytest.mark.parametrize("verb", NETWORK_VERBS)
def test_killed_at_any_point_a_network_verb_is_whole_or_never_was(verb, templates, tmp_path):
    def judge(found, answered, where):
        assert found["servers"] == [list(BEFORE)], where
        if verb == "floating-ip":
            assert found["floating"] in ([True],) if answered else ([], [True]), where
        if verb == "router":
            assert found["routers"] in (2,) if answered else (1, 2), where

    sweep(templates[True], tmp_path, NETWORK_VERBS[verb], judge)
