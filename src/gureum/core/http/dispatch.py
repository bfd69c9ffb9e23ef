"""From a request to an answer, synchronously: route, version, token, shape, target, rule, handler, shape.

Owns: the order of these checks and the mapping of errors. This is one of the four borders at which an
unexpected exception is caught; it becomes a 500 whose text says nothing about the inside.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from gureum.core import log, reading, trace
from gureum.core.context import Context, anonymous, log_ids, new_request_id
from gureum.core.db import CommitUnknown, Database, Stale, Unavailable
from gureum.core.db import Conflict as RowConflict
from gureum.core.http.kept import Kept, KeptAnswers
from gureum.core.http.messages import Request, Response
from gureum.core.http.routes import Match, Routes
from gureum.core.policy.rules import Policy
from gureum.core.service import Service
from gureum.core.spec.errors import (
    ApiError,
    BadRequest,
    Conflict,
    InvalidField,
    NotFound,
    PolicyForbidden,
    ServiceUnavailable,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)
from gureum.core.spec.fields import Invalid
from gureum.core.spec.operations import PUBLIC, TOKEN, Operation, Page, Reply
from gureum.core.spec.structs import Struct
from gureum.core.spec.versions import BASE, Version, VersionError

_log = log.get(__name__)
_REQUEST_ID = re.compile(r"^req-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$")
_PROJECT = re.compile(r"^([0-9a-f]{32}|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12})$")
_ATTEMPTS = 4
_SLOW_S = 1.0
"""A mere look that took longer is worth a line in the log."""

_BRIEF_S = 0.001
"""Processor time up to which a look is answered without a thread."""

Observer = Callable[[str, str, int, float], None]
"""(service, operation name, status, seconds): called after every request."""


class Authenticator(Protocol):
    """Turns tokens into contexts."""

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        """Return the caller. Raises: Unauthorized, ServiceUnavailable.

        It may also have `knows(token, service_token)`: whether it can answer without asking anybody.
        """
        ...


@dataclass(frozen=True, slots=True)
class Needs:
    """slow: the pool for slow work. upload: the body is streamed. at_once: no thread at all.

    A look that costs less than handing it to a thread and back twice over is answered at once.
    """

    slow: bool
    upload: bool
    at_once: bool


_SHORT = Needs(False, False, False)
_AT_ONCE = Needs(False, False, True)


def _knows_nobody(token: str | None, service_token: str | None) -> bool:
    return False


class _VersionRefused(ApiError):
    def __init__(self, error: VersionError) -> None:
        super().__init__(error.text)
        self.at = error.status

    @property
    def status(self) -> int:  # type: ignore[override]
        return self.at


class Dispatcher:
    """Answers the requests of one service.

    databases: by name as `Operation.database` says ("" is the service's first one). deps: the service's own
    object; transactions carry it as `tx.deps`.
    """

    def __init__(
        self,
        service: Service,
        policy: Policy,
        authenticator: Authenticator,
        databases: Mapping[str, Database],
        deps: Any = None,
        *,
        public_base: str | None = None,
        observe: Observer | None = None,
        www_authenticate: str = "",
    ) -> None:
        self.service = service
        self.policy = policy
        self.deps = deps
        self._authenticator = authenticator
        self._databases = databases
        self._public_base = public_base.rstrip("/") if public_base else None
        self._observe = observe
        self._www_authenticate = www_authenticate
        self._knows: Callable[[str | None, str | None], bool] = getattr(
            authenticator, "knows", _knows_nobody
        )
        brief = (op.name for op in service.operations if self._is_brief(op))
        self._cost_s = dict.fromkeys(brief, 4 * _BRIEF_S)
        self._kept = KeptAnswers()
        self._spans = log.get(f"gureum.{service.name}.api")
        self._routes = Routes(
            [(service.prefix, op) for op in service.operations]
            + [("", op) for op in service.root_operations]
        )
        for op in (*service.operations, *service.root_operations):
            if op.policy not in (PUBLIC, TOKEN) and op.policy not in policy.rules:
                raise ValueError(f"{service.name}: {op.name} names the unknown rule {op.policy!r}")

    # -- routing ---------------------------------------------------------------------------------

    def match(self, method: str, path: str) -> Match:
        """Find the candidates of a request. Raises: NotFound, MethodNotAllowed."""
        if self.service.lenient_slash:
            path = path.rstrip("/") or "/"
        for suffix in self.service.suffixes:
            path = path.removesuffix(suffix)
        return self._routes.find(method, path)

    def _split_project(self, path: str) -> tuple[str, str | None]:
        prefix = self.service.prefix
        if self.service.project_in_path and path.startswith(prefix + "/"):
            rest = path[len(prefix) + 1 :]
            head, _, tail = rest.partition("/")
            if _PROJECT.match(head):
                return f"{prefix}/{tail}", head
        return path, None

    def needs(self, request: Request) -> Needs:
        """Tell where a request is to be answered, and whether its body is streamed."""
        try:
            match, _ = self._route(request)
        except ApiError:
            return _SHORT
        operations = match.operations
        first = operations[0]
        if first.at_once is not None and first.at_once(self.deps, request.headers):
            return _AT_ONCE
        brief = self._cost_s.get(first.name, _BRIEF_S) < _BRIEF_S
        if (brief or first.kept) and self._knows(
            request.headers.get("x-auth-token"), request.headers.get("x-service-token")
        ):
            request.kept = self._recall(request, operations) if first.kept else None
            if brief or request.kept is not None:
                return _AT_ONCE
        slow = any(op.waits for op in operations)
        upload = any(op.upload for op in operations)
        return Needs(slow, upload, False) if slow or upload else _SHORT

    def _route(self, request: Request) -> tuple[Match, str | None]:
        """Return the candidates of a request and the project of its path; looked for once."""
        if request.route is None:
            path, project = self._split_project(request.path)
            request.route = self.match(request.method, path), project
        route: tuple[Match, str | None] = request.route
        return route

    def _is_brief(self, op: Operation) -> bool:
        """Whether an operation only reads an embedded database: nothing in it can wait."""
        if op.write or op.manual or op.upload or op.waits or op.request is not None:
            return False
        database = self._databases.get(op.database)
        return database is not None and database.kind == "sqlite" and not database.memory

    # -- one request -----------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer a request; never raises."""
        started = time.perf_counter()
        request_id = new_request_id()
        global_id = request.headers.get("x-openstack-request-id")
        if global_id is not None and _REQUEST_ID.match(global_id) is None:
            global_id = None
        headers: list[tuple[str, str]] = []
        look = trace.is_look(request.method, global_id, request.headers.get(trace.STATE_HEADER))
        with (
            log_ids(
                request_id=request_id,
                global_request_id=global_id,
                traceparent=None,
                tracestate=trace.LOOK if look else None,
            ),
            trace.Span(
                trace.API, self.service.name, self._spans, remote=request.headers.get(trace.HEADER)
            ) as span,
        ):
            try:
                response = self._answer(request, request_id, global_id, headers)
            except ApiError as error:
                response = self._refuse(error, request_id)
            except (Stale, Unavailable) as error:
                _log.warning("database busy", reason=str(error))
                response = self._refuse(ServiceUnavailable(), request_id)
            except Exception as error:  # border: nothing of the inside may leave
                _log.error(
                    "request failed", exc_info=error, method=request.method, path=request.path
                )
                response = self._refuse(ApiError(), request_id)
            seconds = time.perf_counter() - started
            response.headers.extend(headers)
            response.headers.append((self.service.request_id_header, request_id))
            for header in self.service.extra_request_id_headers:
                response.headers.append((header, request_id))
            if request.method == "HEAD":
                response.body = b""
            span.name = f"{self.service.name} {request.operation}"
            span.end(
                "answered",
                failed=response.status >= 500,
                level=None if response.status < 500 and seconds < _SLOW_S else logging.INFO,
                method=request.method,
                path=request.path,
                status=response.status,
            )
        if self._observe is not None:
            self._observe(self.service.name, request.operation, response.status, seconds)
        return response

    def _refuse(self, error: ApiError, request_id: str) -> Response:
        body = msgspec.json.encode(self.service.error_body(error, request_id))
        headers = [("Content-Type", "application/json"), *error.headers]
        if error.status == 401 and self._www_authenticate:
            headers.append(("WWW-Authenticate", self._www_authenticate))
        if error.status == 503:
            headers.append(("Retry-After", "5"))
        return Response(error.status, headers, body)

    def _answer(
        self,
        request: Request,
        request_id: str,
        global_id: str | None,
        headers: list[tuple[str, str]],
    ) -> Response:
        match, project = self._route(request)
        version = self._version(request, headers)
        candidates = [op for op in match.operations if op.active(version)]
        if not candidates:
            raise NotFound()
        ctx = self._context(request, request_id, global_id, candidates[0])
        if project is not None and ctx.project_id != project and not ctx.is_admin:
            raise BadRequest(
                f"Malformed request URL: URL's project_id '{project}' doesn't match Context's"
                f" project_id '{ctx.project_id}'"
            )
        request.operation = candidates[0].name
        body, op = self._body(request, candidates)
        if op.policy not in (PUBLIC,) and ctx.user_id is None:
            raise Unauthorized()
        request.operation = op.name
        values = tuple(map(unquote, match.values))
        if not op.kept or ctx.if_match is not None:
            return self._run(request, op, version, ctx, values, body)
        key = _key(request, op, version, ctx)
        kept = request.kept or self._kept.find(key)
        if kept is not None:
            return kept.again()
        with reading.noted() as read:
            response = self._run(request, op, version, ctx, values, body)
        self._kept.keep(key, response, read)
        return response

    def _recall(self, request: Request, operations: Sequence[Operation]) -> Kept | None:
        """Return the answer from before that a request will get, unless its turn shows otherwise."""
        try:
            version = self._version(request, [])
            op = next((op for op in operations if op.active(version)), None)
            if op is None or not op.kept:
                return None
            return self._kept.find(_key(request, op, version, self._context(request, "", None, op)))
        except ApiError:
            return None

    def _version(self, request: Request, headers: list[tuple[str, str]]) -> Version:
        if self.service.versions is None:
            return BASE
        try:
            version = self.service.versions.negotiate(request.headers)
        except VersionError as error:
            raise _VersionRefused(error) from None
        headers.extend(self.service.versions.response_headers(version))
        return version

    def _context(
        self, request: Request, request_id: str, global_id: str | None, op: Operation
    ) -> Context:
        base = (self._public_base or request.base) + self.service.prefix
        token = request.headers.get("x-auth-token")
        if op.policy == PUBLIC:
            ctx = anonymous(request_id)
        elif not token:
            raise Unauthorized()
        else:
            service_token = request.headers.get("x-service-token")
            ctx = self._authenticator.authenticate(token, service_token, request_id)
            if not ctx.may_call(self.service.type, request.method, request.path):
                raise Unauthorized()
        return ctx.for_request(request_id, global_id, base, request.headers.get("if-match"))

    def _body(self, request: Request, candidates: Sequence[Operation]) -> tuple[Any, Operation]:
        op = candidates[0]
        if op.upload:
            kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
            if op.media and kind not in op.media:
                raise UnsupportedMedia(content_type=kind or "(none)")
            return None, op
        if len(request.body) > self.service.max_body_bytes:
            raise TooLarge()
        acts = op.action is not None
        if not acts and all(c.request is None for c in candidates):
            return None, op
        if not request.body:
            if op.optional_body:
                return {}, op
            raise BadRequest("The request has no body.")
        kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
        if kind not in op.media:
            raise UnsupportedMedia(content_type=kind)
        try:
            body = msgspec.json.decode(request.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise BadRequest("The request body is not valid JSON.") from None
        if acts:
            if not isinstance(body, dict) or len(body) != 1:
                raise BadRequest("The body must be an object with exactly one action.")
            action = next(iter(body))
            for candidate in candidates:
                if candidate.action == action:
                    return body, candidate
            raise BadRequest(f"There is no such action: {action[:64]}")
        return body, op

    # -- the operation ---------------------------------------------------------------------------

    def _run(
        self,
        request: Request,
        op: Operation,
        version: Version,
        ctx: Context,
        values: tuple[str, ...],
        body: Any,
    ) -> Response:
        try:
            query = op.query.parse_query(request.query, version) if op.query is not None else None
            new: Any = self._shape(op, version, body) if op.request is not None else None
        except Invalid as error:
            raise InvalidField(path=error.path, reason=error.reason) from None
        if op.upload:
            new = request.stream
        with log_ids(project_id=ctx.project_id, user_id=ctx.user_id):
            if op.manual:
                target = self._load(op, ctx, self.deps, values, query, new)
                result = op.handler(ctx, self.deps, *target, *_given(request, op, query, new))
                return self._render(request, op, version, ctx, query, result)
            return self._in_transaction(request, op, version, ctx, values, query, new)

    def _shape(self, op: Operation, version: Version, body: Any) -> Struct:
        assert op.request is not None
        if op.wrap:
            if not isinstance(body, dict):
                raise BadRequest("The body must be a JSON object.")
            if not body and op.optional_body:
                return op.request.parse({}, version)
            if op.wrap not in body:
                raise BadRequest(f"The body must have the key {op.wrap!r}.")
            if body[op.wrap] is None and (op.action is not None or op.optional_body):
                body = {op.wrap: {}}
            body = body[op.wrap]
        ups = [c.up for c in op.changes if c.up is not None and version < _version(c.version)]
        return op.request.parse(body, version, op.wrap or "", ups)

    def _in_transaction(
        self,
        request: Request,
        op: Operation,
        version: Version,
        ctx: Context,
        values: tuple[str, ...],
        query: Struct | None,
        new: Any,
    ) -> Response:
        database = self._databases[op.database]
        for attempt in range(_ATTEMPTS):
            try:
                began = time.thread_time()
                with database.write() if op.write else database.read() as tx:
                    target = self._load(op, ctx, tx, values, query, new)
                    result = op.handler(ctx, tx, *target, *_given(request, op, query, new))
                answer = self._render(request, op, version, ctx, query, result)
                mean_s = self._cost_s.get(op.name)
                if mean_s is not None:
                    self._cost_s[op.name] = mean_s + (time.thread_time() - began - mean_s) / 8
                return answer
            except (Stale, Unavailable) as error:
                # What may have been committed is not done again: that could make things twice.
                unknown = op.write and isinstance(error, CommitUnknown)
                if unknown or attempt == _ATTEMPTS - 1:
                    _log.warning("database busy", reason=str(error))
                    raise ServiceUnavailable() from error
                time.sleep(0.01 * 2**attempt)
            except RowConflict as error:
                raise Conflict() from error
        raise AssertionError("unreachable")

    def _load(
        self,
        op: Operation,
        ctx: Context,
        tx: Any,
        values: tuple[str, ...],
        query: Struct | None,
        new: Any,
    ) -> tuple[Any, ...]:
        loaded: Any = None
        args: tuple[Any, ...] = values
        if op.load is not None:
            try:
                loaded = op.load(ctx, tx, *values)
            except NotFound:
                self._refuse_before_missing(op, ctx, query, new)
                raise
            args = (loaded,)
        fields = new.plan(BASE).policies if isinstance(new, Struct) else {}
        if op.policy in (PUBLIC, TOKEN) and not fields:
            return args
        subject = query if op.rule is not None and op.request is None else new
        target = (
            op.target(ctx, loaded, subject)
            if op.target is not None
            else default_target(ctx, loaded)
        )
        if op.policy not in (PUBLIC, TOKEN):
            self.policy.enforce(_rule(op, ctx, loaded, query, new), ctx, target)
        for attr, rule in fields.items():
            if rule is not None and new.has(attr):
                self.policy.enforce(rule, ctx, target)
        return args

    def _refuse_before_missing(
        self, op: Operation, ctx: Context, query: Struct | None, new: Any
    ) -> None:
        """Tell only those who may act on a target that it does not exist, where a service wants that."""
        if self.service.refuse_before_missing and op.policy not in (PUBLIC, TOKEN):
            target = op.target(ctx, None, new) if op.target is not None else {}
            self.policy.enforce(_rule(op, ctx, None, query, new), ctx, target)

    # -- the answer ------------------------------------------------------------------------------

    def _render(
        self,
        request: Request,
        op: Operation,
        version: Version,
        ctx: Context,
        query: Struct | None,
        result: Any,
    ) -> Response:
        reply = result if isinstance(result, Reply) else Reply(result)
        status = reply.status or self._status(op, version)
        headers = list(reply.headers)
        if reply.stream is not None or reply.file is not None or reply.raw is not None:
            headers.append(("Content-Type", reply.content_type))
            return Response(status, headers, reply.raw or b"", reply.stream, reply.file)
        body = self._body_of(request, op, version, ctx, query, reply.body)
        if body is None:
            return Response(status, headers, b"")
        headers.append(("Content-Type", reply.content_type))
        return Response(status, headers, msgspec.json.encode(body))

    @staticmethod
    def _status(op: Operation, version: Version) -> int:
        for change in op.changes:
            if change.status is not None and version < _version(change.version):
                return change.status
        return op.status

    def _body_of(
        self,
        request: Request,
        op: Operation,
        version: Version,
        ctx: Context,
        query: Struct | None,
        result: Any,
    ) -> Any:
        shape = op.items or op.response
        if shape is None or result is None:
            return result
        only = query.get("fields") if query is not None else None
        memo: dict[tuple[str, Any], bool] = {}

        def show(item: Any) -> dict[str, Any]:
            target: Mapping[str, Any] = {}

            def allowed(rule: str) -> bool:
                nonlocal target
                target = target or default_target(ctx, item)
                key = (rule, target["project_id"])
                if key not in memo:
                    memo[key] = self.policy.allows(rule, ctx, target)
                return memo[key]

            out = shape.render(item, version, allowed)
            for change in reversed(op.changes):
                if change.down is not None and version < _version(change.version):
                    change.down(out)
            return {k: v for k, v in out.items() if k in only} if only else out

        if op.items is None:
            shown = show(result)
            return {op.response_wrap: shown} if op.response_wrap else shown
        page = result if isinstance(result, Page) else Page(result)
        assert op.response_wrap is not None
        body: dict[str, Any] = {op.response_wrap: [show(item) for item in page.items]}
        body.update(page.extra)
        body.update(self.service.list_keys(ctx, request.path, op.response_wrap, page))
        return body


def _rule(op: Operation, ctx: Context, loaded: Any, query: Any, new: Any) -> str:
    if op.rule is None:
        return op.policy
    return op.rule(ctx, loaded, query if op.request is None else new)


def _key(request: Request, op: Operation, version: Version, ctx: Context) -> Hashable:
    """Return all that an answer depends on besides what it is read from."""
    return op.name, version, request.path, tuple(request.query), ctx.base_url, ctx.caller


def _given(request: Request, op: Operation, query: Any, new: Any) -> tuple[Any, ...]:
    given: tuple[Any, ...] = ()
    if op.query is not None:
        given += (query,)
    if op.request is not None or op.upload:
        given += (new,)
    if op.headers == ("*",):
        given += ({**request.headers, ":peer": request.peer},)
    elif op.headers:
        given += ({name: request.headers[name] for name in op.headers if name in request.headers},)
    return given


def _version(text: str) -> Version:
    major, _, minor = text.partition(".")
    return Version(int(major), int(minor))


def default_target(ctx: Context, loaded: Any) -> Mapping[str, Any]:
    """Return what a rule is checked against: the owner of the loaded row, else the caller."""
    project = _attribute(loaded, "project_id")
    user = _attribute(loaded, "user_id")
    project = ctx.project_id if project is None else project
    return {
        "project_id": project,
        "tenant_id": project,
        "user_id": ctx.user_id if user is None else user,
    }


def _attribute(loaded: Any, name: str) -> Any:
    if isinstance(loaded, Mapping):
        return loaded.get(name)
    return getattr(loaded, name, None)


__all__ = ["Authenticator", "Dispatcher", "PolicyForbidden", "default_target"]
