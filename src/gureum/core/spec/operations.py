"""Operations: one declaration per API call, from which everything else derives.

An operation names its route, versions, policy rule, shapes, errors and status. The handler is called as
`handler(ctx, tx, *target, [query], [new])`: `target` is what `load` returned, or the values of the path;
`query` and `new` are there when declared. With `manual=True` the second argument is the service's deps
object and the handler opens its own transactions (needed when it calls another service).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gureum.core.spec.errors import ApiError
from gureum.core.spec.structs import Struct
from gureum.core.spec.versions import Version, active, version_or_none

PUBLIC: Final = "!public"  # needs no token
TOKEN: Final = "!token"  # any valid token; the logic narrows what it may see


@dataclass(frozen=True, slots=True)
class Change:
    """A named behaviour change: `up` lifts the values of an old request, `down` lowers an old answer.

    version: the first microversion with the new behaviour. status: the status before it.
    """

    name: str
    version: str
    up: Callable[[dict[str, Any]], None] | None = None
    down: Callable[[dict[str, Any]], None] | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A response body that lies in a file. length None means to its end."""

    path: str
    offset: int = 0
    length: int | None = None


@dataclass(slots=True)
class Reply:
    """A response that is more than a body: other status, headers, a stream of bytes or a file."""

    body: Any = None
    status: int | None = None
    headers: Sequence[tuple[str, str]] = ()
    stream: Iterator[bytes] | None = None
    file: File | None = None
    raw: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its items, and the query string of the next page if there is one.

    extra: further top-level keys of the answer.
    """

    items: Sequence[Any]
    next_query: str | None = None
    previous_query: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One API call. See the module's text and `operation`."""

    method: str
    path: str
    handler: Callable[..., Any]
    name: str
    text: str
    policy: str
    status: int
    wrap: str | None
    response_wrap: str | None
    request: type[Struct] | None
    optional_body: bool
    query: type[Struct] | None
    response: type[Struct] | None
    items: type[Struct] | None
    errors: tuple[type[ApiError], ...]
    since: Version | None
    until: Version | None
    load: Callable[..., Any] | None
    target: Callable[..., Mapping[str, Any]] | None
    manual: bool
    waits: bool
    write: bool
    upload: bool
    action: str | None
    media: tuple[str, ...]
    changes: tuple[Change, ...]
    database: str
    headers: tuple[str, ...]
    rule: Callable[..., str] | None = None
    at_once: Callable[..., bool] | None = None
    kept: bool = False

    def active(self, version: Version) -> bool:
        """Whether the operation exists at a version."""
        return active(version, self.since, self.until)

    @property
    def params(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(re.findall(r"\{(\w+)[^}]*\}", self.path))


def operation(
    method: str,
    path: str,
    *,
    policy: str,
    status: int | None = None,
    wrap: str | None = None,
    response_wrap: str | None = None,
    request: type[Struct] | None = None,
    optional_body: bool = False,
    query: type[Struct] | None = None,
    response: type[Struct] | None = None,
    items: type[Struct] | None = None,
    errors: Sequence[type[ApiError]] = (),
    since: str | None = None,
    until: str | None = None,
    load: Callable[..., Any] | None = None,
    target: Callable[..., Mapping[str, Any]] | None = None,
    manual: bool = False,
    waits: bool | None = None,
    write: bool | None = None,
    upload: bool = False,
    action: str | None = None,
    media: Sequence[str] = ("application/json",),
    changes: Sequence[Change] = (),
    database: str = "",
    headers: Sequence[str] = (),
    rule: Callable[..., str] | None = None,
    at_once: Callable[..., bool] | None = None,
    kept: bool = False,
) -> Callable[[Callable[..., Any]], Operation]:
    """Declare an API call.

    wrap: the key around the request body (and around the answer unless response_wrap says another; "" for
    none). items: the Struct of each item of a list answer, whose key is response_wrap. load: called as
    `load(ctx, tx, *path values)`; returns the target or raises NotFound. target: called as
    `target(ctx, loaded, new)`; returns what the policy rule is checked against. rule: called as
    `rule(ctx, loaded, new)` where one call has several rules by what it names; returns the one that counts
    instead of `policy`. With it, `target` and `rule` get the query as `new` when there is no body.
    write: opens a write transaction (default: every method but GET and HEAD). waits: runs in the pool for
    slow work (default: manual and upload). action: the body's key in a `POST …/action`. database: which of
    the service's databases.
    at_once: `at_once(deps, headers)`; True when this request will touch neither database nor network, so
    that it is answered without a thread.
    kept: the answer comes from databases alone, and may be given again while they do not change.
    headers: request headers (lower case) that the handler is handed last, as a dict; "*" alone means all of
    them, and the address of the sender as ":peer".
    media: accepted content types of the body. A policy is a rule name, PUBLIC or TOKEN.
    """
    if not policy:
        raise ValueError(f"{method} {path} has no policy rule")
    if kept and (method != "GET" or headers):
        raise ValueError(f"{method} {path} cannot be kept: it changes something, or reads headers")

    def declare(handler: Callable[..., Any]) -> Operation:
        text = inspect.getdoc(handler) or ""
        if not text:
            raise ValueError(f"{method} {path} has no text")
        default_status = {"POST": 201, "DELETE": 204}.get(method, 200)
        if action is not None:
            default_status = 202
        return Operation(
            method=method,
            path=path,
            handler=handler,
            name=handler.__name__,
            text=text,
            policy=policy,
            status=status if status is not None else default_status,
            wrap=action if action is not None else wrap,
            response_wrap=response_wrap if response_wrap is not None else wrap,
            request=request,
            optional_body=optional_body,
            query=query,
            response=response,
            items=items,
            errors=tuple(errors),
            since=version_or_none(since),
            until=version_or_none(until),
            load=load,
            target=target,
            manual=manual,
            waits=waits if waits is not None else (manual or upload),
            write=write if write is not None else method not in ("GET", "HEAD"),
            upload=upload,
            action=action,
            media=tuple(media),
            changes=tuple(sorted(changes, key=lambda c: _number(c.version))),
            database=database,
            headers=tuple(headers),
            rule=rule,
            at_once=at_once,
            kept=kept,
        )

    return declare


def _number(text: str) -> Version:
    version = version_or_none(text)
    assert version is not None
    return version


def operations_of(*modules: Any) -> list[Operation]:
    """Return every operation that stands in the given modules, in order of declaration."""
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Operation) and value.handler.__module__ == module.__name__
    ]
