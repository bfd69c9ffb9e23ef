"""Fields of fields: lists, maps, alternatives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gureum.core.spec.fields import Field, Invalid, Parse, Render, short
from gureum.core.spec.versions import Version


class ListOf(Field[Any]):
    """A list whose items fit a field or a Struct. comma: text is split at commas (queries)."""

    json_type = "array"

    def __init__(
        self,
        item: Any,
        text: str,
        *,
        min: int = 0,
        max: int | None = None,
        unique: bool = False,
        comma: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(text, **common)
        self.item = as_field(item)
        self.min, self.max, self.unique, self.comma = min, max, unique, comma

    def parser(self, version: Version) -> Parse:
        check = self.item.compile_parse(version)

        def parse(value: Any, path: str) -> tuple[Any, ...]:
            if self.comma and isinstance(value, str):
                value = [part for part in value.split(",") if part]
            if not isinstance(value, list | tuple):
                raise Invalid(path, f"{short(value)} is not of type 'array'", value)
            if len(value) < self.min:
                raise Invalid(path, f"the list is too short (at least {self.min} items)", value)
            if self.max is not None and len(value) > self.max:
                raise Invalid(path, f"the list is too long (at most {self.max} items)", value)
            items = tuple(check(item, f"{path}.{index}") for index, item in enumerate(value))
            if self.unique:
                for index, item in enumerate(items):
                    if item in items[:index]:
                        raise Invalid(path, f"{short(value[index])} is not unique", value)
            return items

        return parse

    def compile_render(self, version: Version) -> Render | None:
        show = self.item.compile_render(version)
        if show is None:
            return lambda value: value if value is None else list(value)
        return lambda value: value if value is None else [show(item) for item in value]

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema(version)}


class MapOf(Field[Any]):
    """An object with free keys; every value fits one field."""

    json_type = "object"

    def __init__(
        self,
        item: Any,
        text: str,
        *,
        key_pattern: str | None = None,
        key_max: int = 255,
        max: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(text, **common)
        self.item = as_field(item)
        self.key_pattern = re.compile(key_pattern) if key_pattern else None
        self.key_max = key_max
        self.max = max

    def parser(self, version: Version) -> Parse:
        check = self.item.compile_parse(version)

        def parse(value: Any, path: str) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise Invalid(path, f"{short(value)} is not of type 'object'", value)
            if self.max is not None and len(value) > self.max:
                raise Invalid(path, f"there are too many keys (at most {self.max})", value)
            out = {}
            for name, item in value.items():
                if not 1 <= len(name) <= self.key_max:
                    raise Invalid(
                        path, f"the key {short(name)} must have 1 to {self.key_max} characters"
                    )
                if self.key_pattern is not None and self.key_pattern.fullmatch(name) is None:
                    raise Invalid(
                        path, f"the key {short(name)} has characters that are not allowed"
                    )
                out[name] = check(item, f"{path}.{name}")
            return out

        return parse

    def compile_render(self, version: Version) -> Render | None:
        show = self.item.compile_render(version)
        if show is None:
            return None
        return lambda value: value and {name: show(item) for name, item in value.items()}

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.item.schema(version)}


class OneOf(Field[Any]):
    """The first alternative that fits."""

    def __init__(self, alternatives: Sequence[Any], text: str, **common: Any) -> None:
        super().__init__(text, **common)
        self.alternatives = tuple(as_field(item) for item in alternatives)

    def parser(self, version: Version) -> Parse:
        checks = [a.compile_parse(version) for a in self.alternatives if a.active(version)]

        def parse(value: Any, path: str) -> Any:
            last: Invalid | None = None
            for check in checks:
                try:
                    return check(value, path)
                except Invalid as error:
                    last = error
            raise last or Invalid(path, f"{short(value)} is not allowed", value)

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"oneOf": [a.schema(version) for a in self.alternatives if a.active(version)]}


def as_field(item: Any) -> Field[Any]:
    """Take a Field as it is; wrap a Struct class."""
    if isinstance(item, Field):
        return item
    from gureum.core.spec.structs import Nested

    return Nested(item, "")
