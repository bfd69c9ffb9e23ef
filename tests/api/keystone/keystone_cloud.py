"""A Keystone on a private database, called through its dispatcher."""

from pathlib import Path
from typing import Any

import msgspec
from databases import fresh, on_server

from gureum.core.db.migrate import migrate
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import Request
from gureum.core.policy import Policy
from gureum.keystone.bootstrap import CatalogEntry, Plan, bootstrap
from gureum.keystone.config import (
    ComplianceOptions,
    FederationOptions,
    KeystoneOptions,
    SamlOptions,
)
from gureum.keystone.logic.certificates import Certificates
from gureum.keystone.logic.claims import TokenProvider
from gureum.keystone.logic.deps import Deps
from gureum.keystone.logic.fernet import FernetProvider, KeyRepository
from gureum.keystone.logic.keyring import FolderKeys
from gureum.keystone.logic.passwords import Hasher
from gureum.keystone.logic.providers import JwsProvider, PkiProvider, SigningKeys, UuidProvider
from gureum.keystone.logic.receipts import Receipts
from gureum.keystone.logic.saml import Saml
from gureum.keystone.logic.tokens import OwnTokens
from gureum.keystone.logic.vault import Vault
from gureum.keystone.service import SERVICE

_POLICY = Policy(SERVICE.rules)
_TEMPLATE: list[bytes] = []
"""A new Keystone's database, once it has been made: the others of this run start from it."""


class Cloud:
    """A caller of one Keystone."""

    def __init__(self, folder: Any, provider: str = "fernet") -> None:
        file = Path(folder) / "keystone.sqlite"
        copied = bool(_TEMPLATE) and not on_server()
        if copied:
            file.write_bytes(_TEMPLATE[0])
        self.db = fresh("keystone", f"sqlite:///{file}")
        if not copied:
            migrate(self.db, "gureum.keystone.store.migrations")
        self.keys = KeyRepository(str(folder / "keys"))
        self.keys.setup()
        options = KeystoneOptions(hash_memory_kib=8192, hash_time_cost=1)
        compliance = ComplianceOptions(lockout_failure_attempts=3, lockout_duration_s=60)
        vault_keys = KeyRepository(str(folder / "vault"))
        vault_keys.setup()
        receipt_keys = KeyRepository(str(folder / "receipts"))
        receipt_keys.setup()
        saml = SamlOptions(
            idp_entity_id="https://cloud.example/idp",
            idp_sso_endpoint="https://cloud.example/sso",
            certfile=str(folder / "saml/cert.pem"),
            keyfile=str(folder / "saml/key.pem"),
        )
        self.folder = folder
        self.certificates: Certificates | None = None
        self.deps = Deps(
            self.db,
            options,
            compliance,
            self._provider(provider),
            Hasher(options),
            Vault(vault_keys),
            federation=FederationOptions(
                trusted_proxies=("192.0.2.0/24",), trusted_dashboard=("https://horizon.example/x",)
            ),
            receipts=Receipts(receipt_keys, 300),
            saml=Saml(saml),
            certificates=self.certificates,
        )
        self.db.deps = self.deps
        url = "http://127.0.0.1:8774/v2.1/%(project_id)s"
        entry = CatalogEntry("nova", "compute", url, url, url)
        if not copied:
            plan = Plan("secret", catalog=[entry], service_users={"nova": "np"})
            bootstrap(self.db, self.deps, plan)
            if not on_server():
                with self.db.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                _TEMPLATE.append(file.read_bytes())
        self.dispatcher = Dispatcher(
            SERVICE, _POLICY, OwnTokens(self.deps), {"": self.db}, self.deps
        )

    def _provider(self, name: str) -> TokenProvider:
        if name == "uuid":
            return UuidProvider(self.db)
        if name == "jws":
            signing = SigningKeys(FolderKeys(str(self.folder / "jws")))
            signing.setup()
            return JwsProvider(signing)
        if name in ("pki", "pkiz"):
            authority, signing = self.folder / "authority", self.folder / "signing"
            self.certificates = Certificates(FolderKeys(str(authority)), FolderKeys(str(signing)))
            self.certificates.setup()
            return PkiProvider(self.certificates, compressed=name == "pkiz")
        return FernetProvider(self.keys)

    def send(self, method: str, path: str, **rest: Any) -> Any:
        """Send a request as it is; returns the whole response."""
        path, _, query = path.partition("?")
        pairs = [tuple(part.partition("=")[::2]) for part in query.split("&") if part]
        rest.setdefault("headers", {})
        request = Request(method, path, pairs, base="http://127.0.0.1:5000", **rest)  # type: ignore[arg-type]
        return self.dispatcher.handle(request)

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        path, _, query = path.partition("?")
        pairs = [tuple(part.partition("=")[::2]) for part in query.split("&") if part]
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["x-auth-token"] = token
        data = msgspec.json.encode(body) if body is not None else b""
        request = Request(method, path, pairs, sent, data, base="http://127.0.0.1:5000")  # type: ignore[arg-type]
        answer = self.dispatcher.handle(request)
        content = msgspec.json.decode(answer.body) if answer.body else None
        return answer.status, content, dict(answer.headers)

    def ok(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        status, content, _ = self.call(method, path, body, token or self.admin)
        assert status < 300, (status, content)
        return content

    def login(self, name: str, password: str, scope: Any = None, domain: str = "default") -> str:
        status, content, headers = self.try_login(name, password, scope, domain)
        assert status == 201, content
        return headers["X-Subject-Token"]

    def try_login(
        self, name: str, password: str, scope: Any = None, domain: str = "default"
    ) -> Any:
        user = {"name": name, "domain": {"id": domain}, "password": password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if scope is not None:
            auth["scope"] = scope
        return self.call("POST", "/v3/auth/tokens", {"auth": auth})

    @property
    def admin(self) -> str:
        if not hasattr(self, "_admin"):
            scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
            self._admin = self.login("admin", "secret", scope)
        return self._admin

    def user(
        self, name: str, role: str | None = None, project: str | None = None
    ) -> dict[str, Any]:
        user = self.ok("POST", "/v3/users", {"user": {"name": name, "password": "pw"}})["user"]
        if role and project:
            role_id = self.role(role)
            self.ok("PUT", f"/v3/projects/{project}/users/{user['id']}/roles/{role_id}")
        return user

    def role(self, name: str) -> str:
        return self.ok("GET", f"/v3/roles?name={name}")["roles"][0]["id"]

    def project(self, name: str) -> dict[str, Any]:
        return self.ok("POST", "/v3/projects", {"project": {"name": name}})["project"]
