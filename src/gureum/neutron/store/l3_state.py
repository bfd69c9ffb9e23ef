"""What the L3 and DHCP agents of a host have to make true, as rows say."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.neutron.agents.contract import (
    DhcpNetwork,
    DhcpOption,
    DhcpPort,
    FloatingIp,
    MetadataTarget,
    PortForwarding,
    Route,
    Router,
    RouterPort,
    SubnetInfo,
)
from gureum.neutron.store import tables as t
from gureum.neutron.store.l2_state import fixed_ips, on_host
from gureum.neutron.store.port_forwardings import of_floatingips
from gureum.neutron.store.ports import ACTIVE
from gureum.neutron.store.query import grouped
from gureum.neutron.store.routers import GATEWAY, INTERFACE

Ids = Collection[str] | None


def subnet_info(row: Any) -> SubnetInfo:
    """Return a subnet as agents need it."""
    return SubnetInfo(
        id=row.id,
        cidr=row.cidr,
        ip_version=row.ip_version,
        gateway_ip=row.gateway_ip,
        dns_nameservers=tuple(row.dns_nameservers),
        host_routes=tuple(Route(r["destination"], r["nexthop"]) for r in row.host_routes),
        enable_dhcp=row.enable_dhcp,
        ipv6_ra_mode=row.ipv6_ra_mode,
        ipv6_address_mode=row.ipv6_address_mode,
    )


def _subnets(tx: Tx, network_ids: Collection[str]) -> dict[str, list[SubnetInfo]]:
    c = t.subnets.c
    found = tx.among(c.network_id, network_ids, c.created_at, c.id)
    return {
        key: [subnet_info(row) for row in rows]
        for key, rows in grouped(found, "network_id").items()
    }


# --- routers ------------------------------------------------------------------------------------


def routers(tx: Tx, host: str, ids: Ids = None) -> tuple[Router, ...]:
    """Return the routers of a host: six queries for any number."""
    links, agents = t.router_l3_agents.c, t.agents.c
    statement = (
        sa.select(t.routers)
        .join(t.router_l3_agents, links.router_id == t.routers.c.id)
        .join(t.agents, agents.id == links.agent_id)
        .where(agents.host == host)
        .order_by(t.routers.c.id)
    )
    if ids is not None:
        statement = statement.where(t.routers.c.id.in_(ids))
    rows = tx.all(statement)
    found = [row.id for row in rows]
    ports = _router_ports(tx, found)
    floating = _floatingips(tx, found)
    return tuple(
        Router(
            id=row.id,
            name=row.name,
            project_id=row.project_id,
            admin_state_up=row.admin_state_up,
            interfaces=tuple(p for p in ports.get(row.id, ()) if p.device_owner != GATEWAY),
            gateway=next((p for p in ports.get(row.id, ()) if p.device_owner == GATEWAY), None),
            enable_snat=row.enable_snat,
            floating_ips=tuple(floating.get(row.id, ())),
            routes=tuple(Route(r["destination"], r["nexthop"]) for r in row.routes),
        )
        for row in rows
    )


def _router_ports(tx: Tx, router_ids: Sequence[str]) -> dict[str, list[RouterPort]]:
    if not router_ids:
        return {}
    statement = (
        sa.select(t.ports, t.networks.c.mtu)
        .join(t.networks, t.networks.c.id == t.ports.c.network_id)
        .where(
            t.ports.c.device_id.in_(router_ids), t.ports.c.device_owner.in_((INTERFACE, GATEWAY))
        )
        .order_by(t.ports.c.id)
    )
    rows = tx.all(statement)
    addresses = fixed_ips(tx, [row.id for row in rows])
    subnets = _subnets(tx, {row.network_id for row in rows})
    found: dict[str, list[RouterPort]] = {}
    for row in rows:
        mine = addresses.get(row.id, ())
        own = {item.subnet_id for item in mine}
        all_subnets = subnets.get(row.network_id, [])
        found.setdefault(row.device_id, []).append(
            RouterPort(
                id=row.id,
                network_id=row.network_id,
                mac_address=row.mac_address,
                device_owner=row.device_owner,
                mtu=row.mtu,
                fixed_ips=mine,
                subnets=tuple(s for s in all_subnets if s.id in own),
                admin_state_up=row.admin_state_up,
                extra_subnets=tuple(s for s in all_subnets if s.id not in own),
            )
        )
    return found


def _floatingips(tx: Tx, router_ids: Sequence[str]) -> dict[str, list[FloatingIp]]:
    if not router_ids:
        return {}
    c = t.floatingips.c
    statement = sa.select(t.floatingips).where(c.router_id.in_(router_ids)).order_by(c.id)
    found = tx.all(statement)
    forwardings = of_floatingips(tx, [row.id for row in found])
    return {
        key: [
            FloatingIp(
                row.id,
                row.floating_ip_address,
                row.fixed_ip_address,
                row.port_id,
                tuple(_forwarding(item) for item in forwardings.get(row.id, ())),
            )
            for row in rows
        ]
        for key, rows in grouped(found, "router_id").items()
    }


def _forwarding(row: Any) -> PortForwarding:
    return PortForwarding(
        id=row.id,
        protocol=row.protocol,
        external_port=_ports(row.external_first, row.external_last),
        internal_ip_address=row.internal_ip_address,
        internal_port=_ports(row.internal_first, row.internal_last),
    )


def _ports(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}:{last}"


# --- DHCP ---------------------------------------------------------------------------------------


_DHCP_NETWORKS = on_host(
    sa.select(
        t.networks.c.id,
        t.networks.c.project_id,
        t.networks.c.mtu,
        t.networks.c.admin_state_up,
        t.networks.c.dns_domain,
    )
    .join(t.network_dhcp_agents, t.network_dhcp_agents.c.network_id == t.networks.c.id)
    .join(t.agents, t.agents.c.id == t.network_dhcp_agents.c.agent_id)
    .where(t.agents.c.host == sa.bindparam("host")),
    t.networks.c.id,
)
_DHCP_PORTS = (
    sa.select(
        t.ports.c.id,
        t.ports.c.network_id,
        t.ports.c.mac_address,
        t.ports.c.device_id,
        t.ports.c.device_owner,
        t.ports.c.dns_name,
        t.ports.c.extra_dhcp_opts,
        t.port_bindings.c.host,
    )
    .join(t.port_bindings, t.port_bindings.c.port_id == t.ports.c.id)
    .where(
        t.ports.c.network_id.in_(sa.bindparam("networks", expanding=True)),
        t.port_bindings.c.status == ACTIVE,
    )
    .order_by(t.ports.c.id)
)


def dhcp_networks(tx: Tx, host: str, ids: Ids = None) -> tuple[DhcpNetwork, ...]:
    """Return the networks whose DHCP a host serves: five queries for any number."""
    rows = _DHCP_NETWORKS.of(tx, host, ids)
    found = [row.id for row in rows]
    subnets = _subnets(tx, found)
    port_rows = tx.all(_DHCP_PORTS, {"networks": found}) if found else []
    addresses = fixed_ips(tx, [row.id for row in port_rows])
    ports = grouped(port_rows, "network_id")
    domain = tx.deps.options.dns_domain.rstrip(".")
    out = []
    for row in rows:
        mine = ports.get(row.id, [])
        own = next((p for p in mine if p.device_owner == "network:dhcp" and p.host == host), None)
        routed = any(p.device_owner == INTERFACE for p in mine)
        out.append(
            DhcpNetwork(
                id=row.id,
                project_id=row.project_id,
                mtu=row.mtu,
                admin_state_up=row.admin_state_up,
                dns_domain=row.dns_domain.rstrip(".") or domain,
                subnets=tuple(subnets.get(row.id, ())),
                ports=tuple(
                    _dhcp_port(p, addresses.get(p.id, ()))
                    for p in mine
                    if p.device_owner not in ("network:dhcp", "network:floatingip")
                ),
                dhcp_port_id=own.id if own else None,
                dhcp_port_mac=own.mac_address if own else None,
                dhcp_port_ips=addresses.get(own.id, ()) if own else (),
                isolated_metadata=not routed,
            )
        )
    return tuple(out)


def _dhcp_port(port: Any, addresses: Any) -> DhcpPort:
    first = addresses[0].ip_address if addresses else ""
    hostname = port.dns_name or (
        "host-" + first.replace(".", "-").replace(":", "-") if first else ""
    )
    return DhcpPort(
        id=port.id,
        mac_address=port.mac_address,
        fixed_ips=addresses,
        hostname=hostname,
        device_id=port.device_id,
        device_owner=port.device_owner,
        extra_dhcp_opts=tuple(
            DhcpOption(o["opt_name"], o["opt_value"], o["ip_version"]) for o in port.extra_dhcp_opts
        ),
    )


# --- metadata -----------------------------------------------------------------------------------


def metadata_target(
    tx: Tx, address: str, network_id: str | None, router_id: str | None
) -> MetadataTarget | None:
    """Return the server behind an address of a network, or of the networks of a router."""
    p, a = t.ports.c, t.ip_allocations.c
    if network_id is not None:
        scope: Any = p.network_id == network_id
    elif router_id is not None:
        inner = t.ports.alias("inner")
        scope = p.network_id.in_(
            sa.select(inner.c.network_id).where(
                inner.c.device_id == router_id, inner.c.device_owner == INTERFACE
            )
        )
    else:
        return None
    parsed = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    statement = sa.select(p.id, p.device_id, p.project_id).where(
        scope, p.device_owner.like("compute:%"), p.device_id != ""
    )
    if parsed.version == 6 and parsed.is_link_local:
        statement = statement.where(p.mac_address == _mac_of(int(parsed)))
    else:
        statement = statement.join(t.ip_allocations, a.port_id == p.id).where(
            a.ip_address == str(parsed)
        )
    rows = tx.all(statement)
    if len(rows) != 1:
        return None
    return MetadataTarget(rows[0].id, rows[0].device_id, rows[0].project_id)


def _mac_of(number: int) -> str:
    """Return the MAC that a modified EUI-64 address was made from (RFC 4291, appendix A)."""
    tail = (number & (2**64 - 1)).to_bytes(8, "big")
    octets = bytes([tail[0] ^ 2, tail[1], tail[2], tail[5], tail[6], tail[7]])
    return ":".join(f"{octet:02x}" for octet in octets)
