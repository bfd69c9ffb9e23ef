"""The typed client of Keystone: sessions, the catalogue, and the check of other people's tokens.

Every other service uses this module and nothing else of Keystone.
Follows: Identity API v3, "Authentication and token management".
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from gureum.core.cache import SharedCache
from gureum.core.context import Context
from gureum.core.http.client import HttpClient, HttpReply, RemoteError, RemoteUnavailable
from gureum.core.shapes import ready
from gureum.core.spec.errors import ServiceUnavailable, Unauthorized

_RENEW_BEFORE_S = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a service is, and how it finds Keystone. auth_url ends in /v3."""

    auth_url: str
    username: str
    password: str
    project_name: str = "service"
    user_domain_id: str = "default"
    project_domain_id: str = "default"
    region: str | None = None
    interface: str = "internal"

    def __repr__(self) -> str:
        return f"Credentials({self.username!r} at {self.auth_url!r})"


class Session:
    """A service's own token and catalogue, renewed before they expire. Thread-safe."""

    def __init__(self, http: HttpClient, credentials: Credentials) -> None:
        self.http = http
        self.credentials = credentials
        self._lock = threading.Lock()
        self._token: str | None = None
        self._expires = 0.0
        self._catalog: list[dict[str, Any]] = []

    def token(self) -> str:
        """Return a valid token of the service. Raises: RemoteError, RemoteUnavailable."""
        with self._lock:
            if self._token is None or time.time() > self._expires - _RENEW_BEFORE_S:
                self._authenticate()
            assert self._token is not None
            return self._token

    def forget(self, token: str) -> None:
        """Drop a token that another service refused."""
        with self._lock:
            if self._token == token:
                self._token = None

    def _authenticate(self) -> None:
        mine = self.credentials
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": mine.username,
                            "domain": {"id": mine.user_domain_id},
                            "password": mine.password,
                        }
                    },
                },
                "scope": {
                    "project": {
                        "name": mine.project_name,
                        "domain": {"id": mine.project_domain_id},
                    }
                },
            }
        }
        url = f"{mine.auth_url}/auth/tokens"
        reply = self.http.request("POST", url, json=body)
        if reply.status != 201:
            raise RemoteError("POST", url, reply.status, error_text(reply))
        token = reply.json()["token"]
        self._token = reply.headers["x-subject-token"]
        self._expires = read_time(token["expires_at"]).timestamp()
        self._catalog = token.get("catalog", [])

    def endpoint(self, service_type: str, interface: str | None = None) -> str:
        """Return the URL of a service, without a slash at its end.

        Raises: RemoteUnavailable when the catalogue has none.
        """
        self.token()
        wanted = interface or self.credentials.interface
        region = self.credentials.region
        for service in self._catalog:
            if service["type"] != service_type:
                continue
            for endpoint in service["endpoints"]:
                if endpoint["interface"] == wanted and region in (None, endpoint["region_id"]):
                    return str(endpoint["url"]).rstrip("/")
        with self._lock:  # the catalogue may have been written after our token was
            self._expires = 0.0
        raise RemoteUnavailable(f"the catalogue has no {wanted} endpoint of type {service_type}")

    def request(
        self,
        method: str,
        service_type: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        user_token: str | None = None,
    ) -> HttpReply:
        """Call a service of the catalogue; with `user_token` in the user's name, else in our own.

        Raises: RemoteUnavailable. Error answers are returned.
        """
        url = self.endpoint(service_type) + path
        for attempt in (1, 2):
            own = self.token()
            sent = {"x-auth-token": user_token or own, **(headers or {})}
            if user_token:
                sent["x-service-token"] = own
            reply = self.http.request(method, url, json=json, params=params, headers=sent)
            if reply.status == 401 and user_token is None and attempt == 1:
                self.forget(own)
                continue
            return reply
        raise AssertionError("unreachable")


_SHARED = "token"
_LONGEST_NAME = 512


def _name(token: str) -> str | bytes:
    """Return what a token is remembered by: itself, or a hash if it could fill the memory."""
    if len(token) <= _LONGEST_NAME:
        return token
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


@dataclass(frozen=True, slots=True)
class _Known:
    """A checked token among processes; `at` is when Keystone was asked (seconds since 1970)."""

    at: float
    context: Context


ready(_Known)


class TokenChecker:
    """Turns tokens into contexts by asking Keystone; remembers answers for `cache_s` seconds.

    A revocation is seen after at most that time. `shared` is what other processes have learnt lately.
    Implements the dispatcher's Authenticator.
    """

    def __init__(
        self,
        session: Session,
        *,
        cache_s: float = 5.0,
        capacity: int = 10_000,
        shared: SharedCache | None = None,
    ) -> None:
        self._session = session
        self._shared = shared
        self._cache_s = cache_s
        self._capacity = capacity
        self._lock = threading.Lock()
        self._cache: dict[str | bytes, tuple[float, Context | None]] = {}

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        """Return the caller. Raises: Unauthorized, ServiceUnavailable."""
        ctx = self._look_up(token)
        if ctx is None:
            raise Unauthorized()
        if service_token:
            service = self._look_up(service_token)
            if service is None:
                raise Unauthorized()
            ctx = replace(ctx, service_roles=service.roles)
        return ctx

    def knows(self, token: str | None, service_token: str | None) -> bool:
        """Whether `authenticate` would answer from memory."""
        return self._remembers(token) and (not service_token or self._remembers(service_token))

    def _remembers(self, token: str | None) -> bool:
        if not token:
            return True  # refused without asking
        found = self._cache.get(_name(token))
        return found is not None and found[0] > time.monotonic()

    def _look_up(self, token: str) -> Context | None:
        key = _name(token)
        now = time.monotonic()
        found = self._cache.get(key)
        if found is not None and found[0] > now:
            ctx = found[1]
            if ctx is None or ctx.expires_at is None or ctx.expires_at > datetime.now(UTC):
                return ctx
            return None
        ctx, age_s = self._ask_others(token)
        if ctx is None:
            ctx, age_s = self._ask(token), 0.0
            self._tell_others(token, ctx)
        with self._lock:
            if len(self._cache) >= self._capacity:
                self._cache.clear()
            self._cache[key] = (now + self._cache_s - age_s, ctx)
        return ctx

    def _ask_others(self, token: str) -> tuple[Context | None, float]:
        """What another process learnt, and how long ago; ages of both caches do not add up."""
        if self._shared is None:
            return None, 0.0
        body = self._shared.get(_SHARED, token, self._cache_s)
        if body is None:
            return None, 0.0
        try:
            known = msgspec.msgpack.decode(body, type=_Known)
        except msgspec.MsgspecError:  # of another version of this program
            return None, 0.0
        age_s = max(0.0, time.time() - known.at)
        ctx = replace(known.context, token=token)
        if age_s >= self._cache_s or (ctx.expires_at and ctx.expires_at <= datetime.now(UTC)):
            return None, 0.0
        return ctx, age_s

    def _tell_others(self, token: str, ctx: Context | None) -> None:
        """Only what is valid: invalid tokens are without number."""
        if self._shared is not None and ctx is not None:
            known = _Known(time.time(), replace(ctx, token=None))
            body = msgspec.msgpack.encode(known)
            self._shared.set(_SHARED, token, body, self._cache_s)

    def _ask(self, token: str) -> Context | None:
        url = f"{self._session.credentials.auth_url}/auth/tokens?nocatalog"
        if not token.isascii() or not token.isprintable():
            return None
        try:
            for attempt in (1, 2):
                own = self._session.token()
                reply = self._session.http.request(
                    "GET", url, headers={"x-auth-token": own, "x-subject-token": token}
                )
                if reply.status == 401 and attempt == 1:
                    self._session.forget(own)
                    continue
                break
        except (RemoteError, RemoteUnavailable) as error:
            raise ServiceUnavailable("Keystone cannot be asked about the token.") from error
        if reply.status in (401, 404):
            return None
        if reply.status != 200:
            raise ServiceUnavailable("Keystone cannot be asked about the token.")
        return replace(context_of(reply.json()["token"]), token=token)


def context_of(token: Mapping[str, Any], request_id: str = "") -> Context:
    """Read the body of a token as Keystone shows it."""
    user, project = token.get("user", {}), token.get("project") or {}
    domain = token.get("domain") or {}
    return Context(
        request_id=request_id,
        user_id=user.get("id"),
        user_name=user.get("name"),
        user_domain_id=(user.get("domain") or {}).get("id"),
        user_domain_name=(user.get("domain") or {}).get("name"),
        project_id=project.get("id"),
        project_name=project.get("name"),
        project_domain_id=(project.get("domain") or {}).get("id"),
        project_domain_name=(project.get("domain") or {}).get("name"),
        domain_id=domain.get("id"),
        domain_name=domain.get("name"),
        system=bool(token.get("system")),
        roles=tuple(role["name"] for role in token.get("roles", ())),
        is_admin_project=token.get("is_admin_project", True),
        expires_at=read_time(token["expires_at"]) if token.get("expires_at") else None,
        audit_ids=tuple(token.get("audit_ids", ())),
        access_rules=_access_rules(token.get("application_credential")),
    )


def _access_rules(credential: Any) -> tuple[tuple[str, str, str], ...] | None:
    """Return what an application credential may call; None when it is not limited."""
    rules = (credential or {}).get("access_rules")
    if rules is None:
        return None
    return tuple((rule["service"], rule["method"], rule["path"]) for rule in rules)


def read_time(text: str) -> datetime:
    """Read a moment as Keystone writes it."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def error_text(reply: HttpReply) -> str:
    """Return the message of an error answer, whatever its envelope."""
    try:
        body = reply.json()
    except msgspec.DecodeError:
        return reply.body[:200].decode(errors="replace")
    while isinstance(body, dict) and body:
        if isinstance(body.get("message"), str):
            return str(body["message"])
        body = next(iter(body.values()))
    return str(body)[:200]
