"""Who asks, and on whose behalf: the context that is handed down explicitly, and the ids for logs.

Owns: Context, request ids, the ids of batched work. Must not: be looked up as a global by domain code;
only logs and traces read the ambient ids.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import random
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Context:
    """The caller of one request, as its token proves it.

    `scope` is one of "project", "domain", "system", "none". Ids are hex or dashed UUID strings.
    """

    request_id: str
    global_request_id: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    user_domain_id: str | None = None
    user_domain_name: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None
    system: bool = False
    roles: tuple[str, ...] = ()
    service_roles: tuple[str, ...] = ()
    is_admin_project: bool = True
    token: str | None = None
    expires_at: datetime | None = None
    audit_ids: tuple[str, ...] = ()
    base_url: str = ""
    if_match: str | None = None
    access_rules: tuple[tuple[str, str, str], ...] | None = None

    def __repr__(self) -> str:
        return (
            f"Context(request_id={self.request_id!r}, user_id={self.user_id!r}, scope={self.scope!r},"
            f" project_id={self.project_id!r}, roles={self.roles!r})"
        )

    @property
    def caller(self) -> tuple[Any, ...]:
        """Everything that decides what the caller may do and see, to compare callers by."""
        return (
            self.user_id,
            self.project_id,
            self.domain_id,
            self.user_domain_id,
            self.project_domain_id,
            self.system,
            self.roles,
            self.service_roles,
            self.is_admin_project,
        )

    def for_request(
        self, request_id: str, global_request_id: str | None, base_url: str, if_match: str | None
    ) -> Context:
        """Return the same caller in another request; written out, since it is done for every one."""
        return Context(
            request_id,
            global_request_id,
            self.user_id,
            self.user_name,
            self.user_domain_id,
            self.user_domain_name,
            self.project_id,
            self.project_name,
            self.project_domain_id,
            self.project_domain_name,
            self.domain_id,
            self.domain_name,
            self.system,
            self.roles,
            self.service_roles,
            self.is_admin_project,
            self.token,
            self.expires_at,
            self.audit_ids,
            base_url,
            if_match,
            self.access_rules,
        )

    def may_call(self, service_type: str, method: str, path: str) -> bool:
        """Whether the token's access rules (service type, method, path pattern) allow a request.

        A token without such rules allows every one, and so does a service that acts for the caller.
        """
        if self.access_rules is None or "service" in self.service_roles:
            return True
        return any(
            kind == service_type and verb == method and _pattern(rule).fullmatch(path) is not None
            for kind, verb, rule in self.access_rules
        )

    @property
    def scope(self) -> str:
        """What the token is good for."""
        if self.system:
            return "system"
        if self.domain_id:
            return "domain"
        return "project" if self.project_id else "none"

    @property
    def is_admin(self) -> bool:
        """Whether the caller holds the admin role in its scope."""
        return "admin" in self.roles


@functools.lru_cache(1000)
def _pattern(rule: str) -> re.Pattern[str]:
    """Return the pattern of a path: `*` and `{name}` stand for one part of it, `**` for any number."""
    parts = re.split(r"(\*\*|\*|\{[^}/]*\})", rule)
    wild = {"**": ".*"}
    return re.compile(
        "".join(
            wild.get(part, "[^/]+") if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
    )


def new_request_id() -> str:
    """Return a fresh id of the form `req-<uuid>`."""
    # names a line in logs and guards nothing: the system's random source costs ten times as much
    return f"req-{uuid.UUID(int=random.getrandbits(128), version=4)}"


def anonymous(request_id: str | None = None) -> Context:
    """Return the context of a caller without a token."""
    return Context(request_id=request_id or new_request_id())


_ids: contextvars.ContextVar[dict[str, str | None] | None] = contextvars.ContextVar(
    "gureum_ids", default=None
)


def current_ids() -> dict[str, str | None]:
    """Return the ids of this task's work: those that every log line carries, and `traceparent`."""
    return _ids.get() or {}


def story_id() -> str | None:
    """Return the id under which other services are asked: the client's own, else the request's.

    So every service, message and agent that works for one request of a client names one id.
    """
    ids = current_ids()
    return ids.get("global_request_id") or ids.get("request_id")


IdsToken = contextvars.Token[dict[str, str | None] | None]


def enter_ids(**ids: str | None) -> IdsToken:
    """Add ids to those of this task, until `leave_ids`."""
    return _ids.set({**current_ids(), **ids})


def leave_ids(token: IdsToken) -> None:
    """Undo an `enter_ids`."""
    _ids.reset(token)


@contextlib.contextmanager
def log_ids(**ids: str | None) -> Iterator[None]:
    """Add ids (request_id, project_id, saga_id, …) to every log line inside the block."""
    token = enter_ids(**ids)
    try:
        yield
    finally:
        leave_ids(token)


class Stories:
    """The requests that a piece of gathered work is for: noted when it is asked, named when it is done.

    Work for several requests runs under the ids of the first; its lines name the others as `also`.
    Thread-safe.
    """

    _KEPT = 20

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: list[dict[str, str | None]] = []

    def note(self, ids: Mapping[str, str | None] | None = None) -> None:
        """Remember the request of this task, or one whose ids were kept; nothing when there is none."""
        ids = current_ids() if ids is None else ids
        if ids.get("request_id"):
            with self._lock:
                known = any(one["request_id"] == ids["request_id"] for one in self._ids)
                if not known and len(self._ids) < self._KEPT:
                    self._ids.append(dict(ids))

    def take(self) -> dict[str, str | None]:
        """Return the ids to work under, and forget them; empty when no request asked."""
        with self._lock:
            taken, self._ids = self._ids, []
        if not taken:
            return {}
        others = [one.get("global_request_id") or one["request_id"] for one in taken[1:]]
        return {**taken[0], "also": ",".join(filter(None, others)) or None}
