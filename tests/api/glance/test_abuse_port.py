"""What has gone wrong with images elsewhere, tried through a real port.

Numbers are those of the list of abuse cases; those that need no port stand with their features.
"""

import gzip
import shutil
import socket
import subprocess

import pytest
from glance_cloud import MemoryStore, build
from glance_port import Person, served
from waiting import eventually
from web import Web

from gureum.glance.config import ImportOptions
from gureum.glance.drivers.fetch import Filters
from gureum.glance.drivers.http import HttpStore

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing")
SECRET = b"the host's own secret " * 50


@pytest.fixture(scope="module")
def web():
    made = Web()
    made.pages["/image"] = b"first"
    yield made
    made.close()


def opened(tmp_path, web=None, **options):
    """A cloud whose users may fetch from the web server, and from nothing else that is private."""
    given = {}
    if web is not None:
        filters = Filters(allowed_ports=(web.port,), networks=("127.0.0.1/32",))
        known = {"images.example.org": "127.0.0.1"}  # everything else is inside
        given = {
            "filters": filters,
            "resolver": lambda host, port: [known.get(host, "127.0.0.2")],
        }
    cloud = build(tmp_path / "cloud", more_stores=[MemoryStore(name="far")], **given, **options)
    if web is not None:
        stores = cloud.deps.stores
        stores._by_name["web"] = HttpStore(cloud.deps.fetcher, "web")
        stores._order.append(stores._by_name["web"])
    return cloud


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


def qcow2_on(secret, tmp_path):
    """What a guest can write into its own disk: a header whose backing file is the host's."""
    path = tmp_path / "made"
    command = ["qemu-img", "create", "-q", "-f", "qcow2"]
    command += ["-b", str(secret), "-F", "raw"] if secret else []
    subprocess.run([*command, str(path), "1M"], check=True)
    return path.read_bytes()


def nothing_left(cloud):
    return not (cloud.kept() or cloud.kept("far") or cloud.staged() or cloud.unpublished())


# -- content --------------------------------------------------------------------------------------


@needs_qemu
@pytest.mark.parametrize("number", ["1", "2", "5"])
def test_abuse_1_2_5_headers_that_name_the_hosts_files_get_nowhere(tmp_path, secret, number):
    """1: as qcow2. 2: as the snapshot of a server. 5: as plain bytes."""
    claimed = {"1": {"disk_format": "qcow2"}, "5": {"disk_format": "raw"}}.get(
        number, {"disk_format": "raw", "image_type": "snapshot", "instance_uuid": "x"}
    )
    cloud = opened(tmp_path, inspect=True)
    content = qcow2_on(secret if number != "5" else None, tmp_path)
    with served(cloud) as base, Person(base) as me:
        id = me.create(**claimed)
        answer = me.send(id, content)
        assert answer.status_code == 415 and str(secret) not in answer.text
        assert (me.show(id)["status"], me.show(id)["size"]) == ("queued", None)
        assert me.send(id, content, "stage").status_code == 204
        assert me.bring(id, "glance-direct").status_code == 202
        cloud.run_sagas()
        assert me.show(id)["status"] == "queued" and me.read(id).status_code == 204
        task = me.http.get(f"/v2/images/{id}/tasks").json()["tasks"][0]
        assert task["status"] == "failure" and str(secret) not in task["message"]
    assert nothing_left(cloud)


@needs_qemu
def test_abuse_6_conversion_takes_a_header_in_a_raw_disk_for_bytes(tmp_path, secret):
    """Also when nobody looked into the bytes before: qemu-img is told the format, it never guesses."""
    plugins = ImportOptions(image_import_plugins=["image_conversion"], output_format="vmdk")
    cloud = opened(tmp_path, imports=plugins)
    content = qcow2_on(secret, tmp_path)
    with served(cloud) as base, Person(base) as me:
        id = me.create()
        assert me.send(id, content, "stage").status_code == 204
        assert me.bring(id, "glance-direct").status_code == 202
        cloud.run_sagas()
        shown = me.show(id)
        assert (shown["status"], shown["disk_format"]) == ("active", "vmdk")
        converted, plain = tmp_path / "converted", tmp_path / "plain"
        converted.write_bytes(me.read(id).content)
    command = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", str(converted), str(plain)]
    subprocess.run(command, check=True)
    assert plain.read_bytes().startswith(content) and SECRET not in plain.read_bytes()


@needs_qemu
@pytest.mark.parametrize("number", ["3", "4"])
def test_abuse_3_4_packed_headers_are_looked_into_after_they_were_unpacked(
    tmp_path, secret, number
):
    if number == "3":
        claimed = "vmdk"
        content = (
            b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
            b'createType="monolithicFlat"\nRW 2 FLAT "%s" 0\n' % str(secret).encode()
        ).ljust(4096, b"\0")
    else:
        claimed, path = "qcow2", tmp_path / "made"
        options = f"data_file={secret},data_file_raw=on"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(path), "1M"]
        subprocess.run(command, check=True)
        content = path.read_bytes()
    plugins = ["image_decompression", "image_conversion"]
    cloud = opened(tmp_path, inspect=True, imports=ImportOptions(image_import_plugins=plugins))
    with served(cloud) as base, Person(base) as me:
        id = me.create(claimed)
        assert me.send(id, content).status_code == 415
        assert me.send(id, gzip.compress(content), "stage").status_code == 204
        assert me.bring(id, "glance-direct").status_code == 202
        cloud.run_sagas()
        assert me.show(id)["status"] == "queued"
    assert nothing_left(cloud)


@needs_qemu
def test_abuse_7_8_a_conversion_writes_no_more_than_the_limit(tmp_path):
    """A small file whose disk is huge fills neither memory nor the staging folder."""
    path = tmp_path / "made"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"], check=True)
    plugins = ImportOptions(image_import_plugins=["image_conversion"])
    cloud = opened(tmp_path, inspect=True, imports=plugins, image_size_cap=32 << 20)
    with served(cloud) as base, Person(base) as me:
        id = me.create("qcow2")
        assert me.send(id, path.read_bytes(), "stage").status_code == 204
        assert me.bring(id, "glance-direct").status_code == 202
        cloud.run_sagas()
        assert me.show(id)["status"] == "queued"
        task = me.http.get(f"/v2/images/{id}/tasks").json()["tasks"][0]
        assert "too large" in task["message"]
    assert nothing_left(cloud)


# -- paths ----------------------------------------------------------------------------------------


def test_abuse_9_no_path_leads_out_of_the_store(tmp_path, secret):
    cloud = opened(tmp_path)
    with served(cloud) as base, Person(base) as me:
        depth = "../" * 12
        for path in (
            f"/v2/images/{depth}{secret}/file",
            f"/v2/images/..%2f..%2f..%2f{secret.name}/file",
            "/v2/images/%2e%2e/%2e%2e/secret/file",
            "/v2/images/.uploads/file",
            f"/v2/stores/file/../{secret.name}",
        ):
            assert SECRET not in _raw(base, f"GET {path}")
        for name, value in (
            ("x-image-meta-location", f"file://{secret}"),
            ("x-glance-api-copy-from", f"file://{secret}"),
            ("x-image-meta-store", f"../{secret.name}"),
        ):
            id = me.create()
            answer = me.send(id, b"mine", **{name: value})
            assert answer.status_code in (204, 400)
            assert SECRET not in me.read(id).content
        for uri in (f"file://{secret}", f"filesystem://{secret}", str(secret)):
            assert me.bring(me.create(), "web-download", uri=uri).status_code == 400
    assert not cloud.staged()


def _raw(base, line):
    """Send a path as it stands; clients would tidy it up."""
    host, _, port = base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as wire:
        wire.sendall(
            f"{line} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: mine:admin\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while part := wire.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 4"), answer[:80]
    return answer


# -- status ---------------------------------------------------------------------------------------


def test_abuse_10_locations_do_not_bring_an_image_back_to_queued(tmp_path, web):
    cloud = opened(tmp_path, web, show_multiple_locations=True)
    with served(cloud) as base, Person(base) as me, Person(base, "mine:admin") as admin:
        id = me.active(b"first")
        for step in (
            {"op": "remove", "path": "/locations/0"},
            {"op": "replace", "path": "/locations", "value": []},
            {"op": "remove", "path": "/locations"},
            {"op": "replace", "path": "/status", "value": "queued"},
            {"op": "remove", "path": "/checksum"},
            {"op": "replace", "path": "/os_hash_value", "value": "0" * 128},
        ):
            for person in (me, admin):
                assert person.patch(id, step).status_code in (400, 403), step
            assert me.show(id)["status"] == "active"
        for verb in ("file", "stage"):
            headers = {"x-image-meta-status": "queued"}
            assert me.send(id, b"other", verb, **headers).status_code == 409
        url = web.url("/image")
        assert me.http.post(f"/v2/images/{id}/locations", json={"url": url}).status_code == 409
        assert me.bring(id, "web-download", uri=url).status_code == 409
        assert me.read(id).content == b"first"


# -- quota ----------------------------------------------------------------------------------------


def test_abuse_11_deleting_images_while_they_come_in_keeps_no_bytes(tmp_path):
    """CVE-2014-9623 and CVE-2015-5286: bytes of a deleted image stayed, and counted nowhere."""
    cloud = opened(tmp_path, user_storage_quota="10B")
    with served(cloud) as base, Person(base) as me, Person(base) as again:
        for verb in ("file", "stage"):
            id = me.create()

            def slowly(id=id):
                yield b"12345"
                eventually(lambda: again.show(id)["status"] == "saving")
                assert again.http.delete(f"/v2/images/{id}").status_code == 204
                yield b"678"

            assert me.send(id, slowly(), verb).status_code == 410
            assert again.http.get(f"/v2/images/{id}").status_code == 404
            assert nothing_left(cloud)
        id = me.create()
        assert me.send(id, b"1234567890", "stage").status_code == 204
        assert me.bring(id, "glance-direct").status_code == 202
        assert me.http.delete(f"/v2/images/{id}").status_code == 204
        cloud.run_sagas()
        assert nothing_left(cloud)
        assert me.send(me.create(), b"1234567890").status_code == 204


def test_abuse_11_every_way_in_counts_against_the_quota(tmp_path, web):
    web.pages["/six"] = b"123456"
    cloud = opened(tmp_path, web, user_storage_quota="10B")
    with served(cloud) as base, Person(base) as me, Person(base, "mine:admin") as admin:
        kept = me.active(b"123456")
        assert me.send(me.create(), b"123456").status_code == 413
        staged = me.create()
        assert me.send(staged, b"123456", "stage").status_code == 204
        assert me.bring(staged, "glance-direct").status_code == 202
        fetched = me.create()
        assert me.bring(fetched, "web-download", uri=web.url("/six")).status_code == 202
        copied = {"method": {"name": "copy-image"}, "stores": ["far"]}
        assert admin.http.post(f"/v2/images/{kept}/import", json=copied).status_code == 202
        cloud.run_sagas()
        assert [me.show(id)["status"] for id in (staged, fetched)] == ["queued", "queued"]
        assert me.show(kept)["stores"] == "file"
    assert cloud.kept() == {kept} and not cloud.kept("far")


# -- fetching -------------------------------------------------------------------------------------


def test_abuse_12_no_redirect_reaches_what_is_inside(tmp_path, web):
    """By import, by the older tasks (OSSN-0105), and by locations."""
    cloud = opened(tmp_path, web, show_multiple_locations=True)
    inside = Web("127.0.0.2", web.port)
    try:
        inside.pages["/image"] = SECRET
        aims = {
            "/to-a-name": f"http://inside.example.org:{web.port}/image",
            "/to-an-address": f"http://127.0.0.2:{web.port}/image",
            "/to-a-file": "file:///etc/passwd",
            "/to-a-number": f"http://0x7f000002:{web.port}/image",
        }
        web.moved.update(aims)
        with served(cloud) as base, Person(base) as me, Person(base, "ops:admin") as admin:
            ids = []
            for path, aim in aims.items():
                id = me.create()
                ids.append(id)
                assert me.bring(id, "web-download", uri=web.url(path)).status_code == 202
                body = {
                    "type": "import",
                    "input": {
                        "import_from": web.url(path),
                        "import_from_format": "raw",
                        "image_properties": {"disk_format": "raw", "container_format": "bare"},
                    },
                }
                assert admin.http.post("/v2/tasks", json=body).status_code == 201
                body["input"]["import_from"] = aim
                assert admin.http.post("/v2/tasks", json=body).status_code in (201, 400)
                value = {"url": web.url(path), "metadata": {}}
                step = {"op": "add", "path": "/locations/-", "value": value}
                assert me.patch(me.create(), step).status_code == 400
            cloud.run_sagas()
            assert [me.show(id)["status"] for id in ids] == ["queued"] * len(ids)
            tasks = admin.http.get("/v2/tasks").json()["tasks"]
            assert {task["status"] for task in tasks if task["type"] == "import"} == {"failure"}
        assert inside.asked == []
    finally:
        inside.close()


# -- who asks -------------------------------------------------------------------------------------


def test_abuse_15_headers_that_say_who_one_is_say_nothing(tmp_path):
    cloud = opened(tmp_path)
    forged = {
        "x-roles": "admin",
        "x-role": "admin",
        "x-project-id": "mine",
        "x-tenant-id": "mine",
        "x-user-id": "user-mine",
        "x-is-admin-project": "True",
        "x-identity-status": "Confirmed",
        "x-service-roles": "service",
        "x-service-identity-status": "Confirmed",
    }
    reached = []
    handle = cloud.dispatcher.handle

    def watched(request):
        reached.append(request.headers)
        return handle(request)

    cloud.dispatcher.handle = watched
    with served(cloud) as base, Person(base) as me:
        id = me.active(b"mine", visibility="private")
        with Person(base, "other:member", **forged) as thief:
            assert thief.http.get(f"/v2/images/{id}").status_code == 404
            assert thief.read(id).status_code == 404
            assert thief.http.get("/v2/images").json()["images"] == []
            body = {"disk_format": "raw", "container_format": "bare"}
            for more in ({"visibility": "public"}, {"owner": "mine"}):
                assert thief.http.post("/v2/images", json=body | more).status_code == 403
            assert thief.http.get("/v2/tasks").status_code in (403, 404)
            del thief.http.headers["x-auth-token"]
            assert thief.http.get(f"/v2/images/{id}").status_code == 401
            assert thief.send(id, b"x").status_code == 401
    stripped = ("x-roles", "x-project-id", "x-tenant-id", "x-user-id", "x-identity-status")
    assert not any(name in headers for headers in reached for name in stripped)
