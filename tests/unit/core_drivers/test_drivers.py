"""A driver is found by its name or classic class path; a wrong name gets a suggestion."""

import collections

import pytest

from gureum.core.drivers import Drivers, UnknownDriver

KNOWN = {"ordered": "collections:OrderedDict", "count": "collections:Counter",
         "list": "collections:UserList", "gone": "gureum.no_such_module:X"}
DRIVERS = Drivers("dict driver", dict, KNOWN, aliases={"old.path.Ordered": "ordered"})


def test_driver_is_loaded_by_name_and_alias():
    assert DRIVERS.load("ordered") is collections.OrderedDict
    assert DRIVERS.load("old.path.Ordered") is collections.OrderedDict
    assert DRIVERS.name_of("old.path.Ordered") == "ordered"
    assert DRIVERS.names() == ["count", "gone", "list", "ordered"]


def test_unknown_driver_gets_a_suggestion():
    with pytest.raises(UnknownDriver, match="did you mean 'ordered'"):
        DRIVERS.load("orderd")
    with pytest.raises(UnknownDriver, match=r"known: count, gone, list, ordered\)$"):
        DRIVERS.load("zzz")


def test_module_is_imported_only_when_asked_for():
    with pytest.raises(ImportError):
        DRIVERS.load("gone")


def test_class_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="is no dict"):
        DRIVERS.load("list")


def test_alias_of_nothing_is_refused():
    with pytest.raises(ValueError, match="alias"):
        Drivers("x", dict, {}, aliases={"a": "b"})
