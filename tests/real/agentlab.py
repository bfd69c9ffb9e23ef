"""A small lab for the tests of the L3, DHCP and metadata agents.

Makes an Open vSwitch bridge of its own, guests and an outside in namespaces, and wires ports as access
ports of a VLAN, in place of the L2 agent. Everything has the lab's prefix and is removed at the end.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gureum.core.runner import CommandError, Runner
from gureum.neutron.agents.contract import AgentAck, AgentReport
from gureum.neutron.agents.plumbing import netns

PREFIX = "l3t-"


def missing() -> str:
    """Say why these tests cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("ovs-vsctl", "nft", "conntrack", "dnsmasq", "haproxy", "busybox", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run(["ovs-vsctl", "--timeout=5", "show"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "Open vSwitch does not run"


needs_host = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")


def new_id() -> str:
    """Return a fresh UUID."""
    return str(uuid.uuid4())


def mac_of(port_id: str) -> str:
    """Return a MAC address made of a port's id."""
    raw = port_id.replace("-", "")
    return f"fa:16:3e:{raw[0:2]}:{raw[2:4]}:{raw[4:6]}"


class Server:
    """The server's side of the contract, in memory."""

    def __init__(self) -> None:
        self.reports: list[AgentReport] = []
        self.routers: dict[str, str] = {}
        self.floating_ips: dict[str, str] = {}
        self.ready: list[str] = []
        self.state: Any = None
        self.target: Callable[..., Any] = lambda *args: None

    def report(self, report: AgentReport) -> AgentAck:
        self.reports.append(report)
        return AgentAck(self.state.revision if self.state else 0)

    def l3_state(self, host: str, since: int) -> Any:
        return self.state

    def dhcp_state(self, host: str, since: int) -> Any:
        return self.state

    def router_statuses(self, host: str, routers: list[Any], floating_ips: list[Any]) -> None:
        self.routers.update({update.id: update.status for update in routers})
        self.floating_ips.update({update.id: update.status for update in floating_ips})

    def dhcp_ready(self, host: str, port_ids: list[str]) -> None:
        self.ready += port_ids

    def metadata_target(
        self, host: str, address: str, network_id: str | None, router_id: str | None
    ) -> Any:
        return self.target(address, network_id, router_id)


class Lab:
    """One bridge with guests."""

    def __init__(self) -> None:
        self.tag = uuid.uuid4().hex[:4]
        self.bridge = f"brl3t-{self.tag}"
        self.runner = Runner()
        self.folder = Path(tempfile.mkdtemp(prefix=f"l3t-{self.tag}-"))
        self.folder.chmod(0o755)  # dnsmasq and haproxy read their files as another user
        self.namespaces: list[str] = []
        self.run("ovs-vsctl", "add-br", self.bridge, "--", "set", "bridge", self.bridge,
                 "datapath_type=netdev", "fail_mode=standalone")  # fmt: skip

    def run(self, *args: str, check: bool = True, timeout_s: float = 30.0) -> str:
        """Run a command and return what it printed."""
        return self.runner.run(args, timeout_s=timeout_s, check=check).stdout

    def inside(self, name: str, *args: str, check: bool = True, timeout_s: float = 30.0) -> str:
        """Run a command in a namespace."""
        return self.run(*netns.inside(name, list(args)), check=check, timeout_s=timeout_s)

    def prefix(self, kind: str) -> str:
        """Return the start of the names of the agent's namespaces in this lab."""
        return f"{PREFIX}{self.tag}-{kind}-"

    def guest(
        self,
        name: str,
        vlan: int,
        mac: str,
        address: str | None = None,
        gateway: str | None = None,
        mtu: int = 1450,
    ) -> str:
        """Make a namespace with one device, as a guest has it; return its name."""
        full = f"{PREFIX}{self.tag}-{name}"
        device = f"g{self.tag}{name}"[:15]
        self.run("ip", "netns", "add", full)
        self.namespaces.append(full)
        self.run("ovs-vsctl", "add-port", self.bridge, device, f"tag={vlan}", "--", "set",
                 "Interface", device, "type=internal")  # fmt: skip
        self.run("ip", "link", "set", device, "netns", full, "name", "eth0")
        self.inside(full, "ip", "link", "set", "eth0", "address", mac, "mtu", str(mtu))
        self.inside(full, "ip", "link", "set", "lo", "up")
        self.inside(full, "ip", "link", "set", "eth0", "up")
        if address:
            self.inside(full, "ip", "addr", "add", address, "dev", "eth0", "nodad"
                        if ":" in address else "brd", *([] if ":" in address else ["+"]))  # fmt: skip
        if gateway:
            self.inside(full, "ip", "route", "add", "default", "via", gateway)
        return full

    def wire(self, vlans: dict[str, int]) -> None:
        """Give ports (by the start of their id) their VLAN."""
        for port in self.run("ovs-vsctl", "list-ports", self.bridge).split():
            for port_id, vlan in vlans.items():
                if port.endswith(port_id[:11]):
                    self.run("ovs-vsctl", "set", "port", port, f"tag={vlan}")

    def reaches(self, source: str, address: str, seconds: int = 5) -> bool:
        """Return whether one ping is answered in time."""
        tool = "ping6" if ":" in address else "ping"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            args = netns.inside(source, ["busybox", tool, "-c", "1", "-W", "1", address])
            if self.runner.run(args, timeout_s=10, check=False).code == 0:
                return True
        return False

    def http(self, source: str, url: str, *headers: str) -> str:
        """Fetch a URL from inside a namespace."""
        more = [part for header in headers for part in ("-H", header)]
        return self.inside(source, "curl", "-sS", "-m", "5", *more, url)

    @contextlib.contextmanager
    def listener(self, name: str, port: int) -> Iterator[list[tuple[str, int]]]:
        """Answer TCP connections in a namespace; yields the peers as they come."""
        peers: list[tuple[str, int]] = []
        with netns.entered(name):
            server = socket.create_server(("0.0.0.0", port))

        def answer() -> None:
            while True:
                try:
                    connection, peer = server.accept()
                except OSError:
                    return
                peers.append(peer[:2])
                with connection:
                    body = peer[0].encode() + b" " + b"x" * 200_000
                    connection.recv(4096)
                    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield peers
        finally:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join(5)

    def close(self) -> None:
        """Remove everything with this lab's name."""
        spaces = [name for name in os.listdir("/run/netns") if name.startswith(PREFIX + self.tag)]
        for name in spaces:
            with contextlib.suppress(CommandError):
                netns.Namespaces(self.runner).remove(name)
        self.run("ovs-vsctl", "--if-exists", "del-br", self.bridge, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
