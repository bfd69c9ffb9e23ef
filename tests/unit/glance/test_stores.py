"""What every store keeps to, and what the file store does for dead processes."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from small_swift import SmallSwift
from store_suite import (  # noqa: F401
    KEY,
    OTHER,
    keep,
    test_a_local_file_is_kept_and_stays_where_it_is,
    test_absent_bytes_are_a_key_error_before_the_first_byte,
    test_delete_says_whether_there_was_something,
    test_empty_images_are_kept,
    test_large_files_come_back_byte_for_byte,
    test_properties_hide_keys,
    test_published_bytes_are_there_whole,
    test_publishing_takes_the_place_of_leftovers,
    test_sealed_bytes_can_be_read_before_they_are_published,
    test_unpublished_bytes_leave_nothing,
)

from gureum.glance.drivers import file
from gureum.glance.drivers.base import NoRoom, ReadOnly, StoreFault
from gureum.glance.drivers.fetch import Fetcher, Filters
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.http import HttpStore
from gureum.glance.drivers.memory import MemoryStore
from gureum.glance.drivers.stores import Stores
from gureum.glance.drivers.swift import SwiftStore


@pytest.fixture(scope="module")
def s3_server():
    """moto's S3 server, from PyPI, at a port of its own."""
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install gureum[s3]")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    made = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    yield f"http://{host}:{port}"
    made.stop()


@pytest.fixture
def swift_server():
    made = SmallSwift()
    yield made
    made.close()


def s3_store(request, spool):
    from gureum.glance.drivers.s3 import S3Store

    url = request.getfixturevalue("s3_server")
    return S3Store(
        spool,
        host=url,
        access_key="key",
        secret_key="secret",
        bucket=f"images-{abs(hash(request.node.name))}",
        url_format="path",
        create_bucket=True,
        large_object_size_mib=5,
        part_size_mib=5,
    )


def swift_store(server, spool, **more):
    values = {"create_container": True, "large_object_size_mib": 1, "segment_size_mib": 1}
    return SwiftStore(
        spool, auth_address=server.url, user="service:images", key="secret",
        interface="publicURL", **{**values, **more},
    )  # fmt: skip


@pytest.fixture(params=["file", "memory", "s3", "swift"])
def store(request, tmp_path):
    spool = FileStore(tmp_path / "spool")
    if request.param == "file":
        made = FileStore(tmp_path / "images")
    elif request.param == "memory":
        made = MemoryStore()
    elif request.param == "s3":
        made = s3_store(request, spool)
    else:
        made = swift_store(request.getfixturevalue("swift_server"), spool)
    yield made
    made.close()
    spool.close()


def test_the_file_store_lends_and_lists(tmp_path):
    store = FileStore(tmp_path / "images")
    keep(store)
    assert list(store.keys()) == [KEY]
    with store.local(KEY) as path:
        assert path.read_bytes() == b"0123456789"
    with pytest.raises(KeyError), store.local(OTHER):
        pass


def test_only_this_process_is_alive(tmp_path):
    store = FileStore(tmp_path / "images")
    machine = store.holder.rpartition(".")[0]
    assert store.is_alive(store.holder) and not store.is_alive(f"{machine}.{'0' * 32}")
    assert store.is_alive(f"another-machine.{'0' * 32}")  # nothing tells that it died


def test_files_of_one_file_system_are_linked_and_not_copied(tmp_path):
    store = FileStore(tmp_path / "images")
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    store.put(KEY, source)
    assert os.path.samefile(store.path(KEY), source)


def test_files_of_another_file_system_are_copied(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "images")
    source = tmp_path / "source"
    source.write_bytes(b"abc" * 1000)

    def far(*args):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", far)
    store.put(KEY, source)
    assert store.path(KEY).read_bytes() == b"abc" * 1000
    assert not os.path.samefile(store.path(KEY), source)
    assert list((tmp_path / "images" / ".uploads" / store.holder).iterdir()) == []


@pytest.mark.parametrize("fault", [None, errno.EXDEV, errno.EINVAL, errno.ENOTSUP])
def test_files_are_copied_between_file_systems_of_two_kinds(tmp_path, monkeypatch, fault):
    other = Path("/dev/shm")
    if fault is None:
        if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is no file system of its own")
        folder = tempfile.TemporaryDirectory(dir=other)
    else:
        folder = tempfile.TemporaryDirectory(dir=tmp_path)

        def refuse(*args):
            raise OSError(fault, os.strerror(fault))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    with folder as path:
        source = Path(path) / "source"
        source.write_bytes(bytes(range(256)) * 10_000)
        store = FileStore(tmp_path / "kept")
        with store.begin() as upload:
            upload.copy(source)
            upload.seal()
            upload.publish("whole")
        assert store.path("whole").read_bytes() == source.read_bytes()
        store.put("linked-or-copied", source)
        assert store.path("linked-or-copied").read_bytes() == source.read_bytes()


def test_swift_renews_its_token_once_it_is_refused(swift_server, tmp_path):
    store = swift_store(swift_server, FileStore(tmp_path / "spool"))
    keep(store)
    swift_server.tokens.clear()
    assert store.size(KEY) == 10 and swift_server.logins == 2


def test_swift_leaves_no_segments_of_an_upload_that_broke(swift_server, tmp_path):
    store = swift_store(swift_server, FileStore(tmp_path / "spool"))
    source = tmp_path / "large"
    source.write_bytes(b"x" * (5 << 19))
    swift_server.objects = {"glance": {}, "glance_segments": {}}
    swift_server.fail_next = [204, 204, 201, 503]  # containers are there, a segment, then no more
    with pytest.raises(StoreFault):
        store.put(KEY, source)
    assert store.delete(KEY) is False
    assert swift_server.objects == {"glance": {}, "glance_segments": {}}


def test_swift_that_is_full_is_no_room(swift_server, tmp_path):
    store = swift_store(swift_server, FileStore(tmp_path / "spool"))
    store._need("glance")
    swift_server.fail_next = [204, 507]
    with pytest.raises(NoRoom):
        keep(store)


def test_stores_that_do_not_answer_are_faults(request, tmp_path):
    spool = FileStore(tmp_path / "spool")
    dead = SwiftStore(spool, auth_address="http://127.0.0.1:1/v3", user="a:b", key="c")
    with pytest.raises(StoreFault):
        dead.size(KEY)
    web = HttpStore(Fetcher(Filters(allowed_ports=(1,), networks=("127.0.0.0/8",))))
    with pytest.raises(StoreFault):
        web.size("http://127.0.0.1:1/image")


def test_the_http_store_takes_nothing(tmp_path):
    web = HttpStore(Fetcher(Filters()))
    with pytest.raises(ReadOnly):
        web.begin()
    with pytest.raises(ReadOnly):
        web.put("http://example.org/x", tmp_path)
    assert web.delete("http://example.org/x") is False


def test_stores_are_asked_by_weight_then_by_name():
    a, b, c = (
        MemoryStore(name=name, weight=weight) for name, weight in zip("abc", (0, 5, 5), strict=True)
    )
    stores = Stores([a, c, b], "a")
    assert [store.name for store in stores] == ["b", "c", "a"]
    assert stores.default is a and [store.name for store in stores.listed()] == ["a", "c", "b"]
    with pytest.raises(ValueError, match="not enabled"):
        Stores([a], "b")
    with pytest.raises(ValueError, match="takes no images"):
        Stores([HttpStore(Fetcher(Filters()))], "http")


def test_names_that_leave_the_folder_are_no_keys(tmp_path):
    store = FileStore(tmp_path / "images")
    for name in ("../x", "/etc/passwd", ".uploads", "", "a/b"):
        with pytest.raises(KeyError):
            store.path(name)


def test_full_disk_is_no_room_and_leaves_nothing(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "images")

    def full(fd):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom), store.begin() as upload:
        upload.write(b"x")
        upload.seal()
        upload.publish(KEY)
    assert store.size(KEY) is None
    assert list((tmp_path / "images" / ".uploads" / store.holder).iterdir()) == []


def test_error_of_an_early_sync_is_told_when_the_file_is_sealed(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "images")

    def full(fd):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(file, "_SYNC_BYTES", 4)
    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(NoRoom), store.begin() as upload:
        upload.write(b"12345")
        upload.seal()
    assert list((tmp_path / "images" / ".uploads" / store.holder).iterdir()) == []


def test_memory_that_is_full_is_no_room():
    store = MemoryStore(capacity_bytes=5)
    with pytest.raises(NoRoom), store.begin() as upload:
        upload.write(b"x" * 6)
    assert store.uploads == 0


CHILD = """
import sys
from gureum.glance.drivers.file import FileStore
store = FileStore(sys.argv[1])
upload = store.begin()
upload.write(b"half")
print(store.holder, flush=True)
sys.stdin.read()
"""


def test_leftovers_of_a_killed_process_are_swept_and_those_of_a_live_one_stay(tmp_path):
    folder = tmp_path / "images"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdin is not None
    holder = child.stdout.readline().strip()
    store = FileStore(folder)
    left = folder / ".uploads" / holder
    assert store.is_alive(holder) and store.sweep() == 0
    assert len(list(left.iterdir())) == 1

    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdin.close()
    child.stdout.close()

    assert not store.is_alive(holder)
    assert store.sweep() == 1
    assert not left.exists() and store.is_alive(store.holder)
    store.close()
    assert list((folder / ".uploads").iterdir()) == []
