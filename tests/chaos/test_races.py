"""Races between users: quotas hold exactly, and a delete that meets another verb leaves nothing.

With GUREUM_TEST_DATABASE_URL the same races run on a database server; test_servers_of_databases.py does that.
"""

import threading
import time
from collections import Counter

import pytest
import sqlalchemy as sa
from stranded import assert_nothing_stranded
from whole_cloud import WAIT_S, WholeCloud

from gureum.neutron.config import QuotaOptions as NeutronQuotas
from gureum.neutron.store import tables as net
from gureum.nova.config import QuotaOptions
from gureum.nova.store import tables as nova

ASKED, LIMIT = 200, 100
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYvTsPRrOJDlE2lnOKYqyDLLgsmDLqVqeK6Fd1AfdTH user@example"
FEW = NeutronQuotas(
    quota_network=LIMIT, quota_port=LIMIT, quota_floatingip=LIMIT, quota_security_group=LIMIT,
    quota_security_group_rule=-1, quota_router=LIMIT, quota_subnet=LIMIT,
)


def at_once(count, ask, *, threads=50):
    """Call ask(number) `count` times from many threads; a busy service is asked again. Returns statuses."""
    numbers, statuses, start = iter(range(count)), [], threading.Barrier(threads)
    lock = threading.Lock()

    def work():
        start.wait(WAIT_S)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            status = 503
            deadline = time.monotonic() + WAIT_S
            while status == 503 and time.monotonic() < deadline:
                status = ask(number).status
            statuses.append(status)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(WAIT_S * 2)
    return Counter(statuses)


def count(database, table, *where):
    with database.read() as tx:
        return tx.scalar(sa.select(sa.func.count()).select_from(table).where(*where))


@pytest.fixture
def cloud(tmp_path):
    made = WholeCloud(tmp_path, neutron_quotas=FEW, quotas=QuotaOptions(
        instances=LIMIT, cores=-1, ram=-1, key_pairs=LIMIT, server_groups=LIMIT))
    yield made
    made.close()


def test_200_servers_against_a_quota_of_100_are_100(cloud):
    cloud.furnish()
    statuses = at_once(ASKED, lambda number: cloud.create(None, name=f"s{number}"))
    assert statuses == {202: LIMIT, 403: ASKED - LIMIT}
    assert count(cloud.api, nova.server_mappings) == LIMIT
    assert count(cloud.cells["cell1"], nova.servers) == LIMIT


def test_servers_asked_for_many_at_a_time_fill_the_quota_exactly(cloud):
    cloud.furnish()

    def ask(number):
        return cloud.create(None, name=f"s{number}", min_count=1, max_count=7)

    assert set(at_once(40, ask, threads=20)) == {202, 403}
    assert count(cloud.api, nova.server_mappings) == LIMIT


def test_cores_and_memory_are_counted_too(tmp_path):
    cloud = WholeCloud(tmp_path, quotas=QuotaOptions(instances=-1, cores=10, ram=512 * 20))
    cloud.furnish()
    assert at_once(30, lambda number: cloud.create(None), threads=15) == {202: 10, 403: 20}
    cloud.close()


def test_200_key_pairs_against_a_quota_of_100_are_100(cloud):
    def ask(number):
        return cloud.ask("POST", "/os-keypairs", {"keypair": {
            "name": f"k{number}", "type": "ssh", "public_key": KEY}})

    assert at_once(ASKED, ask) == {201: LIMIT, 403: ASKED - LIMIT}
    assert count(cloud.api, nova.keypairs) == LIMIT


def test_200_server_groups_against_a_quota_of_100_are_100(cloud):
    def ask(number):
        return cloud.ask("POST", "/os-server-groups", {"server_group": {
            "name": f"g{number}", "policy": "affinity"}})

    assert at_once(ASKED, ask) == {200: LIMIT, 403: ASKED - LIMIT}
    assert count(cloud.api, nova.server_groups) == LIMIT


def test_200_ports_against_a_quota_of_100_are_100(cloud):
    network = cloud.furnish()
    statuses = at_once(ASKED, lambda number: cloud.net(
        "POST", "/ports", {"port": {"network_id": network, "name": f"p{number}"}}))
    assert statuses == {201: LIMIT, 409: ASKED - LIMIT}
    database = cloud.session.databases["network"]
    assert count(database, net.ports, net.ports.c.project_id == "p" * 32) == LIMIT
    with database.read() as tx:
        taken = [row.ip_address for row in tx.all(sa.select(net.ip_allocations.c.ip_address))]
    assert len(taken) == len(set(taken))


@pytest.mark.slow
@pytest.mark.parametrize(("noun", "table", "extra"), [
    ("network", net.networks, {}), ("security_group", net.security_groups, {}),
    ("router", net.routers, {}),
])
def test_200_of_a_network_noun_against_a_quota_of_100_are_100(cloud, noun, table, extra):
    path = f"/{noun.replace('_', '-')}s"
    statuses = at_once(ASKED, lambda number: cloud.net("POST", path, {noun: {"name": f"n{number}"}}))
    # every project has a group of its own from the start, which counts
    own = count(cloud.session.databases["network"], table, table.c.project_id == "p" * 32)
    assert own == LIMIT
    assert statuses[201] in (LIMIT, LIMIT - 1) and set(statuses) == {201, 409}


def test_200_floating_ips_against_a_quota_of_100_are_100(cloud):
    outside = cloud.net("POST", "/networks", {"network": {
        "name": "public", "router:external": True}}, token="service")
    network = outside["network"]["id"]
    assert cloud.net("POST", "/subnets", {"subnet": {
        "network_id": network, "cidr": "203.0.112.0/22", "ip_version": 4}}, token="service").status == 201
    statuses = at_once(ASKED, lambda number: cloud.net(
        "POST", "/floatingips", {"floatingip": {"floating_network_id": network}}))
    assert statuses == {201: LIMIT, 409: ASKED - LIMIT}
    database = cloud.session.databases["network"]
    assert count(database, net.floatingips) == LIMIT
    assert count(database, net.ports, net.ports.c.device_owner == "network:floatingip") == LIMIT


# -- a delete meets another verb -------------------------------------------------------------------


@pytest.fixture
def moving(tmp_path):
    made = WholeCloud(tmp_path)
    made.start()
    yield made
    made.close()


def gone(cloud, ids):
    """Delete what is still there, as often as a user would, and wait for the end of everything."""
    for server_id in ids:
        for _ in range(3):
            answer = cloud.ask("DELETE", f"/servers/{server_id}")
            if answer.status != 409:
                break
        assert answer.status in (204, 404), answer
    cloud.wait_idle()


def ended(cloud, ids):
    cloud.stop()
    assert_nothing_stranded(cloud)
    for server_id in ids:
        assert cloud.status(server_id) is None
        assert cloud.effects(server_id) == []
        assert cloud.mapping(server_id).deleted_at is not None


def test_delete_that_meets_the_create_leaves_nothing(moving):
    network, ids = moving.furnish(), []

    def both(number):
        answer = moving.create(network, name=f"s{number}")
        ids.append(answer["server"]["id"])
        threading.Event().wait(number % 7 * 0.01)
        return moving.ask("DELETE", f"/servers/{ids[-1]}") if number % 2 else answer

    assert set(at_once(20, both, threads=10)) <= {202, 204}
    gone(moving, ids)
    ended(moving, ids)


VERBS = {
    "stop": lambda cloud, one, network: cloud.act(one, "os-stop"),
    "reboot": lambda cloud, one, network: cloud.act(one, "reboot", {"type": "HARD"}),
    "attach": lambda cloud, one, network: cloud.ask(
        "POST", f"/servers/{one}/os-interface", {"interfaceAttachment": {"net_id": network}}),
    "detach": lambda cloud, one, network: cloud.ask(
        "DELETE", f"/servers/{one}/os-interface/"
        + (cloud.ask("GET", f"/servers/{one}/os-interface").body or {}).get(
            "interfaceAttachments", [{"port_id": "none"}])[0]["port_id"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_delete_that_meets_a_verb_leaves_nothing(moving, verb):
    network = moving.furnish()
    ids = [moving.create(network, name=f"s{n}")["server"]["id"] for n in range(8)]
    moving.wait_idle()
    assert {moving.status(one) for one in ids} == {"ACTIVE"}
    statuses = []

    def delete(one, delay_s):
        threading.Event().wait(delay_s)
        statuses.append(moving.ask("DELETE", f"/servers/{one}").status)

    def act(one):
        statuses.append(VERBS[verb](moving, one, network).status)

    threads = [threading.Thread(target=act, args=(one,)) for one in ids]
    threads += [threading.Thread(target=delete, args=(one, number * 0.01))
                for number, one in enumerate(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert set(statuses) <= {200, 202, 204, 404, 409, 500}, statuses
    gone(moving, ids)
    ended(moving, ids)
