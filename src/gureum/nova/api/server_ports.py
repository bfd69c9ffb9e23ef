"""Addresses, ports, security groups, password and counters of servers.

API reference: "Servers IPs", "Port interfaces", "Servers with security groups", "Server passwords",
"Server diagnostics".
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Id, IpAddress, Json, ListOf, String, Struct, operation
from gureum.nova.api.server_shapes import TAG
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    Locked,
    NetworkNotFound,
    NotReady,
    PortInUse,
    PortNotFound,
    ServerNotFound,
    WrongState,
)
from gureum.nova.logic import interfaces, server_parts
from gureum.nova.logic.hosts_call import ask
from gureum.nova.logic.server_load import Keyed, Server, load, load_keyed
from gureum.nova.outside import GroupFacts, PortFacts
from gureum.nova.policy import PREFIX
from gureum.nova.store import server_nics


class PortShown(Struct):
    """A port of a server."""

    port_id = String("Port.")
    net_id = String("Network.")
    mac_addr = String("MAC.")
    port_state = String("State.")
    fixed_ips = Json("Addresses.")
    tag = String("Device tag.", since="2.70")


class FixedIp(Struct):
    """A wanted address."""

    ip_address = IpAddress("Address.", required=True)


class PortWanted(Struct):
    """A port to plug: one that exists, or a new one in a network."""

    port_id = Id("Port.", uuid=True)
    net_id = Id("Network.", uuid=True)
    fixed_ips = ListOf(FixedIp, "Wanted address.", min=1, max=1)
    tag = String("Device tag.", min=1, max=60, pattern=TAG, since="2.49")


class GroupShown(Struct):
    """A security group."""

    id = String("Id.")
    name = String("Name.")
    description = String("Free text.")
    tenant_id = String("Project.")
    rules = Json("What it lets in.")


# -- addresses and ports ---------------------------------------------------------------------------


def _addresses(server: Server) -> dict[str, list[dict[str, Any]]]:
    shown: dict[str, list[dict[str, Any]]] = {}
    with server.database.read() as tx:
        for row in server_nics.addresses_of(tx, [server.id]):
            entry = {"version": row.version, "addr": row.address}
            shown.setdefault(row.network_label, []).append(entry)
    return shown


@operation(
    "GET",
    "/servers/{server_id}/ips",
    policy=PREFIX + "ips:index",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def list_ips(ctx: Context, deps: Deps, server: Server) -> Any:
    """List the addresses of a server by network."""
    return {"addresses": _addresses(server)}


@operation(
    "GET",
    "/servers/{server_id}/ips/{network_label}",
    policy=PREFIX + "ips:show",
    load=load_keyed,
    manual=True,
    waits=False,
    errors=(ServerNotFound, NetworkNotFound),
)
def show_ips(ctx: Context, deps: Deps, found: Keyed) -> Any:
    """List the addresses of a server on one network."""
    shown = _addresses(found.server)
    if found.key not in shown:
        raise NetworkNotFound(network=found.key)
    return {found.key: shown[found.key]}


def _port(port: PortFacts, tag: str | None) -> dict[str, Any]:
    return {
        "port_id": port.id,
        "net_id": port.network_id,
        "mac_addr": port.mac_address,
        "port_state": port.status,
        "fixed_ips": list(port.fixed_ips),
        "tag": tag,
    }


@operation(
    "GET",
    "/servers/{server_id}/os-interface",
    policy=PREFIX + "os-attach-interfaces:list",
    load=load,
    items=PortShown,
    response_wrap="interfaceAttachments",
    manual=True,
    errors=(ServerNotFound,),
)
def list_interfaces(ctx: Context, deps: Deps, server: Server) -> Any:
    """List the ports of a server."""
    return [_port(port, tag) for port, tag in server_parts.ports(ctx, deps, server)]


@operation(
    "GET",
    "/servers/{server_id}/os-interface/{port_id}",
    policy=PREFIX + "os-attach-interfaces:show",
    load=load_keyed,
    response=PortShown,
    response_wrap="interfaceAttachment",
    manual=True,
    errors=(ServerNotFound, PortNotFound),
)
def show_interface(ctx: Context, deps: Deps, found: Keyed) -> Any:
    """Show a port of a server."""
    return _port(*server_parts.port(ctx, deps, found.server, found.key))


@operation(
    "POST",
    "/servers/{server_id}/os-interface",
    policy=PREFIX + "os-attach-interfaces:create",
    load=load,
    wrap="interfaceAttachment",
    optional_body=True,
    status=200,
    request=PortWanted,
    response=PortShown,
    manual=True,
    errors=(ServerNotFound, WrongState, Bad, PortInUse, Locked),
)
def attach_interface(ctx: Context, deps: Deps, server: Server, new: PortWanted) -> Any:
    """Plug a port into a server; answered when it is in."""
    port_id = interfaces.attach(ctx, deps, server, new)
    return _port(*server_parts.port(ctx, deps, server, port_id))


@operation(
    "DELETE",
    "/servers/{server_id}/os-interface/{port_id}",
    policy=PREFIX + "os-attach-interfaces:delete",
    load=load_keyed,
    status=202,
    manual=True,
    waits=False,
    errors=(ServerNotFound, PortNotFound, WrongState, Locked),
)
def detach_interface(ctx: Context, deps: Deps, found: Keyed) -> None:
    """Unplug a port from a server; one that was made for it is deleted."""
    interfaces.detach(ctx, deps, found.server, found.key)


# -- security groups, password, counters -----------------------------------------------------------


def _rule(group: GroupFacts, rule: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    remote = rule.get("remote_group_id")
    low, high = rule.get("port_range_min"), rule.get("port_range_max")
    any_port = low is None and high is None
    protocol = rule.get("protocol")
    cidr = rule.get("remote_ip_prefix")
    if cidr is None and remote is None:
        cidr = "::/0" if rule.get("ethertype") == "IPv6" else "0.0.0.0/0"
    return {
        "id": rule.get("id"),
        "parent_group_id": group.id,
        "ip_protocol": protocol.lower() if isinstance(protocol, str) else protocol,
        "from_port": -1 if any_port and protocol is not None else low,
        "to_port": -1 if any_port and protocol is not None else high,
        "group": (
            {"name": names.get(remote, remote), "tenant_id": group.project_id} if remote else {}
        ),
        "ip_range": {"cidr": cidr} if cidr else {},
    }


@operation(
    "GET",
    "/servers/{server_id}/os-security-groups",
    policy=PREFIX + "os-security-groups:list",
    load=load,
    items=GroupShown,
    response_wrap="security_groups",
    manual=True,
    errors=(ServerNotFound,),
)
def list_server_security_groups(ctx: Context, deps: Deps, server: Server) -> Any:
    """List the security groups of a server's ports."""
    found = server_parts.groups(ctx, deps, server)
    names = {group.id: group.name for group in found}
    return [
        {
            "id": group.id,
            "name": group.name,
            "description": group.description,
            "tenant_id": group.project_id,
            "rules": [
                _rule(group, rule, names)
                for rule in group.rules
                if rule.get("direction") == "ingress"
            ],
        }
        for group in found
    ]


@operation(
    "GET",
    "/servers/{server_id}/os-server-password",
    policy=PREFIX + "os-server-password:show",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def show_password(ctx: Context, deps: Deps, server: Server) -> Any:
    """Show the encrypted password that the guest posted."""
    return {"password": server.row.password}


@operation(
    "DELETE",
    "/servers/{server_id}/os-server-password",
    policy=PREFIX + "os-server-password:clear",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def clear_password(ctx: Context, deps: Deps, server: Server) -> None:
    """Forget the encrypted password that the guest posted."""
    server_parts.clear_password(server)


def _diagnostics(deps: Deps, server: Server) -> dict[str, Any]:
    return ask(deps, server, "get diagnostics", lambda host: host.diagnostics(server.id))


@operation(
    "GET",
    "/servers/{server_id}/diagnostics",
    policy=PREFIX + "os-server-diagnostics",
    load=load,
    until="2.47",
    manual=True,
    errors=(ServerNotFound, NotReady),
)
def show_diagnostics_before(ctx: Context, deps: Deps, server: Server) -> Any:
    """Show a server's counters by the hypervisor's names."""
    return _diagnostics(deps, server)


_STATES = {0: "pending", 1: "running", 3: "paused", 4: "shutdown", 6: "crashed", 7: "suspended"}


@operation(
    "GET",
    "/servers/{server_id}/diagnostics",
    policy=PREFIX + "os-server-diagnostics",
    load=load,
    since="2.48",
    manual=True,
    errors=(ServerNotFound, NotReady),
)
def show_diagnostics(ctx: Context, deps: Deps, server: Server) -> Any:
    """Show a server's counters; what the hypervisor does not count is null."""
    raw = _diagnostics(deps, server)
    row = server.row
    cpus = [
        {"id": index, "time": raw.get(f"vcpu.{index}.time"), "utilisation": None}
        for index in range(row.vcpus)
    ]
    nics = _counted(raw, "net", _nic)
    disks = _counted(raw, "block", _disk)
    memory = raw.get("balloon.current")
    return {
        "config_drive": bool(row.config_drive),
        "cpu_details": cpus,
        "disk_details": disks,
        "driver": "libvirt",
        "hypervisor": "qemu",
        "hypervisor_os": "linux",
        "memory_details": {
            "maximum": row.memory_mib,
            "used": int(memory) // 1024 if memory is not None else None,
        },
        "nic_details": nics,
        "num_cpus": row.vcpus,
        "num_disks": len(disks),
        "num_nics": len(nics),
        "state": _STATES.get(row.power_state, "pending"),
        "uptime": None,
    }


def _counted(raw: dict[str, Any], kind: str, show: Any) -> list[dict[str, Any]]:
    count = raw.get(f"{kind}.count", 0)
    return [show(raw, f"{kind}.{index}.") for index in range(int(count))]


def _nic(raw: dict[str, Any], prefix: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"mac_address": raw.get(prefix + "mac")}
    for way in ("rx", "tx"):
        for theirs, ours in (
            ("bytes", "octets"),
            ("errs", "errors"),
            ("drop", "drop"),
            ("pkts", "packets"),
        ):
            shown[f"{way}_{ours}"] = raw.get(f"{prefix}{way}.{theirs}")
        shown[f"{way}_rate"] = None
    return shown


def _disk(raw: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        "read_bytes": raw.get(prefix + "rd.bytes"),
        "read_requests": raw.get(prefix + "rd.reqs"),
        "write_bytes": raw.get(prefix + "wr.bytes"),
        "write_requests": raw.get(prefix + "wr.reqs"),
        "errors_count": None,
    }
