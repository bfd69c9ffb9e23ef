"""Lists: filters, fields, sorting, paging; and that they cost a constant number of queries."""

import pytest
import sqlalchemy as sa

from gureum.neutron.store import tables as t


def names(items):
    return [item["name"] for item in items]


@pytest.fixture
def five(cloud):
    for index, name in enumerate(("c", "a", "e", "b", "d")):
        cloud.make("/networks", name=name, admin_state_up=index % 2 == 0)
    return cloud


def test_filters(five):
    assert sorted(names(five.get("/networks?name=a&name=b"))) == ["a", "b"]
    assert names(five.get("/networks?name=a&admin_state_up=true")) == []
    assert len(five.get("/networks?tenant_id=" + "a" * 32)) == 5
    assert five.get("/networks?project_id=none") == []
    assert five.call("GET", "/networks?nonsense=1").status == 400
    assert five.call("GET", "/networks?admin_state_up=perhaps").status == 400


def test_fields(five):
    assert five.get("/networks?fields=name&name=a") == [{"name": "a"}]
    network = five.get("/networks?name=a")[0]
    shown = five.get(f"/networks/{network['id']}?fields=id&fields=tenant_id")
    assert shown == {"id": network["id"], "tenant_id": network["tenant_id"]}


def test_sorting(five):
    assert names(five.get("/networks?sort_key=name&sort_dir=desc")) == ["e", "d", "c", "b", "a"]
    path = "/networks?sort_key=admin_state_up&sort_dir=asc&sort_key=name&sort_dir=asc"
    assert names(five.get(path)) == ["a", "b", "c", "d", "e"]
    assert five.call("GET", "/networks?sort_key=wrong").status == 400
    assert five.call("GET", "/networks?sort_key=name&sort_dir=up").status == 400


def follow(cloud, path, rel):
    pages = []
    while path:
        answer = cloud.call("GET", path, status=200)
        pages.append(names(answer["networks"]))
        links = {x["rel"]: x["href"] for x in answer.body.get("networks_links", ())}
        path = links.get(rel, "").removeprefix("http://net:9696")
    return pages


def test_pages_forward_and_backward(five):
    start = "/networks?sort_key=name&sort_dir=asc&limit=2"
    assert follow(five, start, "next") == [["a", "b"], ["c", "d"], ["e"]]
    backward = follow(five, start + "&page_reverse=True", "previous")
    assert backward == [["d", "e"], ["b", "c"], ["a"]]
    marker = five.get("/networks?name=c")[0]["id"]
    path = f"{start}&marker={marker}&page_reverse=True"
    assert names(five.get(path)) == ["a", "b"]


def test_bad_limits(five):
    assert five.call("GET", "/networks?limit=-1").status == 400
    assert five.call("GET", "/networks?limit=x").status == 400
    assert len(five.get("/networks?limit=0")) == 5
    assert five.call("GET", "/networks?marker=gone").status == 404


def test_json_suffix(five):
    assert len(five.get("/networks.json")) == 5


def test_a_thousand_ports_cost_as_many_queries_as_one(cloud, queries):
    cloud.call("PUT", f"/quotas/{'a' * 32}", {"quota": {"port": -1}}, by="admin", status=200)
    network, _ = cloud.network(cidr="10.0.0.0/16")
    cloud.make("/ports", network_id=network["id"])
    one = queries("/ports")
    for _ in range(10):
        body = {"ports": [{"network_id": network["id"]}] * 100}
        cloud.call("POST", "/ports", body, status=201)
    assert len(cloud.get("/ports")) == 1001
    assert queries("/ports") == one <= 8
    with cloud.db.read() as tx:
        distinct = sa.func.count(sa.distinct(t.ip_allocations.c.ip_key))
        assert tx.scalar(sa.select(distinct)) == 1001


@pytest.mark.parametrize(
    "path", ["/networks", "/subnets", "/security-groups", "/security-group-rules", "/routers"]
)
def test_lists_do_not_ask_for_each_item(cloud, queries, path):
    cloud.network()
    cloud.make("/routers")
    cloud.make("/security-groups", name="g")
    before = queries(path)
    for index in range(4):
        cloud.network(cidr=f"10.0.{index}.0/24")
        cloud.make("/routers")
        cloud.make("/security-groups", name=f"g{index}")
    assert queries(path) == before
