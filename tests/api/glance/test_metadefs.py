"""Metadata definitions: namespaces with objects, properties, tags and resource types."""

ADMIN = "ops:admin"
BASE = "/v2/metadefs/namespaces"
SIZE = {"title": "Size", "type": "integer", "minimum": 1}


def make(cloud, name="OS::Test", **values):
    body = {"namespace": name, "visibility": "public", **values}
    answer = cloud.call("POST", BASE, body, token=ADMIN)
    assert answer.status == 201, answer.body
    return answer.json()


def test_namespace_holds_what_it_was_made_with(cloud):
    made = make(
        cloud,
        description="d",
        properties={"size": SIZE},
        objects=[{"name": "o", "required": ["a"], "properties": {"a": SIZE}}],
        tags=[{"name": "t"}],
        resource_type_associations=[{"name": "OS::Nova::Server", "prefix": "hw:"}],
    )
    shown = cloud.call("GET", f"{BASE}/OS::Test").json()
    assert shown == made
    assert shown["owner"] == "ops" and shown["protected"] is False
    assert shown["properties"] == {"size": SIZE}
    assert shown["objects"][0]["properties"] == {"a": SIZE}
    assert [tag["name"] for tag in shown["tags"]] == ["t"]
    assert shown["self"] == f"{BASE}/OS::Test"
    prefixed = cloud.call("GET", f"{BASE}/OS::Test?resource_type=OS::Nova::Server").json()
    assert prefixed["properties"] == {"hw:size": SIZE}


def test_namespace_that_cannot_be_is_refused(cloud):
    make(cloud)
    for body, status in (
        ({"namespace": "OS::Test"}, 409),
        ({}, 400),
        ({"namespace": "n" * 81}, 400),
        ({"namespace": "n", "visibility": "shared"}, 400),
        ({"namespace": "n", "odd": 1}, 400),
        ({"namespace": "n", "properties": {"a": {"title": "A"}}}, 400),
        ({"namespace": "n", "properties": {"a": {"title": "A", "type": "odd"}}}, 400),
        ({"namespace": "n", "tags": [{"name": "t"}, {"name": "t"}]}, 409),
    ):
        assert cloud.call("POST", BASE, body, token=ADMIN).status == status, body
    assert cloud.call("GET", f"{BASE}/n", token=ADMIN).status == 404


def test_only_administrators_change_definitions(cloud):
    make(cloud, tags=[{"name": "t"}], objects=[{"name": "o"}], properties={"p": SIZE})
    named = {"name": "x", "title": "X", "type": "string"}
    for method, path, body in (
        ("POST", BASE, {"namespace": "n"}),
        ("PUT", f"{BASE}/OS::Test", {"namespace": "n"}),
        ("DELETE", f"{BASE}/OS::Test", None),
        ("POST", f"{BASE}/OS::Test/objects", {"name": "x"}),
        ("PUT", f"{BASE}/OS::Test/objects/o", {"name": "x"}),
        ("DELETE", f"{BASE}/OS::Test/objects/o", None),
        ("POST", f"{BASE}/OS::Test/properties", named),
        ("PUT", f"{BASE}/OS::Test/properties/p", named),
        ("DELETE", f"{BASE}/OS::Test/properties/p", None),
        ("POST", f"{BASE}/OS::Test/tags/x", None),
        ("POST", f"{BASE}/OS::Test/tags", {"tags": []}),
        ("PUT", f"{BASE}/OS::Test/tags/t", {"name": "x"}),
        ("DELETE", f"{BASE}/OS::Test/tags/t", None),
        ("DELETE", f"{BASE}/OS::Test/tags", None),
        ("DELETE", f"{BASE}/OS::Test/objects", None),
        ("DELETE", f"{BASE}/OS::Test/properties", None),
        ("POST", f"{BASE}/OS::Test/resource_types", {"name": "x"}),
        ("DELETE", f"{BASE}/OS::Test/resource_types/x", None),
    ):
        assert cloud.call(method, path, body).status == 403, (method, path)


def test_private_namespace_is_404_for_others(cloud):
    make(cloud, visibility="private", owner="mine")
    assert cloud.call("GET", f"{BASE}/OS::Test", token="mine:reader").status == 200
    for rest in ("", "/objects", "/properties", "/tags", "/resource_types"):
        assert cloud.call("GET", f"{BASE}/OS::Test{rest}", token="other:reader").status == 404
    assert cloud.call("GET", BASE, token="other:reader").json()["namespaces"] == []
    assert len(cloud.call("GET", BASE, token="mine:reader").json()["namespaces"]) == 1


def test_protected_namespace_keeps_what_it_holds(cloud):
    make(cloud, protected=True, tags=[{"name": "t"}], objects=[{"name": "o"}])
    for path in ("", "/tags", "/tags/t", "/objects", "/objects/o", "/properties", "/resource_types/x"):
        assert cloud.call("DELETE", f"{BASE}/OS::Test{path}", token=ADMIN).status == 403, path
    body = {"namespace": "OS::Other"}
    changed = cloud.call("PUT", f"{BASE}/OS::Test", body, token=ADMIN).json()
    assert (changed["protected"], changed["visibility"]) == (False, "private")
    shown = cloud.call("GET", f"{BASE}/OS::Other", token=ADMIN).json()
    assert shown["objects"][0]["name"] == "o" and len(shown["tags"]) == 1
    assert cloud.call("DELETE", f"{BASE}/OS::Other", token=ADMIN).status == 204
    assert cloud.call("GET", f"{BASE}/OS::Other", token=ADMIN).status == 404
    make(cloud, "OS::Other")
    assert cloud.call("GET", f"{BASE}/OS::Other/tags").json()["tags"] == []


def test_namespaces_are_listed_in_pages(cloud):
    for name in ("a", "b", "c"):
        make(cloud, name)
    cloud.call("POST", f"{BASE}/b/resource_types", {"name": "OS::X"}, token=ADMIN)

    def walk(query):
        found, path = [], f"{BASE}?{query}"
        while path:
            body = cloud.call("GET", path).json()
            found += [item["namespace"] for item in body["namespaces"]]
            path = body.get("next")
        return found

    assert walk("limit=2") == ["c", "b", "a"]
    assert walk("limit=1&sort_key=namespace&sort_dir=asc") == ["a", "b", "c"]
    assert walk("resource_types=OS::X,OS::Y") == ["b"]
    assert walk("visibility=private") == []
    for query in ("sort_key=odd", "sort_dir=odd", "visibility=odd", "limit=x"):
        assert cloud.call("GET", f"{BASE}?{query}").status == 400, query
    assert cloud.call("GET", f"{BASE}?marker=odd").status == 404


def test_items_come_change_and_go(cloud):
    make(cloud)
    named = {**SIZE, "name": "size"}
    for noun, kind, body, new in (
        ("objects", "object", {"name": "o", "description": "d"}, {"name": "o2"}),
        ("properties", "property", named, {**named, "name": "s2", "title": "S"}),
    ):
        path = f"{BASE}/OS::Test/{noun}"
        made = cloud.call("POST", path, body, token=ADMIN)
        assert made.status == 201 and made.json()["name"] == body["name"], kind
        assert cloud.call("POST", path, body, token=ADMIN).status == 409
        assert cloud.call("GET", f"{path}/{body['name']}").json() == made.json()
        changed = cloud.call("PUT", f"{path}/{body['name']}", new, token=ADMIN)
        assert (changed.status, changed.json()["name"]) == (200, new["name"])
        assert cloud.call("GET", f"{path}/{body['name']}").status == 404
        assert len(cloud.call("GET", path).json()[noun]) == 1
        assert cloud.call("DELETE", f"{path}/{new['name']}", token=ADMIN).status == 204
        assert cloud.call("DELETE", f"{path}/{new['name']}", token=ADMIN).status == 404
        assert cloud.call("POST", path, body, token=ADMIN).status == 201
        assert cloud.call("DELETE", path, token=ADMIN).status == 204
        empty = cloud.call("GET", path).json()[noun]
        assert not empty and isinstance(empty, list if noun == "objects" else dict)


def test_tags_take_the_place_of_those_before(cloud):
    make(cloud)
    path = f"{BASE}/OS::Test/tags"

    def names():
        return [tag["name"] for tag in cloud.call("GET", path).json()["tags"]]

    two = {"tags": [{"name": "a"}, {"name": "b"}]}
    assert cloud.call("POST", path, two, token=ADMIN).status == 201
    assert cloud.call("POST", f"{path}/c", token=ADMIN).json()["name"] == "c"
    assert cloud.call("POST", f"{path}/c", token=ADMIN).status == 409
    assert cloud.call("POST", f"{path}/{'n' * 81}", token=ADMIN).status == 400
    assert cloud.call("PUT", f"{path}/c", {"name": "a"}, token=ADMIN).status == 409
    assert cloud.call("PUT", f"{path}/c", {"name": "d"}, token=ADMIN).status == 200
    shown = cloud.call("GET", f"{path}/d", token=ADMIN).json()  # clients send it back as it was
    assert cloud.call("PUT", f"{path}/d", {**shown, "name": "f"}, token=ADMIN).status == 200
    assert names() == ["a", "b", "f"]
    more = {"tags": [{"name": "e"}]}
    append = {"x-openstack-append": "true"}
    assert cloud.call("POST", path, more, token=ADMIN, headers=append).status == 201
    assert names() == ["a", "b", "e", "f"]
    assert cloud.call("POST", path, more, token=ADMIN).status == 201
    assert names() == ["e"]
    assert cloud.call("DELETE", f"{path}/e", token=ADMIN).status == 204
    assert cloud.call("DELETE", path, token=ADMIN).status == 204


def test_resource_types_are_associated_once(cloud):
    make(cloud)
    path = f"{BASE}/OS::Test/resource_types"
    known = [
        t["name"] for t in cloud.call("GET", "/v2/metadefs/resource_types").json()["resource_types"]
    ]
    assert "OS::Nova::Server" in known
    body = {"name": "OS::New", "prefix": "p:"}
    assert cloud.call("POST", path, body, token=ADMIN).json()["prefix"] == "p:"
    assert cloud.call("POST", path, body, token=ADMIN).status == 409
    listed = cloud.call("GET", path).json()["resource_type_associations"]
    assert [item["name"] for item in listed] == ["OS::New"]
    assert cloud.call("DELETE", f"{path}/OS::New", token=ADMIN).status == 204
    assert cloud.call("DELETE", f"{path}/OS::New", token=ADMIN).status == 404


def test_every_definition_has_a_schema(cloud):
    for one, many in (
        ("namespace", "namespaces"),
        ("object", "objects"),
        ("property", "properties"),
        ("tag", "tags"),
    ):
        for name in (one, many):
            assert cloud.call("GET", f"/v2/schemas/metadefs/{name}").json()["name"] == name
    single = cloud.call("GET", "/v2/schemas/metadefs/resource_type").json()
    assert single["name"] == "resource_type_association"
