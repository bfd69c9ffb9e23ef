"""What may stand in a preset.

Owns: the records with their keys, and the strict check: an unknown key, a wrong type, a value out of
range, a name that is used but not defined is a problem that names key, value and fix. Must not: make
anything.
"""

import dataclasses
import difflib
import ipaddress
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from gureum.core.problems import Problem
from gureum.presets.document import Document, Path, PresetError, parse

ROLES_THERE = frozenset({"admin", "manager", "member", "reader", "service"})
PROJECTS_THERE = frozenset({"admin", "service"})
USERS_THERE = frozenset({"admin"})
NETWORKS_THERE = frozenset({"public"})

Check = Callable[[Any], str]
"""Says what is wrong with a value ("" when nothing is)."""


def _key(
    default: Any = dataclasses.MISSING,
    *,
    choices: tuple[str, ...] = (),
    check: Check | None = None,
    least: int | None = None,
    most: int | None = None,
) -> Any:
    meta = {"choices": choices, "check": check, "least": least, "most": most}
    if isinstance(default, list | dict):
        return field(default_factory=type(default), metadata=meta)
    return field(default=default, metadata=meta)


def _cidr(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        return f"is no network ({error}); write it as 10.0.0.0/24"
    return ""


def _address(value: str) -> str:
    if value == "none":
        return ""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "is no IP address; write it as 10.0.0.1"
    return ""


def _ports(value: str) -> str:
    first, _, last = value.partition("-")
    numbers = [first, last or first]
    if not all(n.isdigit() and 1 <= int(n) <= 65535 for n in numbers):
        return "is no port; write it as 22 or 8000-8100"
    return "" if int(numbers[0]) <= int(numbers[1]) else "ends before it begins"


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits of a project; the names are those of each API."""

    compute: dict[str, int] = _key({})
    network: dict[str, int] = _key({})


@dataclass(frozen=True, slots=True)
class Project:
    """A project of the domain Default."""

    name: str = _key()
    description: str = _key("")
    enabled: bool = _key(True)
    quotas: Quotas | None = _key(None)


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that a user has on a project."""

    role: str = _key()
    project: str = _key()


@dataclass(frozen=True, slots=True)
class User:
    """A user of the domain Default."""

    name: str = _key()
    password: str = _key()
    description: str = _key("")
    email: str = _key("")
    enabled: bool = _key(True)
    default_project: str = _key("")
    roles: list[Grant] = _key([])


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of servers."""

    name: str = _key()
    vcpus: int = _key(least=1)
    ram_mib: int = _key(least=1)
    disk_gib: int = _key(0, least=0)
    ephemeral_gib: int = _key(0, least=0)
    swap_mib: int = _key(0, least=0)
    id: str = _key("auto")
    public: bool = _key(True)
    extra_specs: dict[str, str] = _key({})


@dataclass(frozen=True, slots=True)
class Image:
    """An image: the content of a file, or an empty disk of `size_mib`."""

    name: str = _key()
    file: str = _key("")
    size_mib: int = _key(0, least=0, most=65536)
    disk_format: str = _key(
        "raw", choices=("raw", "qcow2", "vmdk", "vdi", "vhd", "iso", "ami", "aki", "ari")
    )
    container_format: str = _key("bare", choices=("bare", "ami", "aki", "ari", "ovf", "ova"))
    visibility: str = _key("public", choices=("public", "private", "shared", "community"))
    project: str = _key("")
    min_ram_mib: int = _key(0, least=0)
    min_disk_gib: int = _key(0, least=0)
    tags: list[str] = _key([])
    properties: dict[str, str] = _key({})


@dataclass(frozen=True, slots=True)
class Provider:
    """The wire of a network."""

    type: str = _key(choices=("flat", "vlan", "vxlan", "gre", "geneve", "local"))
    physical_network: str = _key("")
    segmentation_id: int = _key(0, least=0)


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses that a subnet gives out."""

    start: str = _key(check=_address)
    end: str = _key(check=_address)


@dataclass(frozen=True, slots=True)
class Route:
    """A route that a subnet hands to its hosts."""

    destination: str = _key(check=_cidr)
    nexthop: str = _key(check=_address)


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet; `gateway: none` has none."""

    name: str = _key()
    cidr: str = _key(check=_cidr)
    gateway: str = _key("", check=_address)
    dhcp: bool = _key(True)
    dns: list[str] = _key([], check=_address)
    pools: list[Pool] = _key([])
    routes: list[Route] = _key([])
    ipv6_mode: str = _key("", choices=("", "slaac", "dhcpv6-stateful", "dhcpv6-stateless"))


@dataclass(frozen=True, slots=True)
class Network:
    """A network with its subnets."""

    name: str = _key()
    project: str = _key("")
    description: str = _key("")
    shared: bool = _key(False)
    external: bool = _key(False)
    mtu: int = _key(0, least=0, most=65535)
    provider: Provider | None = _key(None)
    subnets: list[Subnet] = _key([])


@dataclass(frozen=True, slots=True)
class Router:
    """A router and the subnets that it joins."""

    name: str = _key()
    project: str = _key("")
    description: str = _key("")
    external_network: str = _key("")
    subnets: list[str] = _key([])


@dataclass(frozen=True, slots=True)
class GroupRule:
    """What a security group lets through."""

    direction: str = _key("ingress", choices=("ingress", "egress"))
    protocol: str = _key("")
    ports: str = _key("", check=_ports)
    remote_cidr: str = _key("", check=_cidr)
    remote_group: str = _key("")
    ethertype: str = _key("IPv4", choices=("IPv4", "IPv6"))


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A security group; `default` is the one that every project has."""

    name: str = _key()
    project: str = _key("")
    description: str = _key("")
    rules: list[GroupRule] = _key([])


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key of a user."""

    name: str = _key()
    user: str = _key("admin")
    public_key: str = _key("")
    public_key_file: str = _key("")


@dataclass(frozen=True, slots=True)
class Preset:
    """The whole file."""

    roles: list[str] = _key([])
    projects: list[Project] = _key([])
    users: list[User] = _key([])
    flavors: list[Flavor] = _key([])
    images: list[Image] = _key([])
    networks: list[Network] = _key([])
    routers: list[Router] = _key([])
    security_groups: list[SecurityGroup] = _key([])
    key_pairs: list[KeyPair] = _key([])
    folder: FilePath = field(default=FilePath(), metadata={"internal": True})
    name: str = field(default="preset", metadata={"internal": True})


def read(source: str | FilePath | Mapping[str, Any] | Preset) -> Preset:
    """Read and check a preset: a file, or what such a file holds. Raises: PresetError."""
    if isinstance(source, Preset):
        return source
    if isinstance(source, Mapping):
        document, folder = Document("preset", dict(source)), FilePath.cwd()
    else:
        path = FilePath(source)
        try:
            document = parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            text = f"cannot be read: {why}; give the path of a preset file"
            raise PresetError([Problem(str(path), "file", text)]) from error
        folder = path.absolute().parent
    checker = _Checker(document)
    value = document.value if document.value is not None else {}
    found = checker.record(Preset, value, ())
    if checker.problems or not isinstance(found, Preset):
        raise PresetError(checker.problems)
    found = dataclasses.replace(found, folder=folder, name=document.name)
    checker.references(found)
    if checker.problems:
        raise PresetError(checker.problems)
    return found


class _Checker:
    """One check of a document; gathers every problem."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def bad(self, path: Path, text: str) -> None:
        self.problems.append(self.document.problem(path, text))

    def record(self, cls: type, value: Any, path: Path) -> Any:
        """`value` as an object of a record class; None when that is not possible."""
        if not isinstance(value, Mapping):
            self.bad(path, f"is {value!r}, not a mapping; write it as `key: value` lines")
            return None
        known = {f.name: f for f in dataclasses.fields(cls) if not f.metadata.get("internal")}
        hints = typing.get_type_hints(cls)
        found: dict[str, Any] = {}
        meant: set[str] = set()
        for name, given in value.items():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                meant.update(near)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                self.bad((*path, name), f"unknown key (value {given!r}); {hint}")
                continue
            found[name] = self.value(hints[name], known[name].metadata, given, (*path, name))
        missing = [
            name
            for name, f in known.items()
            if name not in value
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
        ]
        for name in set(missing) - meant:
            self.bad((*path, name), "is missing; every one needs it")
        return None if missing or set(value) - set(known) else cls(**found)

    def value(self, hint: Any, about: Mapping[str, Any], given: Any, path: Path) -> Any:
        """`given` as the declared type."""
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            hint = next(one for one in inner if one is not type(None))
            return self.value(hint, about, given, path)
        if origin is list:
            return self._list(inner[0], about, given, path)
        if origin is dict:
            return self._mapping(inner[1], given, path)
        if dataclasses.is_dataclass(hint):
            return self.record(typing.cast(type, hint), given, path)
        return self._scalar(hint, about, given, path)

    def _list(self, inner: Any, about: Mapping[str, Any], given: Any, path: Path) -> list[Any]:
        if not isinstance(given, list | tuple):
            self.bad(path, f"is {given!r}, not a list; write each entry after a dash")
            return []
        return [self.value(inner, about, one, (*path, at)) for at, one in enumerate(given)]

    def _mapping(self, inner: Any, given: Any, path: Path) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            self.bad(path, f"is {given!r}, not a mapping; write it as `key: value` lines")
            return {}
        return {str(k): self.value(inner, {}, v, (*path, str(k))) for k, v in given.items()}

    def _scalar(self, hint: type, about: Mapping[str, Any], given: Any, path: Path) -> Any:
        wanted = {str: "text", int: "a whole number", bool: "true or false"}[hint]
        if hint is str and isinstance(given, int | float) and not isinstance(given, bool):
            given = str(given)  # `port: 22`, `id: 1`
        if not isinstance(given, hint) or (hint is int and isinstance(given, bool)):
            fix = "; put it in quotes" if hint is str else ""
            self.bad(path, f"is {given!r}, not {wanted}{fix}")
            return given
        least, most = about.get("least"), about.get("most")
        if least is not None and given < least:
            self.bad(path, f"is {given}; give {least} or more")
        if most is not None and given > most:
            self.bad(path, f"is {given}; give {most} or less")
        choices = about.get("choices")
        if choices and given not in choices:
            near = difflib.get_close_matches(given, choices, n=1)
            hint_text = f"; did you mean {near[0]}?" if near else ""
            self.bad(
                path, f"is {given!r}, not one of {', '.join(filter(None, choices))}{hint_text}"
            )
        check = about.get("check")
        wrong = check(given) if check is not None and given != "" else ""
        if wrong:
            self.bad(path, f"{given!r} {wrong}")
        return given

    # --- names that must be defined --------------------------------------------------------------

    def references(self, preset: Preset) -> None:
        """Names that stand nowhere, and what excludes each other."""
        projects = PROJECTS_THERE | {p.name for p in preset.projects}
        users = USERS_THERE | {u.name for u in preset.users}
        networks = NETWORKS_THERE | {n.name for n in preset.networks if n.external}
        subnets = {s.name for n in preset.networks for s in n.subnets}
        for at, user in enumerate(preset.users):
            self._known(("users", at, "default_project"), user.default_project, projects, "project")
            for number, grant in enumerate(user.roles):
                path: Path = ("users", at, "roles", number)
                roles = ROLES_THERE | set(preset.roles)
                self._known((*path, "role"), grant.role, roles, "role")
                self._known((*path, "project"), grant.project, projects, "project")
        owned = ("images", "networks", "routers", "security_groups")
        for kind in owned:
            for at, one in enumerate(getattr(preset, kind)):
                self._known((kind, at, "project"), one.project, projects, "project")
        for at, router in enumerate(preset.routers):
            wanted = router.external_network
            self._known(("routers", at, "external_network"), wanted, networks, "external network")
            for number, name in enumerate(router.subnets):
                self._known(("routers", at, "subnets", number), name, subnets, "subnet")
        for at, group in enumerate(preset.security_groups):
            own = {"default"} | {
                g.name for g in preset.security_groups if g.project == group.project
            }
            for number, rule in enumerate(group.rules):
                path = ("security_groups", at, "rules", number)
                self._known((*path, "remote_group"), rule.remote_group, own, "security group")
                self._rule(path, rule)
        for at, pair in enumerate(preset.key_pairs):
            self._known(("key_pairs", at, "user"), pair.user, users, "user")
            self._files(("key_pairs", at), pair, preset.folder)
        for at, image in enumerate(preset.images):
            self._image(("images", at), image, preset.folder)
        self._twins(preset)

    def _known(self, path: Path, name: str, known: "set[str] | frozenset[str]", kind: str) -> None:
        if not name or name in known:
            return
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "define it in this file"
        self.bad(path, f"no {kind} is called {name!r}; {hint}")

    def _rule(self, path: Path, rule: GroupRule) -> None:
        if rule.ports and rule.protocol not in ("tcp", "udp", "sctp", "dccp", "udplite", "6", "17"):
            text = f"{rule.ports!r} needs a protocol with ports; add `protocol: tcp`"
            self.bad((*path, "ports"), text)
        if rule.remote_cidr and rule.remote_group:
            self.bad((*path, "remote_group"), "stands beside remote_cidr; keep one of them")

    def _files(self, path: Path, pair: KeyPair, folder: FilePath) -> None:
        if bool(pair.public_key) == bool(pair.public_key_file):
            self.bad((*path, "public_key"), "give either public_key or public_key_file")
        elif pair.public_key_file and not (folder / pair.public_key_file).expanduser().is_file():
            text = f"there is no file {folder / pair.public_key_file}; paths start at the preset"
            self.bad((*path, "public_key_file"), text)

    def _image(self, path: Path, image: Image, folder: FilePath) -> None:
        if bool(image.file) == bool(image.size_mib):
            self.bad((*path, "file"), "give either file or size_mib")
        elif image.file and not (folder / image.file).expanduser().is_file():
            text = f"there is no file {folder / image.file}; paths start at the preset"
            self.bad((*path, "file"), text)
        if image.size_mib and image.disk_format != "raw":
            text = f"an empty disk is raw, not {image.disk_format}; give a file instead"
            self.bad((*path, "disk_format"), text)

    def _twins(self, preset: Preset) -> None:
        """Two of one name cannot be told apart when the preset is applied again."""
        for kind in ("projects", "users", "flavors", "images", "networks", "routers",
                     "security_groups", "key_pairs"):  # fmt: skip
            seen: set[tuple[str, str]] = set()
            for at, one in enumerate(getattr(preset, kind)):
                owner = getattr(one, "project", "") or getattr(one, "user", "")
                if (owner, one.name) in seen:
                    self.bad((kind, at, "name"), f"{one.name!r} stands twice; choose another name")
                seen.add((owner, one.name))
        subnets = [s.name for n in preset.networks for s in n.subnets]
        for at, network in enumerate(preset.networks):
            for number, subnet in enumerate(network.subnets):
                if subnets.count(subnet.name) > 1:
                    path: Path = ("networks", at, "subnets", number, "name")
                    self.bad(path, f"{subnet.name!r} stands twice; choose another name")
