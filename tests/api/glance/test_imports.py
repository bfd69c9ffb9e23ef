"""Imports: methods, stores, plugins, what is refused, what is shown meanwhile."""

import bz2
import dataclasses
import gzip
import io
import lzma
import shutil
import uuid
import zipfile

import pytest
from glance_cloud import Cloud, MemoryStore, Tokens, build, sha512
from web import Web

from gureum.core.http.dispatch import Dispatcher
from gureum.core.runner import Runner
from gureum.glance.config import ImportOptions
from gureum.glance.drivers.base import StoreFault
from gureum.glance.drivers.fetch import Fetcher, Filters, Refused, Unreachable
from gureum.glance.drivers.file import FileStore
from gureum.glance.service import SERVICE

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing")


@pytest.fixture(scope="module")
def web():
    made = Web()
    yield made
    made.close()


@pytest.fixture
def wide(tmp_path, web):
    """Three stores, and a network in which the web server's private address is allowed."""
    filters = Filters(allowed_ports=(web.port,), networks=("127.0.0.0/8",))
    more = [MemoryStore(name="second", weight=5), MemoryStore(name="third")]
    return build(
        tmp_path, filters=filters, resolver=lambda host, port: ["127.0.0.1"], more_stores=more
    )


def staged(cloud, content=b"hello", **values):
    image = cloud.create(**values)
    assert cloud.upload(image["id"], content, verb="stage").status == 204
    return image


def imported(cloud, image, method="glance-direct", **more):
    answer = cloud.import_image(image["id"], method, **more)
    assert answer.status == 202, answer.body
    cloud.run_sagas()
    return cloud.show(image["id"])


# -- stores ---------------------------------------------------------------------------------------


def test_upload_goes_to_the_store_of_the_header(wide):
    image = wide.create()
    headers = {"x-image-meta-store": "second"}
    assert wide.upload(image["id"], b"x", headers={"x-image-meta-store": "none"}).status == 400
    assert wide.upload(image["id"], b"hello", headers=headers).status == 204
    assert wide.show(image["id"])["stores"] == "second"
    assert wide.kept("second") == {image["id"]} and not wide.kept()
    assert wide.call("GET", image["file"]).body == b"hello"


def test_import_to_all_stores_names_them_by_weight(wide):
    shown = imported(wide, staged(wide), all_stores=True)
    assert shown["stores"] == "second,file,third" and shown["status"] == "active"
    for store in ("file", "second", "third"):
        assert wide.kept(store) == {shown["id"]}
    assert not wide.staged()


def test_import_to_named_stores(wide):
    assert imported(wide, staged(wide), stores=["third", "file", "third"])["stores"] == "file,third"


def test_import_to_unknown_or_no_stores_is_400(wide):
    image = staged(wide)
    assert wide.import_image(image["id"], stores=["none"]).status == 400
    assert wide.import_image(image["id"], stores=[]).status == 400
    assert wide.import_image(image["id"], stores=["file"], all_stores=True).status == 400
    assert wide.show(image["id"])["status"] == "uploading"


def test_one_failing_store_fails_the_import_unless_it_need_not_succeed(wide, monkeypatch):
    def broken(key, path):
        raise StoreFault("it is away")

    monkeypatch.setattr(wide.deps.stores["third"], "put", broken)
    first, second = staged(wide), staged(wide)
    shown = imported(wide, first, all_stores=True)
    assert shown["status"] == "queued"
    assert shown["os_glance_failed_import"] == "second,file,third"
    assert not wide.kept() and not wide.kept("second")
    shown = imported(wide, second, all_stores=True, all_stores_must_succeed=False)
    assert (shown["status"], shown["stores"]) == ("active", "second,file")
    assert shown["os_glance_failed_import"] == "third"


def test_copy_image_is_for_administrators_and_adds_what_is_missing(wide):
    image = wide.active(b"hello")
    assert wide.import_image(image["id"], "copy-image", all_stores=True).status == 403
    answer = wide.import_image(image["id"], "copy-image", all_stores=True, token="ops:admin")
    assert answer.status == 202
    shown = wide.show(image["id"])
    assert shown["status"] == "active"
    assert shown["os_glance_importing_to_stores"] == "second,third"
    wide.run_sagas()
    assert wide.show(image["id"])["stores"] == "second,file,third"
    again = wide.import_image(image["id"], "copy-image", stores=["third"], token="ops:admin")
    assert again.status == 400
    queued = wide.create()
    refused = wide.import_image(queued["id"], "copy-image", all_stores=True, token="ops:admin")
    assert refused.status == 409


def test_copy_of_damaged_bytes_fails_and_leaves_the_image(wide):
    image = wide.active(b"hello")
    wide.deps.stores["file"].path(image["id"]).write_bytes(b"jello")
    shown = imported(wide, image, "copy-image", stores=["third"], token="ops:admin")
    assert (shown["status"], shown["stores"]) == ("active", "file")
    assert not wide.kept("third") and shown["os_glance_failed_import"] == "third"


def test_delete_from_a_store_keeps_the_others(wide):
    image = imported(wide, staged(wide), all_stores=True)
    path = f"/v2/stores/second/{image['id']}"
    assert wide.call("DELETE", path).status == 403
    assert wide.call("DELETE", path, token="ops:admin").status == 204
    assert wide.call("DELETE", path, token="ops:admin").status == 404
    assert wide.show(image["id"])["stores"] == "file,third" and not wide.kept("second")
    assert wide.call("GET", image["file"]).body == b"hello"
    assert wide.call("DELETE", f"/v2/stores/file/{image['id']}", token="ops:admin").status == 204
    last = wide.call("DELETE", f"/v2/stores/third/{image['id']}", token="ops:admin")
    assert last.status == 403 and wide.show(image["id"])["stores"] == "third"
    assert wide.call("DELETE", f"/v2/stores/x/{image['id']}", token="ops:admin").status == 404
    assert wide.call("DELETE", f"/v2/stores/x/{uuid.uuid4()}", token="ops:admin").status == 404


def test_delete_from_a_store_that_is_away_ends_later(wide, monkeypatch):
    image = imported(wide, staged(wide), all_stores=True)

    def away(key):
        raise StoreFault("it is away")

    monkeypatch.setattr(wide.deps.stores["second"], "delete", away)
    path = f"/v2/stores/second/{image['id']}"
    assert wide.call("DELETE", path, token="ops:admin").status == 204
    assert wide.show(image["id"])["stores"] == "file,third" and wide.kept("second")
    copy = {"token": "ops:admin", "stores": ["second"]}
    assert wide.import_image(image["id"], "copy-image", **copy).status == 409
    monkeypatch.undo()
    assert wide.reconcile() == 1 and not wide.kept("second")
    assert imported(wide, image, "copy-image", **copy)["stores"] == "second,file,third"


def test_download_takes_the_next_store_when_one_is_away(wide, monkeypatch):
    image = imported(wide, staged(wide), all_stores=True)

    def away(key, offset, length):
        raise StoreFault("it is away")

    monkeypatch.setattr(wide.deps.stores["second"], "stream", away)
    assert wide.call("GET", image["file"]).body == b"hello"
    wide.deps.stores["file"].delete(image["id"])
    monkeypatch.setattr(wide.deps.stores["third"], "stream", away)
    wide.deps.cache.clear()
    assert wide.call("GET", image["file"]).status == 503


def test_an_import_that_is_under_way_keeps_others_out_and_can_be_deleted(wide):
    image = staged(wide)
    assert wide.import_image(image["id"]).status == 202
    assert wide.import_image(image["id"]).status == 409
    assert wide.upload(image["id"], b"x").status == 409
    assert wide.call("DELETE", image["self"]).status == 204
    assert wide.call("GET", image["self"]).status == 404
    wide.run_sagas()
    assert not wide.staged() and not wide.kept()
    assert wide.reconcile() == 0


def test_bytes_in_a_staging_folder_of_another_process_are_refused_clearly(tmp_path):
    """Two glance-api with one database, which do not share their staging folder."""
    here = build(tmp_path)
    there = Cloud(here.dispatcher, here.deps, here.clock)
    apart = FileStore(tmp_path / "apart", "staging")
    there.deps = dataclasses.replace(here.deps, staging=apart)
    there.dispatcher = Dispatcher(
        SERVICE, here.deps.policy, Tokens(), {"": here.deps.db}, there.deps
    )

    def now(cloud):
        here.deps.db.deps = cloud.deps  # a process has its own; this test has one for both
        return cloud

    image = staged(now(here))
    answer = now(there).import_image(image["id"])
    assert answer.status == 409 and "node_staging_uri" in answer.json()["message"]
    assert now(here).show(image["id"])["status"] == "uploading"
    assert here.import_image(image["id"]).status == 202
    now(there).run_sagas()  # whoever runs it says why it cannot
    task = there.call("GET", f"{image['self']}/tasks").json()["tasks"][0]
    assert task["status"] == "failure" and "node_staging_uri" in task["message"]
    assert there.show(image["id"])["status"] == "queued"
    shared = FileStore(here.deps.staging.folder, "staging")
    assert shared.identity() == here.deps.staging.identity() != apart.identity()
    assert here.staged() == {image["id"]} and not there.staged()


# -- web-download ---------------------------------------------------------------------------------


def test_web_download_imports_what_is_at_a_url(wide, web):
    web.pages["/disk"] = b"from afar"
    image = wide.create()
    shown = imported(wide, image, "web-download", details={"uri": web.url("/disk")})
    assert (shown["status"], shown["os_hash_value"]) == ("active", sha512(b"from afar"))
    assert ("/disk", f"images.example.org:{web.port}") in web.asked
    tasks = wide.call("GET", f"{image['self']}/tasks").json()["tasks"]
    assert [(task["status"], task["type"]) for task in tasks] == [("success", "api_image_import")]
    assert tasks[0]["input"]["import_req"]["method"]["name"] == "web-download"
    assert tasks[0]["result"] == {"image_id": image["id"]}


def test_web_download_of_nothing_says_why(wide, web):
    web.pages["/half"] = b"x" * 1000
    web.cut.add("/half")
    for path in ("/none", "/half"):
        image = wide.create()
        shown = imported(wide, image, "web-download", details={"uri": web.url(path)})
        assert shown["status"] == "queued" and shown["os_glance_failed_import"] == "file"
        task = wide.call("GET", f"{image['self']}/tasks").json()["tasks"][0]
        assert task["status"] == "failure" and "download" in task["message"]
        assert not wide.staged() and wide.unpublished() == 0


def test_abuse_12_web_download_refuses_what_the_lists_refuse(tmp_path):
    cloud = build(tmp_path, filters=Filters(disallowed_hosts=("secret.example.org",)))
    image = cloud.create()
    for uri in (
        "file:///etc/passwd",
        "ftp://example.org/x",
        "http://secret.example.org/x",
        "http://SECRET.example.org/x",
        "http://example.org:22/x",
        "http://user:pass@example.org/x",
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://[64:ff9b::7f00:1]/x",
        "http://169.254.169.254/latest/meta-data",
        "http://10.1.2.3/x",
        "http://0.0.0.0/x",
        "gopher://example.org/x",
        "http:///x",
        "http://example.org:99999/x",
        "http://exa\nmple.org/x",
        "",
        7,
    ):
        answer = cloud.import_image(image["id"], "web-download", details={"uri": uri})
        assert answer.status == 400, uri
        assert cloud.show(image["id"])["status"] == "queued"
    allowed = build(tmp_path, filters=Filters(allowed_hosts=("mirror.example.org",)))
    uri = "http://elsewhere.example.org/x"
    answer = allowed.import_image(image["id"], "web-download", details={"uri": uri})
    assert answer.status == 400 and "does not pass filtering" in answer.json()["message"]


def test_abuse_12_a_name_that_means_a_private_address_is_not_followed(tmp_path, web):
    asked = len(web.asked)
    now = []
    cloud = build(
        tmp_path,
        filters=Filters(allowed_ports=(web.port,)),
        resolver=lambda host, port: ["93.184.216.34", *now],
    )
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1"):
        now[:] = [address]
        image = cloud.create()
        shown = imported(cloud, image, "web-download", details={"uri": web.url("/disk")})
        assert shown["status"] == "queued" and shown["os_glance_failed_import"] == "file"
    assert len(web.asked) == asked


def test_abuse_12_redirects_pass_the_same_checks(wide, web):
    web.pages["/target"] = b"moved"
    web.moved["/good"] = web.url("/target")
    web.moved["/other-port"] = "http://images.example.org:22/x"
    web.moved["/file"] = "file:///etc/passwd"
    web.moved["/literal"] = "http://169.254.169.254/latest/meta-data"
    web.moved["/loop"] = "/loop"
    image = wide.create()
    assert imported(wide, image, "web-download", details={"uri": web.url("/good")})["size"] == 5
    for path in ("/other-port", "/file", "/literal", "/loop"):
        image = wide.create()
        shown = imported(wide, image, "web-download", details={"uri": web.url(path)})
        assert shown["status"] == "queued", path


def test_abuse_12_the_address_that_was_checked_is_the_one_that_is_asked(web):
    """A name server that answers otherwise the second time changes nothing."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    fetcher = Fetcher(
        Filters(allowed_ports=(web.port,), networks=("127.0.0.0/8",)),
        resolver=lambda host, port: next(answers),
    )
    web.pages["/pinned"] = b"x"
    with fetcher.open(web.url("/pinned")) as opened:
        assert b"".join(opened.chunks()) == b"x"
    with pytest.raises(Refused):
        fetcher.open(web.url("/pinned"))


def test_names_that_do_not_resolve_are_unreachable():
    def nothing(host, port):
        raise OSError("no such name")

    with pytest.raises(Unreachable):
        Fetcher(Filters(), resolver=nothing).open("http://example.org/x")


# -- plugins --------------------------------------------------------------------------------------


def zipped(content, names=("disk",)):
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return kept.getvalue()


PACKED = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zip": zipped}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_images_are_unpacked_when_the_plugin_is_on(tmp_path, kind):
    content = b"a disk" * 1000
    packed = PACKED[kind](content)
    plugins = ImportOptions(image_import_plugins=["image_decompression"])
    cloud = build(tmp_path, imports=plugins)
    assert imported(cloud, staged(cloud, packed))["os_hash_value"] == sha512(content)
    kept = imported(cloud, staged(cloud, packed, container_format="compressed"))
    assert kept["os_hash_value"] == sha512(packed)
    assert imported(build(tmp_path), staged(build(tmp_path), packed))["size"] == len(packed)


def test_abuse_8_a_bomb_does_not_unpack_beyond_the_cap(tmp_path):
    plugins = ImportOptions(image_import_plugins=["image_decompression"])
    cloud = build(tmp_path, imports=plugins, image_size_cap=1 << 20)
    bomb = gzip.compress(bytes(8 << 20))
    assert len(bomb) < 1 << 14
    shown = imported(cloud, staged(cloud, bomb))
    assert shown["status"] == "queued" and not cloud.staged() and cloud.unpublished() == 0


def test_damaged_archives_are_refused(tmp_path):
    plugins = ImportOptions(image_import_plugins=["image_decompression"])
    cloud = build(tmp_path, imports=plugins)
    for bad in (gzip.compress(b"x" * 10000)[:-20], zipped(b"x", ("a", "b")), b"PK\x03\x04junk"):
        assert imported(cloud, staged(cloud, bad))["status"] == "queued"


@needs_qemu
@pytest.mark.parametrize(
    "source",
    ["qcow2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vmdk", "vdi", "vhdx", "vhd"))],
)
def test_images_are_converted_to_the_operators_format(tmp_path, source):
    content = b"sector of a disk" * 4096  # 64 KiB
    raw, made = tmp_path / "raw", tmp_path / "made"
    raw.write_bytes(content)
    name = {"vhd": "vpc"}.get(source, source)
    Runner().run(["qemu-img", "convert", "-f", "raw", "-O", name, str(raw), str(made)], timeout_s=30)
    plugins = ImportOptions(image_import_plugins=["image_conversion"])
    cloud = build(tmp_path, inspect=True, imports=plugins)
    shown = imported(cloud, staged(cloud, made.read_bytes(), disk_format=source))
    assert (shown["status"], shown["disk_format"]) == ("active", "raw"), shown
    body = cloud.call("GET", shown["file"]).body
    assert body.startswith(content) and not body[len(content) :].strip(b"\0")
    assert shown["size"] == len(body) and shown["os_hash_value"] == sha512(body)


@needs_qemu
def test_abuse_1_an_image_with_a_backing_file_is_never_converted(tmp_path):
    made = tmp_path / "made"
    command = ["qemu-img", "create", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw"]
    Runner().run([*command, str(made), "1M"], timeout_s=30)
    plugins = ImportOptions(image_import_plugins=["image_conversion"])
    cloud = build(tmp_path, inspect=True, imports=plugins)
    shown = imported(cloud, staged(cloud, made.read_bytes(), disk_format="qcow2"))
    assert shown["status"] == "queued" and not cloud.kept()


@needs_qemu
def test_abuse_7_a_small_file_that_claims_a_huge_disk_is_not_converted(tmp_path):
    made = tmp_path / "made"
    Runner().run(["qemu-img", "create", "-f", "qcow2", str(made), "8T"], timeout_s=30)
    plugins = ImportOptions(image_import_plugins=["image_conversion"])
    cloud = build(tmp_path, inspect=True, imports=plugins)
    shown = imported(cloud, staged(cloud, made.read_bytes(), disk_format="qcow2"))
    assert shown["status"] == "queued" and shown["os_glance_failed_import"] == "file"


def test_metadata_is_injected_unless_the_role_is_ignored(tmp_path):
    plugins = ImportOptions(
        image_import_plugins=["inject_image_metadata"], inject={"hw_disk_bus": "virtio"}
    )
    cloud = build(tmp_path, imports=plugins)
    assert imported(cloud, staged(cloud))["hw_disk_bus"] == "virtio"
    image = staged(cloud)
    assert "hw_disk_bus" not in imported(cloud, image, token="mine:admin")


def test_unknown_methods_and_images_of_others_are_refused(wide):
    image = staged(wide)
    assert wide.import_image(image["id"], "none").status == 400
    assert wide.import_image(image["id"], token="other:member").status == 404
    assert wide.import_image(image["id"], token="mine:reader").status == 403
    bad = {"glance_image_id": "foo", "glance_region": "two"}
    answer = wide.import_image(image["id"], "glance-download", details=bad)
    assert answer.status == 400 and "image id does not look like a UUID" in answer.json()["message"]
    silent = wide.import_image(image["id"], "glance-download")  # openstacksdk without an interface
    assert silent.status == 400 and "--remote-service-interface" in silent.json()["message"]
