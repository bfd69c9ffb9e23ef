"""The compute service on databases in memory, with Glance and Neutron as facts and no saga engine.

Tokens are the names of personas. A saga that was submitted stays as it is until a test says how it ended.
"""

import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import sqlalchemy as sa
from databases import fresh

from gureum.core.context import Context
from gureum.core.db import Database
from gureum.core.db.types import utc_now
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import Request
from gureum.core.policy import Policy
from gureum.core.saga.store import SagaStore
from gureum.core.spec import Unauthorized
from gureum.nova import sagas
from gureum.nova.config import NovaOptions, QuotaOptions
from gureum.nova.deps import Deps
from gureum.nova.model import Address, Group, Nic
from gureum.nova.outside import GroupFacts, ImageFacts, NetworkFacts, PortFacts
from gureum.nova.service import SERVICE
from gureum.nova.store import hosts, mappings, server_nics, tables
from gureum.nova.store import servers as server_store

MAIN, OTHER, SERVICES = "a" * 32, "b" * 32, "c" * 32
_ROLES = {
    "admin": (MAIN, ("admin", "manager", "member", "reader")),
    "member": (MAIN, ("member", "reader")),
    "second": (MAIN, ("member", "reader")),
    "reader": (MAIN, ("reader",)),
    "other": (OTHER, ("member", "reader")),
    "service": (SERVICES, ("service",)),
    "nobody": (MAIN, ()),
}
POLICY = Policy(SERVICE.rules)
IMAGE = "11111111-1111-4111-8111-111111111111"
BIG_IMAGE = "22222222-2222-4222-8222-222222222222"
QUEUED_IMAGE = "33333333-3333-4333-8333-333333333333"
NET = "44444444-4444-4444-8444-444444444444"
SECOND_NET = "55555555-5555-4555-8555-555555555555"
FOREIGN_NET = "66666666-6666-4666-8666-666666666666"
GROUP = "77777777-7777-4777-8777-777777777777"
KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYvTsPRrOJDlE2lnOKYqyDLLgsmDLqVqeK6Fd1AfdTH user@example"
)


class Tokens:
    """Tokens are the names of personas."""

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        if token not in _ROLES:
            raise Unauthorized()
        project_id, roles = _ROLES[token]
        return Context(
            request_id=request_id,
            user_id=f"user-{token}",
            user_name=token,
            project_id=project_id,
            roles=roles,
            token=token,
        )


class FakeImages:
    """Images by id."""

    def __init__(self) -> None:
        self.known = {
            IMAGE: ImageFacts(
                IMAGE,
                "cirros",
                size=1 << 20,
                disk_format="qcow2",
                properties={"hw_disk_bus": "virtio"},
            ),
            BIG_IMAGE: ImageFacts(BIG_IMAGE, "big", min_disk=100, min_ram=4096),
            QUEUED_IMAGE: ImageFacts(QUEUED_IMAGE, "queued", status="queued"),
        }

    def get(self, ctx: Context, image_id: str) -> ImageFacts | None:
        return self.known.get(image_id)


class FakeNetworks:
    """Networks, ports and security groups in memory."""

    def __init__(self) -> None:
        self.nets = {NET: NetworkFacts(NET, "private", MAIN, subnets=("s",))}
        self.known_ports: dict[str, PortFacts] = {}
        self.known_groups = {GROUP: GroupFacts(GROUP, "web", MAIN, "Web.")}
        self.questions = 0

    def networks(self, ctx: Context, ids: Sequence[str] | None = None) -> list[NetworkFacts]:
        self.questions += 1
        return [
            net
            for net in self.nets.values()
            if (ids is None or net.id in ids)
            and (ctx.is_admin or net.project_id == ctx.project_id or net.shared or net.external)
        ]

    def ports(self, ctx: Context, ids: Sequence[str]) -> list[PortFacts]:
        self.questions += 1
        return [port for port in self.known_ports.values() if port.id in ids]

    def ports_of_servers(self, ctx: Context, server_ids: Sequence[str]) -> list[PortFacts]:
        self.questions += 1
        return [port for port in self.known_ports.values() if port.device_id in server_ids]

    def groups(
        self, ctx: Context, project_id: str | None = None, ids: Sequence[str] | None = None
    ) -> list[GroupFacts]:
        self.questions += 1
        return [
            group
            for group in self.known_groups.values()
            if (ids is None or group.id in ids)
            and (project_id is None or group.project_id == project_id)
        ]

    def set_port_groups(self, ctx: Context, port_id: str, group_ids: Sequence[str]) -> None:
        port = self.known_ports[port_id]
        self.known_ports[port_id] = replace(port, security_groups=tuple(group_ids))


@dataclass(slots=True)
class Screen:
    """Where a screen listens."""

    host: str = "10.0.0.1"
    port: int = 5900


class FakeHost:
    """A compute host that answers at once."""

    def console_log(self, guest_id: str, length: int | None) -> str:
        lines = [f"line {number}\n" for number in range(20)]
        return "".join(lines if length is None else lines[-length:] if length else [])

    def vnc_console(self, guest_id: str) -> Screen:
        return Screen()

    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        return {"vcpu.0.time": 17, "balloon.current": 131072, "net.count": 1, "net.0.rx.bytes": 5}


@dataclass(slots=True)
class Answer:
    """Status, decoded body, headers."""

    status: int
    body: Any
    headers: dict[str, str]

    def __getitem__(self, key: str) -> Any:
        return self.body[key]


@dataclass(slots=True)
class Cloud:
    """The service and what stands around it."""

    deps: Deps
    dispatcher: Dispatcher
    images: FakeImages
    networks: FakeNetworks
    refreshed: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    version: str = "2.1"
    numbers: Any = field(default_factory=itertools.count)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "member",
        version: str | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        parts = urlsplit(path)
        sent = {"openstack-api-version": f"compute {version or self.version}"}
        if token is not None:
            sent["x-auth-token"] = token
        data = raw if raw is not None else (b"" if body is None else msgspec.json.encode(body))
        response = self.dispatcher.handle(
            Request(
                method,
                parts.path if parts.path in ("/", "/v2") else f"/v2.1{parts.path}",
                parse_qsl(parts.query, keep_blank_values=True),
                {**sent, **(headers or {})},
                data,
                base="http://cloud:8774",
            )
        )
        content = msgspec.json.decode(response.body) if response.body else None
        return Answer(response.status, content, {k.lower(): v for k, v in response.headers})

    # -- servers -----------------------------------------------------------------------------

    def create(self, *, token: str = "member", version: str = "2.1", **values: Any) -> str:
        """Ask for a server and return its id."""
        server = {"name": f"server-{next(self.numbers)}", "flavorRef": "1", "imageRef": IMAGE}
        answer = self(
            "POST", "/servers", {"server": {**server, **values}}, token=token, version=version
        )
        assert answer.status == 202, answer.body
        return str(answer["server"]["id"])

    def up(
        self, *, token: str = "member", host: str = "one", version: str = "2.1", **values: Any
    ) -> str:
        """Ask for a server and let it come up."""
        server_id = self.create(token=token, version=version, **values)
        self.finish(
            server_id,
            vm_state="active",
            power_state=1,
            host=host,
            node=f"{host}.example",
            launched_at=utc_now(),
            root_device_name="/dev/vda",
        )
        return server_id

    def finish(self, server_id: str, *, state: str = "done", **values: Any) -> None:
        """End the saga of a server and write what it would have."""
        with self.deps.cell1.write() as tx:
            for saga in self.deps.saga_store.active(tx, [server_id]).values():
                tx.update(
                    self.deps.saga_store.sagas,
                    self.deps.saga_store.sagas.c.id == saga.id,
                    state=state,
                    lock_key=None,
                    task_state=None,
                    finished_at=time.time(),
                )
            if values:
                server_store.change(tx, server_id, **values)

    def gone(self, server_id: str) -> None:
        """End the saga of a server and delete it."""
        self.finish(server_id)
        with self.deps.cell1.write() as tx:
            server_store.mark_deleted(tx, server_id)
        with self.deps.api.write() as tx:
            mappings.mark_deleted(tx, server_id)

    def to_cell0(self, server_id: str) -> None:
        """Move a server to where those are that found no host."""
        self.finish(server_id, state="failed")
        with self.deps.cell1.write() as tx:
            bundle = server_store.export(tx, server_id)
            assert bundle is not None
        with self.deps.cell0.write() as tx:
            server_store.take(tx, bundle, vm_state="error")
            server_store.add_fault(
                tx, server_id, code=500, message="No valid host was found.", details="secret"
            )
        with self.deps.api.write() as tx:
            mappings.set_cell(tx, server_id, tables.CELL0)
        with self.deps.cell1.write() as tx:
            server_store.forget(tx, server_id)

    def plug(self, server_id: str, address: str = "10.1.0.5", floating: str | None = None) -> str:
        """Give a server a port."""
        port_id = str(uuid.uuid4())
        self.networks.known_ports[port_id] = PortFacts(
            port_id,
            NET,
            server_id,
            "fa:16:3e:00:00:01",
            "ACTIVE",
            ({"subnet_id": "s", "ip_address": address},),
            (GROUP,),
        )
        addresses = [Address(address, 6 if ":" in address else 4)]
        if floating:
            addresses.append(Address(floating, 4, "floating"))
        with self.deps.cell1.write() as tx:
            server_nics.put(
                tx,
                server_id,
                Nic(
                    port_id,
                    NET,
                    "private",
                    "fa:16:3e:00:00:01",
                    "nic1",
                    addresses=tuple(addresses),
                    groups=(Group(GROUP, "web"),),
                ),
            )
        return port_id

    def host(self, name: str = "one", **values: Any) -> str:
        """Make a compute host and return its service's id."""
        with self.deps.cell1.write() as tx:
            service_id = hosts.heard_of(tx, name, hosts.COMPUTE)
            if values:
                hosts.change_service(tx, service_id, **values)
            hosts.put_node(
                tx,
                str(uuid.uuid4()),
                service_id=service_id,
                host=name,
                hypervisor_hostname=f"{name}.example",
                inventory=INVENTORY,
                capabilities={},
            )
        with self.deps.api.write() as tx:
            mappings.map_host(tx, name, tables.CELL1)
        return service_id

    def sagas(self, server_id: str) -> list[Any]:
        """Return the sagas of a server, oldest first."""
        with self.deps.cell1.read() as tx:
            return self.deps.saga_store.of_resource(tx, server_id)[::-1]

    def count(self, table: sa.Table, database: Database | None = None) -> int:
        """Count rows."""
        with (database or self.deps.api).read() as tx:
            return int(tx.scalar(sa.select(sa.func.count()).select_from(table)))


INVENTORY = {
    "hypervisor_hostname": "one.example",
    "hypervisor_type": "QEMU",
    "hypervisor_version": 7002000,
    "host_ip": "10.0.0.1",
    "vcpus": 8,
    "memory_mib": 16000,
    "disk_gib": 100,
    "vcpus_used": 1,
    "memory_used_mib": 512,
    "disk_used_gib": 2,
    "disk_available_gib": 50,
    "running_guests": 1,
    "cpu": {
        "arch": "x86_64", "model": "m", "vendor": "v", "sockets": 1, "cores": 4, "threads": 2,
        "features": ["a"],
    },
    "uptime_text": " 08:32:11 up 93 days",
}  # fmt: skip


def make_cloud(quotas: QuotaOptions | None = None, options: NovaOptions | None = None) -> Cloud:
    """Build the service."""
    databases = {name: fresh(name) for name in ("nova_api", "nova_cell0", "nova_cell1")}
    for name, database in databases.items():
        with database.write() as tx:
            (tables.API if name == "nova_api" else tables.CELL).create_all(tx.connection)
    return serve(databases, quotas, options)


def serve(
    databases: dict[str, Database],
    quotas: QuotaOptions | None = None,
    options: NovaOptions | None = None,
) -> Cloud:
    """Build the service on databases that have tables."""
    refreshed: list[str] = []
    images, networks = FakeImages(), FakeNetworks()
    deps = Deps(
        api=databases["nova_api"],
        cells={cell: databases[name] for cell, name in reversed(tables.DATABASE_OF_CELL.items())},
        policy=POLICY,
        saga_store=SagaStore(tables.CELL),
        sagas=sagas.BY_NAME,
        images=images,
        networks=networks,
        compute=lambda host: FakeHost(),
        options=options or NovaOptions(),
        quotas=quotas or QuotaOptions(),
        refresh_ports=refreshed.extend,
    )
    for database in databases.values():
        database.deps = deps
    known = {"": databases["nova_api"], **databases}
    dispatcher = Dispatcher(SERVICE, POLICY, Tokens(), known, deps)
    return Cloud(deps, dispatcher, images, networks, refreshed)
