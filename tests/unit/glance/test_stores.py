"""What every store keeps to, and what the file store does for dead processes."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from gureum.glance.drivers.base import NoRoom
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.memory import MemoryStore

KEY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    made = FileStore(tmp_path / "images") if request.param == "file" else MemoryStore()
    yield made
    made.close()


def keep(store, content=b"0123456789", key=KEY):
    with store.begin() as upload:
        upload.write(content)
        upload.seal()
        upload.publish(key)


def test_published_bytes_are_there_whole(store):
    keep(store)
    assert store.size(KEY) == 10 and list(store.keys()) == [KEY]
    assert b"".join(store.stream(KEY, 0, None)) == b"0123456789"
    assert b"".join(store.stream(KEY, 3, 4)) == b"3456"
    assert b"".join(store.stream(KEY, 8, 99)) == b"89"
    with store.local(KEY) as path:
        assert path.read_bytes() == b"0123456789"


def test_sealed_bytes_can_be_read_before_they_are_published(store):
    with store.begin() as upload:
        upload.write(b"abc")
        assert upload.seal().read_bytes() == b"abc"
        assert store.size(KEY) is None


def test_unpublished_bytes_leave_nothing(store):
    with pytest.raises(RuntimeError), store.begin() as upload:
        upload.write(b"abc")
        path = upload.seal()
        raise RuntimeError
    assert not path.exists() and list(store.keys()) == []
    upload.drop()


def test_publishing_takes_the_place_of_leftovers(store):
    keep(store, b"old")
    keep(store, b"new")
    assert b"".join(store.stream(KEY, 0, None)) == b"new"


def test_delete_says_whether_there_was_something(store):
    keep(store)
    assert store.delete(KEY) and not store.delete(KEY)
    assert store.size(KEY) is None and store.file(KEY) is None


def test_rename_moves(store):
    keep(store, key="staged-" + KEY)
    store.rename("staged-" + KEY, KEY)
    assert list(store.keys()) == [KEY]
    with pytest.raises(KeyError):
        store.rename("staged-" + KEY, KEY)


def test_absent_bytes_are_a_key_error(store):
    with pytest.raises(KeyError):
        next(iter(store.stream(KEY, 0, None)))
    with pytest.raises(KeyError), store.local(KEY):
        pass


def test_only_this_process_is_alive(store):
    assert store.is_alive(store.holder) and not store.is_alive("0" * 32)


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
