"""Keystone and Placement on ports of their own, asked over HTTP as any client asks."""

import sys
from pathlib import Path
from typing import Any

import httpx

from gureum.testing.ports import free_offset

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

from incloud import InCloud

BOUND_S = 0.5
"""How long a service may still honour a token that was revoked."""

SETTINGS = f"""
[keystone]
hash_time_cost = 1
hash_memory_kib = 8192
[keystone.security_compliance]
lockout_failure_attempts = 3
lockout_duration_s = 600
[keystone.federation]
trusted_proxies = ["192.0.2.0/24"]
[cache]
token_cache_time = {BOUND_S}
"""


class Listening:
    """A cloud of two services, and ways to ask them. `admin` is a token."""

    def __init__(self, folder: Path) -> None:
        names = ("keystone", "placement-api")
        offset = free_offset()
        self.cloud = InCloud(folder, names=names, offset=offset, extra=SETTINGS, listen=True)
        self.http = httpx.Client(trust_env=False, timeout=30)
        self.admin = self.cloud.token
        self.placement = self.cloud.endpoint("placement")
        self.keystone: Any = self.cloud._components[0]
        self._count = 0

    def close(self) -> None:
        self.http.close()
        self.cloud.close()

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Ask Keystone (`/…`) or another service (a whole address); the token is not the default."""
        url = path if path.startswith("http") else self.cloud.auth_url + path
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["x-auth-token"] = token
        return self.http.request(method, url, json=body, headers=sent)

    def ok(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """Ask as the administrator, unless with another token; the answer is a success."""
        answer = self.ask(method, path, body, token or self.admin)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def name(self, kind: str) -> str:
        """Return a name that nothing has yet."""
        self._count += 1
        return f"{kind}{self._count}"

    def project(self) -> str:
        """Make a project; returns its id."""
        body = {"project": {"name": self.name("project")}}
        return str(self.ok("POST", "/projects", body)["project"]["id"])

    def role(self, name: str) -> str:
        """Return the id of a role."""
        return str(self.ok("GET", f"/roles?name={name}")["roles"][0]["id"])

    def user(self, project: str | None = None, *roles: str, **more: Any) -> dict[str, Any]:
        """Make a user with the password `pw` and roles in a project."""
        body = {"user": {"name": self.name("user"), "password": "pw", **more}}
        made: dict[str, Any] = self.ok("POST", "/users", body)["user"]
        for role in roles:
            self.ok("PUT", f"/projects/{project}/users/{made['id']}/roles/{self.role(role)}")
        return made

    def login(self, identity: dict[str, Any], scope: Any = None) -> httpx.Response:
        """Log in with any methods."""
        auth: dict[str, Any] = {"identity": identity}
        if scope is not None:
            auth["scope"] = scope
        return self.ask("POST", "/auth/tokens", {"auth": auth})

    def token(self, identity: dict[str, Any], scope: Any = None) -> str:
        """Log in; returns the token."""
        answer = self.login(identity, scope)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["x-subject-token"])

    def check(self, token: str) -> int:
        """Return what Keystone says to a token."""
        return self.ask("GET", "/auth/tokens", None, self.admin, x_subject_token=token).status_code


def password(user: dict[str, Any], secret: str = "pw") -> dict[str, Any]:
    """Return the identity of a login with a password."""
    return {"methods": ["password"], "password": {"user": {"id": user["id"], "password": secret}}}


def by_token(token: str) -> dict[str, Any]:
    """Return the identity of a login with a token."""
    return {"methods": ["token"], "token": {"id": token}}


def by_credential(made: dict[str, Any]) -> dict[str, Any]:
    """Return the identity of a login with an application credential."""
    part = {"id": made["id"], "secret": made["secret"]}
    return {"methods": ["application_credential"], "application_credential": part}


def in_project(project: str) -> dict[str, Any]:
    """Return the scope of a project."""
    return {"project": {"id": project}}
