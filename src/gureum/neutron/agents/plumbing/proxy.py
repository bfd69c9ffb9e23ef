"""The namespace's metadata proxy: haproxy between guests and the metadata agent's Unix socket.

Owns: its configuration text and its arguments. Must not: decide who the guest is; it only says truly
which router or network the request came through and from which address.
Follows: HAProxy 2.6 configuration manual.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gureum.neutron.agents.plumbing.daemons import Daemon
from gureum.neutron.agents.plumbing.files import write_if_changed

METADATA_IPV4 = "169.254.169.254"
METADATA_IPV6 = "fe80::a9fe:a9fe"
METADATA_PORT = 80
NETWORK_HEADER = "X-Neutron-Network-ID"
ROUTER_HEADER = "X-Neutron-Router-ID"
# What only the proxies may say; whatever a guest sends under these names is removed.
RESERVED_HEADERS = (
    "X-Forwarded-For",
    "X-Instance-ID",
    "X-Instance-ID-Signature",
    "X-Tenant-ID",
    "X-Metadata-Provider",
    "X-Metadata-Provider-Signature",
    NETWORK_HEADER,
    ROUTER_HEADER,
)


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """Where the proxies send to, and as whom they run."""

    socket_path: str
    user: str
    group: str
    connections: int


def proxy_config(options: ProxyOptions, binds: tuple[str, ...], header: str, owner_id: str) -> str:
    """Return the haproxy configuration of one namespace."""
    as_user = [f"    user {options.user}", f"    group {options.group}"] if options.user else []
    removed = [f"    http-request del-header {name}" for name in RESERVED_HEADERS]
    return "\n".join(
        [
            "global",
            *as_user,
            f"    maxconn {options.connections}",
            "    nbthread 1",
            "    daemon",
            "defaults",
            "    mode http",
            "    option http-server-close",
            "    timeout connect 5s",
            "    timeout client 30s",
            "    timeout server 60s",
            "    timeout http-request 10s",
            "listen metadata",
            *[f"    bind {bind}" for bind in binds],
            *removed,
            "    http-request set-header X-Forwarded-For %[src]",
            f"    http-request set-header {header} {owner_id}",
            f"    server agent unix@{options.socket_path}",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class Proxy:
    """A wanted proxy: its daemon, and the configuration that has to stand before it starts."""

    daemon: Daemon
    config: Path
    text: str

    def write(self) -> None:
        """Write the configuration; older ones go."""
        write_if_changed(self.config, self.text)
        for old in self.config.parent.glob("metadata-*.cfg"):
            if old != self.config:
                old.unlink(missing_ok=True)


def proxy_of(
    options: ProxyOptions,
    namespace: str,
    folder: Path,
    binds: tuple[str, ...],
    header: str,
    owner_id: str,
) -> Proxy:
    """Return the proxy of a namespace.

    The file's name holds a hash of its text, so a changed text is a changed argument list.
    """
    text = proxy_config(options, binds, header, owner_id)
    path = folder / f"metadata-{hashlib.sha256(text.encode()).hexdigest()[:12]}.cfg"
    pid_file = folder / "haproxy.pid"
    args = ("haproxy", "-f", str(path), "-p", str(pid_file), "-D", "-q")
    return Proxy(Daemon("haproxy", namespace, args, pid_file), path, text)


def bind_ipv6(device: str) -> str:
    """Return where a proxy listens on one link for IPv6; the address is the same on every link."""
    return f"[{METADATA_IPV6}]:{METADATA_PORT} interface {device}"


def has_ipv6(path: Path = Path("/proc/sys/net/ipv6")) -> bool:
    """Return whether the kernel speaks IPv6; without it a proxy that binds to it would not start."""
    return path.is_dir()
