"""Any cloud that speaks the OpenStack APIs, found by its Keystone URL.

Owns: logging in, endpoints by kind of service, one connection a thread and service. Must not: measure.
"""

import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wire import Answer, Wire

KINDS = {
    "identity": ("identity",),
    "compute": ("compute",),
    "network": ("network",),
    "image": ("image",),
    "placement": ("placement",),
    "volume": ("block-storage", "volumev3", "volume"),
}
VERSIONED = {"network": "/v2.0", "image": "/v2"}
"""Catalogues name these without their version."""


class Failed(Exception):
    """A cloud answered what nobody expected."""


class Cloud:
    """A session of one user. Thread-safe."""

    def __init__(
        self, auth_url: str, user: str, password: str, project: str, domain: str = "Default"
    ) -> None:
        self.auth_url = auth_url.rstrip("/")
        owner = {"name": domain}
        self.login_body = json.dumps(
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {"user": {"name": user, "domain": owner, "password": password}},
                    },
                    "scope": {"project": {"name": project, "domain": owner}},
                }
            }
        ).encode()
        self._wires = threading.local()
        self._bases = {"identity": self.auth_url}
        self.token = ""
        self.project_id = ""
        self.login()

    def login(self) -> None:
        """Get a token and the catalogue. Raises: Failed."""
        answer = self.send("POST", "identity", "/auth/tokens", self.login_body)
        if answer.status != 201:
            raise Failed(f"login at {self.auth_url}: {answer.status} {answer.body[:200]!r}")
        token = json.loads(answer.body)["token"]
        self.token, self.project_id = answer.headers["x-subject-token"], token["project"]["id"]
        public = {
            service["type"]: endpoint["url"].rstrip("/")
            for service in reversed(token["catalog"])
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public"
        }
        for kind, types in KINDS.items():
            url = next((public[name] for name in types if name in public), None)
            if url is not None and kind != "identity":
                version = VERSIONED.get(kind, "")
                self._bases[kind] = url if url.endswith(version) else url + version

    def has(self, kind: str) -> bool:
        """Whether the catalogue names such a service."""
        return kind in self._bases

    def url(self, kind: str) -> str:
        """Return the base URL of a service."""
        return self._bases[kind]

    def path(self, kind: str, tail: str) -> str:
        """Return the path of a resource at its service's port."""
        return urlsplit(self._bases[kind]).path + tail

    def headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what every request carries."""
        return {
            "x-auth-token": self.token,
            "content-type": "application/json",
            "accept": "application/json",
            **(more or {}),
        }

    def send(
        self,
        method: str,
        kind: str,
        tail: str,
        body: bytes = b"",
        more: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask a service over this thread's own connection."""
        wires = self._wires.__dict__
        wire = wires.get(kind)
        if wire is None:
            wire = wires[kind] = Wire(self._bases[kind])
        return wire.ask(method, self.path(kind, tail), self.headers(more), body)

    def call(self, method: str, kind: str, tail: str, body: Any = None) -> Any:
        """Ask, and return the decoded answer. Raises: Failed for a refusal."""
        sent = b"" if body is None else json.dumps(body).encode()
        answer = self.send(method, kind, tail, sent)
        if answer.status >= 300:
            raise Failed(f"{method} {kind}{tail}: {answer.status} {answer.body[:300]!r}")
        return json.loads(answer.body) if answer.body else None
