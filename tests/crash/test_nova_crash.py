"""Nova is killed before and after every commit and every act of the hypervisor, and goes on from there.

Each round runs in a process of its own that kills itself with SIGKILL at one point; a second process
starts on what is left, as after a restart, and must come to the same end.
"""

import json
import os
import signal

import pytest
from forked import Deadly, in_child
from nova_services import make_network, real_services, user
from nova_world import NovaWorld, nic

from gureum.nova.drivers.fake import FakeDriver
from gureum.nova.model import RequestedNic
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.ports_rest import RestServerPorts
from gureum.placement.client import PlacementClient

pytestmark = [pytest.mark.timeout(600)]

SERVER = "5e000000-0000-4000-8000-000000000001"
STRIDE = int(os.environ.get("GUREUM_CRASH_STRIDE", "3"))
"""Every how many points a round is made; 1 tries them all."""


class Points(Deadly):
    """Commits and acts of the hypervisor, from when it is armed."""

    def __init__(self, nth):
        super().__init__(nth)
        self.armed = False

    def install(self):
        self.at_commits()
        for name in ("spawn", "destroy"):
            setattr(FakeDriver, name, self._around(getattr(FakeDriver, name)))

    def _around(self, act):
        def acting(*args, **kwargs):
            self.pass_by()
            result = act(*args, **kwargs)
            self.pass_by()
            return result

        return acting


def open_world(directory):
    session = real_services(directory)
    session.report("h1")
    return NovaWorld(directory, placement=ClientPlacement(PlacementClient(session)),
                     ports=RestServerPorts(session)), session


def prepare(world, session):
    """Submit a create with one card of its own and one given port."""
    network = make_network(session)
    given = user(session, "POST", "/ports", {"port": {"network_id": network}})
    cards = (nic(network), RequestedNic(id="given-card", port_id=given["id"]))
    world.new_server(nics=cards, server_id=SERVER)
    return given["id"]


def first_life(directory, verb, deadly):
    points = Points(deadly)
    world, session = open_world(directory)
    given = prepare(world, session)
    (directory / "given").write_text(given)
    if verb == "delete":
        world.run()
        world.delete_server(SERVER)
    points.install()
    points.armed = True
    world.run()
    points.armed = False
    (directory / "points").write_text(str(points.count))


def second_life(directory, verb):
    world, _ = open_world(directory)
    world.clock.now += 60  # the leases of the dead have ended
    world.run()
    given = world.ports.get((directory / "given").read_text())
    row = world.row(SERVER)
    found = {
        "state": None if row is None else row.vm_state,
        "guests": list(world.guests()),
        "held": bool(world.placement.allocation(SERVER).by_provider),
        "ports": len(world.ports.of_servers([SERVER])),
        "nics": len(world.nics(SERVER)),
        "given_host": given.host,
        "sagas": sorted(saga.state for saga in world.sagas_of(SERVER)),
        "counted": world.mapping(SERVER).deleted_at is None,
    }
    (directory / "found").write_text(json.dumps(found))


CREATED = {"state": "active", "guests": [SERVER], "held": True, "ports": 2, "nics": 2,
           "given_host": "h1", "sagas": ["done"], "counted": True}
DELETED = {"state": None, "guests": [], "held": False, "ports": 0, "nics": 0, "given_host": "",
           "sagas": ["done", "done"], "counted": False}


@pytest.mark.parametrize(("verb", "wanted"), [("create", CREATED), ("delete", DELETED)])
def test_killed_at_every_point_it_comes_to_the_same_end(verb, wanted, tmp_path):
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    assert in_child(lambda: first_life(quiet, verb, deadly=0)) == 0
    points = int((quiet / "points").read_text())
    assert points > 20
    for deadly in range(1, points + 1, STRIDE):
        directory = tmp_path / f"killed-at-{deadly}"
        directory.mkdir()
        ended = in_child(lambda d=directory, at=deadly: first_life(d, verb, at))
        assert ended == -signal.SIGKILL, f"point {deadly} of {points} was not reached"
        assert in_child(lambda d=directory: second_life(d, verb)) == 0
        found = json.loads((directory / "found").read_text())
        assert found == wanted, f"after a kill at point {deadly} of {points}"
