"""A whole simulated cloud in this process, for the fleet simulator and for tests of scale.

Owns: settings, databases, components in order. With `listen` the APIs have ports; without it they are called
straight through the process's HTTP client. Must not: know what is measured.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gureum import components
from gureum.core.config import Config, loads
from gureum.core.http.client import HttpReply
from gureum.core.run import Component, Runtime
from gureum.provision.databases import bootstrap_all, migrate_all

PASSWORD = "bench-password"
SERVICE_USERS = ("glance", "placement", "nova", "neutron")
APIS = ("keystone", "glance-api", "placement-api", "neutron-server", "nova-api")
CONTROL = (*APIS, "nova-scheduler", "nova-conductor")

_SETTINGS = """
[gureum]
state_dir = "{root}"
run_dir = "{root}/run"
config_dir = "{root}/config"
log_dir = "{root}/log"
port_offset = {offset}
host = "{host}"
[install]
simulated = true
admin_password = "{password}"
[nova.metadata]
metadata_proxy_shared_secret = "bench"
[nova.compute]
compute_driver = "fake"
"""


def settings(root: Path, offset: int, host: str, extra: str) -> Config:
    """Return the settings of a simulated cloud under a folder; `extra` is more TOML."""
    text = _SETTINGS.format(root=root, offset=offset, host=host, password=PASSWORD)
    for name in SERVICE_USERS:
        text += f'[service_user.{name}]\npassword = "{PASSWORD}"\n'
    return loads(text + extra, components.sections())


class InCloud:
    """The components of a cloud, started in this process.

    names: which ones. A context manager; the folder stays the caller's.
    """

    def __init__(
        self,
        root: Path,
        *,
        names: Sequence[str] = CONTROL,
        offset: int = 42_000,
        host: str = "control",
        extra: str = "",
        listen: bool = False,
    ) -> None:
        for folder in ("run", "config", "log"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.runtime = Runtime(settings(root, offset, host, extra), name="bench")
        migrate_all(self.runtime)
        bootstrap_all(self.runtime)
        self._components: list[Component] = []
        for name in names:
            component = components.load(name)
            self._components.append(component)
            self.runtime.start(component)
        if listen:
            self.runtime.http.open()
            self.runtime.http.serve()
        self._endpoints: dict[str, str] = {}
        self.token = ""
        self.project_id = ""
        self.user_id = ""
        self.login()

    def __enter__(self) -> "InCloud":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the components and close the databases."""
        self.runtime.stopping.set()
        self.runtime.http.drain()
        for component in reversed(self._components):
            component.stop()
        self.runtime.close()

    @property
    def auth_url(self) -> str:
        """Keystone's URL."""
        return f"http://127.0.0.1:{self.runtime.port(5000)}/v3"

    def login(self) -> None:
        """Get a token of the administrator, and the catalogue."""
        domain = {"id": "default"}
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {"name": "admin", "domain": domain, "password": PASSWORD}},
                },
                "scope": {"project": {"name": "admin", "domain": domain}},
            }
        }
        reply = self.runtime.client.request("POST", f"{self.auth_url}/auth/tokens", json=body)
        if reply.status != 201:
            raise RuntimeError(f"login: {reply.status} {reply.body[:300]!r}")
        token = reply.json()["token"]
        self.token = reply.headers["x-subject-token"]
        self.project_id, self.user_id = token["project"]["id"], token["user"]["id"]
        for service in token["catalog"]:
            for endpoint in service["endpoints"]:
                if endpoint["interface"] == "public":
                    self._endpoints[service["type"]] = endpoint["url"].rstrip("/")

    def ask(
        self,
        method: str,
        service: str,
        path: str,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
    ) -> HttpReply:
        """Call an API of this cloud as the administrator, or with another token."""
        sent = {"x-auth-token": token or self.token, **(headers or {})}
        url = self.auth_url if service == "identity" else self._endpoints[service]
        return self.runtime.client.request(method, url + path, json=json, headers=sent)

    def endpoint(self, service: str) -> str:
        """Return the base URL of a service."""
        return self._endpoints[service]

    def upload(self, url: str, content: bytes) -> HttpReply:
        """Put an image's bytes, over a socket: bodies are streamed."""
        headers = {"x-auth-token": self.token, "content-type": "application/octet-stream"}
        with httpx.Client(trust_env=False) as client:
            answer = client.put(url, content=content, headers=headers)
        return HttpReply(answer.status_code, answer.headers, answer.content)

    def call(self, method: str, service: str, path: str, json: Any = None, **kw: Any) -> Any:
        """Call, and return the decoded body. Raises: RuntimeError for an error answer."""
        reply = self.ask(method, service, path, json, **kw)
        if reply.status >= 300:
            raise RuntimeError(f"{method} {service}{path}: {reply.status} {reply.body[:300]!r}")
        return msgspec.json.decode(reply.body) if reply.body else None
