"""The contract of stores, over Swift itself from Debian's packages."""

import sys
import uuid
from pathlib import Path

import pytest
from swiftlab import SwiftLab, missing

from gureum.glance.drivers.base import StoreFault
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.swift import SwiftStore

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "glance"))
from store_suite import *  # noqa: F403
from store_suite import KEY, keep

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def lab():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with SwiftLab() as made:
        yield made


def store_of(lab, tmp_path, **more):
    values = {
        "create_container": True,
        "large_object_size_mib": 1,
        "segment_size_mib": 1,
        "key": "secret",
    }
    container = f"images-{uuid.uuid4().hex[:8]}"
    spool = FileStore(tmp_path / f"spool-{container}")
    return SwiftStore(
        spool,
        auth_address=lab.url,
        user="service:images",
        container=container,
        interface="publicURL",
        **{**values, **more},
    )


@pytest.fixture
def store(lab, tmp_path):
    made = store_of(lab, tmp_path)
    yield made
    made.close()


def test_large_objects_leave_no_segments(store):
    keep(store, b"x" * (3 << 20))
    assert _names(store, "_segments")
    assert store.delete(KEY)
    assert not _names(store, "_segments") and not _names(store, "")


def test_an_object_that_takes_the_place_of_a_large_one_leaves_no_segments(store):
    keep(store, b"x" * (3 << 20))
    before = len(_names(store, "_segments"))
    keep(store, b"y" * (3 << 20))
    assert len(_names(store, "_segments")) == before
    assert store.delete(KEY) and not _names(store, "_segments")


def test_a_wrong_password_is_a_fault(lab, tmp_path):
    wrong = store_of(lab, tmp_path, key="wrong")
    with pytest.raises(StoreFault):
        wrong.size(KEY)


def _names(store, suffix):
    answer = store._call("GET", store._container + suffix, 200, 204, 404)
    return [] if answer.status_code == 404 else answer.text.split()
