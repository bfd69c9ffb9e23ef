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


def proxy_daemon(
    options: ProxyOptions,
    namespace: str,
    folder: Path,
    binds: tuple[str, ...],
    header: str,
    owner_id: str,
) -> Daemon:
    """Write the configuration and return the daemon that uses it.

    The file's name holds a hash of its text, so a changed text is a changed argument list.
    """
    text = proxy_config(options, binds, header, owner_id)
    path = folder / f"metadata-{hashlib.sha256(text.encode()).hexdigest()[:12]}.cfg"
    write_if_changed(path, text)
    for old in folder.glob("metadata-*.cfg"):
        if old != path:
            old.unlink(missing_ok=True)
    pid_file = folder / "haproxy.pid"
    args = ("haproxy", "-f", str(path), "-p", str(pid_file), "-D", "-q")
    return Daemon("haproxy", namespace, args, pid_file)
