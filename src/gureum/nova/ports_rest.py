"""The ports of servers over Neutron's REST API, in Nova's own name.

Owns: paths, bodies and status codes. Must not: be called in a transaction. Follows Networking API v2.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gureum.core.http.client import HttpReply, RemoteError, RemoteUnavailable
from gureum.keystone.client import Session, error_text
from gureum.nova.ports import (
    KEEP_KEY,
    NIC_KEY,
    Port,
    PortRefused,
    PortsUnavailable,
    Subnet,
    Surroundings,
)

_BATCH = 50
_FIELDS = {
    "ports": (
        "id", "network_id", "mac_address", "project_id", "name", "status", "device_id",
        "device_owner", "admin_state_up", "fixed_ips", "binding:host_id", "binding:vif_type",
        "binding:vif_details", "binding:vnic_type", "binding:profile", "security_groups",
    ),
    "networks": ("id", "name", "mtu"),
    "subnets": (
        "id", "cidr", "ip_version", "gateway_ip", "dns_nameservers", "host_routes", "enable_dhcp",
        "ipv6_address_mode",
    ),
    "floatingips": ("port_id", "floating_ip_address"),
    "security-groups": ("id", "name"),
}  # fmt: skip
"""What is read of each noun: the network service looks up no more."""


class RestServerPorts:
    """`ServerPorts` over a session of the service user."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of_servers(self, server_ids: Sequence[str]) -> list[Port]:
        """Return the ports whose device is one of the servers."""
        return [_port(row) for row in self._list("ports", "device_id", server_ids)]

    def get(self, port_id: str) -> Port | None:
        """Return a port, or None."""
        reply = self._ask("GET", f"/ports/{port_id}", allow=(404,))
        return None if reply.status == 404 else _port(reply.json()["port"])

    def create(
        self,
        *,
        nic_id: str,
        network_id: str,
        project_id: str,
        server_id: str,
        owner: str,
        host: str,
        fixed_ip: str | None,
        security_groups: Sequence[str],
    ) -> Port:
        """Make a port that is bound to a host."""
        body: dict[str, Any] = {
            "network_id": network_id,
            "tenant_id": project_id,
            "device_id": server_id,
            "device_owner": owner,
            "admin_state_up": True,
            "binding:host_id": host,
            "binding:profile": {NIC_KEY: nic_id},
        }
        if fixed_ip:
            body["fixed_ips"] = [{"ip_address": fixed_ip}]
        if security_groups:
            body["security_groups"] = list(security_groups)
        return _port(self._ask("POST", "/ports", {"port": body}).json()["port"])

    def bind(self, port: Port, *, nic_id: str, server_id: str, owner: str, host: str) -> Port:
        """Give an existing port to a server on a host."""
        body = {
            "device_id": server_id,
            "device_owner": owner,
            "binding:host_id": host,
            "binding:profile": {**port.profile, NIC_KEY: nic_id, KEEP_KEY: True},
        }
        return _port(self._ask("PUT", f"/ports/{port.id}", {"port": body}).json()["port"])

    def unbind(self, port: Port) -> None:
        """Take a port from its server and host."""
        profile = {k: v for k, v in port.profile.items() if k not in (NIC_KEY, KEEP_KEY)}
        body = {
            "device_id": "",
            "device_owner": "",
            "binding:host_id": "",
            "binding:profile": profile,
        }
        self._ask("PUT", f"/ports/{port.id}", {"port": body}, allow=(404,))

    def delete(self, port_id: str) -> None:
        """Delete a port."""
        self._ask("DELETE", f"/ports/{port_id}", allow=(404,))

    def surroundings(self, ports: Sequence[Port]) -> Surroundings:
        """Return networks, subnets, floating addresses and security groups of ports."""
        networks = self._list("networks", "id", sorted({port.network_id for port in ports}))
        subnet_ids = sorted({subnet for port in ports for subnet, _ in port.fixed_ips})
        floating: dict[str, list[str]] = {}
        for row in self._list("floatingips", "port_id", sorted(port.id for port in ports)):
            floating.setdefault(row["port_id"], []).append(row["floating_ip_address"])
        groups = sorted({group_id for port in ports for group_id in port.security_groups})
        subnets = [_subnet(row) for row in self._list("subnets", "id", subnet_ids)]
        return Surroundings(
            labels={row["id"]: row.get("name") or "" for row in networks},
            mtus={row["id"]: int(row.get("mtu") or 1500) for row in networks},
            subnets={subnet.id: subnet for subnet in subnets},
            floating=floating,
            groups={row["id"]: row["name"] for row in self._list("security-groups", "id", groups)},
        )

    def _list(self, noun: str, key: str, values: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(values), _BATCH):
            params = {key: list(values[start : start + _BATCH]), "fields": _FIELDS[noun]}
            found += self._ask("GET", f"/{noun}", params=params).json()[noun.replace("-", "_")]
        return found

    def _ask(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        allow: Sequence[int] = (),
    ) -> HttpReply:
        try:
            reply = self._session.request(
                method, "network", f"/v2.0{path}", json=json, params=params
            )
        except (RemoteUnavailable, RemoteError) as error:
            raise PortsUnavailable(str(error)) from error
        if reply.status < 400 or reply.status in allow:
            return reply
        if reply.status >= 500 or reply.status in (401, 403, 429):
            raise PortsUnavailable(f"{method} {path}: {reply.status} {error_text(reply)}")
        raise PortRefused(reply.status, error_text(reply))


def _port(row: Mapping[str, Any]) -> Port:
    return Port(
        id=row["id"],
        network_id=row["network_id"],
        mac=row["mac_address"],
        project_id=row.get("project_id") or row.get("tenant_id") or "",
        name=row.get("name") or "",
        status=row.get("status") or "DOWN",
        device_id=row.get("device_id") or "",
        device_owner=row.get("device_owner") or "",
        host=row.get("binding:host_id") or "",
        vif_type=row.get("binding:vif_type") or "unbound",
        vif_details=row.get("binding:vif_details") or {},
        vnic_type=row.get("binding:vnic_type") or "normal",
        fixed_ips=tuple(
            (one["subnet_id"], one["ip_address"]) for one in row.get("fixed_ips") or ()
        ),
        profile=row.get("binding:profile") or {},
        admin_state_up=bool(row.get("admin_state_up", True)),
        security_groups=tuple(row.get("security_groups") or ()),
    )


def _subnet(row: Mapping[str, Any]) -> Subnet:
    return Subnet(
        id=row["id"],
        cidr=row["cidr"],
        ip_version=row["ip_version"],
        gateway=row.get("gateway_ip"),
        dns=tuple(row.get("dns_nameservers") or ()),
        routes=tuple(
            (route["destination"], route["nexthop"]) for route in row.get("host_routes") or ()
        ),
        dhcp=bool(row.get("enable_dhcp", True)),
        ipv6_address_mode=row.get("ipv6_address_mode"),
    )
