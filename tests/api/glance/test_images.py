"""Images: who sees them, what they may be, how they change."""

import dataclasses
import uuid
from urllib.parse import quote

from glance_cloud import build

from gureum.core.http.messages import Request
from gureum.glance.front import Front
from gureum.glance.model import Image
from gureum.glance.store import belongings, tables

V20 = "application/openstack-images-v2.0-json-patch"


def replace(name, value):
    return {"op": "replace", "path": f"/{name}", "value": value}


# -- create -----------------------------------------------------------------------------------------


def test_created_image_has_all_base_attributes_and_its_links(cloud):
    id = str(uuid.uuid4())
    image = cloud.create(id=id, name="ü", tags=["b", "a", "b"], min_disk=3, os_distro="debian")
    assert image["id"] == id and image["owner"] == "mine" and image["visibility"] == "shared"
    assert image["tags"] == ["a", "b"] and image["os_distro"] == "debian"
    assert image["file"] == f"/v2/images/{id}/file" and image["self"] == f"/v2/images/{id}"
    assert image["schema"] == "/v2/schemas/image"
    for name in ("checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size"):
        assert image[name] is None
    answer = cloud.call("POST", "/v2/images", {})
    assert answer.headers["location"] == f"http://glance/v2/images/{answer.json()['id']}"
    assert answer.headers["openstack-image-import-methods"].startswith("glance-direct")
    assert answer.headers["openstack-image-store-ids"] == "file"


def test_create_with_bad_values_is_400(cloud):
    for body in (
        {"disk_format": "floppy"},
        {"container_format": "floppy"},
        {"disk_format": "qcow2", "container_format": "ami"},
        {"disk_format": "raw", "container_format": "aki"},
        {"visibility": "secret"},
        {"name": "n" * 256},
        {"name": 5},
        {"min_disk": -1},
        {"min_ram": "4"},
        {"protected": "yes"},
        {"id": "not-a-uuid"},
        {"colour": 5},
        {"tags": ["t" * 256]},
        {"tags": "t"},
        [],
        "x",
    ):
        assert cloud.call("POST", "/v2/images", body).status == 400, body
    assert cloud.names("?limit=5") == []


def test_create_with_reserved_attributes_is_403(cloud):
    for name in ("status", "size", "checksum", "created_at", "file", "self", "direct_url"):
        assert cloud.call("POST", "/v2/images", {name: "x"}).status == 403, name
    for name in ("locations", "os_glance_anything", "deleted"):
        assert cloud.call("POST", "/v2/images", {name: "x"}).status == 403, name


def test_amazon_formats_go_together(cloud):
    for name in ("ami", "aki", "ari"):
        image = cloud.create(disk_format=name, container_format=name, kernel_id=str(uuid.uuid4()))
        assert image["disk_format"] == image["container_format"] == name


def test_create_with_a_taken_id_is_409(cloud):
    image = cloud.create()
    body = {"id": image["id"]}
    assert cloud.call("POST", "/v2/images", body).status == 409
    assert cloud.call("POST", "/v2/images", body, token="other:member").status == 409


def test_only_an_administrator_publishes_or_creates_for_others(cloud):
    assert cloud.call("POST", "/v2/images", {"visibility": "public"}).status == 403
    assert cloud.call("POST", "/v2/images", {"owner": "other"}).status == 403
    assert cloud.create("ops:admin", visibility="public", owner="other")["owner"] == "other"
    assert cloud.call("POST", "/v2/images", {}, token="mine:reader").status == 403
    assert cloud.call("POST", "/v2/images", {}, token=None).status == 401


def test_property_and_tag_quotas_are_413(tmp_path):
    cloud = build(tmp_path, image_property_quota=2, image_tag_quota=1, image_count_quota=3)
    assert cloud.call("POST", "/v2/images", {"a": "", "b": "", "c": ""}).status == 413
    assert cloud.call("POST", "/v2/images", {"tags": ["a", "b"]}).status == 413
    image = cloud.create(a="", b="", tags=["t"])
    path = f"/v2/images/{image['id']}"
    assert cloud.call("PUT", f"{path}/tags/u").status == 413
    assert cloud.patch(image["id"], {"op": "add", "path": "/c", "value": ""}).status == 413
    cloud.create()
    cloud.create()
    assert cloud.call("POST", "/v2/images", {}).status == 413


# -- visibility -------------------------------------------------------------------------------------


def test_invisible_image_is_404_for_every_verb(cloud):
    image = cloud.active(visibility="private")
    path, member = f"/v2/images/{image['id']}", "/members/other"
    for method, rest, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/file", None),
        ("POST", "/actions/deactivate", None),
        ("PUT", "/tags/a", None),
        ("DELETE", "/tags/a", None),
        ("GET", "/members", None),
        ("POST", "/members", {"member": "other"}),
        ("PUT", member, {"status": "accepted"}),
        ("DELETE", member, None),
        ("POST", "/import", {"method": {"name": "glance-direct"}}),
    ):
        answer = cloud.call(method, path + rest, body, token="other:member")
        assert answer.status == 404, (method, rest)
    assert cloud.patch(image["id"], replace("name", "x"), token="other:member").status == 404
    assert cloud.call("GET", path, token="ops:admin").status == 200
    assert cloud.call("GET", path, token="services:service").status == 200


def test_public_and_community_images_are_shown_to_all_and_changed_by_the_owner(cloud):
    for image in (
        cloud.active(token="ops:admin", visibility="public"),
        cloud.active(token="third:member", visibility="community"),
    ):
        assert cloud.show(image["id"])["status"] == "active"
        assert cloud.call("GET", image["file"]).body == b"bytes"
        assert cloud.call("GET", image["file"], token="mine:reader").status == 403
        assert cloud.patch(image["id"], replace("name", "x")).status == 403
        assert cloud.call("DELETE", image["self"]).status == 403


def test_malformed_and_empty_ids_are_404(cloud):
    cloud.create()
    assert cloud.call("GET", "/v2/images/1").status == 404
    assert cloud.call("GET", "/v2/images/").status == 404
    assert cloud.call("DELETE", "/v2/images/").status == 404


def test_default_list_has_own_public_and_accepted_images(cloud):
    cloud.create(name="own")
    cloud.create("ops:admin", name="public", visibility="public")
    cloud.create("other:member", name="community", visibility="community")
    cloud.create("other:member", name="private", visibility="private")
    shared = cloud.create("other:member", name="shared")
    path = f"/v2/images/{shared['id']}/members"
    assert cloud.call("POST", path, {"member": "mine"}, token="other:member").status == 200

    assert cloud.names() == ["public", "own"]
    assert cloud.names("?visibility=community") == ["community"]
    assert cloud.names("?visibility=all") == ["community", "public", "own"]
    assert cloud.names("?member_status=pending&visibility=shared") == ["shared", "own"]
    assert cloud.call("PUT", f"{path}/mine", {"status": "accepted"}).status == 200
    assert cloud.names() == ["shared", "public", "own"]
    assert cloud.names("?owner=other") == ["shared"]
    assert set(cloud.names(token="ops:admin")) == {"own", "public", "private", "shared"}
    assert cloud.names("?visibility=private") == []
    assert cloud.names("?visibility=public") == ["public"]


# -- list -------------------------------------------------------------------------------------------


def test_filters_narrow_the_list(cloud):
    a = cloud.active(b"123", name="a", tags=["x", "y"], colour="red", os_hidden=False)
    cloud.create(name="b,c", tags=["x"], protected=True, disk_format="qcow2", min_ram=7)
    cloud.create(name="hidden", os_hidden=True, colour="red")
    for query, names in (
        ("name=a", ["a"]),
        ("name=A", []),
        (f"name={quote('in:a,hidden', safe='')}", ["a"]),
        ('name=in:"b,c",a', ["b,c", "a"]),
        ("status=queued", ["b,c"]),
        ("status=in:queued,active", ["b,c", "a"]),
        ("tag=x", ["b,c", "a"]),
        ("tag=x&tag=y", ["a"]),
        ("tag=z", []),
        ("size_min=3&size_max=3", ["a"]),
        ("size_min=4", []),
        ("size=3", ["a"]),
        ("disk_format=qcow2", ["b,c"]),
        ("disk_format=in:raw,iso", ["a"]),
        ("container_format=bare", ["b,c", "a"]),
        ("protected=true", ["b,c"]),
        ("protected=False", ["a"]),
        ("min_ram=7", ["b,c"]),
        ("os_hidden=true", ["hidden"]),
        ("colour=red", ["a"]),
        ("colour=red&os_hidden=true", ["hidden"]),
        ("colour=blue", []),
        (f"id={a['id']}", ["a"]),
        (f"checksum={a['checksum']}", ["a"]),
        (f"os_hash_value={a['os_hash_value']}", ["a"]),
        ("owner=other", []),
        ("created_at=gt:2000-01-01T00:00:00Z", ["b,c", "a"]),
        ("created_at=lt:2000-01-01T00:00:00Z", []),
        (f"updated_at=eq:{a['updated_at']}&name=a", ["a"]),
        (f"updated_at=gte:{a['updated_at']}&name=a", ["a"]),
        (f"updated_at=lte:{a['updated_at']}&name=a", ["a"]),
        (f"updated_at=gt:{a['updated_at']}&name=a", []),
        (f"updated_at=neq:{a['updated_at']}&name=a", []),
    ):
        assert cloud.names(f"?{query}") == names, query


def test_bad_filters_are_400(cloud):
    for query in (
        "status=odd",
        "visibility=odd",
        "member_status=odd",
        "size_min=x",
        "size_max=-1",
        "protected=maybe",
        "os_hidden=maybe",
        "created_at=gt:yesterday",
        "sort_key=odd",
        "sort_dir=odd",
        "sort=name:odd",
        "sort=name&sort_key=id",
        "sort_key=name&sort_dir=asc&sort_dir=desc",
        "limit=x",
        "limit=-1",
        "marker=odd",
        f"marker={uuid.uuid4()}",
        'name=in:"open',
        'name=in:a"b',
    ):
        assert cloud.call("GET", f"/v2/images?{query}").status == 400, query


def test_list_is_sorted_and_paged_to_its_end(cloud):
    for name, ram in (("b", 1), ("a", 2), ("c", 1), (None, 3), ("a", 1)):
        cloud.create(name=name, min_ram=ram)

    def walk(query):
        found, path = [], f"/v2/images?{query}&limit=2"
        while path:
            body = cloud.call("GET", path).json()
            assert body["first"].startswith("/v2/images?") and "marker" not in body["first"]
            assert body["schema"] == "/v2/schemas/images"
            found += [(image["name"], image["min_ram"]) for image in body["images"]]
            path = body.get("next")
        return found

    assert walk("a=") == []
    assert walk("sort=min_ram:asc,name:desc") == [
        ("c", 1),
        ("b", 1),
        ("a", 1),
        ("a", 2),
        (None, 3),
    ]
    newest_first = [("a", 1), (None, 3), ("c", 1), ("a", 2), ("b", 1)]
    assert walk("min_disk=0") == newest_first
    assert walk("sort_dir=asc") == newest_first[::-1]
    assert walk("sort_key=name&sort_dir=asc")[0] == (None, 3)
    assert [n for n, _ in walk("sort_key=name&sort_key=min_ram&sort_dir=asc&sort_dir=desc")] == [
        None,
        "a",
        "a",
        "b",
        "c",
    ]
    assert len(cloud.names("?limit=0")) == 0


def test_fields_of_an_image_begin_with_the_columns_of_its_table():
    """Rows are read by position."""
    names = [known.name for known in dataclasses.fields(Image)]
    columns = [column.name for column in tables.images.columns]
    assert names[: len(columns)] == columns
    assert names[len(columns) :] == [
        "tags",
        "properties",
        "member_status",
        "locations",
        "refused_stores",
    ]


def test_list_with_more_images_than_one_query_takes_has_all(cloud, monkeypatch):
    monkeypatch.setattr(belongings, "_AT_ONCE", 2)
    for number in range(5):
        cloud.create(name=str(number), colour=f"c{number}", tags=[f"t{number}", "z", "a"])
    found = cloud.call("GET", "/v2/images?sort=name:asc").json()["images"]
    assert [(image["colour"], image["tags"]) for image in found] == [
        (f"c{number}", ["a", f"t{number}", "z"]) for number in range(5)
    ]


def test_list_takes_the_same_number_of_queries_whatever_its_length(cloud):
    def queries():
        seen = []
        from sqlalchemy import event

        engine = cloud.deps.db.engine
        listener = lambda *args: seen.append(args[2])  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        cloud.names()
        event.remove(engine, "before_cursor_execute", listener)
        return len(seen)

    cloud.create(a="1", tags=["x"])
    few = queries()
    assert few == 2  # rows; what belongs to them
    for _ in range(10):
        cloud.create(a="1", tags=["x", "y"])
    assert queries() == few


# -- patch ------------------------------------------------------------------------------------------


def test_patch_changes_attributes_and_properties(cloud):
    image = cloud.create(name="a", colour="red", gone="x")
    answer = cloud.patch(
        image["id"],
        replace("name", "b"),
        replace("tags", ["t"]),
        replace("visibility", "private"),
        replace("protected", True),
        replace("disk_format", "qcow2"),
        replace("colour", "blue"),
        {"op": "add", "path": "/new~1name", "value": "1"},
        {"op": "remove", "path": "/gone"},
    )
    assert answer.status == 200, answer.body
    shown = answer.json()
    assert shown == cloud.show(image["id"])
    assert (shown["name"], shown["tags"], shown["visibility"]) == ("b", ["t"], "private")
    assert (shown["colour"], shown["new/name"], shown["disk_format"]) == ("blue", "1", "qcow2")
    assert "gone" not in shown and shown["protected"] is True


def test_patch_in_the_older_form(cloud):
    image = cloud.create(a="1")
    steps = ({"replace": "/name", "value": "n"}, {"add": "/b", "value": "2"}, {"remove": "/a"})
    shown = cloud.patch(image["id"], *steps, media=V20).json()
    assert (shown["name"], shown["b"]) == ("n", "2") and "a" not in shown


def test_patch_is_all_or_nothing(cloud):
    image = cloud.create(name="a")
    assert cloud.patch(image["id"], replace("name", "b"), replace("odd", "x")).status == 409
    assert cloud.show(image["id"])["name"] == "a"


def test_patch_that_cannot_be_is_refused(cloud):
    image = cloud.active(name="a", colour="red")
    for step, status in (
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "remove", "path": "/owner"}, 403),
        (replace("status", "queued"), 403),
        (replace("id", str(uuid.uuid4())), 403),
        (replace("size", 1), 403),
        (replace("checksum", "x"), 403),
        (replace("file", "x"), 403),
        (replace("owner", "other"), 403),
        (replace("disk_format", "qcow2"), 403),
        (replace("container_format", "ova"), 403),
        (replace("locations", []), 403),
        ({"op": "add", "path": "/os_glance_x", "value": "x"}, 403),
        (replace("visibility", "public"), 403),
        (replace("absent", "x"), 409),
        ({"op": "remove", "path": "/absent"}, 409),
        (replace("visibility", "odd"), 400),
        (replace("min_disk", -1), 400),
        (replace("colour", 5), 400),
        (replace("name", "n" * 256), 400),
        ({"op": "move", "path": "/name", "value": "x"}, 400),
        ({"op": "replace", "path": "/name"}, 400),
        ({"op": "replace", "path": "name", "value": "x"}, 400),
        ({"op": "replace", "path": "/a/b", "value": "x"}, 400),
        ({"op": "replace", "path": "/", "value": "x"}, 400),
        ({"op": "add", "path": "/a~b", "value": "x"}, 400),
        ({"path": "/name", "value": "x"}, 400),
        ("x", 400),
    ):
        assert cloud.patch(image["id"], step).status == status, step
    path = image["self"]
    assert cloud.call("PATCH", path, {}, media=V20).status == 400
    assert cloud.call("PATCH", path, [], media="application/json").status == 415
    assert cloud.patch(image["id"], replace("name", "x"), token="mine:reader").status == 403
    assert cloud.show(image["id"])["name"] == "a"
    assert cloud.patch(image["id"], replace("owner", "other"), token="ops:admin").status == 200


def test_abuse_10_status_cannot_be_set_back_for_a_second_upload(cloud):
    image = cloud.active(b"first")
    for step in (replace("status", "queued"), replace("locations", [])):
        assert cloud.patch(image["id"], step, token="mine:member").status == 403
        assert cloud.patch(image["id"], step, token="ops:admin").status == 403
    assert cloud.call("POST", f"{image['self']}/actions/deactivate").status == 204
    assert cloud.upload(image["id"], b"second").status == 409
    assert cloud.upload(image["id"], b"second", verb="stage").status == 409
    assert cloud.call("POST", f"{image['self']}/actions/reactivate").status == 204
    assert cloud.call("GET", image["file"]).body == b"first"


def test_protected_image_is_not_deleted(cloud):
    image = cloud.active(protected=True)
    assert cloud.call("DELETE", image["self"]).status == 403
    assert cloud.call("DELETE", image["self"], token="ops:admin").status == 403
    assert cloud.patch(image["id"], replace("protected", False)).status == 200
    assert cloud.call("DELETE", image["self"], token="mine:reader").status == 403
    assert cloud.call("DELETE", image["self"]).status == 204


# -- members and tags -------------------------------------------------------------------------------


def test_shared_image_is_seen_by_its_members_only(cloud):
    image = cloud.active(name="s")
    path = f"{image['self']}/members"
    answer = cloud.call("POST", path, {"member": "other"})
    assert answer.status == 200
    member = answer.json()
    assert member["schema"] == "/v2/schemas/member"
    assert (member["image_id"], member["member_id"], member["status"]) == (
        image["id"],
        "other",
        "pending",
    )
    assert cloud.show(image["id"], "other:member")["name"] == "s"
    assert cloud.call("GET", image["file"], token="other:member").body == b"bytes"
    assert cloud.call("GET", image["self"], token="third:member").status == 404
    assert cloud.patch(image["id"], replace("name", "x"), token="other:member").status == 403
    assert cloud.call("DELETE", image["self"], token="other:member").status == 403
    assert cloud.call("POST", path, {"member": "third"}, token="other:member").status == 403

    assert cloud.call("PUT", f"{path}/other", {"status": "rejected"}).status == 403
    for status in ("accepted", "rejected", "pending"):
        answer = cloud.call("PUT", f"{path}/other", {"status": status}, token="other:member")
        assert answer.json()["status"] == status
    body = {"member": "other", "image_id": image["id"], "status": "accepted"}  # openstacksdk
    answer = cloud.call("PUT", f"{path}/other", body, token="other:member")
    assert (answer.status, answer.json()["status"]) == (200, "accepted")
    bad = cloud.call("PUT", f"{path}/other", {"status": "odd"}, token="other:member")
    assert bad.status == 400

    assert cloud.call("DELETE", f"{path}/other", token="other:member").status == 403
    assert cloud.call("DELETE", f"{path}/other").status == 204
    assert cloud.call("DELETE", f"{path}/other").status == 404
    assert cloud.call("GET", image["self"], token="other:member").status == 404


def test_a_member_sees_itself_alone(cloud):
    image = cloud.create()
    path = f"{image['self']}/members"
    for name in ("b", "a"):
        cloud.call("POST", path, {"member": name})

    def listed(token):
        body = cloud.call("GET", path, token=token).json()
        assert body["schema"] == "/v2/schemas/members"
        return [member["member_id"] for member in body["members"]]

    assert listed("mine:reader") == ["a", "b"]
    assert listed("a:reader") == ["a"]
    assert cloud.call("GET", f"{path}/a", token="a:reader").status == 200
    assert cloud.call("GET", f"{path}/b", token="a:reader").status == 404
    assert cloud.call("GET", f"{path}/odd").status == 404


def test_members_that_cannot_be_are_refused(tmp_path):
    cloud = build(tmp_path, image_member_quota=2)
    image, private = cloud.create(), cloud.create(visibility="private")
    path = f"{image['self']}/members"
    assert cloud.call("POST", f"{private['self']}/members", {"member": "a"}).status == 403
    assert cloud.call("POST", path, {"member": ""}).status == 400
    assert cloud.call("POST", path, {}).status == 400
    assert cloud.call("POST", path, {"member": "a"}).status == 200
    assert cloud.call("POST", path, {"member": "a"}).status == 409
    assert cloud.call("POST", path, {"member": "b"}).status == 200
    assert cloud.call("POST", path, {"member": "c"}).status == 413


def test_image_made_private_is_hidden_from_its_members(cloud):
    image = cloud.create()
    cloud.call("POST", f"{image['self']}/members", {"member": "other"})
    assert cloud.patch(image["id"], replace("visibility", "private")).status == 200
    assert cloud.call("GET", image["self"], token="other:member").status == 404
    assert cloud.names(token="other:member") == []


def test_tags_come_and_go(cloud):
    image = cloud.create(tags=["a"])
    path = f"{image['self']}/tags"
    assert cloud.call("PUT", f"{path}/b%2Fc").status == 204
    assert cloud.call("PUT", f"{path}/b%2Fc").status == 204
    assert cloud.show(image["id"])["tags"] == ["a", "b/c"]
    assert cloud.call("DELETE", f"{path}/a").status == 204
    assert cloud.call("DELETE", f"{path}/a").status == 404
    assert cloud.call("PUT", f"{path}/{'t' * 256}").status == 400
    assert cloud.call("PUT", f"{path}/x", token="mine:reader").status == 403
    assert cloud.show(image["id"])["tags"] == ["b/c"]


# -- documents --------------------------------------------------------------------------------------


def test_versions_are_public(cloud):
    for path, status in (("/", 300), ("/versions", 200), ("/v2", 300), ("/v2/", 300)):
        answer = cloud.call("GET", path, token=None)
        assert answer.status == status, path
        first = answer.json()["versions"][0]
        assert first["status"] == "CURRENT"
        assert first["links"] == [{"rel": "self", "href": "http://glance/v2/"}]


def test_schemas_describe_what_is_shown(cloud):
    schema = cloud.call("GET", "/v2/schemas/image").json()
    assert schema["name"] == "image" and schema["additionalProperties"] == {"type": "string"}
    assert set(cloud.create()) | {"stores", "direct_url"} == set(schema["properties"])
    for name in ("images", "member", "members"):
        assert cloud.call("GET", f"/v2/schemas/{name}").json()["name"] == name
    assert cloud.call("GET", "/v2/schemas/image", token=None).status == 401


def test_discovery_says_what_there_is(cloud):
    methods = cloud.call("GET", "/v2/info/import").json()["import-methods"]["value"]
    assert methods == ["glance-direct", "web-download", "glance-download", "copy-image"]
    assert cloud.call("GET", "/v2/info/stores").json()["stores"] == [
        {"id": "file", "weight": 0, "default": "true"}
    ]
    assert cloud.call("GET", "/v2/info/stores/detail").status == 403
    assert cloud.call("GET", "/v2/info/stores/detail", token="ops:admin").status == 200


def test_errors_have_a_message_a_code_and_a_title(cloud):
    body = cloud.call("GET", f"/v2/images/{uuid.uuid4()}").json()
    assert body["code"] == "404 Not Found" and body["title"] == "Not Found" and body["message"]


def test_errors_are_html_for_those_who_do_not_ask_for_json(cloud):
    front = Front(cloud.dispatcher)

    def ask(path, **headers):
        request = Request(
            "GET", path, [], {"x-auth-token": "mine:member", **headers}, base="http://g"
        )
        return front.handle(request)

    for headers in ({}, {"accept": "*/*"}):
        answer = ask("/v2/images/<script>", **headers)
        assert answer.status == 404 and b"<h1>404 Not Found</h1>" in answer.body
        assert b"<script>" not in answer.body and b"&lt;script&gt;" in answer.body
        assert ("Content-Type", "text/html; charset=UTF-8") in answer.headers
    answer = ask("/v2/images/none", accept="application/json")
    assert answer.status == 404 and answer.body.startswith(b"{")
    assert ask("/v2/images").body.startswith(b"{")


def test_pages_hold_own_public_and_shared_images_each_once(cloud):
    made = []
    for number in range(9):
        kind = number % 3
        token = "mine:member" if kind == 0 else "other:member"
        if kind == 1:
            image = cloud.create("ops:admin", name=str(number), visibility="public")
        else:
            image = cloud.create(token, name=str(number))
        if kind == 2:
            path = f"/v2/images/{image['id']}/members"
            assert cloud.call("POST", path, {"member": "mine"}, token=token).status == 200
            answer = cloud.call("PUT", f"{path}/mine", {"status": "accepted"})
            assert answer.status == 200
        made.append(image["id"])
    mine = cloud.create("mine:admin", name="mine and public", visibility="public")
    cloud.create("other:member", name="not for me")
    for extra in ("", "&os_hidden=false&status=queued"):
        seen, path = [], f"/v2/images?limit=3{extra}"
        while path:
            answer = cloud.call("GET", path).json()
            assert len(answer["images"]) <= 3
            seen += [image["id"] for image in answer["images"]]
            path = answer.get("next")
        assert sorted(seen) == sorted([*made, mine["id"]])
    full = [image["id"] for image in cloud.call("GET", "/v2/images?limit=100").json()["images"]]
    assert full == seen
