"""Every message of every verb is lost, repeated, late or out of order: the verb ends, nothing is left.

The bus here is the in-process one with faults (faulty_bus.py): the same router and services as behind the
hub. test_broker_faults.py does the like with a real RabbitMQ, test_hub_faults.py with the hub's sockets.
"""

import random

import pytest
from faulty_bus import FAULTS, FaultyBus
from stranded import assert_nothing_stranded
from verbs import VERBS
from whole_cloud import WholeCloud

SEEDS = range(8)


def once(directory, verb, nth, fault):
    """Do a verb with one message disturbed; returns how many messages there were."""
    directory.mkdir()
    bus = FaultyBus()
    cloud = WholeCloud(directory, ("h1", "h2"), bus=bus)
    before, ask, wanted = VERBS[verb]
    network = cloud.furnish()
    server_id = cloud.server(network) if before else None
    bus.plan(nth, fault)
    answer = ask(cloud, server_id, network)
    cloud.run()
    count = bus.count
    bus.plan(0, None)
    where = f"{verb}, message {nth} {fault}: {answer}"
    assert answer.status in (200, 202, 204, 500), where
    server_id = server_id or answer["server"]["id"]
    bus.deliver_late()
    cloud.run()
    assert_nothing_stranded(cloud)
    found = cloud.status(server_id), len(cloud.nics(server_id))
    assert found in {*wanted, *FAILED.get(verb, ())}, (where, found, cloud.story(server_id))
    assert cloud.ask("DELETE", f"/servers/{server_id}").status in (204, 404), where
    bus.deliver_late()
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {}, where
    cloud.close()
    return count


FAILED = {
    "stop": {("ACTIVE", 1)},  # the host did not answer in all its time: a fault, and the server as it was
    "reboot": {("ACTIVE", 1)},
    "suspend": {("ACTIVE", 1)},
    "attach": {("ACTIVE", 1)},
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS)
def test_disturbed_message_strands_nothing(verb, fault, tmp_path):
    count = once(tmp_path / "quiet", verb, 0, None)
    assert count >= 1
    for nth in range(1, count + 1):
        assert once(tmp_path / f"message-{nth}", verb, nth, fault) >= nth


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_storm_of_disturbed_messages_strands_nothing(seed, tmp_path):
    dice, bus = random.Random(seed), FaultyBus()
    cloud = WholeCloud(tmp_path, ("h1", "h2", "h3"), bus=bus)
    network = cloud.furnish()
    bus.dice(random.Random(seed + 1000), 0.4)
    ids = [cloud.create(network)["server"]["id"] for _ in range(6)]
    cloud.run()
    for _ in range(24):
        one = dice.choice(ids)
        verb = dice.choice(["os-stop", "os-start", "reboot", "suspend", "resume", "delete", "late"])
        if verb == "late":
            bus.deliver_late()
        elif verb == "delete":
            cloud.ask("DELETE", f"/servers/{one}")
        else:
            cloud.act(one, verb, {"type": "HARD"} if verb == "reboot" else None)
        cloud.run(rounds=dice.choice([1, 2, 60]))
    assert len(bus.hits) >= 3
    bus.dice(None)
    cloud.run()
    bus.deliver_late()
    assert_nothing_stranded(cloud)
    for one in ids:
        cloud.ask("DELETE", f"/servers/{one}")
    assert_nothing_stranded(cloud)
    assert cloud.guests() == {}
    cloud.close()
