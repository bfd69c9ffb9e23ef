"""The bytes of images: in, out, and nothing left behind."""

import hashlib
import uuid

from glance_cloud import build, sha512


def test_uploaded_image_is_active_and_has_its_checksums(cloud):
    image = cloud.create(name="a", colour="red")
    assert image["status"] == "queued" and image["size"] is None
    assert image["colour"] == "red"

    answer = cloud.upload(image["id"], b"hello")

    assert answer.status == 204
    shown = cloud.show(image["id"])
    assert shown["status"] == "active"
    assert (shown["size"], shown["virtual_size"]) == (5, 5)
    assert shown["checksum"] == hashlib.md5(b"hello").hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", sha512(b"hello"))
    assert cloud.kept() == {image["id"]} and cloud.unpublished() == 0


def test_download_gives_the_bytes_with_their_md5(cloud):
    image = cloud.active(b"hello")
    answer = cloud.call("GET", f"/v2/images/{image['id']}/file")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["content-md5"] == image["checksum"]
    assert answer.headers["content-length"] == "5"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_download_of_a_range_is_206(cloud):
    image = cloud.active(b"0123456789")
    path = f"/v2/images/{image['id']}/file"
    for asked, content in (
        ("bytes=2-4", b"234"),
        ("bytes=7-", b"789"),
        ("bytes=-3", b"789"),
        ("bytes=0-99", b"0123456789"),
    ):
        answer = cloud.call("GET", path, headers={"range": asked})
        assert (answer.status, answer.body) == (206, content)
        assert answer.headers["content-range"].endswith("/10")
    legacy = cloud.call("GET", path, headers={"content-range": "bytes 2-4/10"})
    assert (legacy.status, legacy.body) == (206, b"234")


def test_download_of_an_impossible_range_is_416(cloud):
    image = cloud.active(b"0123456789")
    for asked in ("bytes=10-", "bytes=4-2", "bytes=x", "bytes=1-2,4-5", "bytes=-", "bytes=-0"):
        answer = cloud.call("GET", f"/v2/images/{image['id']}/file", headers={"range": asked})
        assert answer.status == 416, asked


def test_download_without_bytes_is_204(cloud):
    image = cloud.create()
    assert cloud.call("GET", f"/v2/images/{image['id']}/file").status == 204


def test_head_has_the_headers_and_no_body(cloud):
    image = cloud.active(b"hello")
    answer = cloud.call("HEAD", f"/v2/images/{image['id']}/file")
    assert answer.status == 200 and answer.headers["content-length"] == "5"


def test_second_upload_is_409(cloud):
    image = cloud.active()
    assert cloud.upload(image["id"], b"other").status == 409
    assert cloud.call("GET", f"/v2/images/{image['id']}/file").body == b"bytes"


def test_upload_without_formats_is_400(cloud):
    image = cloud.create(disk_format=None)
    assert cloud.upload(image["id"], b"x").status == 400
    assert cloud.show(image["id"])["status"] == "queued"


def test_upload_of_another_media_type_is_415(cloud):
    image = cloud.create()
    assert cloud.upload(image["id"], b"x", media="application/json").status == 415


def test_upload_to_another_projects_image_is_404(cloud):
    image = cloud.create()
    assert cloud.upload(image["id"], b"x", token="other:member").status == 404
    assert cloud.upload(image["id"], b"x", token="mine:reader").status == 403
    assert cloud.upload(str(uuid.uuid4()), b"x").status == 404


def test_cut_upload_leaves_a_queued_image_and_no_bytes(cloud):
    image = cloud.create()

    def cut():
        yield b"first"
        raise ConnectionError("gone")

    assert cloud.upload(image["id"], cut()).status == 400
    assert cloud.show(image["id"])["status"] == "queued"
    assert not cloud.kept() and cloud.unpublished() == 0
    assert cloud.upload(image["id"], b"again").status == 204


def test_upload_shorter_than_announced_is_400(cloud):
    image = cloud.create()
    assert cloud.upload(image["id"], b"abc", length=5).status == 400
    assert cloud.show(image["id"])["status"] == "queued"


def test_image_over_the_cap_is_413_and_leaves_nothing(tmp_path):
    cloud = build(tmp_path, image_size_cap=10)
    image = cloud.create()
    assert cloud.upload(image["id"], b"x" * 11, length=11).status == 413
    assert cloud.upload(image["id"], iter([b"x" * 6, b"x" * 6])).status == 413
    assert cloud.show(image["id"])["status"] == "queued"
    assert not cloud.kept() and cloud.unpublished() == 0
    assert cloud.upload(image["id"], b"x" * 10).status == 204


def test_abuse_11_storage_quota_holds_for_chunked_and_parallel_uploads(tmp_path):
    cloud = build(tmp_path, user_storage_quota="10B")
    first, second, third = cloud.create(), cloud.create(), cloud.create()
    assert cloud.upload(first["id"], iter([b"x" * 6, b"x" * 6])).status == 413

    def during():
        yield b"x" * 6
        assert cloud.upload(second["id"], b"y" * 6).status == 204

    assert cloud.upload(first["id"], during()).status == 413
    assert cloud.show(first["id"])["status"] == "queued"
    assert cloud.kept() == {second["id"]}
    assert cloud.upload(third["id"], b"z" * 5, length=5).status == 413
    assert cloud.upload(third["id"], b"z" * 4).status == 204
    usage = cloud.call("GET", "/v2/info/usage").json()["usage"]
    assert usage["image_count_total"] == {"usage": 3, "limit": -1}


def test_image_deleted_during_its_upload_is_410_and_leaves_nothing(cloud):
    image = cloud.create()

    def during():
        yield b"x"
        assert cloud.call("DELETE", f"/v2/images/{image['id']}").status == 204

    assert cloud.upload(image["id"], during()).status == 410
    assert not cloud.kept() and cloud.unpublished() == 0
    assert cloud.call("GET", f"/v2/images/{image['id']}").status == 404


def test_deleted_image_leaves_no_bytes_and_its_id_stays_taken(cloud):
    image = cloud.active()
    assert cloud.call("DELETE", f"/v2/images/{image['id']}").status == 204
    assert not cloud.kept()
    assert cloud.call("DELETE", f"/v2/images/{image['id']}").status == 404
    body = {"id": image["id"], "disk_format": "raw", "container_format": "bare"}
    assert cloud.call("POST", "/v2/images", body, token="other:member").status == 409


def test_deactivated_image_is_403_for_its_owner_and_not_for_an_administrator(cloud):
    image = cloud.active()
    path = f"/v2/images/{image['id']}"
    assert cloud.call("POST", f"{path}/actions/deactivate").status == 204
    assert cloud.call("POST", f"{path}/actions/deactivate").status == 204
    assert cloud.show(image["id"])["status"] == "deactivated"
    assert cloud.call("GET", f"{path}/file").status == 403
    assert cloud.call("GET", f"{path}/file", token="ops:admin").body == b"bytes"
    assert cloud.call("POST", f"{path}/actions/reactivate").status == 204
    assert cloud.call("GET", f"{path}/file").status == 200
    assert cloud.call("POST", f"{path}/actions/deactivate", token="mine:reader").status == 403
    queued = cloud.create()
    assert cloud.call("POST", f"/v2/images/{queued['id']}/actions/deactivate").status == 403


def test_staged_image_is_active_after_its_import(cloud):
    image = cloud.create()
    assert cloud.upload(image["id"], b"hello", verb="stage").status == 204
    assert cloud.show(image["id"])["status"] == "uploading"
    assert cloud.call("GET", f"/v2/images/{image['id']}/file").status == 204
    assert cloud.import_image(image["id"], "no-such-method").status == 400
    assert cloud.import_image(image["id"]).status == 202
    assert cloud.show(image["id"])["status"] == "importing"
    assert cloud.show(image["id"])["os_glance_importing_to_stores"] == "file"
    cloud.run_sagas()
    shown = cloud.show(image["id"])
    assert (shown["status"], shown["os_hash_value"]) == ("active", sha512(b"hello"))
    assert shown["stores"] == "file" and shown["os_glance_importing_to_stores"] == ""
    assert cloud.kept() == {image["id"]} and not cloud.staged() and cloud.unpublished() == 0
    assert cloud.import_image(image["id"]).status == 409
