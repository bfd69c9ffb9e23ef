"""A small lab for the tests of the L2 agent: bridges of its own, guests in namespaces, raw frames.

Everything has the lab's prefix and is removed at the end. A guest is an internal port that carries what
libvirt writes to the database, so that the agent takes it for one.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from typing import Any

import pytest
from waiting import eventually

from gureum.core.runner import Runner
from gureum.neutron.agents.contract import (
    FixedIp,
    L2Network,
    L2Port,
    SecurityGroup,
    SgRule,
)
from gureum.neutron.agents.l2.agent import OvsAgent
from gureum.neutron.agents.l2.config import OvsAgentOptions
from gureum.neutron.agents.l2.testing import FakeServer

PREFIX = "l2t-"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Say why these tests cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("ovs-vsctl", "ovs-ofctl", "ip", "ping", "ethtool"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run(["ovs-vsctl", "--timeout=5", "show"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "Open vSwitch does not run"


needs_host = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")


def run(*args: str, check: bool = True, env: dict[str, str] | None = None) -> str:
    """Run a command and return its output."""
    return Runner().run(args, timeout_s=30.0, check=check, env=env).stdout


def in_namespace(name: str, function: Callable[[], Any]) -> Any:
    """Call a function in a thread that has entered a network namespace."""
    result: list[Any] = []
    error: list[BaseException] = []

    def enter() -> None:
        try:
            with open(f"/run/netns/{name}") as handle:
                if _LIBC.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(function())
        except BaseException as caught:
            error.append(caught)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if error:
        raise error[0]
    return result[0]


@dataclass
class Guest:
    """A namespace with one interface on a bridge."""

    name: str
    ip: str
    mac: str
    port_id: str = ""
    ip6: str = ""

    @property
    def namespace(self) -> str:
        return PREFIX + self.name

    def open(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Return a socket that lives in this guest."""
        made: socket.socket = in_namespace(
            self.namespace, lambda: socket.socket(family, kind, proto)
        )
        return made

    def raw(self) -> socket.socket:
        """Return a socket for whole frames of this guest's interface."""
        made = self.open(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        in_namespace(self.namespace, lambda: made.bind((PREFIX + self.name, 0)))
        return made

    def run(self, *args: str, check: bool = True) -> str:
        """Run a command in this guest."""
        return run("ip", "netns", "exec", self.namespace, *args, check=check)

    def pings(self, address: str, *, count: int = 2, wait_s: float = 1.0) -> bool:
        """Return whether an address answers."""
        args = ("ping", "-n", "-c", str(count), "-i", "0.2", "-W", str(wait_s), address)
        done = Runner().run(
            ["ip", "netns", "exec", self.namespace, *args], timeout_s=30.0, check=False
        )
        return done.code == 0

    def connects(self, address: str, port: int, wait_s: float = 1.0) -> bool:
        """Return whether a TCP port takes connections."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.open(family, socket.SOCK_STREAM) as client:
            client.settimeout(wait_s)
            try:
                client.connect((address, port))
            except OSError:
                return False
            return True

    def listen(self, port: int) -> socket.socket:
        """Return a listening TCP socket of this guest."""
        server = self.open(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((self.ip, port))
        server.listen()
        return server


@dataclass
class Lab:
    """One host: an agent on its own bridges, a server in memory, guests."""

    name: str = "a"
    options: OvsAgentOptions = field(default_factory=OvsAgentOptions)
    runner: Runner = field(default_factory=Runner)
    vsctl: tuple[str, ...] = ("ovs-vsctl",)
    namespace: str = ""
    server: FakeServer = field(default_factory=FakeServer)
    agent: OvsAgent | None = None
    guests: list[Guest] = field(default_factory=list)

    @property
    def bridge(self) -> str:
        return self.options.integration_bridge

    def start(self) -> OvsAgent:
        """Start an agent, after the one before was stopped."""
        agent = OvsAgent("host-" + self.name, self.options, self.server, self.runner)
        self.server.on_change = lambda revision: agent.changed(revision, [])
        agent.start()
        self.agent = agent
        return agent

    def settled(self) -> None:
        """Wait until the agent has converged on the newest revision."""
        eventually(lambda: self.agent and self.agent.converged_revision >= self.server.revision)

    def ofctl(self, *args: str) -> str:
        """Ask the switch."""
        done = self.runner.run(["ovs-ofctl", "-O", "OpenFlow14", *args], timeout_s=30.0)
        return done.stdout

    def flows(self) -> set[str]:
        """Return the agent's flows as the switch has them."""
        text = self.ofctl(
            "--no-stats", "dump-flows", self.bridge, "cookie=0x6700000000000000/0xff00000000000000"
        )
        return set(text.splitlines())

    def guest(
        self,
        name: str,
        ip: str,
        network: str,
        groups: tuple[str, ...] = ("open",),
        *,
        ip6: str = "",
        plug: bool = True,
        is_guest: bool = True,
        **settings: Any,
    ) -> Guest:
        """Want a port, plug a guest for it and wait until it is ACTIVE."""
        number = len(self.guests) + 1
        mac = settings.pop("mac", f"fa:16:3e:{ord(self.name[-1]):02x}:00:{number & 0xFF:02x}")
        made = Guest(name, ip, mac, str(uuid.uuid4()), ip6)
        self.guests.append(made)
        addresses = (ip, ip6) if ip6 else (ip,)
        port = L2Port(
            id=made.port_id,
            network_id=network,
            mac_address=mac,
            fixed_ips=tuple(FixedIp("subnet", address) for address in addresses),
            security_group_ids=groups,
            device_owner=settings.pop("device_owner", "compute:nova"),
            **settings,
        )
        self.server.put("ports", port)
        if plug:
            self.plug(made, is_guest=is_guest)
            self.server.wait_status(made.port_id, "ACTIVE")
        return made

    def change(self, guest: Guest, **settings: Any) -> None:
        """Want something else of a guest's port, and wait until it is so."""
        port = self.server.l2_state("", 0)
        found = next(one for one in port.ports if one.id == guest.port_id)
        self.server.put("ports", replace(found, **settings))
        self.settled()

    def plug(self, guest: Guest, *, is_guest: bool = True) -> None:
        """Make a guest's device, as libvirt would."""
        device = PREFIX + guest.name
        ids = [f"external_ids:iface-id={guest.port_id}", f"external_ids:attached-mac={guest.mac}"]
        if is_guest:
            ids.append(f"external_ids:vm-id={uuid.uuid4()}")
        self.device(device, self.bridge, guest.mac, [guest.ip, guest.ip6], ids)

    def device(
        self, device: str, bridge: str, mac: str, addresses: list[str], ids: list[str]
    ) -> None:
        """Make an internal port in a namespace of its own."""
        run("ip", "netns", "add", device, check=False)
        self.runner.run(
            [*self.vsctl, "--may-exist", "add-port", bridge, device, "--", "set", "Interface",
             device, "type=internal", *ids],
            timeout_s=30.0,
        )  # fmt: skip
        here = ("-n", self.namespace) if self.namespace else ()
        eventually(lambda: _exists(device, here))
        # The switch makes its devices persistent: one from before its restart is dead, but there.
        run("ip", "-n", device, "link", "del", device, check=False)
        run("ip", *here, "link", "set", device, "netns", device)
        inside = ("ip", "netns", "exec", device)
        run(*inside, "ethtool", "-K", device, "tx", "off")
        run(*inside, "sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=0")
        run(*inside, "ip", "link", "set", device, "address", mac)
        for address in filter(None, addresses):
            length = 64 if ":" in address else 24
            run(*inside, "ip", "addr", "add", f"{address}/{length}", "dev", device)
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, "ip", "link", "set", device, "up")

    def unplug(self, guest: Guest) -> None:
        """Remove a guest's device."""
        device = PREFIX + guest.name
        self.runner.run([*self.vsctl, "--if-exists", "del-port", device], timeout_s=30.0)
        run("ip", "netns", "del", device, check=False)

    def close(self) -> None:
        """Remove everything."""
        if self.agent is not None:
            self.agent.stop()
        for guest in self.guests:
            self.unplug(guest)
        for bridge in (self.bridge, *self.options.bridge_mappings.values()):
            self.runner.run([*self.vsctl, "--if-exists", "del-br", bridge], timeout_s=30.0)


def _exists(device: str, where: tuple[str, ...]) -> bool:
    return (
        Runner().run(["ip", *where, "link", "show", device], timeout_s=5.0, check=False).code == 0
    )


def rule(direction: str, **settings: Any) -> SgRule:
    """Return an IPv4 rule with an id."""
    return SgRule(str(uuid.uuid4()), direction, settings.pop("ethertype", "IPv4"), **settings)


OPEN = SecurityGroup(
    "open",
    tuple(
        rule(direction, ethertype=ethertype)
        for direction in ("ingress", "egress")
        for ethertype in ("IPv4", "IPv6")
    ),
)
EGRESS = SecurityGroup("egress", (rule("egress"), rule("egress", ethertype="IPv6")))


@contextlib.contextmanager
def host(**options: Any) -> Iterator[Lab]:
    """Run one host with two local networks and the groups `open` and `egress`."""
    settings: dict[str, Any] = {
        "integration_bridge": "brl2t-int",
        "bridge_mappings": {"physnet": "brl2t-phy"},
        "poll_interval_s": 1.0,
        **options,
    }
    lab = Lab(options=OvsAgentOptions(**settings))
    try:
        lab.server.put("networks", L2Network("red", "local"), L2Network("blue", "local"))
        lab.server.put("security_groups", OPEN, EGRESS)
        agent = lab.start()
        eventually(lambda: agent.passes > 0)
        yield lab
    finally:
        lab.close()


# --- two hosts ------------------------------------------------------------------------------------


class _InHost(Runner):
    """Runs Open vSwitch's tools against the switch of one host."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir

    def run(self, args: Any, *, env: Any = None, **rest: Any) -> Any:
        return super().run(args, env={**(env or {}), "OVS_RUNDIR": self._run_dir}, **rest)


def start_vswitchd(namespace: str, where: str) -> None:
    """Start the switch of a host, whose database runs already."""
    env = {"OVS_RUNDIR": where, "OVS_LOGDIR": where, "OVS_DBDIR": where}
    run("ip", "netns", "exec", namespace, "ovs-vswitchd", f"unix:{where}/db.sock",
        f"--pidfile={where}/switch.pid", f"--unixctl={where}/switch.ctl", "--detach",
        "--no-chdir", "-vconsole:off", f"--log-file={where}/log", env=env)  # fmt: skip


def stop_daemon(pidfile: str) -> None:
    """End a daemon of ours and wait until it is gone."""
    try:
        with open(pidfile) as handle:
            pid = int(handle.read())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def _start_switch(namespace: str, where: str) -> None:
    env = {"OVS_RUNDIR": where, "OVS_LOGDIR": where, "OVS_DBDIR": where}
    os.makedirs(where)
    schema = "/usr/share/openvswitch/vswitch.ovsschema"
    common = ("--detach", "--no-chdir", "-vconsole:off", f"--log-file={where}/log")
    inside = ("ip", "netns", "exec", namespace)
    run("ovsdb-tool", "create", f"{where}/conf.db", schema, env=env)
    run(*inside, "ovsdb-server", f"{where}/conf.db", f"--remote=punix:{where}/db.sock",
        f"--pidfile={where}/db.pid", f"--unixctl={where}/db.ctl", *common, env=env)  # fmt: skip
    start_vswitchd(namespace, where)
    run("ovs-vsctl", f"--db=unix:{where}/db.sock", "--no-wait", "init")


@contextlib.contextmanager
def two_hosts(base: str, **options: Any) -> Iterator[tuple[Lab, Lab]]:
    """Run two hosts, each with a switch of its own in a namespace, joined by a cable."""
    labs: list[Lab] = []
    names = ("ha", "hb")
    try:
        for name in names:
            run("ip", "netns", "add", PREFIX + name)
        ends = [PREFIX + "cable" + name for name in names]
        run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for number, name in enumerate(names, 1):
            namespace, where = PREFIX + name, f"{base}/{name}"
            end, vtep = ends[number - 1], f"172.31.250.{number}"
            run("ip", "link", "set", end, "netns", namespace)
            run("ip", "netns", "exec", namespace, "ethtool", "-K", end, "tx", "off")
            _start_switch(namespace, where)
            vsctl = ("ovs-vsctl", f"--db=unix:{where}/db.sock")
            run(*vsctl, "add-br", "brl2t-ul", "--", "set", "bridge", "brl2t-ul",
                "datapath_type=netdev", "--", "add-port", "brl2t-ul", end)  # fmt: skip
            for device in ("lo", end, "brl2t-ul"):
                run("ip", "-n", namespace, "link", "set", device, "up")
            run("ip", "-n", namespace, "addr", "add", f"{vtep}/24", "dev", "brl2t-ul")
            settings: dict[str, Any] = {
                "integration_bridge": "brl2t-int",
                "local_ip": vtep,
                "tunnel_types": ("vxlan", "gre"),
                "poll_interval_s": 1.0,
                "ovsdb_connection": f"unix:{where}/db.sock",
                **options,
            }
            lab = Lab(name, OvsAgentOptions(**settings), _InHost(where), vsctl, namespace)
            labs.append(lab)
            lab.server.put("security_groups", OPEN, EGRESS)
            agent = lab.start()
            eventually(lambda agent=agent: agent.passes > 0)
        yield labs[0], labs[1]
    finally:
        for lab in labs:
            lab.close()
        for name in names:
            for daemon in ("switch", "db"):
                stop_daemon(f"{base}/{name}/{daemon}.pid")
            run("ip", "netns", "del", PREFIX + name, check=False)


# --- frames ---------------------------------------------------------------------------------------


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(src: str, dst: str, kind: int, payload: bytes) -> bytes:
    """Return an Ethernet frame."""
    return _mac(dst) + _mac(src) + struct.pack("!H", kind) + payload


def arp(
    src: str, sha: str, spa: str, tpa: str, *, op: int = 1, dst: str = "ff:ff:ff:ff:ff:ff"
) -> bytes:
    """Return an ARP frame."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, op) + _mac(sha) + ip_address(spa).packed
    return ethernet(src, dst, 0x0806, body + bytes(6) + ip_address(tpa).packed)


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(
    src_mac: str, dst_mac: str, src: str, dst: str, sport: int, dport: int, text: bytes
) -> bytes:
    """Return a UDP datagram over IPv4 in a frame."""
    segment = struct.pack("!HHHH", sport, dport, 8 + len(text), 0) + text
    a, b = ip_address(src).packed, ip_address(dst).packed
    total = checksum(a + b + struct.pack("!BBH", 0, 17, len(segment)) + segment) or 0xFFFF
    segment = segment[:6] + struct.pack("!H", total) + segment[8:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 17, 0, a, b)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return ethernet(src_mac, dst_mac, 0x0800, head + segment)


def icmp6(src_mac: str, dst_mac: str, src: str, dst: str, kind: int, body: bytes) -> bytes:
    """Return an ICMPv6 message in a frame."""
    a, b = IPv6Address(src).packed, IPv6Address(dst).packed
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = a + b + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    head = struct.pack("!IHBB16s16s", 6 << 28, len(message), 58, 255, a, b)
    return ethernet(src_mac, dst_mac, 0x86DD, head + message)


def neighbour_advert(src_mac: str, src: str, target: str, told_mac: str) -> bytes:
    """Return an unsolicited neighbour advertisement to all nodes."""
    body = struct.pack("!I", 0x20000000) + IPv6Address(target).packed + b"\x02\x01" + _mac(told_mac)
    return icmp6(src_mac, "33:33:00:00:00:01", src, "ff02::1", 136, body)


def tagged(frame: bytes, vlan: int) -> bytes:
    """Return a frame with a VLAN tag."""
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def arrive(sender: Guest, receiver: Guest, frames: list[bytes], marker: bytes) -> list[bytes]:
    """Send frames and then a marker that passes; return which of the frames arrived before it."""
    with sender.raw() as out, receiver.raw() as into:
        into.settimeout(5.0)
        for frame in (*frames, marker):
            out.send(frame)
        seen: list[bytes] = []
        while True:
            got = into.recv(65536)
            if got == marker:
                return seen
            if got in frames:
                seen.append(got)
