"""Strict configuration: typed options in, one frozen object a section out.

Owns: the declaration of options (`option`, `section`) and reading TOML files against the declared
sections (`load`). What is generated from them is in config_docs.py.
Must not: keep a global, read the environment, or know any service. The caller passes the classes.
Follows: docs/architecture.md, "Configuration"; TOML 1.0 (https://toml.io/en/v1.0.0).

A service declares its options in its `config.py`:

    @section("nova.libvirt", "How nova-compute drives libvirt.")
    @dataclass(frozen=True, slots=True)
    class LibvirtOptions:
        virt_type: str = option("Kind of guests.", default="auto", choices=("auto", "kvm", "qemu"))
        instances_path: str = option("Disks of the guests.", default="{state_dir}/instances")

and a component asks for it with `config.get(LibvirtOptions)`. A path with a wildcard, such as
`cinder.backend.*`, declares a family of sections: `config.named(BackendOptions)` maps the names
that the operator chose to objects. Texts may hold `{state_dir}`, `{run_dir}`, `{config_dir}` and
`{log_dir}`; they are filled from `[gureum]`, so that several clouds can live on one machine.
"""

import dataclasses
import difflib
import stat
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from gureum.core.problems import Problem, ProblemsError

T = TypeVar("T")
_META = "gureum.option"
_SECTION = "__gureum_section__"


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """What is declared about one option besides its type."""

    text: str
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    choices: tuple[Any, ...] | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """Where a class of options stands in the TOML file."""

    path: str
    text: str

    @property
    def is_family(self) -> bool:
        """Whether the last part of the path is a name that the operator chooses."""
        return self.path.endswith(".*")


def option(
    text: str,
    *,
    default: Any = dataclasses.MISSING,
    unit: str | None = None,
    min: float | None = None,
    max: float | None = None,
    choices: Sequence[Any] | None = None,
    secret: bool = False,
) -> Any:
    """Declare one option as a dataclass field; without a default it must stand in the file."""
    info = OptionInfo(
        text=text,
        unit=unit,
        min=min,
        max=max,
        choices=tuple(choices) if choices is not None else None,
        secret=secret,
    )
    metadata = {_META: info}
    if isinstance(default, dict):
        frozen = dict(default)
        return field(default_factory=lambda: dict(frozen), repr=not secret, metadata=metadata)
    if isinstance(default, list):
        default = tuple(default)
    return field(default=default, repr=not secret, metadata=metadata)


def section(path: str, text: str = "") -> Callable[[type[T]], type[T]]:
    """Say at which TOML path a frozen dataclass of options stands."""

    def mark(cls: type[T]) -> type[T]:
        if not dataclasses.is_dataclass(cls):
            raise TypeError(
                f"{cls.__name__}: @section goes above @dataclass(frozen=True, slots=True)"
            )
        for declared in dataclasses.fields(cls):
            if _META not in declared.metadata:
                raise TypeError(f"{cls.__name__}.{declared.name}: declare it with option(...)")
        setattr(cls, _SECTION, SectionInfo(path, text))
        return cls

    return mark


def section_of(cls: type) -> SectionInfo:
    """The section of an options class. Raises: TypeError when it has none."""
    info = cls.__dict__.get(_SECTION)
    if info is None:
        raise TypeError(f"{cls.__name__} is not marked with @section")
    return cast(SectionInfo, info)


def option_info(declared: "dataclasses.Field[Any]") -> OptionInfo:
    """What `option` declared about this field."""
    return cast(OptionInfo, declared.metadata[_META])


def collect(module: types.ModuleType) -> tuple[type, ...]:
    """The options classes that a `config.py` declares, in their order there."""
    return tuple(
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and _SECTION in value.__dict__
        and value.__module__ == module.__name__
    )


@section("gureum", "The cloud as a whole: where it lives on this machine.")
@dataclass(frozen=True, slots=True)
class CloudOptions:
    """The places every other option may refer to."""

    state_dir: str = option("Databases, images, disks of guests.", default="/var/lib/gureum")
    run_dir: str = option("Sockets, process ids, journals of this boot.", default="/run/gureum")
    config_dir: str = option("Settings, secrets, policy files.", default="/etc/gureum")
    log_dir: str = option("Log files.", default="/var/log/gureum")
    host: str = option("Name of this machine in the cloud; empty means its host name.", default="")
    region: str = option("Region in the catalogue.", default="RegionOne")
    address: str = option("Address that users reach the APIs at.", default="127.0.0.1")
    bind_address: str = option("Address that the APIs listen at.", default="127.0.0.1")
    port_offset: int = option(
        "Added to every API port, so that clouds can live side by side.",
        default=0,
        min=0,
        max=55000,
    )


class ConfigError(ProblemsError):
    """The configuration cannot be used; holds every problem found."""


@dataclass(frozen=True, slots=True)
class Config:
    """Every section, checked. Immutable; components are handed the sections they declare."""

    _sections: Mapping[type, Any]
    _families: Mapping[type, Mapping[str, Any]]
    warnings: tuple[str, ...] = ()

    def get(self, cls: type[T]) -> T:
        """The options of one section. Raises: KeyError when the class was not given to `load`."""
        return cast(T, self._sections[cls])

    def named(self, cls: type[T]) -> Mapping[str, T]:
        """The sections of a family (`cinder.backend.*`), by the name the operator chose."""
        return self._families[cls]

    def classes(self) -> tuple[type, ...]:
        """Every options class that was loaded."""
        return (*self._sections, *self._families)


def load(paths: Sequence[str | Path], sections: Iterable[type]) -> Config:
    """Read the files in order (a later one wins, key by key) and check them against `sections`.

    Raises: ConfigError with every unknown key, wrong type and value out of range at once.
    """
    documents: list[tuple[str, str, dict[str, Any]]] = []
    problems: list[Problem] = []
    for path in paths:
        name = str(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
            documents.append((name, text, tomllib.loads(text)))
        except OSError as error:
            problems.append(Problem(name, "file", f"cannot be read: {error.strerror}"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(Problem(name, "file", f"is not TOML: {error}"))
    return _Loader(sections, problems).load(documents)


def loads(text: str, sections: Iterable[type], name: str = "config") -> Config:
    """`load` for a text; for tests and for what a program writes itself."""
    return _Loader(sections, []).load([(name, text, tomllib.loads(text))])


class _Loader:
    """One run of `load`: gathers raw values by section, then builds the objects."""

    def __init__(self, sections: Iterable[type], problems: list[Problem]) -> None:
        classes = list(dict.fromkeys([CloudOptions, *sections]))
        self.by_path: dict[str, type] = {}
        for cls in classes:
            path = section_of(cls).path
            if path in self.by_path:
                other = self.by_path[path].__qualname__
                raise TypeError(f"[{path}] is declared by both {other} and {cls.__qualname__}")
            self.by_path[path] = cls
        self.problems = problems
        self.warnings: list[str] = []
        self.raw: dict[str, dict[str, tuple[str, Any]]] = {}

    def load(self, documents: Sequence[tuple[str, str, dict[str, Any]]]) -> Config:
        for name, text, document in documents:
            self._walk(name, text, (), document)
            self._check_mode(name, document)
        cloud = cast(CloudOptions, self._build(CloudOptions, "gureum", {}))
        places = (
            {key: getattr(cloud, key) for key in ("state_dir", "run_dir", "config_dir", "log_dir")}
            if cloud
            else {}
        )
        singles: dict[type, Any] = {}
        families: dict[type, dict[str, Any]] = {}
        for path, cls in self.by_path.items():
            if cls is CloudOptions:
                singles[cls] = cloud
            elif path.endswith(".*"):
                prefix = path[:-1]
                names = [
                    p for p in self.raw if p.startswith(prefix) and "." not in p[len(prefix) :]
                ]
                families[cls] = {p[len(prefix) :]: self._build(cls, p, places) for p in names}
            else:
                singles[cls] = self._build(cls, path, places)
        if self.problems:
            raise ConfigError(self.problems)
        return Config(singles, families, tuple(self.warnings))

    def _section_at(self, path: str) -> type | None:
        found = self.by_path.get(path)
        if found is None and "." in path:
            found = self.by_path.get(path.rsplit(".", 1)[0] + ".*")
        return found

    def _leads_somewhere(self, path: str) -> bool:
        return self._section_at(path) is not None or any(
            known.startswith(path + ".") for known in self.by_path
        )

    def _walk(self, name: str, text: str, parts: tuple[str, ...], table: dict[str, Any]) -> None:
        path = ".".join(parts)
        cls = self._section_at(path)
        declared = {f.name for f in dataclasses.fields(cls)} if cls is not None else set()
        if cls is not None:
            self.raw.setdefault(path, {})
        for key, value in table.items():
            full = ".".join((*parts, key))
            where = _where(name, text, parts, key, isinstance(value, dict))
            if key in declared:
                self.raw[path][key] = (where, value)
            elif isinstance(value, dict) and self._leads_somewhere(full):
                self._walk(name, text, (*parts, key), value)
            else:
                self.problems.append(
                    Problem(where, full, self._unknown(path, key, value, declared))
                )

    def _unknown(self, path: str, key: str, value: Any, declared: set[str]) -> str:
        if isinstance(value, dict):
            full = f"{path}.{key}" if path else key
            near = difflib.get_close_matches(full, self.by_path, n=1)
            hint = f"; did you mean [{near[0]}]?" if near else "; see `gureum config sample`"
            return f"unknown section{hint}"
        near = difflib.get_close_matches(key, declared, n=1)
        if near:
            return f"unknown option (value {value!r}); did you mean {near[0]}?"
        elsewhere = [
            known
            for known, cls in self.by_path.items()
            if key in {f.name for f in dataclasses.fields(cls)}
        ]
        if elsewhere:
            return f"unknown option here (value {value!r}); it belongs in [{elsewhere[0]}]"
        return f"unknown option (value {value!r}); remove it, or see `gureum config sample`"

    def _check_mode(self, name: str, document: dict[str, Any]) -> None:
        try:
            mode = stat.S_IMODE(Path(name).stat().st_mode)
        except OSError:
            return
        if not mode & (stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
            return
        for path, cls in self.by_path.items():
            table: Any = document
            for part in path.removesuffix(".*").split("."):
                table = table.get(part, {}) if isinstance(table, dict) else {}
            for declared in dataclasses.fields(cls):
                if option_info(declared).secret and declared.name in table:
                    self.warnings.append(
                        f"{name}: holds the secret {path}.{declared.name} but its mode is "
                        f"{mode:04o}; run: chmod 640 {name}"
                    )

    def _build(self, cls: type, path: str, places: Mapping[str, str]) -> Any:
        hints = typing.get_type_hints(cls)
        raw = self.raw.get(path, {})
        values: dict[str, Any] = {}
        before = len(self.problems)
        for declared in dataclasses.fields(cls):
            info = option_info(declared)
            if declared.name in raw:
                where, value = raw[declared.name]
                key = f"{path}.{declared.name}"
                try:
                    value = _convert(value, hints[declared.name])
                    _check(value, info)
                except ValueError as error:
                    shown = "(secret)" if info.secret else repr(value)
                    self.problems.append(Problem(where, key, f"{shown} {error}"))
                    continue
            elif declared.default is not dataclasses.MISSING:
                value = declared.default
            elif declared.default_factory is not dataclasses.MISSING:
                value = declared.default_factory()
            else:
                self.problems.append(
                    Problem("config", f"{path}.{declared.name}", f"must be set: {info.text}")
                )
                continue
            values[declared.name] = _fill(value, places)
        if len(self.problems) > before:
            return None
        return cls(**values)


def _where(name: str, text: str, parts: tuple[str, ...], key: str, is_table: bool) -> str:
    """File and, where a plain scan finds it, line of a key; tomllib does not tell."""
    header: tuple[str, ...] = ()
    wanted_header = (*parts, key)
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare.startswith("["):
            header = tuple(p.strip().strip("\"'") for p in bare.strip("[]").split("."))
            if is_table and header[: len(wanted_header)] == wanted_header:
                return f"{name}:{number}"
        elif header == parts and bare.split("=", 1)[0].strip().strip("\"'") == key:
            return f"{name}:{number}"
    return name


def _convert(value: Any, hint: Any) -> Any:
    """`value` as the declared type. Raises: ValueError saying how to write it."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return _convert(value, inner[0])
    if origin in (tuple, list, Sequence):
        if not isinstance(value, list):
            raise ValueError('is not a list; write it as ["a", "b"]')
        return tuple(_convert(item, typing.get_args(hint)[0]) for item in value)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ValueError('is not a table; write it as { key = "value" }')
        return {str(k): _convert(v, typing.get_args(hint)[1]) for k, v in value.items()}
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError("is not a boolean; write true or false, without quotes")
    elif hint is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("is not a whole number; write it without quotes")
    elif hint is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError("is not a number; write it without quotes")
        return float(value)
    elif hint in (str, Path):
        if not isinstance(value, str):
            raise ValueError("is not a text; write it in quotes")
        return hint(value)
    return value


def _check(value: Any, info: OptionInfo) -> None:
    """Raises: ValueError naming the range and the nearest value inside it."""
    unit = f" {info.unit}" if info.unit else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if info.min is not None and value < info.min:
            raise ValueError(f"is below {info.min}{unit}; set {info.min} or more{_upto(info)}")
        if info.max is not None and value > info.max:
            raise ValueError(f"is above {info.max}{unit}; set {info.max} or less")
    if info.choices is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        if item not in info.choices:
            allowed = ", ".join(str(choice) for choice in info.choices)
            near = difflib.get_close_matches(str(item), [str(c) for c in info.choices], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"is not one of: {allowed}{hint}")


def _upto(info: OptionInfo) -> str:
    return f", at most {info.max}" if info.max is not None else ""


def _fill(value: Any, places: Mapping[str, str]) -> Any:
    """Texts with the places of this cloud filled in; other braces stay for who owns the option."""
    if isinstance(value, str):
        for name, place in places.items():
            value = value.replace("{" + name + "}", place)
        return value
    if isinstance(value, Path):
        return Path(_fill(str(value), places))
    if isinstance(value, tuple):
        return tuple(_fill(item, places) for item in value)
    if isinstance(value, dict):
        return {key: _fill(item, places) for key, item in value.items()}
    return value
