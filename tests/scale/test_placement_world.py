"""What placement keeps in memory is what its database says, after every kind of change."""

import random
import uuid

import benchpath  # noqa: F401 (first: it makes incloud importable)
import pytest
from incloud import InCloud

from gureum.placement.logic.world import KnownWorld

CURRENT = {"openstack-api-version": "placement 1.39"}
NAMES = [str(uuid.UUID(int=number)) for number in range(1, 7)]
CONSUMERS = [str(uuid.UUID(int=number)) for number in range(101, 105)]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    with InCloud(root, names=("keystone", "placement-api")) as made:
        yield made


class Changes:
    """Random changes through the API; refusals are fine, what matters is what is there afterwards."""

    def __init__(self, cloud: InCloud, draw: random.Random) -> None:
        self._cloud = cloud
        self._draw = draw

    def _ask(self, method, path, body=None):
        return self._cloud.ask(method, "placement", path, body, headers=CURRENT)

    def _generation(self, uuid):
        reply = self._ask("GET", f"/resource_providers/{uuid}")
        return reply.json()["generation"] if reply.status == 200 else 0

    def make(self, uuid):
        parent = self._draw.choice([None, *NAMES])
        body = {"uuid": uuid, "name": f"p-{uuid}", "parent_provider_uuid": parent}
        return self._ask("POST", "/resource_providers", body)

    def move(self, uuid):
        parent = self._draw.choice([None, *NAMES])
        body = {"name": f"p-{uuid}", "parent_provider_uuid": parent}
        return self._ask("PUT", f"/resource_providers/{uuid}", body)

    def stock(self, uuid):
        wanted = self._draw.sample(["VCPU", "MEMORY_MB", "DISK_GB"], 2)
        body = {
            "resource_provider_generation": self._generation(uuid),
            "inventories": {name: {"total": self._draw.randint(4, 9)} for name in wanted},
        }
        return self._ask("PUT", f"/resource_providers/{uuid}/inventories", body)

    def traits(self, uuid):
        known = ["HW_CPU_X86_AVX", "HW_CPU_X86_SSE2", "MISC_SHARES_VIA_AGGREGATE"]
        body = {
            "resource_provider_generation": self._generation(uuid),
            "traits": self._draw.sample(known, 1),
        }
        return self._ask("PUT", f"/resource_providers/{uuid}/traits", body)

    def aggregates(self, uuid):
        body = {
            "resource_provider_generation": self._generation(uuid),
            "aggregates": self._draw.sample(CONSUMERS, 2),
        }
        return self._ask("PUT", f"/resource_providers/{uuid}/aggregates", body)

    def allocate(self, uuid):
        consumer = self._draw.choice(CONSUMERS)
        held = self._ask("GET", f"/allocations/{consumer}").json()
        body = {
            "allocations": {uuid: {"resources": {"VCPU": self._draw.randint(1, 3)}}},
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": held.get("consumer_generation"),
            "consumer_type": "INSTANCE",
        }
        return self._ask("PUT", f"/allocations/{consumer}", body)

    def release(self, uuid):
        return self._ask("DELETE", f"/allocations/{self._draw.choice(CONSUMERS)}")

    def delete(self, uuid):
        return self._ask("DELETE", f"/resource_providers/{uuid}")


VERBS = ("make", "move", "stock", "traits", "aggregates", "allocate", "release", "delete")


def test_known_world_follows_every_change(cloud):
    draw = random.Random(20261123)
    changes = Changes(cloud, draw)
    database = cloud.runtime.database("placement")
    known = KnownWorld()
    done: set[str] = set()
    for number in range(250):
        verb = VERBS[number % 3 * 2] if number < 24 else draw.choice(VERBS)
        reply = getattr(changes, verb)(draw.choice(NAMES))
        assert reply.status < 500, reply.body
        if reply.status < 300:
            done.add(verb)
        with database.read() as tx:
            mine, fresh = known.now(tx), KnownWorld().now(tx)
        assert mine == fresh, verb
    assert done == set(VERBS)


def test_unchanged_world_costs_one_query(cloud):
    database = cloud.runtime.database("placement")
    known = KnownWorld()
    with database.read() as tx:
        known.now(tx)
    with database.read() as tx:
        known.now(tx)
        assert tx.queries == 1
