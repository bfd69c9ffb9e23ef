"""A whole cloud on fake drivers in the test's process, and what a test does to it behind its back."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from gureum import components
from gureum.audit.finding import Finding
from gureum.audit.open import open_world
from gureum.audit.run import Report, audit
from gureum.audit.world import World
from gureum.core.config import loads
from gureum.core.run import Process, Runtime
from gureum.keystone.client import Credentials, Session
from gureum.neutron.agents.contract import FoundItem
from gureum.nova.drivers.fake import FakeDriver
from gureum.provision.databases import bootstrap_all, migrate_all
from gureum.provision.options import InstallOptions
from gureum.testing.ports import free_offset

ACCOUNTS = ("nova", "neutron", "glance", "placement")


def settings(folder: Path) -> str:
    """The settings of a cloud that lives in a folder."""
    lines = [
        "[gureum]",
        *(f'{name}_dir = "{folder}/{name}"' for name in ("state", "run", "config", "log")),
        'address = "127.0.0.1"',
        'bind_address = "127.0.0.1"',
        f"port_offset = {free_offset()}",
        "[install]",
        "simulated = true",
        f'admin_password = "{secrets.token_hex(8)}"',
        "[nova.compute]",
        'compute_driver = "fake"',
        "[keystone]",
        "hash_time_cost = 1",
        "hash_memory_kib = 8192",
    ]
    for name in ACCOUNTS:
        lines += [f"[service_user.{name}]", f'password = "{secrets.token_hex(8)}"']
    return "\n".join(lines)


def admin_session(runtime: Runtime) -> Session:
    """The administrator's session."""
    password = runtime.config.get(InstallOptions).admin_password
    credentials = Credentials(
        auth_url=f"http://127.0.0.1:{runtime.port(5000)}/v3",
        username="admin",
        password=password,
        project_name="admin",
        region=runtime.cloud.region,
    )
    return Session(runtime.client, credentials)


class Litter:
    """Lets an agent find more than there is, until it mends."""

    def __init__(self, agent: Any) -> None:
        self.items: list[FoundItem] = []
        self.agent = agent
        agent.look = lambda book: (list(self.items), len(self.items))
        agent.doubt = self.items.clear


class AuditCloud:
    """The cloud, its world as an audit sees it, and its agents' innards."""

    def __init__(self, runtime: Runtime, process: Process) -> None:
        self.runtime = runtime
        found = {component.name: component for component in process.components}
        compute: Any = found["nova-compute"]
        self.driver: FakeDriver = compute._driver
        network: Any = found["neutron-simulated-agents"]
        self.agents = {agent.binary: Litter(agent) for agent in network._agents}
        self.session = admin_session(runtime)
        self.world: World = open_world(runtime, grace_s=0.0)
        self.image_id = self._image()
        self.network_id = self.post("network", "/v2.0/networks", "network", name="net1")["id"]
        self.post(
            "network", "/v2.0/subnets", "subnet",
            network_id=self.network_id, ip_version=4, cidr="10.9.0.0/24",
        )  # fmt: skip

    def _image(self) -> str:
        reply = self.session.request(
            "POST", "image", "/v2/images",
            json={"name": "i", "disk_format": "raw", "container_format": "bare"},
        )  # fmt: skip
        image_id = str(reply.json()["id"])
        httpx.put(
            f"{self.session.endpoint('image')}/v2/images/{image_id}/file", content=b"x" * 512,
            headers={
                "Content-Type": "application/octet-stream", "X-Auth-Token": self.session.token()
            },
        ).raise_for_status()  # fmt: skip
        return image_id

    def post(self, service: str, path: str, wrap: str, **body: Any) -> dict[str, Any]:
        """Make something through an API."""
        reply = self.session.request("POST", service, path, json={wrap: body})
        assert reply.status < 300, reply.json()
        answer: dict[str, Any] = reply.json()[wrap]
        return answer

    def server(self) -> str:
        """Make a server and wait until it is ACTIVE."""
        flavors = self.session.request("GET", "compute", "/flavors").json()["flavors"]
        if not flavors:
            flavors = [
                self.post("compute", "/flavors", "flavor", name="f", vcpus=1, ram=64, disk=1)
            ]
        made = self.post(
            "compute", "/servers", "server", name="s1", imageRef=self.image_id,
            flavorRef=flavors[0]["id"], networks=[{"uuid": self.network_id}],
        )  # fmt: skip
        self.until(lambda: self.status(made["id"]) == "ACTIVE")
        return str(made["id"])

    def status(self, server_id: str) -> str:
        """Return a server's status; GONE when there is none."""
        reply = self.session.request("GET", "compute", f"/servers/{server_id}")
        return "GONE" if reply.status == 404 else str(reply.json()["server"]["status"])

    def delete(self, server_id: str) -> None:
        """Delete a server and wait until it is gone."""
        self.session.request("DELETE", "compute", f"/servers/{server_id}")
        self.until(lambda: self.status(server_id) == "GONE")

    def ports(self, server_id: str) -> list[str]:
        """Return the ids of a server's ports."""
        path = f"/v2.0/ports?device_id={server_id}"
        return [row["id"] for row in self.session.request("GET", "network", path).json()["ports"]]

    @staticmethod
    def until(fact: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until a fact holds."""
        deadline = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < deadline, "did not come true in time"
            time.sleep(0.02)

    # --- behind its back --------------------------------------------------------------------------

    def execute(self, database: str, statement: sa.Executable) -> None:
        """Change rows as no verb does."""
        with self.runtime.database(database).write() as tx:
            tx.execute(statement)

    def insert(self, database: str, table: sa.Table, **values: Any) -> None:
        """Write a row as no verb does."""
        with self.runtime.database(database).write() as tx:
            tx.insert(table, **values)

    def audit(self, *, repair: bool = False) -> Report:
        """Run an audit now."""
        return audit(self.world, repair=repair, settle_s=0.0)

    def finding(self, kind: str, id: str) -> Finding:
        """Return the one finding that an audit must have; nothing else may be wrong."""
        report = self.audit()
        assert report.code == 1, report
        found = [one for one in report.findings if (one.kind, one.id) == (kind, id)]
        assert len(found) == 1, report.findings
        return found[0]

    def mend(self) -> None:
        """Repair, and expect that nothing is left; a second repair has nothing to do."""
        report = self.audit(repair=True)
        assert report.code == 0, report
        assert report.mended
        again = self.audit(repair=True)
        assert (again.code, again.mended) == (0, ()), again


@contextmanager
def running(folder: Path) -> Iterator[AuditCloud]:
    """Run a cloud in a folder."""
    runtime = Runtime(loads(settings(folder), components.sections()), name="audit-test")
    migrate_all(runtime)
    bootstrap_all(runtime)
    process = Process(runtime, [components.load(name) for name in components.simulated_names()])
    process.start()
    try:
        AuditCloud.until(lambda: _is_ready(runtime))
        yield AuditCloud(runtime, process)
    finally:
        process.stop()


def _is_ready(runtime: Runtime) -> bool:
    """Whether a compute host and the agents were heard of."""
    with runtime.database("nova_cell1").read() as tx:
        hosts = tx.scalar(sa.text("SELECT count(*) FROM compute_nodes"))
    with runtime.database("neutron").read() as tx:
        agents = tx.scalar(sa.text("SELECT count(*) FROM agents"))
    return bool(hosts) and agents == 4
