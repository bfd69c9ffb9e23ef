"""Placement through its client and its API: room, generations, candidates."""

import threading
import uuid
from typing import Any

import msgspec
import pytest
from databases import fresh

from gureum.core.context import Context
from gureum.core.db.migrate import migrate
from gureum.core.http.client import HttpClient
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import Request
from gureum.core.policy import Policy
from gureum.placement.client import CandidateQuery, InventoryRecord, PlacementClient, Refused
from gureum.placement.components import Deps
from gureum.placement.config import PlacementOptions
from gureum.placement.service import SERVICE

URL = "http://127.0.0.1:8778"


class Tokens:
    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        return Context(request_id=request_id, user_id="u", project_id="p", roles=(token,))


class FixedSession:
    """A session that is always logged in as a service."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def request(
        self, method: str, kind: str, path: str, json: Any = None, headers: Any = None
    ) -> Any:
        sent = {**headers, "x-auth-token": "service"}
        return self._http.request(method, URL + path, json=json, headers=sent)


@pytest.fixture
def dispatcher(tmp_path):
    database = fresh("placement", f"sqlite:///{tmp_path}/placement.sqlite")
    migrate(database, "gureum.placement.store.migrations")
    deps = Deps(database, PlacementOptions())
    database.deps = deps
    return Dispatcher(SERVICE, Policy(SERVICE.rules), Tokens(), {"": database}, deps)


@pytest.fixture
def client(dispatcher):
    http = HttpClient()
    http.bind(URL, dispatcher)
    return PlacementClient(FixedSession(http))  # type: ignore[arg-type]


@pytest.fixture
def call(dispatcher):
    def send(
        method: str, path: str, body: Any = None, role: str = "admin", version: str = "1.39"
    ) -> Any:
        path, _, query = path.partition("?")
        pairs = [tuple(part.partition("=")[::2]) for part in query.split("&") if part]
        headers = {"x-auth-token": role, "openstack-api-version": f"placement {version}"}
        data = msgspec.json.encode(body) if body is not None else b""
        answer = dispatcher.handle(Request(method, path, pairs, headers, data))  # type: ignore[arg-type]
        return answer.status, msgspec.json.decode(answer.body) if answer.body else None

    return send


def _host(client: PlacementClient, name: str, vcpus: int = 4, traits: Any = ()) -> str:
    id = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    client.ensure_provider(id, name)
    client.set_inventories(
        id,
        {
            "VCPU": InventoryRecord(vcpus, max_unit=vcpus),
            "MEMORY_MB": InventoryRecord(4096, reserved=512),
        },
    )
    client.set_traits(id, list(traits))
    return id


def test_candidates_are_the_hosts_with_room_and_traits(client):
    one, two = _host(client, "one", traits=["CUSTOM_GOLD"]), _host(client, "two")
    found = client.candidates(CandidateQuery({"VCPU": 2, "MEMORY_MB": 1024}))
    assert {uuid for item in found.allocation_requests for uuid in item.allocations} == {one, two}
    room = found.provider_summaries[one].resources
    assert {name: one.capacity for name, one in room.items()} == {"VCPU": 4, "MEMORY_MB": 3584}
    gold = client.candidates(CandidateQuery({"VCPU": 2}, required=["CUSTOM_GOLD"]))
    assert [list(item.allocations) for item in gold.allocation_requests] == [[one]]
    plain = client.candidates(CandidateQuery({"VCPU": 2}, forbidden=["CUSTOM_GOLD"]))
    assert [list(item.allocations) for item in plain.allocation_requests] == [[two]]
    client.allocate(str(uuid.uuid4()), {one: {"VCPU": 4}}, project_id="p", user_id="u")
    left = client.candidates(CandidateQuery({"VCPU": 1}))
    assert [list(item.allocations) for item in left.allocation_requests] == [[two]]


def test_question_asked_again_is_answered_by_what_is_true_now(client):
    one, two = _host(client, "one"), _host(client, "two")
    asked = CandidateQuery({"VCPU": 2})

    def offered() -> dict[str, int]:
        found = client.candidates(asked)
        assert [list(item.allocations) for item in found.allocation_requests] == [
            [uuid] for uuid in found.provider_summaries
        ]
        return {u: one.resources["VCPU"].used for u, one in found.provider_summaries.items()}

    assert offered() == offered() == {one: 0, two: 0}
    consumer = str(uuid.uuid4())
    client.allocate(consumer, {one: {"VCPU": 2}}, project_id="p", user_id="u")
    assert offered() == {one: 2, two: 0}
    client.allocate(str(uuid.uuid4()), {one: {"VCPU": 1}}, project_id="p", user_id="u")
    assert offered() == {two: 0}
    client.release(consumer)
    assert offered() == {one: 1, two: 0}
    asked = CandidateQuery({"VCPU": 2}, required=["CUSTOM_GOLD"])
    client.set_traits(two, ["CUSTOM_GOLD"])
    assert offered() == {two: 0}
    client.set_traits(two, [])
    assert offered() == {}


def test_parallel_allocations_never_exceed_the_capacity(client):
    host = _host(client, "one", vcpus=5)
    won: list[int] = []

    def take(number: int) -> None:
        for _ in range(40):
            try:
                client.allocate(
                    str(uuid.UUID(int=number)), {host: {"VCPU": 1}}, project_id="p", user_id="u"
                )
            except Refused as error:
                if "capacity" in str(error):
                    return
            else:
                won.append(number)
                return

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 5
    assert len(client.consumers_of(host)) == 5


def test_release_and_second_allocate_are_idempotent(client):
    host, consumer = _host(client, "one"), str(uuid.uuid4())
    for _ in range(2):
        client.allocate(consumer, {host: {"VCPU": 1}}, project_id="p", user_id="u")
    assert client.held(consumer).amounts == {host: {"VCPU": 1}}
    with pytest.raises(Refused):
        client.delete_provider(host)
    for _ in range(2):
        client.release(consumer)
    client.delete_provider(host)
    client.delete_provider(host)
    assert client.providers() == []


def test_granular_groups_of_a_tree_are_isolated(call, client):
    root = _host(client, "root")
    for name in ("nic1", "nic2"):
        id = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        client.ensure_provider(id, name, root)
        client.set_inventories(id, {"NET_BW_EGR_KILOBIT_PER_SEC": InventoryRecord(1000)})
    query = (
        "resources=VCPU:1&resources_a=NET_BW_EGR_KILOBIT_PER_SEC:600"
        "&resources_b=NET_BW_EGR_KILOBIT_PER_SEC:600&group_policy="
    )
    status, body = call("GET", f"/allocation_candidates?{query}isolate")
    assert status == 200
    assert len(body["allocation_requests"]) == 2
    for item in body["allocation_requests"]:
        assert item["mappings"]["_a"] != item["mappings"]["_b"]
        assert item["mappings"][""] == [root]
    status, body = call("GET", f"/allocation_candidates?{query}none&same_subtree=_a,_b")
    assert (status, body["allocation_requests"]) == (200, [])
    status, body = call("GET", f"/allocation_candidates?{query}none&limit=1")
    assert len(body["allocation_requests"]) == 1


def test_wide_tree_is_capped_breadth_first(call, client):
    roots = [_host(client, f"host{n}") for n in range(3)]
    for root in roots:
        for n in range(8):
            id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{root}{n}"))
            client.ensure_provider(id, f"{root}-{n}", root)
            client.set_inventories(id, {"PCPU": InventoryRecord(6)})
    groups = "&".join(f"resources{n}=PCPU:1" for n in range(1, 7))
    status, body = call(
        "GET", f"/allocation_candidates?resources=VCPU:1&{groups}&group_policy=none"
    )
    assert status == 200
    assert len(body["allocation_requests"]) == 1000
    seen = {u for item in body["allocation_requests"] for u in item["allocations"]}
    assert set(roots) <= seen


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("resources=VCPU", 400),
        ("resources=VCPU:0", 400),
        ("resources=NOPE:1", 400),
        ("resources=VCPU:1&required=NOPE", 400),
        ("resources=VCPU:1&limit=0", 400),
        ("resources1=VCPU:1&resources2=VCPU:1", 400),
        ("resources=VCPU:1&member_of=x", 400),
    ],
)
def test_bad_candidate_query_is_400(call, query, status):
    assert call("GET", f"/allocation_candidates?{query}")[0] == status


def test_stale_generation_is_409_with_its_code(call, client):
    host = _host(client, "one")
    body = {"resource_provider_generation": 0, "inventories": {}}
    status, answer = call("PUT", f"/resource_providers/{host}/inventories", body)
    assert status == 409
    assert answer["errors"][0]["code"] == "placement.concurrent_update"
    consumer = str(uuid.uuid4())
    body = {
        "allocations": {host: {"resources": {"VCPU": 1}}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": 7,
        "consumer_type": "INSTANCE",
    }
    assert call("PUT", f"/allocations/{consumer}", body)[0] == 409
    body["consumer_generation"] = None
    assert call("PUT", f"/allocations/{consumer}", body)[0] == 204
    status, answer = call("GET", "/usages?project_id=p")
    assert answer["usages"] == {"INSTANCE": {"VCPU": 1, "consumer_count": 1}}
    assert (
        call(
            "POST",
            "/allocations",
            {consumer: {**body, "allocations": {}, "consumer_generation": 1}},
        )[0]
        == 204
    )


def test_microversions_show_and_hide(call, client):
    _host(client, "one")
    assert "root_provider_uuid" in call("GET", "/resource_providers")[1]["resource_providers"][0]
    old = call("GET", "/resource_providers", version="1.13")[1]["resource_providers"][0]
    assert "root_provider_uuid" not in old
    assert call("GET", "/traits", version="1.5")[0] == 404
    assert call("GET", "/resource_providers", version="1.40")[0] == 406


@pytest.mark.parametrize(
    "op",
    [op for op in SERVICE.operations if op.path != "/" and op.until is None],
    ids=lambda op: f"{op.method} {op.path}",
)
def test_reader_of_a_project_is_refused(call, op):
    path = op.path
    for name in op.params:
        path = path.replace(f"{{{name}}}", "CUSTOM_X" if name == "name" else str(uuid.uuid4()))
    if op.name == "show_project_usages":
        assert call(op.method, path + "?project_id=other", role="reader")[0] == 403
        return
    assert call(op.method, path, _BODIES.get(op.name, {}), role="reader")[0] in (403, 404)


_BODIES: dict[str, Any] = {
    "create_provider": {"name": "x"},
    "update_provider": {"name": "x"},
    "create_class": {"name": "CUSTOM_X"},
    "replace_inventories": {"resource_provider_generation": 0, "inventories": {}},
    "create_inventory": {"resource_class": "VCPU", "total": 1},
    "update_inventory": {"resource_provider_generation": 0, "total": 1},
    "replace_provider_traits": {"resource_provider_generation": 0, "traits": []},
    "replace_aggregates": {"resource_provider_generation": 0, "aggregates": []},
    "put_allocations": {
        "allocations": {},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    },
    "reshape": {"inventories": {}, "allocations": {}},
}
