"""A cloud of a thousand hosts in one process: real APIs, scheduler and conductor, imagined hosts.

Hosts join over the bus as real ones do: heartbeats, inventories to placement, network agents that fetch the
wanted state when they are hinted. Servers and ports are written as rows (seed.py). Everything is one process,
so a figure of CPU time is of the whole cloud, its hosts and the asking program together.

    python bench/fleet.py --hosts 1000 --servers 10000 --json fleet.json
    python bench/fleet.py --hold          # fill it and keep it running, for bench/run.py and a profiler
"""

import argparse
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import seed
from cloud import Cloud
from incloud import PASSWORD, InCloud

from gureum.core import log
from gureum.core.bus.journal import Journal
from gureum.neutron.agents.contract import (
    L2_AGENT,
    AgentInspection,
    AgentReport,
    NetworkAgent,
    NetworkState,
    StatusUpdate,
    poke_address,
)
from gureum.nova.agent.config import ComputeOptions
from gureum.nova.agent.contract import ComputeAgent, ComputeState, HostReport
from gureum.nova.agent.worker import ComputeWorker
from gureum.nova.drivers.fake import FakeDriver, FakeHost
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.scheduler.contract import Scheduler, ScheduleRequest
from gureum.nova.session import service_session
from gureum.placement.client import PlacementClient

PERIOD_S = 10.0
"""How often a host says that it lives: the default of nova-compute and of the network agents."""
POLL_S = 60.0
"""How often a network agent asks without a hint: its default. The answer to a heartbeat is a hint."""
NETWORKS = 200
SETTINGS = """
[neutron]
api_limit_max = 100000
[neutron.quotas]
quota_network = -1
quota_subnet = -1
quota_port = -1
quota_security_group = -1
quota_security_group_rule = -1
[nova.quota]
instances = -1
cores = -1
ram = -1
"""


class Switch(NetworkAgent):
    """The network agent of one host: asks for what changed when it is hinted."""

    def __init__(self, host: str, server: NetworkState, seen: Callable[[str], None]) -> None:
        self.host = host
        self._server = server
        self._seen = seen
        self._revision = 0
        self._lock = threading.Lock()
        self._started_at = datetime.now(UTC).isoformat()

    def changed(self, revision: int, kinds: list[str]) -> None:
        """Fetch what changed, unless it is known already."""
        if revision > self._revision:
            self.fetch()

    def fetch(self) -> None:
        """Take the wanted state, and report new ports as plugged."""
        with self._lock:
            known = self._revision
            state = self._server.l2_state(self.host, known)
            self._revision = state.revision
        for port in state.ports:
            self._seen(port.id)
        if known and state.ports:
            updates = [StatusUpdate(port.id, "ACTIVE") for port in state.ports]
            self._server.port_statuses(self.host, updates)

    def report(self) -> None:
        """Say that the agent lives; fetch what the answer says is missing."""
        ack = self._server.report(
            AgentReport(
                binary=L2_AGENT,
                agent_type="Open vSwitch agent",
                host=self.host,
                topic="N/A",
                started_at=self._started_at,
                availability_zone="nova",
                configurations={
                    "bridge_mappings": {"physnet1": "br-ex"},
                    "tunnel_types": ["vxlan", "gre"],
                    "tunneling_ip": "127.0.0.1",
                    "integration_bridge": "br-int",
                },
                revision=self._revision,
                problems=(),
            )
        )
        self.changed(ack.revision, [])

    def inspect(self) -> AgentInspection:
        """Nothing differs."""
        return AgentInspection(L2_AGENT, self.host, self._revision, {})

    def mend(self) -> list[str]:
        """Nothing is left."""
        return []


class Fleet:
    """Imagined hosts on the bus of a cloud. `arrived` holds when a host last took a port's state."""

    def __init__(self, cloud: InCloud, count: int, root: Path) -> None:
        self.arrived: dict[str, float] = {}
        self._cloud = cloud
        bus = cloud.runtime.bus
        journal = Journal(root / "fleet-journal.sqlite")
        options = ComputeOptions(state_path=str(root / "fleet"))
        self._state = bus.client(ComputeState)
        server = bus.client(NetworkState)
        self._started_at = datetime.now(UTC).isoformat()
        self.workers: list[ComputeWorker] = []
        self.switches: list[Switch] = []
        for number in range(count):
            name = seed.host_name(number)
            host = FakeHost(
                name=name, vcpus=seed.VCPUS, memory_mib=seed.MEMORY_MIB, disk_gib=seed.DISK_GIB
            )
            worker = ComputeWorker(options, name, FakeDriver(host), journal)
            bus.serve(ComputeAgent, worker, name, workers=2)
            self.workers.append(worker)
            switch = Switch(name, server, self._took)
            bus.serve(NetworkAgent, switch, poke_address(L2_AGENT, name), workers=1)
            self.switches.append(switch)
        self._stopping = threading.Event()
        self.resting = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="fleet", daemon=True)

    def _took(self, port_id: str) -> None:
        self.arrived[port_id] = time.perf_counter()

    def report(self, number: int) -> None:
        """Send the compute heartbeat of one host."""
        worker = self.workers[number]
        self._state.report(
            HostReport(
                host=worker.host,
                started_at=self._started_at,
                sent_at=datetime.now(UTC).isoformat(),
                inventory=worker.inventory(),
                capabilities=worker.capabilities(),
                boot_id="fleet",
            )
        )

    def join(self) -> None:
        """Let every host report for the first time."""
        for number in range(len(self.workers)):
            self.report(number)
            self.switches[number].report()
            self.switches[number].fetch()

    def start(self) -> None:
        """Begin to beat, evenly over the period."""
        self._thread.start()

    def stop(self) -> None:
        """Stop beating."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _beat(self) -> None:
        pause_s = PERIOD_S / len(self.workers)
        due = time.monotonic()
        number = beats = 0
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause_s, time.monotonic() - PERIOD_S)
            if self.resting.is_set():
                continue
            self.report(number)
            self.switches[number].report()
            if beats % round(POLL_S / PERIOD_S) == number % round(POLL_S / PERIOD_S):
                self.switches[number].fetch()
            number = (number + 1) % len(self.workers)
            beats += number == 0


# -- measuring -------------------------------------------------------------------------------------


class Book:
    """Figures by name: wall and CPU milliseconds of each operation.

    Wall time is taken while the fleet beats; processor time is of the whole process, so it is taken again
    while the fleet rests.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self._fleet = fleet

    def measure(
        self,
        name: str,
        times: int,
        work: Callable[[int], object],
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """Do something so often, one after the other; each time something else first, not counted."""
        work(-1)  # not counted: caches, connections
        wall, cpu = [], []
        for number in range(times):
            before()
            began = time.perf_counter()
            work(number)
            wall.append((time.perf_counter() - began) * 1000)
        self._fleet.resting.set()
        try:
            for number in range(times):
                before()
                cpu_began = time.process_time()
                work(times + number)
                cpu.append((time.process_time() - cpu_began) * 1000)
        finally:
            self._fleet.resting.clear()
        self.note(name, wall, cpu)

    def note(self, name: str, wall: list[float], cpu: list[float], **more: Any) -> None:
        """Keep and print a figure."""
        row = {
            "unit": "ms",
            "count": len(wall),
            "wall_p50": round(_at(wall, 50), 2),
            "wall_p99": round(_at(wall, 99), 2),
            "cpu_p50": round(_at(cpu, 50), 2) if cpu else None,
            "cpu_p99": round(_at(cpu, 99), 2) if cpu else None,
            "cpu_mean": round(statistics.fmean(cpu), 2) if cpu else None,
            "load": round(os.getloadavg()[0], 2),
            **more,
        }
        self.rows[name] = row
        print(f"{name:58}", *(f"{key}={value}" for key, value in row.items() if key != "unit"),
              flush=True)  # fmt: skip


def _at(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))]


def schedule(cloud: InCloud, book: Book) -> None:
    """Choose a host and take its room, as the first step of a server's saga does."""
    scheduler = cloud.runtime.bus.client(Scheduler)
    placement = ClientPlacement(PlacementClient(service_session(cloud.runtime)))

    def one(_: int) -> None:
        server_id = str(uuid.uuid4())
        request = ScheduleRequest(server_id, cloud.project_id, cloud.user_id, 1, 64, 1)
        host = scheduler.select(request).hosts[0]
        placement.allocate(
            server_id, host.provider_id, host.resources, project_id="p", user_id="u", new=True
        )

    book.measure("schedule and claim", 200, one)


def pages(api: Cloud, book: Book, servers: int) -> None:
    """Walk the servers in pages of 100. A server changes before each: the last answer will not do."""

    def rename() -> None:
        api.call(
            "PUT", "compute", f"/servers/{seed.identity('server', 0)}", {"server": {"name": "s"}}
        )

    for path in ("/servers", "/servers/detail"):
        markers, following = [""], f"{path}?limit=100"
        while len(markers) < max(1, servers // 100):
            page = api.call("GET", "compute", following)["servers"]
            markers.append(f"&marker={page[-1]['id']}")
            following = f"{path}?limit=100{markers[-1]}"
        for title, marker in (("first page", markers[0]), (f"page {len(markers)}", markers[-1])):
            tail = f"{path}?limit=100{marker}"
            book.measure(f"GET {path}?limit=100, {title}", 20,
                         lambda _, tail=tail: api.call("GET", "compute", tail), rename)  # fmt: skip


def ports(api: Cloud, fleet: Fleet, book: Book, count: int) -> None:
    """List ports, each time after one changed, and change some until their hosts know."""

    def rename() -> None:
        port = f"/ports/{seed.identity('port', 0)}"
        api.call("PUT", "network", port, {"port": {"name": "p"}})

    book.measure("GET /ports?limit=1000", 10,
                 lambda _: api.call("GET", "network", "/ports?limit=1000"), rename)  # fmt: skip
    wall: list[float] = []
    for number in range(50):
        port_id = seed.identity("port", number * 7 % count)
        fleet.arrived.pop(port_id, None)
        began = time.perf_counter()
        body = {"port": {"admin_state_up": bool(number % 2 == 0 and number // 2 % 2)}}
        api.call("PUT", "network", f"/ports/{port_id}", body)
        while port_id not in fleet.arrived and time.perf_counter() < began + 5:
            time.sleep(0.0005)
        wall.append((fleet.arrived.get(port_id, began + 5) - began) * 1000)
        time.sleep(0.02)
    book.note("change of a port until its host has taken it", wall, [])


def heartbeats(fleet: Fleet, book: Book) -> None:
    """Send the heartbeats of every host once, as fast as they are taken."""
    count = len(fleet.workers)
    for name, period_s, work in (
        ("heartbeat of a compute host", PERIOD_S, fleet.report),
        ("heartbeat of a network agent", PERIOD_S, lambda number: fleet.switches[number].report()),
        ("poll of a network agent", POLL_S, lambda number: fleet.switches[number].fetch()),
    ):
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            work(number)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        share = round(100 * cpu / period_s, 1)
        book.note(name, [1000 * wall / count], [1000 * cpu / count],
                  all_hosts_percent_of_a_core=share)  # fmt: skip


def boot(api: Cloud, book: Book, image: str, network_id: str, count: int = 50) -> None:
    """Boot servers with eight connections until all are ACTIVE, and delete them."""
    made: list[str] = []
    lock = threading.Lock()
    left = iter(range(count))

    def each(work: Callable[[int], None]) -> None:
        threads = [threading.Thread(target=_drain, args=(left, lock, work)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def create(number: int) -> None:
        body = {
            "name": f"boot-{number}",
            "imageRef": image,
            "flavorRef": seed.FLAVOR["id"],
            "networks": [{"uuid": network_id}],
        }
        made.append(api.call("POST", "compute", "/servers", {"server": body})["server"]["id"])

    def there(status: str) -> int:
        found = api.call("GET", "compute", f"/servers?name=^boot-{status}&limit=1000")
        return len(found["servers"])

    began, cpu = time.perf_counter(), time.process_time()
    each(create)
    while there("&status=ACTIVE") < count and time.perf_counter() < began + 60:
        time.sleep(0.1)
    _total(book, f"{count} servers until ACTIVE, 8 connections", count, began, cpu)
    left = iter(range(count))
    began, cpu = time.perf_counter(), time.process_time()
    each(lambda number: api.call("DELETE", "compute", f"/servers/{made[number]}"))
    while there("") and time.perf_counter() < began + 60:
        time.sleep(0.1)
    _total(book, f"{count} servers until gone, 8 connections", count, began, cpu)


def _drain(left: Any, lock: threading.Lock, work: Callable[[int], None]) -> None:
    while True:
        with lock:
            number = next(left, None)
        if number is None:
            return
        work(number)


def _total(book: Book, name: str, count: int, began: float, cpu: float) -> None:
    wall = (time.perf_counter() - began) * 1000
    each = (time.process_time() - cpu) * 1000 / count
    book.note(name, [wall], [], cpu_each=round(each, 1))


def image_of(cloud: InCloud) -> str:
    """Make a small image."""
    body = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    made = cloud.call("POST", "image", "/v2/images", body)
    url = f"{cloud.endpoint('image')}/v2/images/{made['id']}/file"
    reply = cloud.upload(url, b"\0" * 65536)
    if reply.status != 204:
        raise RuntimeError(f"upload: {reply.status}")
    return str(made["id"])


def fill(cloud: InCloud, fleet: Fleet, servers: int, networks: int) -> list[seed.Net]:
    """Let the hosts join, then write servers with two ports each."""
    nets: list[seed.Net] = []

    def make_networks() -> None:
        nets.extend(seed.network(cloud, f"net-{n}", own_group=True) for n in range(networks))

    for name, work in (
        ("hosts joined", fleet.join),
        ("networks made", make_networks),
        ("servers written", lambda: seed.servers(cloud, range(servers), nets, len(fleet.workers))),
    ):
        began = time.perf_counter()
        work()
        print(f"{name} in {time.perf_counter() - began:.1f} s", flush=True)
    return nets


def main() -> int:
    """Fill a cloud, measure it, print the figures."""
    parser = argparse.ArgumentParser(description="Measure Gureum with a fleet of imagined hosts.")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--port-offset", type=int, default=42_000)
    parser.add_argument("--only", default="schedule,pages,ports,heartbeats,boot")
    parser.add_argument("--hold", action="store_true", help="fill, print the URL, wait for Ctrl-C")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sys.setswitchinterval(0.0005)
    root = Path(tempfile.mkdtemp(prefix="gureum-fleet-"))
    log.setup("ERROR")
    try:
        with InCloud(root, offset=args.port_offset, listen=True, extra=SETTINGS) as cloud:
            return _run(args, cloud, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(args: argparse.Namespace, cloud: InCloud, root: Path) -> int:
    fleet = Fleet(cloud, args.hosts, root)
    book = Book(fleet)
    nets = fill(cloud, fleet, args.servers, args.networks)
    image = image_of(cloud)
    fleet.start()
    gc.collect()
    gc.freeze()  # as a process does when it has started
    gc.set_threshold(50_000, 20, 100)
    api = Cloud(cloud.auth_url, "admin", PASSWORD, "admin")
    if args.hold:
        print(f"--auth-url {cloud.auth_url} --password {PASSWORD}", flush=True)
        threading.Event().wait()
    parts: dict[str, Callable[[], None]] = {
        "schedule": lambda: schedule(cloud, book),
        "pages": lambda: pages(api, book, args.servers),
        "ports": lambda: ports(api, fleet, book, 2 * args.servers),
        "heartbeats": lambda: (fleet.stop(), heartbeats(fleet, book))[1],
        "boot": lambda: boot(api, book, image, nets[0].network_id),
    }
    for name in args.only.split(","):
        parts[name]()
    fleet.stop()
    if args.json is not None:
        document = {"hosts": args.hosts, "servers": args.servers, "figures": book.rows}
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
