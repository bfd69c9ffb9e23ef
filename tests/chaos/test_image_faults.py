"""Images whose upload, import or deletion is killed or loses a commit's answer: whole, or as before.

Every commit is tried, in its two ways: the process is killed by SIGKILL before or after it, or its answer is
lost. A disk that is full, or takes no more bytes of a file, is an honest refusal.
"""

import signal

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import pytest
from forked import Deadly, in_child
from glance_cloud import build
from lost_commits import LostCommits

BYTES = b"a disk of a few bytes" * 100


def upload(cloud, image):
    return cloud.upload(image["id"], BYTES).status


def stage_and_import(cloud, image):
    status = cloud.upload(image["id"], BYTES, verb="stage").status
    if status == 204:
        status = cloud.import_image(image["id"]).status
        run(cloud)
    return status


def delete(cloud, image):
    return cloud.call("DELETE", f"/v2/images/{image['id']}").status


def run(cloud):
    """Run imports; what the database refused is looked for again."""
    for _ in range(3):
        try:
            cloud.run_sagas()
            return
        except Exception as error:
            if type(error).__name__ != "CommitUnknown":
                raise
            cloud.clock.now += 60.0


VERBS = {"upload": upload, "import": stage_and_import, "delete": delete}


def judge(cloud, image_id, before, where):
    """The image is whole, or as it was; no bytes lie about; the verb works now."""
    cloud.reconcile()
    run(cloud)
    cloud.reconcile()
    answer = cloud.call("GET", f"/v2/images/{image_id}")
    status = None if answer.status == 404 else answer.json()["status"]
    assert status in {"active", None, "queued", "uploading"}, (where, status)
    if status == "active":
        read = cloud.call("GET", f"/v2/images/{image_id}/file")
        assert (read.status, read.body) == (200, BYTES), where
        assert cloud.staged() == set(), where
    if status is None:
        assert cloud.kept() == set() and cloud.staged() == set(), where
    assert cloud.unpublished() == 0, where
    if status == "queued":
        assert cloud.upload(image_id, BYTES).status == 204, where
    if status == "uploading":
        assert cloud.import_image(image_id).status == 202, where
        run(cloud)
    assert cloud.call("DELETE", f"/v2/images/{image_id}").status in (204, 404), where
    cloud.reconcile()
    assert cloud.kept() == set() and cloud.staged() == set(), where


def prepare(directory, verb):
    cloud = build(directory)
    return cloud, cloud.active(BYTES) if verb == "delete" else cloud.create()


@pytest.mark.parametrize("verb", VERBS)
def test_lost_answer_of_any_commit_loses_no_image(verb, tmp_path, monkeypatch):
    lost = LostCommits(monkeypatch)

    def once(nth):
        cloud, image = prepare(tmp_path / f"lost-{nth}", verb)
        with lost.at(nth):
            status = VERBS[verb](cloud, image)
        where = f"{verb}, answer of commit {nth} lost: {status}"
        assert status in (202, 204, 404, 409, 503), where
        if verb == "upload" and status == 204:
            assert cloud.show(image["id"])["status"] == "active", where
        judge(cloud, image["id"], "active" if verb == "delete" else "queued", where)
        return lost.count

    commits = once(0)
    assert commits >= 1
    for nth in range(1, commits + 1):
        assert once(nth) >= nth


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_commit_no_image_is_lost(verb, tmp_path):
    def first_life(directory, nth):
        cloud, image = prepare(directory, verb)
        (directory / "id").write_text(image["id"])
        deadly = Deadly(nth)
        deadly.at_commits()
        VERBS[verb](cloud, image)
        (directory / "count").write_text(str(deadly.count))

    quiet = tmp_path / "quiet"
    assert in_child(lambda: first_life(quiet, 0)) == 0
    points = int((quiet / "count").read_text())
    assert points >= 2
    for nth in range(1, points + 1):
        directory = tmp_path / f"killed-{nth}"
        assert in_child(lambda d=directory, n=nth: first_life(d, n)) == -signal.SIGKILL
        image_id = (directory / "id").read_text()

        def second_life(d=directory, one=image_id, n=nth):
            cloud = build(d)
            cloud.clock.now += 60.0
            judge(cloud, one, "active" if verb == "delete" else "queued", f"{verb}, killed at {n}")

        assert in_child(second_life) == 0, f"{verb}, killed at point {nth} of {points}"


def test_disk_that_takes_no_more_bytes_refuses_the_upload_and_keeps_nothing(tmp_path):
    """RLIMIT_FSIZE makes the file system refuse real writes, in a process of its own."""

    def work():
        import resource

        cloud = build(tmp_path / "full")
        image = cloud.create()
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        status = cloud.upload(image["id"], iter([b"x" * 65536] * 16)).status
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert status in (413, 503), status
        assert cloud.show(image["id"])["status"] == "queued"
        assert cloud.kept() == set() and cloud.unpublished() == 0
        assert cloud.upload(image["id"], BYTES).status == 204

    assert in_child(work) == 0
