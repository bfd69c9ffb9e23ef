"""Tasks, locations, the cache and limits."""

import uuid

import pytest
from glance_cloud import PATCH, MemoryStore, build, sha512
from web import Web

from gureum.core.http.client import HttpReply
from gureum.glance.drivers.fetch import Filters
from gureum.glance.drivers.http import HttpStore
from gureum.glance.logic.limits import KeystoneLimits

CONTENT = b"what is at the other end"


@pytest.fixture(scope="module")
def web():
    made = Web()
    made.pages["/image"] = CONTENT
    yield made
    made.close()


def opened(tmp_path, web, **options):
    """A cloud with an HTTP store that reaches the web server."""
    filters = Filters(allowed_ports=(web.port,), networks=("127.0.0.0/8",))
    cloud = build(
        tmp_path,
        filters=filters,
        resolver=lambda host, port: ["127.0.0.1"],
        more_stores=[MemoryStore(name="far")],
        **options,
    )
    stores = cloud.deps.stores
    stores._by_name["web"] = HttpStore(cloud.deps.fetcher, "web")
    stores._order.append(stores._by_name["web"])
    return cloud


@pytest.fixture
def cloud(tmp_path, web):
    return opened(tmp_path, web)


@pytest.fixture
def telling(tmp_path, web):
    """A cloud that shows its locations."""
    return opened(tmp_path, web, show_multiple_locations=True, show_image_direct_url=True)


# -- tasks ----------------------------------------------------------------------------------------


def task_body(uri, **properties):
    given = {"disk_format": "raw", "container_format": "bare", "name": "made", **properties}
    return {
        "type": "import",
        "input": {"import_from": uri, "import_from_format": "raw", "image_properties": given},
    }


def test_task_makes_an_image_from_a_url(cloud, web):
    answer = cloud.call("POST", "/v2/tasks", task_body(web.url("/image")), token="ops:admin")
    assert answer.status == 201, answer.body
    task = answer.json()
    assert task["status"] == "pending" and task["owner"] == "ops"
    assert answer.headers["location"].endswith(task["self"])
    cloud.run_sagas()
    task = cloud.call("GET", task["self"], token="ops:admin").json()
    assert task["status"] == "success" and task["expires_at"] is not None
    image = cloud.show(task["result"]["image_id"], "ops:admin")
    assert (image["name"], image["os_hash_value"]) == ("made", sha512(CONTENT))


def test_tasks_are_for_administrators(cloud, web):
    assert cloud.call("POST", "/v2/tasks", task_body(web.url("/image"))).status == 403
    assert cloud.call("GET", "/v2/tasks").status == 403
    assert cloud.call("GET", f"/v2/tasks/{uuid.uuid4()}").status == 404
    assert cloud.call("GET", f"/v2/tasks/{uuid.uuid4()}", token="ops:admin").status == 404


def test_task_with_a_bad_input_is_400(cloud, web):
    for body in (
        {"type": "import", "input": {}},
        {"type": "export", "input": {"x": 1}},
        task_body("file:///etc/passwd"),
        task_body("http://made-up.qcow2:99/x"),
        task_body(web.url("/image"), min_disk="three"),
        task_body(web.url("/image"), visibility="strange"),
        task_body(web.url("/image"), disk_format="none"),
    ):
        assert cloud.call("POST", "/v2/tasks", body, token="ops:admin").status == 400, body
    assert cloud.call("GET", "/v2/tasks", token="ops:admin").json()["tasks"] == []


def test_tasks_are_listed_by_page_and_filter(cloud, web):
    for _ in range(3):
        cloud.call("POST", "/v2/tasks", task_body(web.url("/image")), token="ops:admin")
    cloud.call("POST", "/v2/tasks", task_body(web.url("/none")), token="ops:admin")
    cloud.run_sagas()

    def ids(query):
        answer = cloud.call("GET", f"/v2/tasks{query}", token="ops:admin")
        assert answer.status == 200, answer.body
        return answer.json()

    every = [task["id"] for task in ids("")["tasks"]]
    assert len(every) == 4 and len(ids("?status=failure")["tasks"]) == 1
    first = ids("?limit=2")
    rest = ids(first["next"].removeprefix("/v2/tasks"))
    assert [task["id"] for task in (*first["tasks"], *rest["tasks"])] == every
    assert "next" not in rest and first["schema"] == "/v2/schemas/tasks"
    assert cloud.call("GET", "/v2/tasks?sort_key=x", token="ops:admin").status == 400
    assert cloud.call("GET", "/v2/tasks?marker=x", token="ops:admin").status == 400


def test_schemas_of_tasks(cloud):
    assert cloud.call("GET", "/v2/schemas/task").json()["name"] == "task"
    assert cloud.call("GET", "/v2/schemas/tasks").json()["name"] == "tasks"


def test_tasks_of_an_image_are_its_projects_own(cloud):
    image = cloud.create(visibility="community")
    assert cloud.upload(image["id"], b"x", verb="stage").status == 204
    assert cloud.import_image(image["id"]).status == 202
    path = f"{image['self']}/tasks"
    assert len(cloud.call("GET", path).json()["tasks"]) == 1
    assert cloud.call("GET", path, token="other:member").json()["tasks"] == []
    assert len(cloud.call("GET", path, token="ops:admin").json()["tasks"]) == 1


# -- locations ------------------------------------------------------------------------------------


def add_location(cloud, image, url, validation=None, **more):
    body = {"url": url, "validation_data": validation or {}}
    return cloud.call("POST", f"{image['self']}/locations", body, **more)


def test_added_location_makes_the_image_active_and_is_read_for_its_hashes(cloud, web):
    image = cloud.create()
    assert add_location(cloud, image, web.url("/image")).status == 202
    cloud.run_sagas()
    shown = cloud.show(image["id"])
    assert (shown["status"], shown["size"]) == ("active", len(CONTENT))
    assert shown["os_hash_value"] == sha512(CONTENT) and shown["stores"] == "web"
    assert "locations" not in shown and "direct_url" not in shown
    assert cloud.call("GET", image["file"]).body == CONTENT
    ranged = cloud.call("GET", image["file"], headers={"range": "bytes=2-4"})
    assert (ranged.status, ranged.body) == (206, CONTENT[2:5])
    listed = cloud.call("GET", f"{image['self']}/locations", token="svc:service")
    assert listed.json() == [{"url": web.url("/image"), "metadata": {"store": "web"}}]
    assert cloud.call("GET", f"{image['self']}/locations").status == 403
    assert add_location(cloud, image, web.url("/image")).status == 409


def test_added_location_must_have_the_hash_that_is_said(cloud, web):
    good = {"os_hash_algo": "sha512", "os_hash_value": sha512(CONTENT)}
    bad = {"os_hash_algo": "sha512", "os_hash_value": sha512(b"other")}
    image = cloud.create()
    assert add_location(cloud, image, web.url("/image"), bad).status == 202
    cloud.run_sagas()
    shown = cloud.show(image["id"])
    assert shown["status"] == "queued" and shown["os_hash_value"] is None
    assert shown["stores"] == "web"
    assert cloud.call("GET", image["file"]).status == 204
    assert add_location(cloud, image, web.url("/image"), good).status == 202
    cloud.run_sagas()
    assert cloud.show(image["id"])["status"] == "active"
    tasks = cloud.call("GET", f"{image['self']}/tasks").json()["tasks"]
    assert {(task["type"], task["status"]) for task in tasks} == {
        ("location_import", "success"),
        ("location_import", "failure"),
    }


def test_locations_that_cannot_be_are_400(cloud, web):
    image = cloud.create()
    for validation in (
        {"os_hash_algo": "sha512", "os_hash_value": "abc"},
        {"os_hash_value": sha512(b"")},
        {"os_hash_algo": "sha123", "os_hash_value": sha512(b"")},
        {"os_hash_algo": 7, "os_hash_value": sha512(b"")},
        {"colour": "red"},
    ):
        assert add_location(cloud, image, web.url("/image"), validation).status == 400
    assert add_location(cloud, image, web.url("/image"), token="mine:reader").status == 403
    assert add_location(cloud, image, web.url("/image"), token="other:member").status == 404
    assert cloud.show(image["id"])["status"] == "queued"


def test_abuse_9_nobody_can_name_a_file_or_an_object_of_a_store(telling):
    image = telling.create()
    for url in (
        "file:///etc/passwd",
        "filesystem:///etc/passwd",
        "swift+config://ref1/c/o",
        "swift+https://u:p@example.org/c/o",
        "s3://key:secret@example.org/b/o",
        "memory://far/x",
        "rbd://x/y/z/w",
        "http://127.0.0.1:80/x",
        "/etc/passwd",
        "",
    ):
        value = {"url": url, "metadata": {}}
        step = {"op": "add", "path": "/locations/-", "value": value}
        assert telling.patch(image["id"], step).status == 400, url
        assert add_location(telling, image, url).status == 400, url
    shown = telling.show(image["id"])
    assert shown["status"] == "queued" and shown["locations"] == []


def test_abuse_9_ids_that_leave_the_store_are_refused(cloud):
    for id in ("../../etc/passwd", "a/../b", ".uploads"):
        assert cloud.call("POST", "/v2/images", {"id": id}).status == 400
        assert cloud.call("GET", f"/v2/images/{id}/file").status == 404


def test_locations_are_added_and_removed_by_patch(telling, web):
    image = telling.create()
    assert image["locations"] == []
    first = {"url": web.url("/image"), "metadata": {"foo": "bar"}}
    second = {"url": web.url("/image") + "#new", "metadata": {"speed": "88mph"}}
    for value in (first, second):
        step = {"op": "add", "path": "/locations/-", "value": value}
        assert telling.patch(image["id"], step).status == 200
    shown = telling.show(image["id"])
    assert [place["url"] for place in shown["locations"]] == [first["url"], second["url"]]
    assert shown["locations"][0]["metadata"] == {"foo": "bar", "store": "web"}
    assert shown["direct_url"] == first["url"]
    assert (shown["status"], shown["os_hash_value"]) == ("active", None)
    again = {"op": "add", "path": "/locations/-", "value": first}
    assert telling.patch(image["id"], again).status == 400
    step = {"op": "replace", "path": "/locations", "value": shown["locations"]}
    assert telling.patch(image["id"], step).status == 200
    shown["locations"][0]["metadata"]["date"] = "2015"
    assert telling.patch(image["id"], step).status == 200
    assert telling.show(image["id"])["locations"][0]["metadata"]["date"] == "2015"
    fewer = {"op": "replace", "path": "/locations", "value": shown["locations"][:1]}
    assert telling.patch(image["id"], fewer).status == 400
    remove = {"op": "remove", "path": "/locations/0"}
    assert telling.patch(image["id"], remove).status == 403
    assert telling.patch(image["id"], remove, token="ops:admin").status == 200
    assert [p["url"] for p in telling.show(image["id"])["locations"]] == [second["url"]]
    assert telling.patch(image["id"], remove, token="ops:admin").status == 403
    assert telling.call("GET", image["file"]).body == CONTENT


def test_validation_data_must_fit_what_is_known(telling, web):
    image = telling.create()
    known = {"checksum": "1" * 32, "os_hash_algo": "sha512", "os_hash_value": "a" * 128}
    value = {"url": web.url("/image"), "metadata": {}, "validation_data": known}
    step = {"op": "add", "path": "/locations/-", "value": value}
    assert telling.patch(image["id"], step).status == 200
    assert telling.show(image["id"])["os_hash_value"] == "a" * 128
    value = {**value, "url": web.url("/image") + "#2"}
    wrong = {**value, "validation_data": {**known, "checksum": "2" * 32}}
    step = {"op": "add", "path": "/locations/-", "value": wrong}
    assert telling.patch(image["id"], step).status == 409
    step = {"op": "add", "path": "/locations/-", "value": value}
    assert telling.patch(image["id"], step).status == 200
    shown = telling.show(image["id"])
    assert len(shown["locations"]) == 2 and "validation_data" not in str(shown)


def test_locations_are_not_changed_where_they_are_not_shown(cloud, web):
    image = cloud.create()
    value = {"url": web.url("/image"), "metadata": {}}
    step = {"op": "add", "path": "/locations/-", "value": value}
    assert cloud.patch(image["id"], step).status == 403
    assert cloud.patch(image["id"], {"op": "add", "path": "/stores", "value": "x"}).status == 403
    assert cloud.call("PATCH", image["self"], [step], media=PATCH, token="ops:admin").status == 403


# -- cache ----------------------------------------------------------------------------------------


def listed(cloud):
    return cloud.call("GET", "/v2/cache", token="ops:admin").json()


def test_queued_image_is_cached_and_served_from_there(cloud):
    image = cloud.create()
    headers = {"x-image-meta-store": "far"}
    path = f"/v2/cache/{image['id']}"
    assert cloud.call("PUT", path, token="ops:admin").status == 400
    assert cloud.upload(image["id"], CONTENT, headers=headers).status == 204
    assert cloud.call("PUT", path).status == 403
    assert cloud.call("PUT", f"/v2/cache/{uuid.uuid4()}", token="ops:admin").status == 404
    assert cloud.call("PUT", path, token="ops:admin").status == 202
    assert listed(cloud) == {"cached_images": [], "queued_images": [image["id"]]}
    assert cloud.fill_cache() == 1
    copy = listed(cloud)["cached_images"][0]
    assert (copy["image_id"], copy["size"], copy["hits"]) == (image["id"], len(CONTENT), 0)
    cloud.deps.stores["far"].contents.clear()
    assert cloud.call("GET", image["file"]).body == CONTENT
    assert listed(cloud)["cached_images"][0]["hits"] == 1
    assert cloud.call("DELETE", path, token="ops:admin").status == 204
    assert cloud.call("DELETE", path, token="ops:admin").status == 404
    assert cloud.call("GET", image["file"]).status == 404


def test_download_from_a_store_elsewhere_is_cached_and_from_a_file_is_not(cloud):
    near, far = cloud.active(b"near"), cloud.create()
    assert cloud.upload(far["id"], CONTENT, headers={"x-image-meta-store": "far"}).status == 204
    cloud.call("GET", far["file"], headers={"range": "bytes=0-3"})
    assert listed(cloud)["cached_images"] == []
    for image in (near, far):
        assert cloud.call("GET", image["file"]).status == 200
    assert [copy["image_id"] for copy in listed(cloud)["cached_images"]] == [far["id"]]
    assert cloud.call("DELETE", far["self"]).status == 204
    assert listed(cloud)["cached_images"] == []


def test_cache_is_cleared_pruned_and_cleaned(tmp_path, web):
    cloud = opened(tmp_path, web, image_cache_max_size=2 * len(CONTENT))
    images = [cloud.create() for _ in range(3)]
    for image in images:
        cloud.upload(image["id"], CONTENT, headers={"x-image-meta-store": "far"})
        cloud.call("GET", image["file"])
    assert cloud.call("POST", "/v2/cache/prune").status == 403
    pruned = cloud.call("POST", "/v2/cache/prune", token="ops:admin")
    assert pruned.json() == {"total_files_pruned": 1, "total_bytes_pruned": len(CONTENT)}
    assert len(listed(cloud)["cached_images"]) == 2
    (cloud.deps.cache.folder / "invalid" / "broken").write_bytes(b"x")
    assert cloud.call("POST", "/v2/cache/clean", token="ops:admin").status == 204
    assert not list((cloud.deps.cache.folder / "invalid").iterdir())
    cloud.call("PUT", f"/v2/cache/{images[0]['id']}", token="ops:admin")
    bad = {"x-image-cache-clear-target": "everything"}
    assert cloud.call("DELETE", "/v2/cache", headers=bad, token="ops:admin").status == 400
    only = {"x-image-cache-clear-target": "cache"}
    assert cloud.call("DELETE", "/v2/cache", headers=only, token="ops:admin").status == 204
    assert listed(cloud)["cached_images"] == [] and len(listed(cloud)["queued_images"]) == 1
    assert cloud.call("DELETE", "/v2/cache", token="ops:admin").status == 204
    assert listed(cloud) == {"cached_images": [], "queued_images": []}


def test_copy_of_another_size_is_not_served(cloud):
    image = cloud.create()
    cloud.upload(image["id"], CONTENT, headers={"x-image-meta-store": "far"})
    cloud.call("GET", image["file"])
    (cloud.deps.cache.folder / image["id"]).write_bytes(b"cut")
    assert cloud.call("GET", image["file"]).body == CONTENT


# -- limits ---------------------------------------------------------------------------------------


class Keystone:
    """Answers what the limits ask."""

    def __init__(self, registered, own):
        self.registered, self.own = registered, own
        self.http, self.credentials = self, self
        self.auth_url = "http://keystone/v3"
        self.asked = 0

    def token(self):
        return "token"

    def request(self, method, url, params=None, headers=None):
        import msgspec

        self.asked += 1
        path = url.removeprefix(self.auth_url)
        rows = {
            "/services": {"services": [{"id": "s1"}]},
            "/registered_limits": {
                "registered_limits": [
                    {"resource_name": name, "default_limit": value, "region_id": None}
                    for name, value in self.registered.items()
                ]
            },
            "/limits": {
                "limits": [
                    {"resource_name": name, "resource_limit": value, "region_id": None}
                    for name, value in self.own.get(params.get("project_id"), {}).items()
                ]
            },
        }
        return HttpReply(200, {}, msgspec.json.encode(rows[path]))


def limited(tmp_path, own=None, **registered):
    given = {
        "image_size_total": 1,
        "image_stage_total": 1,
        "image_count_total": 3,
        "image_count_uploading": 1,
        **registered,
    }
    keystone = Keystone(given, {"mine": own or {}})
    cloud = build(tmp_path)
    limits = KeystoneLimits(keystone, "one", 60.0)
    object.__setattr__(cloud.deps, "limits", limits)
    return cloud, keystone


def test_unified_limits_bound_bytes_and_numbers(tmp_path):
    cloud, keystone = limited(tmp_path)
    images = [cloud.create() for _ in range(3)]
    assert cloud.call("POST", "/v2/images", {}).status == 413
    big = b"x" * (700 << 10)
    assert cloud.upload(images[0]["id"], big).status == 204
    assert cloud.upload(images[1]["id"], big).status == 413
    assert cloud.upload(images[1]["id"], big, verb="stage").status == 204
    assert cloud.upload(images[2]["id"], b"x", verb="stage").status == 413  # one at a time
    usage = cloud.call("GET", "/v2/info/usage").json()["usage"]
    assert usage["image_count_total"] == {"usage": 3, "limit": 3}
    assert usage["image_count_uploading"] == {"usage": 1, "limit": 1}
    assert usage["image_size_total"]["limit"] == 1
    assert cloud.import_image(images[1]["id"]).status == 202
    cloud.run_sagas()
    assert cloud.show(images[1]["id"])["status"] == "queued"
    assert keystone.asked == 3


def test_unified_limits_of_a_project_beat_the_registered_ones(tmp_path):
    cloud, _ = limited(tmp_path, own={"image_count_total": 1})
    cloud.create()
    assert cloud.call("POST", "/v2/images", {}).status == 413
    assert cloud.call("POST", "/v2/images", {}, token="other:member").status == 201


def test_minus_one_is_no_limit(tmp_path):
    names = ("size_total", "stage_total", "count_total", "count_uploading")
    cloud, _ = limited(tmp_path, **{f"image_{name}": -1 for name in names})
    for _ in range(5):
        cloud.active(b"x")
    usage = cloud.call("GET", "/v2/info/usage").json()["usage"]
    assert {row["limit"] for row in usage.values()} == {-1}
