"""What every store that takes bytes does: the tests of its contract, for whoever has a `store` to try."""

import os

import pytest

KEY = "11111111-2222-3333-4444-555555555555"
OTHER = "11111111-2222-3333-4444-666666666666"


def keep(store, content=b"0123456789", key=KEY):
    with store.begin() as upload:
        upload.write(content)
        upload.seal()
        upload.publish(key)


def test_published_bytes_are_there_whole(store):
    keep(store)
    assert store.size(KEY) == 10
    assert b"".join(store.stream(KEY, 0, None)) == b"0123456789"
    assert b"".join(store.stream(KEY, 3, 4)) == b"3456"
    assert b"".join(store.stream(KEY, 8, 99)) == b"89"
    assert b"".join(store.stream(KEY, 4, 0)) == b""
    assert KEY in store.url(KEY) and "secret" not in store.url(KEY)


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
    assert not path.exists() and store.size(KEY) is None
    upload.drop()


def test_publishing_takes_the_place_of_leftovers(store):
    keep(store, b"older")
    keep(store, b"new")
    assert b"".join(store.stream(KEY, 0, None)) == b"new"


def test_a_local_file_is_kept_and_stays_where_it_is(store, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    for _ in range(2):
        store.put(KEY, source)
    assert b"".join(store.stream(KEY, 0, None)) == b"abc" and source.read_bytes() == b"abc"


def test_large_files_come_back_byte_for_byte(store, tmp_path):
    content = os.urandom(1 << 16) * (11 * 16)  # 11 MiB: several parts and segments
    source = tmp_path / "large"
    source.write_bytes(content)
    store.put(KEY, source)
    assert store.size(KEY) == len(content)
    assert b"".join(store.stream(KEY, 0, None)) == content
    at = (5 << 20) - 7
    assert b"".join(store.stream(KEY, at, 100)) == content[at : at + 100]
    assert store.delete(KEY) and store.size(KEY) is None


def test_empty_images_are_kept(store):
    keep(store, b"")
    assert store.size(KEY) == 0 and b"".join(store.stream(KEY, 0, None)) == b""


def test_delete_says_whether_there_was_something(store):
    keep(store)
    keep(store, b"other", OTHER)
    assert store.delete(KEY) and not store.delete(KEY)
    assert store.size(KEY) is None and store.file(KEY) is None
    assert store.size(OTHER) == 5


def test_absent_bytes_are_a_key_error_before_the_first_byte(store):
    with pytest.raises(KeyError):
        store.stream(KEY, 0, None)


def test_properties_hide_keys(store):
    assert "secret" not in str(store.properties())
