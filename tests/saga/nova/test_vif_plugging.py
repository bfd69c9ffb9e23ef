"""A server is not ACTIVE before its ports are plugged, as far as the options ask for that."""

import threading
import time
from dataclasses import replace

import pytest
from nova_world import NETWORK, NovaWorld, nic

from gureum.nova.config import NovaOptions
from gureum.nova.sagas import server_create

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def world(tmp_path):
    world = NovaWorld(tmp_path)
    world.ports.unplugged.add(NETWORK)
    yield world
    world.close()


def asked(world, **options):
    world.deps = world.replaced(nova=NovaOptions(**options))


def plug(world):
    for port in list(world.ports.ports.values()):
        world.ports.ports[port.id] = replace(port, status="ACTIVE")


def test_server_waits_for_its_ports(world):
    asked(world, vif_plugging_timeout=30)
    states = []

    def plug_later():
        while not world.guests():
            time.sleep(0.01)
        states.append(world.row(server_id).vm_state)
        plug(world)

    server_id = world.new_server(nics=(nic(),))
    threading.Thread(target=plug_later).start()
    world.run()
    assert states == ["building"]
    assert world.row(server_id).vm_state == "active"


def test_what_the_network_says_ends_the_wait_at_once(world, monkeypatch):
    monkeypatch.setattr(server_create, "PLUG_LOOK_S", (600.0, 600.0))
    asked(world, vif_plugging_timeout=1000)

    def plug_and_tell():
        while not world.guests():
            time.sleep(0.01)
        plug(world)
        while world.row(server_id).vm_state == "building":
            world.deps.plugs.told(["another", server_id])
            time.sleep(0.01)

    server_id = world.new_server(nics=(nic(),))
    threading.Thread(target=plug_and_tell, daemon=True).start()
    world.run()
    assert world.row(server_id).vm_state == "active"


def test_ports_that_are_not_plugged_in_time_fail_the_build(world):
    asked(world, vif_plugging_timeout=1)
    server_id = world.new_server(nics=(nic(),))
    world.run()
    assert world.row(server_id).vm_state == "error"
    assert "not plugged in time" in world.faults(server_id)[0].message
    assert world.guests() == {}


def test_ports_that_are_not_plugged_in_time_may_be_passed_over(world):
    asked(world, vif_plugging_timeout=1, vif_plugging_is_fatal=False)
    assert world.row(world.active_server(nics=(nic(),))).vm_state == "active"


def test_port_that_is_down_by_wish_is_not_waited_for(world):
    asked(world, vif_plugging_timeout=30)
    given = world.ports.add(NETWORK)
    world.ports.ports[given.id] = replace(given, admin_state_up=False)
    card = replace(nic(), network_id=None, port_id=given.id)
    assert world.row(world.active_server(nics=(card,))).vm_state == "active"
