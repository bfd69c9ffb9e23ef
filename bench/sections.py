"""What is measured of each service. Whatever a section makes it removes again.

Owns: the requests and what each figure means; docs/performance.md says it in words. Must not: use anything
but public APIs, so that any cloud can be measured.
"""

import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cloud import Cloud, Failed
from drive import Figures, Sample, drive

PREFIX = f"figures-{os.getpid()}-"
SERVERS = 50
PORTS_LISTED = 1000
IMAGE_MIB = 64
VOLUMES = 20
PATIENCE_S = 300.0
LOOK_S = 0.25
"""How often the list is read while servers or volumes are waited for."""


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    made = work()
    return (time.perf_counter() - began) * 1000, made


class Section:
    """One service of one cloud under test."""

    def __init__(self, cloud: Cloud, figures: Figures, repeat: int, seconds: float) -> None:
        self.cloud = cloud
        self.figures = figures
        self.repeat = repeat
        self.seconds = seconds

    def drive(self, kind: str, connections: int, job: Any, expect: int, **more: Any) -> Sample:
        """Send requests, measuring the servers too."""
        return drive(
            self.cloud, kind, connections, job, expect=expect, pids=self.figures.pids, **more
        )

    def read(self, name: str, kind: str, tail: str, connections: int) -> None:
        """Read one thing over and over."""
        for _ in range(self.repeat):
            sample = self.drive(
                kind, connections, lambda _: ("GET", tail, b""), 200, seconds=self.seconds
            )
            self.figures.sample(f"{name}, conc {connections}", sample)

    def median_of(self, name: str, kind: str, tail: str, count: int) -> None:
        """Read one thing so often, one after the other; the figure is the median latency."""
        for _ in range(self.repeat):
            sample = self.drive(kind, 1, lambda _: ("GET", tail, b""), 200, count=count)
            self.figures.add(f"{name}, p50 of {count}", sample.percentile(50), "ms", sample.errors)

    def remove(self, kind: str, tails: Sequence[str], expect: int = 204) -> Sample:
        """Delete things with eight connections."""
        return self.drive(kind, 8, lambda i: ("DELETE", tails[i], b""), expect, count=len(tails))


def identity(section: Section) -> None:
    """Log in, and validate a token."""
    cloud = section.cloud
    plain = {"content-type": "application/json", "accept": "application/json"}
    for connections in (1, 8):
        for _ in range(section.repeat):
            sample = section.drive(
                "identity", connections, lambda _: ("POST", "/auth/tokens", cloud.login_body), 201,
                seconds=2 * section.seconds, headers=plain,
            )  # fmt: skip
            section.figures.sample(f"identity: token by password, conc {connections}", sample)
    both = {**cloud.headers(), "x-subject-token": cloud.token}
    for connections in (1, 8):
        for _ in range(section.repeat):
            sample = section.drive(
                "identity", connections, lambda _: ("GET", "/auth/tokens", b""), 200,
                seconds=section.seconds, headers=both,
            )  # fmt: skip
            section.figures.sample(f"identity: validate a token, conc {connections}", sample)


# -- quotas ----------------------------------------------------------------------------------------

_ROOM = {
    "network": {"network": 1000, "subnet": 1000, "port": 10_000},
    "compute": {"instances": 1000, "cores": 10_000, "ram": 50_000_000},
}
"""What the measured project must be allowed; quotas stay on."""


@contextlib.contextmanager
def room_for(cloud: Cloud, kind: str) -> Iterator[None]:
    """Raise the project's quotas, and put them back."""
    tail = {"network": "/quotas/", "compute": "/os-quota-sets/"}[kind] + cloud.project_id
    wrap = {"network": "quota", "compute": "quota_set"}[kind]
    before = cloud.call("GET", kind, tail)[wrap]
    cloud.call("PUT", kind, tail, {wrap: _ROOM[kind]})
    try:
        yield
    finally:
        cloud.call("PUT", kind, tail, {wrap: {name: before[name] for name in _ROOM[kind]}})


# -- network ---------------------------------------------------------------------------------------


def _network(cloud: Cloud, name: str, cidr: str) -> str:
    body = {"network": {"name": PREFIX + name}}
    network_id: str = cloud.call("POST", "network", "/networks", body)["network"]["id"]
    subnet = {"network_id": network_id, "ip_version": 4, "cidr": cidr}
    cloud.call("POST", "network", "/subnets", {"subnet": subnet})
    return network_id


def network(section: Section) -> None:
    """Make networks, subnets and ports; show, list and delete ports."""
    with room_for(section.cloud, "network"):
        for number in range(section.repeat):
            _networks(section, number)
        for _ in range(section.repeat):
            _ports(section)
        _list_of_ports(section)


def _networks(section: Section, number: int) -> None:
    cloud, figures = section.cloud, section.figures
    networks, subnets, made = [], [], []
    for index in range(20):
        body = {"network": {"name": f"{PREFIX}n"}}
        took, reply = _timed(lambda body=body: cloud.call("POST", "network", "/networks", body))
        networks.append(took)
        made.append(reply["network"]["id"])
        cidr = f"10.{100 + number}.{index}.0/24"
        subnet = {"subnet": {"network_id": made[-1], "ip_version": 4, "cidr": cidr}}
        took, _ = _timed(lambda subnet=subnet: cloud.call("POST", "network", "/subnets", subnet))
        subnets.append(took)
    figures.add("network: create a network, p50 of 20", statistics.median(networks), "ms")
    figures.add("network: create a subnet, p50 of 20", statistics.median(subnets), "ms")
    for network_id in made:
        cloud.call("DELETE", "network", f"/networks/{network_id}")


def _ports(section: Section) -> None:
    network_id = _network(section.cloud, "ports", "10.90.0.0/20")
    body = _json({"port": {"network_id": network_id, "name": f"{PREFIX}p"}})
    made: list[str] = []
    for connections in (1, 8):
        sample = section.drive(
            "network", connections, lambda _: ("POST", "/ports", body), 201, count=200, keep=True
        )
        section.figures.sample(f"network: create a port (200), conc {connections}", sample)
        made += [json.loads(answer.body)["port"]["id"] for answer in sample.answers]
    shown = section.drive(
        "network", 8, lambda _: ("GET", f"/ports/{made[0]}", b""), 200, seconds=section.seconds
    )
    section.figures.sample("network: show a port, conc 8", shown)
    gone = section.remove("network", [f"/ports/{port_id}" for port_id in made])
    section.figures.sample("network: delete a port, conc 8", gone)
    section.cloud.call("DELETE", "network", f"/networks/{network_id}")


def _list_of_ports(section: Section) -> None:
    cloud = section.cloud
    there = len(cloud.call("GET", "network", "/ports?fields=id")["ports"])
    network_id = _network(cloud, "list", "10.96.0.0/20")
    body = _json({"port": {"network_id": network_id, "name": f"{PREFIX}p"}})
    sample = section.drive(
        "network", 8, lambda _: ("POST", "/ports", body), 201,
        count=max(0, PORTS_LISTED - there), keep=True,
    )  # fmt: skip
    section.median_of(f"network: list of {PORTS_LISTED} ports", "network", "/ports", 10)
    made = [json.loads(answer.body)["port"]["id"] for answer in sample.answers]
    section.remove("network", [f"/ports/{port_id}" for port_id in made])
    cloud.call("DELETE", "network", f"/networks/{network_id}")


# -- compute ---------------------------------------------------------------------------------------


def _servers(cloud: Cloud, query: str = "") -> list[dict[str, Any]]:
    tail = f"/servers?limit=1000&name={PREFIX}{query}"
    found: list[dict[str, Any]] = cloud.call("GET", "compute", tail)["servers"]
    return found


def _wait(done: Callable[[], bool]) -> bool:
    ends = time.perf_counter() + PATIENCE_S
    while not done():
        if time.perf_counter() > ends:
            return False
        time.sleep(LOOK_S)
    return True


class Booting:
    """Boots servers in batches."""

    def __init__(self, section: Section) -> None:
        cloud = section.cloud
        flavors = cloud.call("GET", "compute", "/flavors/detail")["flavors"]
        images = cloud.call("GET", "image", "/images")["images"]
        smallest = min(flavors, key=lambda one: (one["ram"], one["vcpus"], one["disk"]))
        usable = [image for image in images if image["status"] == "active"]
        if not usable:
            raise Failed("no image is there to boot from")
        self._section = section
        self._base = {
            "flavorRef": smallest["id"],
            "imageRef": min(usable, key=lambda image: image["size"] or 0)["id"],
        }
        self.network_id = _network(cloud, "vms", "10.80.0.0/20")

    def boot(self, batch: int, *, count: bool = True) -> None:
        """Boot servers until all of them are ACTIVE."""
        section, cloud = self._section, self._section.cloud
        base = {**self._base, "networks": [{"uuid": self.network_id}]}

        def job(number: int) -> tuple[str, str, bytes]:
            server = {**base, "name": f"{PREFIX}{batch}-{number}"}
            return "POST", "/servers", _json({"server": server})

        before = len(_servers(cloud, "&status=ACTIVE"))
        began = time.perf_counter()
        sample = section.drive("compute", 8, job, 202, count=SERVERS)
        wanted = before + len(sample.latencies)

        def done() -> bool:
            return len(_servers(cloud, "&status=ACTIVE")) >= wanted or bool(
                _servers(cloud, "&status=ERROR")
            )

        _wait(done)
        seconds = time.perf_counter() - began
        late = wanted - len(_servers(cloud, "&status=ACTIVE"))
        if count:
            section.figures.sample("compute: accept a new server, conc 8", sample)
            name = f"compute: {SERVERS} servers until ACTIVE, conc 8"
            section.figures.add(name, seconds, "s", sample.errors)
        if late:
            section.figures.add("compute: servers that did not become ACTIVE", late, "")

    def clear(self, *, count: bool = True) -> None:
        """Delete every server until all are gone."""
        section, cloud = self._section, self._section.cloud
        tails = [f"/servers/{server['id']}" for server in _servers(cloud)]
        began = time.perf_counter()
        section.remove("compute", tails)
        _wait(lambda: not _servers(cloud))
        if count and len(tails) == SERVERS:
            name = f"compute: {SERVERS} servers until gone, conc 8"
            section.figures.add(name, time.perf_counter() - began, "s")

    def close(self) -> None:
        """Remove what is left."""
        cloud = self._section.cloud
        self.clear(count=False)
        time.sleep(2)  # elsewhere ports go a little after their server
        tail = f"/ports?fields=id&network_id={self.network_id}"
        left = cloud.call("GET", "network", tail)["ports"]
        self._section.remove("network", [f"/ports/{port['id']}" for port in left])
        cloud.call("DELETE", "network", f"/networks/{self.network_id}")


def compute(section: Section) -> None:
    """Boot, list, show and delete servers; list flavors."""
    with room_for(section.cloud, "network"), room_for(section.cloud, "compute"):
        _compute(section)


def _compute(section: Section) -> None:
    booting = Booting(section)
    try:
        booting.boot(0, count=False)
        booting.clear(count=False)
        for batch in range(1, section.repeat + 1):
            booting.boot(batch)
            booting.clear()
        booting.boot(90, count=False)
        booting.boot(91, count=False)
        total = len(_servers(section.cloud))
        title = f"compute: list of {total} servers in detail"
        section.median_of(title, "compute", f"/servers/detail?name={PREFIX}", 10)
        one = _servers(section.cloud)[0]["id"]
        section.read("compute: show a server", "compute", f"/servers/{one}", 8)
        for connections in (1, 8):
            section.read("compute: list flavors", "compute", "/flavors", connections)
    finally:
        booting.close()


# -- image, volume ---------------------------------------------------------------------------------


def image(section: Section) -> None:
    """Make image records, send and fetch bytes, list."""
    cloud, figures = section.cloud, section.figures
    content = os.urandom(IMAGE_MIB << 20)
    made: list[str] = []

    def make() -> str:
        body = {"name": f"{PREFIX}i", "disk_format": "raw", "container_format": "bare"}
        made.append(cloud.call("POST", "image", "/images", body)["id"])
        return made[-1]

    try:
        for _ in range(section.repeat):
            took = [_timed(make)[0] for _ in range(10)]
            figures.add("image: create a record, p50 of 10", statistics.median(took), "ms")
        bytes_of = {"content-type": "application/octet-stream", "accept": "*/*"}
        for _ in range(section.repeat):
            tail = f"/images/{make()}/file"
            took, answer = _timed(
                lambda tail=tail: cloud.send("PUT", "image", tail, content, bytes_of)
            )
            if answer.status == 204:
                figures.add(f"image: send {IMAGE_MIB} MiB", IMAGE_MIB * 1000 / took, "MiB/s")
            took, answer = _timed(lambda tail=tail: cloud.send("GET", "image", tail, b"", bytes_of))
            if answer.body == content:
                figures.add(f"image: fetch {IMAGE_MIB} MiB", IMAGE_MIB * 1000 / took, "MiB/s")
        for connections in (1, 8):
            section.read("image: list of 25 images", "image", "/images?limit=25", connections)
    finally:
        section.remove("image", [f"/images/{image_id}" for image_id in made])


def volume(section: Section) -> None:
    """Make volumes until they are available; list types."""
    cloud, figures = section.cloud, section.figures

    def mine() -> list[dict[str, Any]]:
        found = cloud.call("GET", "volume", "/volumes/detail?limit=1000")["volumes"]
        return [one for one in found if (one["name"] or "").startswith(PREFIX)]

    def clear() -> None:
        tails = [f"/volumes/{one['id']}" for one in mine()]
        section.remove("volume", tails, expect=202)
        _wait(lambda: not mine())

    try:
        for number in range(section.repeat):
            body = _json({"volume": {"name": f"{PREFIX}{number}", "size": 1}})
            began = time.perf_counter()
            sample = section.drive(
                "volume", 8, lambda _, body=body: ("POST", "/volumes", body), 202, count=VOLUMES
            )
            figures.sample("volume: create a volume, conc 8", sample, p99=False)
            _wait(lambda: all(one["status"] in ("available", "error") for one in mine()))
            seconds = time.perf_counter() - began
            figures.add(f"volume: {VOLUMES} volumes until available, conc 8", seconds, "s")
            clear()
        section.read("volume: list types", "volume", "/types", 8)
    finally:
        clear()


SECTIONS: dict[str, Callable[[Section], None]] = {
    "identity": identity,
    "network": network,
    "compute": compute,
    "image": image,
    "volume": volume,
}
"""By the kind of service, as the catalogue has it."""
