"""Structs: the shapes of requests, queries and responses, declared once for all versions.

A Struct class lists Fields. `parse` checks a JSON object at a version and gives a frozen instance in the
newest shape; `render` shows any object or mapping with those attributes at a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gureum.core.spec.containers import as_field
from gureum.core.spec.fields import (
    UNSET,
    Behaviour,
    Field,
    Invalid,
    Parse,
    Render,
    Unset,
    short,
)
from gureum.core.spec.versions import BASE, Version, active, version_or_none

Allowed = Callable[[str], bool]


class _Plan:
    """What parse and render need at one version."""

    __slots__ = (
        "behaviours",
        "defaults",
        "extra_parse",
        "forbid",
        "keys",
        "lists",
        "policies",
        "rendered",
        "required",
    )

    def __init__(self, struct: type[Struct], version: Version) -> None:
        fields = [
            f for f in struct.fields.values() if not isinstance(f, Behaviour) and f.active(version)
        ]
        self.keys: dict[str, tuple[str, Parse]] = {
            f.key: (f.attr, f.compile_parse(version)) for f in fields
        }
        self.lists = frozenset(f.key for f in fields if f.json_type == "array")
        self.required = [(f.key, f.attr) for f in fields if f.required]
        self.defaults = {
            f.attr: f.default for f in struct.fields.values() if not isinstance(f.default, Unset)
        }
        self.behaviours = {
            f.attr: f.at(version) for f in struct.fields.values() if isinstance(f, Behaviour)
        }
        self.rendered: list[tuple[str, str, Render | None, str | None, Any]] = [
            (f.key, f.attr, f.compile_render(version), f.policy, f.default) for f in fields
        ]
        self.forbid = struct.extra == "forbid" or (
            struct.forbid_since is not None and active(version, struct.forbid_since, None)
        )
        item = struct.extra_item
        self.extra_parse = item.compile_parse(version) if item is not None else None
        self.policies = {f.attr: f.policy for f in fields if f.policy}


class Struct:
    """Base of all shapes.

    Class arguments: `extra` is "forbid" (unknown keys are an error), "ignore" or "keep" (collected in
    `.extra_values`, each checked by the field or Struct `extra_item`); `forbid_since` makes
    unknown keys an error from a version on.
    """

    fields: ClassVar[dict[str, Field[Any]]] = {}
    extra: ClassVar[str] = "forbid"
    extra_item: ClassVar[Field[Any] | None] = None
    forbid_since: ClassVar[Version | None] = None
    _plans: ClassVar[dict[Version, _Plan]]

    def __init_subclass__(
        cls,
        extra: str | None = None,
        extra_item: Any = None,
        forbid_since: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        fields: dict[str, Field[Any]] = {}
        for base in reversed(cls.__bases__):
            fields |= getattr(base, "fields", {})
        fields |= vars(cls).get("fields", {})  # a class may state them itself
        for name, value in list(vars(cls).items()):
            if isinstance(value, Field):
                fields[name] = value
        cls.fields = fields
        if extra is not None:
            cls.extra = extra
        if extra_item is not None:
            cls.extra_item = as_field(extra_item)
        if forbid_since is not None:
            cls.forbid_since = version_or_none(forbid_since)
        cls._plans = {}

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - self.fields.keys() - {"extra_values"}
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {sorted(unknown)}")
        plan = self.plan(BASE)
        self.__dict__.update(plan.defaults)
        self.__dict__.update(values)
        self.__dict__["given"] = frozenset(values)

    given: frozenset[str]
    extra_values: dict[str, Any]

    if TYPE_CHECKING:  # a verb that serves several shapes names attributes of all of them

        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={short(value)}" for name, value in self.items())
        return f"{type(self).__name__}({shown})"

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield (attribute, value) of every attribute that has a value."""
        for name in self.fields:
            value = self.__dict__.get(name, UNSET)
            if not isinstance(value, Unset):
                yield name, value

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or `default` when it was not given."""
        value = self.__dict__.get(name, UNSET)
        return default if isinstance(value, Unset) else value

    def has(self, name: str) -> bool:
        """Whether the request named this attribute itself."""
        return name in self.given

    def replace(self, **values: Any) -> Self:
        """Return a copy with other values."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.__dict__.update(values)
        new.__dict__["given"] = self.given | set(values)
        return new

    def check(self) -> None:
        """Check what one field alone cannot say. Raises: Invalid. For subclasses."""

    @classmethod
    def plan(cls, version: Version) -> _Plan:
        """Return the compiled form for a version."""
        plan = cls._plans.get(version)
        if plan is None:
            plan = cls._plans[version] = _Plan(cls, version)
        return plan

    @classmethod
    def parse(
        cls,
        value: Any,
        version: Version = BASE,
        path: str = "",
        ups: Sequence[Callable[[dict[str, Any]], None]] = (),
    ) -> Self:
        """Check a JSON object. `ups` lift the values of an old request. Raises: Invalid."""
        if not isinstance(value, dict):
            raise Invalid(path or "body", f"{short(value)} is not of type 'object'", value)
        plan = cls.plan(version)
        prefix = path + "." if path else ""
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, raw in value.items():
            known = plan.keys.get(key)
            if known is not None:
                values[known[0]] = known[1](raw, prefix + key)
            elif plan.forbid:
                raise Invalid(prefix + key, f"additional properties are not allowed ({key!r})", raw)
            elif cls.extra == "keep":
                parse = plan.extra_parse
                extra[key] = raw if parse is None else parse(raw, prefix + key)
        for key, attr in plan.required:
            if attr not in values:
                raise Invalid(prefix + key, f"{key!r} is a required property")
        given = frozenset(values)
        for up in ups:
            up(values)
        new = object.__new__(cls)
        new.__dict__.update(plan.defaults)
        new.__dict__.update(values)
        new.__dict__.update(plan.behaviours)
        new.__dict__["given"] = given
        if cls.extra == "keep":
            new.__dict__["extra_values"] = extra
        new.check()
        return new

    @classmethod
    def parse_query(cls, pairs: Sequence[tuple[str, str]], version: Version = BASE) -> Self:
        """Check a query string; a list field takes every value, another one the last."""
        plan = cls.plan(version)
        values: dict[str, Any] = {}
        for key, raw in pairs:
            if key in plan.lists or (key not in plan.keys and cls.extra == "keep"):
                values.setdefault(key, []).append(raw)
            else:
                values[key] = raw
        for key in plan.lists & values.keys():
            if len(values[key]) == 1 and "," in values[key][0]:
                values[key] = values[key][0]  # a comma list, when the field takes one
                field = next(f for f in cls.fields.values() if f.key == key)
                if not getattr(field, "comma", False):
                    values[key] = [values[key]]
        return cls.parse(values, version)

    @classmethod
    def render(
        cls, source: Any, version: Version = BASE, allowed: Allowed | None = None
    ) -> dict[str, Any]:
        """Show an object or mapping at a version; fields without a value are left out.

        allowed: tells whether the caller passes a field's policy rule.
        """
        out: dict[str, Any] = {}
        mapping = isinstance(source, Mapping)
        for key, attr, show, policy, default in cls.plan(version).rendered:
            value = source.get(attr, default) if mapping else getattr(source, attr, default)
            if value is UNSET or (
                policy is not None and allowed is not None and not allowed(policy)
            ):
                continue
            out[key] = value if show is None else show(value)
        if cls.extra == "keep":
            extra = source.get("extra_values") if mapping else getattr(source, "extra_values", None)
            if isinstance(extra, dict):
                for key, value in extra.items():
                    out.setdefault(key, value)
        return out

    @classmethod
    def schema(cls, version: Version = BASE) -> dict[str, Any]:
        """Return the JSON schema at a version."""
        fields = [
            f for f in cls.fields.values() if not isinstance(f, Behaviour) and f.active(version)
        ]
        out: dict[str, Any] = {
            "type": "object",
            "properties": {f.key: f.schema(version) for f in fields},
            "additionalProperties": not cls.plan(version).forbid,
        }
        required = [f.key for f in fields if f.required]
        if required:
            out["required"] = required
        return out


class Nested(Field[Any]):
    """A Struct inside a Struct."""

    json_type = "object"

    def __init__(self, struct: type[Struct], text: str, **common: Any) -> None:
        super().__init__(text, **common)
        self.struct = struct

    def parser(self, version: Version) -> Parse:
        struct = self.struct
        return lambda value, path: struct.parse(value, version, path)

    def compile_render(self, version: Version) -> Render | None:
        struct = self.struct
        return lambda value: value if value is None else struct.render(value, version)

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return self.struct.schema(version)
