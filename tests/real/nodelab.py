"""What the tests of node faults do to a cloud: guests, traffic, killed daemons, and the audit after it.

Owns: making servers and ports through the SDK, pings that count what is lost, finding daemons by the
files they work on. Must not: hide a finding; what the audit says is shown whole.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import openstack
from cloudlab import Failed, Lab, run, wait_for
from openstack.connection import Connection

from gureum.core.runner import Runner
from gureum.provision import host, supervisor
from gureum.provision.ledger import Ledger
from gureum.provision.steps import Progress

PING_EVERY_S = 0.2
_ANSWER = re.compile(r"bytes from .* icmp_seq=(\d+) ")


def connect(lab: Lab) -> Connection:
    """Return the administrator's SDK connection."""
    words = lab.environment
    return openstack.connect(
        auth_url=words["OS_AUTH_URL"], username="admin", password=words["OS_PASSWORD"],
        project_name="admin", user_domain_name="Default", project_domain_name="Default",
        region_name=words.get("OS_REGION_NAME", "RegionOne"), load_yaml_config=False,
        load_envvars=False,
    )  # fmt: skip


def findings(lab: Lab, *words: str) -> dict[str, Any]:
    """Run the audit; returns what it says as JSON."""
    text = lab.gureum("audit", "--json", "--grace", "0", *words, timeout_s=300, check=False)
    start = text.index("{")
    answer: dict[str, Any] = json.JSONDecoder().raw_decode(text[start:])[0]
    return answer


def assert_clean(lab: Lab) -> None:
    """The audit finds nothing, and could look everywhere."""
    said = findings(lab)
    assert said["clean"], json.dumps(said, indent=1)


def comes_back(lab: Lab, seconds: float = 90.0) -> float:
    """Wait until the audit finds nothing, without repairing; returns the seconds it took."""
    begun = time.monotonic()

    def clean() -> bool:
        said = findings(lab, "--settle", "0.5")
        if not said["clean"]:
            raise Failed(json.dumps(said, indent=1))
        return True

    wait_for("a clean audit", clean, seconds, 0.5)
    return time.monotonic() - begun


def processes(program: str, *marks: str) -> list[int]:
    """Ids of the processes of a program whose command line has every mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            line = b" ".join(words).decode(errors="replace")
            if os.path.basename(words[0].decode()) == program and all(m in line for m in marks):
                found.append(int(entry.name))
    return found


def kill(*pids: int) -> None:
    """SIGKILL exactly these."""
    assert pids, "there is nothing to kill"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for(f"end of {pid}", lambda pid=pid: not _lives(pid), 20, 0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def child(lab: Lab, name: str) -> int:
    """The process id of a child of the cloud's supervisor, once it runs."""

    def running() -> int | None:
        status = supervisor.read_status(lab.place.run_dir)
        found = [one for one in status.children if one.name == name] if status else []
        return found[0].pid if found and found[0].state == "running" else None

    return int(wait_for(f"process {name}", running, 60, 0.1))


def start_daemons(lab: Lab, folder: Path) -> None:
    """Start libvirtd and ovs-vswitchd again, as `up` and the system would."""
    runner, ledger = Runner(), Ledger(folder / "ledger.json")
    progress = Progress("daemons", open(os.devnull, "w"))  # noqa: SIM115 - the test's own
    host.start_libvirt(runner, ledger, progress)
    host.start_openvswitch(runner, ledger, progress)


@dataclass
class Ping:
    """A ping that goes on until it is ended."""

    process: subprocess.Popen[str]
    what: str
    output: IO[str]

    def end(self) -> tuple[int, int]:
        """Stop; returns how many were sent and answered, up to the last answer.

        What was sent a moment before the end is on its way, and not lost.
        """
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        with self.output:
            self.output.seek(0)
            return answered(self.output.read())


def answered(text: str) -> tuple[int, int]:
    """Return how many pings were sent up to the last answer, and how many of them were answered."""
    numbers = {int(number) for number in _ANSWER.findall(text)}
    assert numbers, text
    return max(numbers), len(numbers)


def ping(namespace: str, address: str) -> Ping:
    """Ping from a namespace, five times a second."""
    words = ["ip", "netns", "exec", namespace, "ping", "-i", str(PING_EVERY_S), address]
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe would fill up
    process = subprocess.Popen(
        words, stdout=output, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )
    return Ping(process, f"{namespace} -> {address}", output)


class Ends(Protocol):
    """A ping that can be ended."""

    what: str

    def end(self) -> tuple[int, int]:
        """Stop; returns how many were sent and answered."""


def lost(pings: Sequence[Ends]) -> tuple[int, int]:
    """End pings; returns how many were sent, and how many were not answered."""
    counts = [(one.what, *one.end()) for one in pings]
    bad = [count for count in counts if count[1] != count[2]]
    if bad:
        print("lost:", *bad, sep="\n  ")
    return sum(count[1] for count in counts), sum(count[1] - count[2] for count in counts)


class Standins:
    """Namespaces that stand for guests: real ports of a network, plugged as libvirt would."""

    def __init__(self, lab: Lab, sdk: Connection, network_id: str, host_name: str) -> None:
        self.lab = lab
        self.sdk = sdk
        self.network_id = network_id
        self.host = host_name
        self.bridge = lab.outside.integration_bridge
        self.ports: list[Any] = []

    def name(self, port: Any) -> str:
        """The namespace of a port."""
        return f"standin-{port.id[:8]}"

    def add(self, count: int) -> None:
        """Make ports, their devices and namespaces; wait until every port is ACTIVE."""
        for _ in range(count):
            self.ports.append(
                self.sdk.network.create_port(
                    network_id=self.network_id, binding_host_id=self.host, device_id="standin",
                    device_owner="test:standin",
                )
            )  # fmt: skip
        words: list[str] = []
        for port in self.ports:
            device = f"si{port.id[:11]}"
            words += [
                "--", "--may-exist", "add-port", self.bridge, device, "--", "set", "Interface",
                device, "type=internal", f'mac="{port.mac_address}"',
                f"external_ids:iface-id={port.id}", "external_ids:iface-status=active",
                f'external_ids:attached-mac="{port.mac_address}"',
            ]  # fmt: skip
        run("ovs-vsctl", *words[1:])
        for port in self.ports:
            self._enter(port)
        wait_for("ACTIVE ports", self._all_active, 120)

    def _enter(self, port: Any) -> None:
        name, device = self.name(port), f"si{port.id[:11]}"
        address = port.fixed_ips[0]["ip_address"]
        run("ip", "netns", "add", name)
        run("ip", "link", "set", device, "netns", name)
        run("ip", "-n", name, "link", "set", device, "address", port.mac_address, "mtu", "1400")
        run("ip", "-n", name, "address", "add", f"{address}/16", "dev", device)
        run("ip", "-n", name, "link", "set", device, "up")

    def _all_active(self) -> bool:
        mine = {port.id for port in self.ports}
        found = self.sdk.network.ports(network_id=self.network_id, status="ACTIVE")
        return mine <= {port.id for port in found}

    def ring(self) -> list[Ping]:
        """Let each ping the next one."""
        after = [*self.ports[1:], self.ports[0]]
        return [
            ping(self.name(one), other.fixed_ips[0]["ip_address"])
            for one, other in zip(self.ports, after, strict=True)
        ]

    def close(self) -> None:
        """Remove them all."""
        for port in self.ports:
            run("ip", "netns", "delete", self.name(port), check=False)
        words: list[str] = []
        for port in self.ports:
            words += ["--", "--if-exists", "del-port", self.bridge, f"si{port.id[:11]}"]
        if words:
            run("ovs-vsctl", *words[1:])
        for port in self.ports:
            self.sdk.network.delete_port(port)
        self.ports.clear()


@contextlib.contextmanager
def standins(
    lab: Lab, sdk: Connection, network_id: str, host_name: str, count: int
) -> Iterator[Standins]:
    """Run with stand-ins for guests."""
    made = Standins(lab, sdk, network_id, host_name)
    try:
        made.add(count)
        yield made
    finally:
        made.close()


def until(what: str, fact: Callable[[], Any], seconds: float = 60.0) -> float:
    """Wait for a fact; returns the seconds it took."""
    begun = time.monotonic()
    wait_for(what, fact, seconds, 0.1)
    return time.monotonic() - begun
