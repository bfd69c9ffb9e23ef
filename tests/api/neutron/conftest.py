"""The network service on a database in memory, with tokens that say who they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import sqlalchemy as sa
from databases import fresh

from gureum.core.context import Context
from gureum.core.db import Database
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.kept import KeptAnswers
from gureum.core.http.messages import Request
from gureum.core.policy import Policy
from gureum.core.spec import Unauthorized
from gureum.neutron.config import Ml2Options, NeutronOptions
from gureum.neutron.deps import Deps
from gureum.neutron.logic.state import NetworkStateServer
from gureum.neutron.ml2.manager import Ml2
from gureum.neutron.service import SERVICE
from gureum.neutron.store import tables
from gureum.neutron.store.default_rules import seed

MAIN, OTHER, SERVICES = "a" * 32, "b" * 32, "c" * 32
_ROLES = {
    "admin": (MAIN, ("admin", "manager", "member", "reader")),
    "member": (MAIN, ("member", "reader")),
    "reader": (MAIN, ("reader",)),
    "other": (OTHER, ("member", "reader")),
    "nova": (SERVICES, ("service",)),
    "nobody": (MAIN, ()),
}
POLICY = Policy(SERVICE.rules)


class Tokens:
    """Tokens are the names of personas."""

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        """See Authenticator."""
        if token not in _ROLES:
            raise Unauthorized()
        project, roles = _ROLES[token]
        return Context(request_id=request_id, user_id=token, project_id=project, roles=roles)


@dataclass
class Answer:
    """An answer with its decoded body."""

    status: int
    body: Any
    headers: dict[str, str]

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    @property
    def kind(self) -> str:
        """The type of an error."""
        return str(self.body["NeutronError"]["type"])


class Cloud:
    """One neutron-server, asked in-process."""

    def __init__(self, database: Database) -> None:
        self.db = database
        with database.write() as tx:
            tables.metadata.create_all(tx.connection)
            seed(tx)
        ml2 = Ml2Options(network_vlan_ranges=("physnet1:100:101", "physnet2"))
        self.pokes: list[tuple[str, str, int, list[str]]] = []
        self.events: list[tuple[str, str, str]] = []
        self.deps = Deps(
            db=database,
            policy=POLICY,
            options=NeutronOptions(),
            ml2=Ml2(ml2, 1500),
            poke=lambda *poke: self.pokes.append(poke),  # type: ignore[arg-type]
            nova_event=lambda name, device, port, mac: self.events.append((name, device, port)),
        )
        database.deps = self.deps
        self.state = NetworkStateServer(self.deps)
        self._dispatcher = Dispatcher(SERVICE, POLICY, Tokens(), {"": database}, self.deps)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str = "member",
        headers: dict[str, str] | None = None,
        status: int | None = None,
    ) -> Answer:
        """Send a request; check the status if one is expected."""
        parts = urlsplit(path)
        request = Request(
            method=method,
            path="/v2.0" + parts.path if not path.startswith("/v") else parts.path,
            query=parse_qsl(parts.query, keep_blank_values=True),
            headers={"x-auth-token": by, **(headers or {})},
            body=msgspec.json.encode(body) if body is not None else b"",
            base="http://net:9696",
        )
        response = self._dispatcher.handle(request)
        decoded = msgspec.json.decode(response.body) if response.body else None
        if status is not None:
            assert response.status == status, decoded
        return Answer(response.status, decoded, dict(response.headers))

    def make(self, path: str, *, by: str = "member", **values: Any) -> Any:
        """Create a resource and return it."""
        one = path.strip("/").replace("-", "_").removesuffix("s")
        one = {"rbac_policie": "rbac_policy"}.get(one, one)
        return self.call("POST", path, {one: values}, by=by, status=201)[one]

    def change(self, path: str, *, by: str = "member", **values: Any) -> Any:
        """Change a resource and return it."""
        one = path.strip("/").split("/")[0].replace("-", "_").removesuffix("s")
        return self.call("PUT", path, {one: values}, by=by, status=200)[one]

    def get(self, path: str, *, by: str = "member") -> Any:
        """Return the body of a GET."""
        answer = self.call("GET", path, by=by, status=200)
        return next(iter(answer.body.values()))

    def delete(self, path: str, *, by: str = "member") -> None:
        """Delete a resource."""
        self.call("DELETE", path, by=by, status=204)

    def network(self, *, cidr: str = "10.0.0.0/24", by: str = "member", **subnet: Any) -> Any:
        """Make a network with a subnet; returns both."""
        network = self.make("/networks", by=by, name="net")
        version = 6 if ":" in cidr else 4
        made = self.make(
            "/subnets", by=by, network_id=network["id"], cidr=cidr, ip_version=version, **subnet
        )
        return network, made

    def external(self, cidr: str = "203.0.113.0/24") -> Any:
        """Make an external network with a subnet; returns both."""
        network = self.make("/networks", by="admin", name="public", **{"router:external": True})
        subnet = self.make(
            "/subnets",
            by="admin",
            network_id=network["id"],
            cidr=cidr,
            ip_version=4,
            enable_dhcp=False,
        )
        return network, subnet

    def count(self, table: sa.Table) -> int:
        """Count rows."""
        with self.db.read() as tx:
            return int(tx.scalar(sa.select(sa.func.count()).select_from(table)))


@pytest.fixture
def cloud() -> Cloud:
    """A fresh neutron-server."""
    return Cloud(fresh("neutron"))


@pytest.fixture
def queries(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Count the SQL statements of a GET that is answered anew."""
    monkeypatch.setattr(KeptAnswers, "find", lambda kept, key: None)

    def count(path: str) -> int:
        seen: list[str] = []

        def note(*args: Any) -> None:
            seen.append(args[2])

        sa.event.listen(cloud.db.engine, "before_cursor_execute", note)
        try:
            cloud.get(path)
        finally:
            sa.event.remove(cloud.db.engine, "before_cursor_execute", note)
        return len(seen)

    return count
