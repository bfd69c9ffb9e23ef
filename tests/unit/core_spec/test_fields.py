"""What each field takes, refuses, shows and documents."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gureum.core.spec import (
    BASE,
    UNSET,
    Base64,
    Behaviour,
    Boolean,
    Cidr,
    Enum,
    Field,
    Id,
    Integer,
    Invalid,
    IpAddress,
    Json,
    ListOf,
    Mac,
    MapOf,
    Number,
    OneOf,
    String,
    Struct,
    Time,
    Value,
    Version,
    parse_version,
    show_time,
)
from gureum.core.spec.fields import short

OLD, NEW = Version(2, 1), Version(2, 90)
UUID = "6f3f076f-75d7-4a7c-a33b-ffcea1d83901"


class Pair(Struct):
    """Two numbers."""

    a = Integer("A.", required=True)
    b = Integer("B.", default=5)


@pytest.mark.parametrize(
    ("field", "given_value", "result"),
    [
        (String("t"), "a", "a"),
        (String("t", lenient=True), 5, "5"),
        (String("t", null=True), None, None),
        (Id("t", uuid=True), UUID, UUID),
        (Id("t", uuid=True), UUID.replace("-", ""), UUID.replace("-", "")),
        (Integer("t"), "7", 7),
        (Integer("t"), 7.0, 7),
        (Integer("t", strict=True), 7, 7),
        (Number("t"), "1.5", 1.5),
        (Boolean("t"), "True", True),
        (Boolean("t"), 0, False),
        (Boolean("t"), "off", False),
        (Boolean("t", strict=True), True, True),
        (Enum("t", "a", "b"), "a", "a"),
        (Enum("t", "IPv4", fold=True), "ipv4", "IPv4"),
        (Time("t"), "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (Time("t"), "2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (Time("t"), "2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (Json("t"), {"a": [1]}, {"a": [1]}),
        (ListOf(Integer(""), "t"), ["1", 2], (1, 2)),
        (ListOf(String(""), "t", comma=True), "a,b", ("a", "b")),
        (MapOf(Integer(""), "t"), {"a": "1"}, {"a": 1}),
        (OneOf((Integer("", strict=True), String("")), "t"), "x", "x"),
        (IpAddress("t"), "2001:0db8::0001", "2001:db8::1"),
        (Cidr("t"), "10.0.0.7/24", "10.0.0.0/24"),
        (Mac("t"), "FA-16-3E-00-00-01", "fa:16:3e:00:00:01"),
        (Base64("t"), "aGk=", "aGk="),
        (ListOf(Pair, "t"), [{"a": 1}], None),
    ],
)
def test_field_takes(field, given_value, result):
    value = field.compile_parse(BASE)(given_value, "x")
    if result is not None or given_value is None:
        assert value == result


@pytest.mark.parametrize(
    ("field", "given_value"),
    [
        (String("t"), 5),
        (String("t"), None),
        (String("t", min=1), ""),
        (String("t", max=3), "abcd"),
        (String("t", pattern="[a-z]+"), "A"),
        (String("t", printable=True), "a\x07"),
        (String("t", no_outer_space=True), " a"),
        (String("t"), "a\x00"),
        (String("t"), "\ud800"),
        (Id("t", uuid=True), "nope"),
        (Integer("t"), True),
        (Integer("t"), "1.5"),
        (Integer("t"), 1.5),
        (Integer("t", strict=True), "1"),
        (Integer("t", min=1), 0),
        (Integer("t", max=1), 2),
        (Integer("t"), "9" * 30),
        (Number("t"), "x"),
        (Number("t"), True),
        (Number("t"), float("nan")),
        (Number("t", min=1), 0.5),
        (Number("t", max=1), 1.5),
        (Boolean("t"), "maybe"),
        (Boolean("t", strict=True), "true"),
        (Enum("t", "a"), "A"),
        (Enum("t", "a", fold=True), 5),
        (Time("t"), "yesterday"),
        (Time("t"), 5),
        (Json("t", kinds=(dict,)), []),
        (ListOf(String(""), "t"), "a"),
        (ListOf(String(""), "t", min=1), []),
        (ListOf(String(""), "t", max=1), ["a", "b"]),
        (ListOf(String(""), "t", unique=True), ["a", "a"]),
        (MapOf(String(""), "t"), []),
        (MapOf(String(""), "t", max=1), {"a": "", "b": ""}),
        (MapOf(String(""), "t"), {"": ""}),
        (MapOf(String(""), "t", key_pattern="[a-z]+"), {"A": ""}),
        (OneOf((Integer("", strict=True),), "t"), "x"),
        (IpAddress("t"), "10.0.0.256"),
        (IpAddress("t"), "fe80::1%eth0"),
        (IpAddress("t", version=4), "::1"),
        (Cidr("t", strict=True), "10.0.0.7/24"),
        (Cidr("t"), 5),
        (Mac("t"), "01:00:5e:00:00:01"),
        (Mac("t"), "00:00:00:00:00:00"),
        (Base64("t"), "%%%"),
        (Base64("t"), 5),
        (Base64("t", max=3), "aGk="),
        (ListOf(Pair, "t"), [{"b": 1}]),
        (ListOf(Pair, "t"), [{"a": 1, "c": 1}]),
        (ListOf(Pair, "t"), ["a"]),
    ],
)
def test_field_refuses(field, given_value):
    with pytest.raises(Invalid) as caught:
        field.compile_parse(BASE)(given_value, "x")
    assert caught.value.path.startswith("x")
    assert len(str(caught.value)) < 400


def test_values_of_an_enum_have_versions():
    field = Enum("t", "a", Value("b", since="2.5"), Value("c", until="2.4"))
    assert field.allowed(Version(2, 4)) == ("a", "c")
    assert field.allowed(Version(2, 5)) == ("a", "b")


def test_times_are_shown_in_three_forms():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert show_time(moment) == "2026-01-02T03:04:05Z"
    assert show_time(moment, "us") == "2026-01-02T03:04:05.000006"
    assert show_time(moment, "usz") == "2026-01-02T03:04:05.000006Z"
    assert show_time("as it is") == "as it is"


def test_every_field_documents_itself():
    for field in (
        String("t", min=1, pattern="a"),
        Id("t", uuid=True),
        Integer("t", min=1),
        Number("t"),
        Boolean("t", default=True, null=True),
        Enum("t", "a"),
        Time("t"),
        Json("t"),
        ListOf(Pair, "t"),
        MapOf(Integer(""), "t"),
        OneOf((Integer(""), Pair), "t"),
        IpAddress("t"),
        Cidr("t"),
        Mac("t"),
        Base64("t"),
        Behaviour("t", since="2.5"),
        Field[Any]("t"),
    ):
        assert field.schema(NEW)["description"] == "t"
    assert Boolean("t", null=True).schema(NEW)["type"] == ["boolean", "null"]


def test_behaviour_is_set_by_the_version_alone():
    class Body(Struct):
        """A body."""

        name = String("Name.")
        new_way = Behaviour("New.", since="2.5")

    assert not Body.parse({}, OLD).new_way
    assert Body.parse({}, NEW).new_way
    with pytest.raises(Invalid):
        Body.parse({"new_way": True}, NEW)


def test_structs_are_frozen_and_know_what_was_given():
    one = Pair.parse({"a": 1})
    assert (one.a, one.b, one.has("a"), one.has("b")) == (1, 5, True, False)
    with pytest.raises(AttributeError):
        one.a = 2  # type: ignore[misc]
    two = one.replace(b=7)
    assert (two.b, one.b, two.has("b")) == (7, 5, True)
    assert Pair(a=1) == Pair(a=1) != Pair(a=2)
    assert dict(Pair(a=1).items()) == {"a": 1, "b": 5}
    assert "Pair(a=1" in repr(one)
    with pytest.raises(TypeError):
        Pair(z=1)
    assert Pair(a=1).get("b") == 5 and Pair.fields["a"].attr == "a"


def test_extra_keys_are_kept_checked_or_refused():
    class Kept(Struct, extra="keep", extra_item=Integer("Number.")):
        """Free keys."""

    assert Kept.parse({"x": "1"}).extra_values == {"x": 1}
    with pytest.raises(Invalid):
        Kept.parse({"x": "a"})
    assert Kept.render({"extra_values": {"x": 1}}) == {"x": 1}


def test_render_leaves_out_what_has_no_value_or_is_not_allowed():
    class Shown(Struct):
        """An answer."""

        a = String("A.")
        b = String("B.", policy="rule")
        when = Time("When.", since="2.5")
        pairs = ListOf(Pair, "Pairs.")

    moment = datetime(2026, 1, 2, tzinfo=UTC)
    source = {"a": "1", "b": "2", "when": moment, "pairs": [{"a": 1, "b": 2}]}
    assert Shown.render(source, OLD, lambda rule: False) == {"a": "1", "pairs": [{"a": 1, "b": 2}]}
    assert Shown.render(source, NEW)["when"] == "2026-01-02T00:00:00Z"
    assert Shown.render({"a": UNSET}, NEW) == {}


def test_versions_are_read_strictly():
    assert parse_version("2.10") > parse_version("2.9")
    for text in ("2", "2.x", "", "2.1.1", "-1.0"):
        with pytest.raises(ValueError):
            parse_version(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_input_does_more_than_be_refused(value):
    for field in (
        String("t"),
        Id("t", uuid=True),
        Integer("t"),
        Number("t"),
        Boolean("t"),
        Enum("t", "a"),
        Time("t"),
        IpAddress("t"),
        Cidr("t"),
        Mac("t"),
        Base64("t"),
        ListOf(Integer(""), "t"),
        MapOf(Integer(""), "t"),
        ListOf(Pair, "t"),
    ):
        try:
            field.compile_parse(BASE)(value, "x")
        except Invalid as error:
            assert len(short(value)) <= 80 and error.reason


def test_struct_has_the_fields_of_all_its_bases_and_the_nearest_wins():
    class Named(Struct):
        """Has a name."""

        name = String("Name.", max=3)
        note = String("Note.")

    class Sized(Struct):
        """Has a size."""

        size = Integer("Size.")
        note = String("Note of the size.")

    class Box(Named, Sized):
        """Has both."""

        name = String("A box's name.")

    assert set(Box.fields) == {"name", "note", "size"}
    assert Box.fields["note"] is Named.fields["note"]
    assert Box.parse({"name": "long enough", "size": 3}, BASE).size == 3
    with pytest.raises(Invalid):
        Named.parse({"name": "long enough"}, BASE)
