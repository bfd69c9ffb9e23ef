"""What killed processes leave, and what takes it away."""

import errno

from glance_cloud import build

from gureum.glance.drivers.base import NoRoom
from gureum.glance.logic import data
from gureum.glance.store import images as store


class Killed(BaseException):
    """Stands for the end of the process: no clean-up of ours runs after it."""


def kill_at(cloud, monkeypatch, point):
    """Let the process end at a point of an upload: its clean-up is switched off."""

    def die(*args, **kwargs):
        raise Killed

    monkeypatch.setattr(data, point, die)
    monkeypatch.setattr(data, "release", lambda deps, claim: True)


def die_during_upload(cloud, monkeypatch, tmp_path, point, verb="file"):
    image = cloud.create()
    kill_at(cloud, monkeypatch, point)
    try:
        cloud.upload(image["id"], b"bytes", verb=verb)
    except Killed:
        pass
    else:
        raise AssertionError("the upload went on")
    monkeypatch.undo()
    return image


def test_upload_of_a_dead_process_is_given_back(cloud, monkeypatch, tmp_path):
    for point in ("_receive", "inspect", "_renew", "_finish"):
        image = die_during_upload(cloud, monkeypatch, tmp_path, point)
        assert cloud.show(image["id"])["status"] == "saving"
        restarted = build(tmp_path)
        cloud.deps.store.close()
        cloud.deps.staging.close()
        assert restarted.reconcile() >= 1
        assert restarted.show(image["id"])["status"] == "queued"
        assert not restarted.kept() and restarted.unpublished() == 0
        assert restarted.upload(image["id"], b"again").status == 204
        assert restarted.call("DELETE", image["self"]).status == 204
        cloud = restarted


def test_upload_that_runs_is_left_alone(cloud, tmp_path):
    image = cloud.create()
    other = build(tmp_path)

    def during():
        yield b"by"
        assert cloud.reconcile() == 0
        assert other.reconcile() == 0
        assert cloud.upload(image["id"], b"x").status == 409
        yield b"tes"

    assert cloud.upload(image["id"], during()).status == 204
    assert cloud.show(image["id"])["size"] == 5


def test_stage_of_a_dead_process_is_given_back(cloud, monkeypatch, tmp_path):
    image = die_during_upload(cloud, monkeypatch, tmp_path, "_end", verb="stage")
    assert cloud.staged() == {image["id"]}
    assert cloud.reconcile() == 1
    assert cloud.show(image["id"])["status"] == "queued" and not cloud.staged()


def test_delete_that_cannot_remove_bytes_is_finished_later(cloud, monkeypatch):
    image = cloud.active()

    def busy(key):
        raise OSError(errno.EIO, "the disk does not answer")

    monkeypatch.setattr(cloud.deps.store, "delete", busy)
    assert cloud.call("DELETE", image["self"]).status == 204
    assert cloud.call("GET", image["self"]).status == 404
    assert cloud.names() == [] and cloud.kept() == {image["id"]}
    monkeypatch.undo()
    assert cloud.reconcile() == 1
    assert not cloud.kept() and cloud.reconcile() == 0
    with cloud.deps.db.read() as tx:
        assert store.get(tx, image["id"], None) is None and store.deleted_among(tx, [image["id"]])


def test_bytes_of_a_deleted_image_go_and_bytes_of_an_unknown_one_stay(cloud):
    image = cloud.active()
    assert cloud.call("DELETE", image["self"]).status == 204
    unknown = "11111111-2222-3333-4444-555555555555"
    for key in (image["id"], unknown):
        with cloud.deps.store.begin() as part:
            part.seal()
            part.publish(key)
    assert cloud.reconcile() == 1
    assert cloud.kept() == {unknown}


def test_full_disk_is_413_and_leaves_nothing(cloud, monkeypatch):
    image = cloud.create()
    begin = cloud.deps.store.begin

    def begin_full():
        part = begin()

        def full(chunk):
            raise NoRoom("full")

        part.write = full
        return part

    monkeypatch.setattr(cloud.deps.store, "begin", begin_full)
    assert cloud.upload(image["id"], b"x").status == 413
    monkeypatch.undo()
    assert cloud.show(image["id"])["status"] == "queued"
    assert not cloud.kept() and cloud.unpublished() == 0
