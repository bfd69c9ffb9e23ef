"""Field types: how one value is checked on the way in, shown on the way out, and documented.

A field is declared in a Struct. `compile_parse(version)` gives a function `(value, path) -> value` that
raises Invalid; `compile_render(version)` gives a function for output, or None when the value is shown as
it is. Lenient inputs of the real APIs ("1", "True") are field types, not code elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, overload

from gureum.core.spec.versions import Version, active, version_or_none

T = TypeVar("T")
Parse = Callable[[Any, str], Any]
Render = Callable[[Any], Any]


class Unset:
    """The type of UNSET: a value that was not given."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


class Invalid(Exception):
    """A value does not fit its declaration. `path` is the way to it, e.g. `server.name`."""

    def __init__(self, path: str, reason: str, value: Any = UNSET) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.value = value


class Field(Generic[T]):
    """One declared attribute of a Struct.

    text: what it means, for the reference. key: its name on the wire if it differs from the attribute.
    since/until: the microversions (both included) in which it exists. policy: a rule that a caller must
    pass to send it (requests) or to see it (responses). default: the value when it is absent.
    """

    json_type: str | None = None

    def __init__(
        self,
        text: str,
        *,
        key: str | None = None,
        required: bool = False,
        null: bool = False,
        default: Any = UNSET,
        since: str | None = None,
        until: str | None = None,
        policy: str | None = None,
    ) -> None:
        self.text = text
        self.key = key or ""
        self.attr = ""
        self.required = required
        self.null = null
        self.default = default
        self.since = version_or_none(since)
        self.until = version_or_none(until)
        self.policy = policy

    def __set_name__(self, owner: type, name: str) -> None:
        self.attr = name
        self.key = self.key or name

    @overload
    def __get__(self, instance: None, owner: type) -> Field[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self if instance is None else UNSET

    def active(self, version: Version) -> bool:
        """Whether the field exists at a version."""
        return active(version, self.since, self.until)

    def compile_parse(self, version: Version) -> Parse:
        """Return the checking function for one version."""
        inner = self.parser(version)
        if not self.null:
            return inner
        return lambda value, path: None if value is None else inner(value, path)

    def parser(self, version: Version) -> Parse:
        """Return the check of a value that is not null; the subclass's part."""
        return lambda value, path: value

    def compile_render(self, version: Version) -> Render | None:
        """Return the output function for one version, or None for "as it is"."""
        return None

    def schema(self, version: Version) -> dict[str, Any]:
        """Return the JSON schema of this field at a version."""
        out = dict(self.inner_schema(version))
        if self.null and "type" in out:
            kinds = out["type"] if isinstance(out["type"], list) else [out["type"]]
            out["type"] = [*kinds, "null"]
        if self.text:
            out["description"] = self.text
        if not isinstance(self.default, Unset) and isinstance(
            self.default, str | int | float | bool | list | dict | type(None)
        ):
            out["default"] = self.default
        return out

    def inner_schema(self, version: Version) -> dict[str, Any]:
        """Return the schema without null, text and default."""
        return {"type": self.json_type} if self.json_type else {}


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class String(Field[str]):
    """Text. min/max count characters; pattern must match the whole; strip refuses outer blanks."""

    json_type = "string"

    def __init__(
        self,
        text: str,
        *,
        min: int = 0,
        max: int | None = 255,
        pattern: str | None = None,
        printable: bool = False,
        no_outer_space: bool = False,
        lenient: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(text, **common)
        self.min, self.max = min, max
        self.pattern = re.compile(pattern) if pattern else None
        self.printable = printable
        self.no_outer_space = no_outer_space
        self.lenient = lenient

    def parser(self, version: Version) -> Parse:
        low, high, pattern = self.min, self.max, self.pattern
        printable, no_outer_space, lenient = self.printable, self.no_outer_space, self.lenient

        def parse(value: Any, path: str) -> str:
            if not isinstance(value, str):
                if lenient and isinstance(value, int | float) and not isinstance(value, bool):
                    value = str(value)
                else:
                    raise Invalid(path, f"{short(value)} is not of type 'string'", value)
            if len(value) < low:
                raise Invalid(
                    path, f"{short(value)} is too short (at least {low} characters)", value
                )
            if high is not None and len(value) > high:
                raise Invalid(
                    path, f"{short(value)} is too long (at most {high} characters)", value
                )
            if "\x00" in value or _surrogate(value):
                raise Invalid(path, "the text has characters that cannot be stored", value)
            if printable and (_CONTROL.search(value) or not value.isprintable()):
                raise Invalid(path, f"{short(value)} has characters that cannot be printed", value)
            if no_outer_space and value != value.strip():
                raise Invalid(path, f"{short(value)} begins or ends with a blank", value)
            if pattern is not None and pattern.fullmatch(value) is None:
                raise Invalid(path, f"{short(value)} does not match {pattern.pattern!r}", value)
            return str(value)

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "string"}
        if self.min:
            out["minLength"] = self.min
        if self.max is not None:
            out["maxLength"] = self.max
        if self.pattern:
            out["pattern"] = f"^(?:{self.pattern.pattern})$"
        return out


def _surrogate(value: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in value) if not value.isascii() else False


def short(value: Any) -> str:
    """Show a value in an error text without repeating megabytes."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_UUID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


class Id(String):
    """An identifier: any short text, or a UUID (dashed or not) with uuid=True."""

    def __init__(self, text: str, *, uuid: bool = False, **common: Any) -> None:
        common.setdefault("min", 1)
        super().__init__(text, **common)
        self.uuid = uuid

    def parser(self, version: Version) -> Parse:
        check = super().parser(version)
        if not self.uuid:
            return check

        def parse(value: Any, path: str) -> str:
            text: str = check(value, path)
            if _UUID.fullmatch(text) is None:
                raise Invalid(path, f"{short(value)} is not a valid UUID", value)
            return text

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", **({"format": "uuid"} if self.uuid else {})}


class Integer(Field[int]):
    """A whole number; text of digits is accepted unless strict."""

    json_type = "integer"

    def __init__(
        self,
        text: str,
        *,
        min: int | None = None,
        max: int | None = 2**31 - 1,
        strict: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(text, **common)
        self.min, self.max, self.strict = min, max, strict

    def parser(self, version: Version) -> Parse:
        low, high, strict = self.min, self.max, self.strict

        def parse(value: Any, path: str) -> int:
            if isinstance(value, bool) or (strict and not isinstance(value, int)):
                raise Invalid(path, f"{short(value)} is not of type 'integer'", value)
            if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value.strip()):
                number = int(value)
            elif isinstance(value, int):
                number = value
            elif isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
                number = int(value)
            else:
                raise Invalid(path, f"{short(value)} is not of type 'integer'", value)
            if low is not None and number < low:
                raise Invalid(path, f"{number} is less than the minimum of {low}", value)
            if high is not None and number > high:
                raise Invalid(path, f"{number} is greater than the maximum of {high}", value)
            return number

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "integer" if self.strict else ["integer", "string"]}
        if self.min is not None:
            out["minimum"] = self.min
        if self.max is not None:
            out["maximum"] = self.max
        return out


class Number(Field[float]):
    """A number with a fraction."""

    json_type = "number"

    def __init__(
        self, text: str, *, min: float | None = None, max: float | None = None, **common: Any
    ) -> None:
        super().__init__(text, **common)
        self.min, self.max = min, max

    def parser(self, version: Version) -> Parse:
        def parse(value: Any, path: str) -> float:
            try:
                if isinstance(value, bool):
                    raise ValueError
                number = float(value)
            except (TypeError, ValueError):
                raise Invalid(path, f"{short(value)} is not a number", value) from None
            if not math.isfinite(number):
                raise Invalid(path, f"{short(value)} is not a finite number", value)
            if self.min is not None and number < self.min:
                raise Invalid(path, f"{number} is less than the minimum of {self.min}", value)
            if self.max is not None and number > self.max:
                raise Invalid(path, f"{number} is greater than the maximum of {self.max}", value)
            return number

        return parse


_TRUE = frozenset({"true", "t", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "f", "0", "no", "n", "off"})


class Boolean(Field[bool]):
    """true or false; the usual words and 0/1 are accepted unless strict."""

    json_type = "boolean"

    def __init__(self, text: str, *, strict: bool = False, **common: Any) -> None:
        super().__init__(text, **common)
        self.strict = strict

    def parser(self, version: Version) -> Parse:
        strict = self.strict

        def parse(value: Any, path: str) -> bool:
            if isinstance(value, bool):
                return value
            if not strict:
                word = str(value).strip().lower()
                if word in _TRUE:
                    return True
                if word in _FALSE:
                    return False
            raise Invalid(path, f"{short(value)} is not of type 'boolean'", value)

        return parse


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an Enum that exists only in some versions."""

    value: str
    since: str | None = None
    until: str | None = None


class Enum(Field[str]):
    """One of a fixed set of words."""

    json_type = "string"

    def __init__(self, text: str, *values: str | Value, fold: bool = False, **common: Any) -> None:
        super().__init__(text, **common)
        self.values = tuple(v if isinstance(v, Value) else Value(v) for v in values)
        self.fold = fold

    def allowed(self, version: Version) -> tuple[str, ...]:
        """Return the words that exist at a version."""
        return tuple(
            v.value
            for v in self.values
            if active(version, version_or_none(v.since), version_or_none(v.until))
        )

    def parser(self, version: Version) -> Parse:
        allowed = self.allowed(version)
        folded = {word.lower(): word for word in allowed}
        fold = self.fold

        def parse(value: Any, path: str) -> str:
            if isinstance(value, str):
                if value in allowed:
                    return value
                if fold and value.lower() in folded:
                    return folded[value.lower()]
            raise Invalid(path, f"{short(value)} is not one of {list(allowed)}", value)

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.allowed(version))}


class Time(Field[datetime]):
    """A moment. Aware UTC inside; shown as `z` (seconds, Z), `us` (microseconds, none), `usz`."""

    json_type = "string"

    def __init__(self, text: str, *, form: str = "z", **common: Any) -> None:
        super().__init__(text, **common)
        self.form = form

    def parser(self, version: Version) -> Parse:
        def parse(value: Any, path: str) -> datetime:
            if isinstance(value, str):
                try:
                    moment = datetime.fromisoformat(value.strip().replace(" ", "T"))
                except ValueError:
                    raise Invalid(path, f"{short(value)} is not a date-time", value) from None
                return (
                    moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
                )
            raise Invalid(path, f"{short(value)} is not a date-time", value)

        return parse

    def compile_render(self, version: Version) -> Render | None:
        form = self.form
        return lambda value: value if value is None else show_time(value, form)

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


def show_time(value: datetime | str, form: str = "z") -> str:
    """Show a moment as `2026-01-02T03:04:05Z` (z), `….123456` (us) or `….123456Z` (usz)."""
    if isinstance(value, str):
        return value
    if value.tzinfo is not None and value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    if form == "z":
        return value.isoformat(timespec="seconds")[:19] + "Z"
    return value.isoformat(timespec="microseconds")[:26] + ("Z" if form == "usz" else "")


class Json(Field[Any]):
    """Any JSON value, bounded in size; kinds limits the top type."""

    def __init__(self, text: str, *, kinds: tuple[type, ...] = (), **common: Any) -> None:
        super().__init__(text, **common)
        self.kinds = kinds

    def parser(self, version: Version) -> Parse:
        kinds = self.kinds

        def parse(value: Any, path: str) -> Any:
            if kinds and not isinstance(value, kinds):
                names = " or ".join(kind.__name__ for kind in kinds)
                raise Invalid(path, f"{short(value)} is not of type {names}", value)
            return value

        return parse


class Behaviour(Field[bool]):
    """Not on the wire: True in requests from a version on. How logic learns of a behaviour change."""

    def __init__(self, text: str, *, since: str) -> None:
        super().__init__(text)
        self.changed = version_or_none(since)

    def at(self, version: Version) -> bool:
        """Return the value for a request of a version."""
        return active(version, self.changed, None)
