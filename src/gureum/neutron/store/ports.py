"""Rows of ports: the view with a constant number of queries, filters, bindings, groups."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest
from gureum.neutron.errors import PortNotFound
from gureum.neutron.store import addresses
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import Noun, View, Where, asked, matches, standard_views

ACTIVE = "ACTIVE"


_BINDING = (
    "binding:host_id",
    "binding:vnic_type",
    "binding:profile",
    "binding:vif_type",
    "binding:vif_details",
)


def views(
    ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]], only: frozenset[str] = frozenset()
) -> list[View]:
    """Return ports with addresses, groups, binding and tags: four queries for any number."""
    ids = [row.id for row in rows]
    allocated = addresses.of_ports(tx, ids) if asked(only, "fixed_ips", "dns_assignment") else {}
    groups = groups_of(tx, ids) if asked(only, "security_groups") else {}
    bindings = _binding_views(tx, ids) if asked(only, *_BINDING) else {}
    domain = tx.deps.options.dns_domain
    out = standard_views(tx, rows, tags=asked(only, "tags"))
    for view in out:
        port_id, name = view["id"], view["dns_name"]
        mine = allocated.get(port_id, ())
        view["fixed_ips"] = [
            {"subnet_id": item.subnet_id, "ip_address": item.ip_address} for item in mine
        ]
        view["security_groups"] = groups.get(port_id, [])
        view["dns_assignment"] = [assignment(name, item.ip_address, domain) for item in mine]
        view["qos_policy_id"] = view["qos_network_policy_id"] = None
        view.update(bindings.get(port_id, ()))
    return out


def assignment(dns_name: str, address: str, domain: str) -> dict[str, str]:
    """Return one entry of dns_assignment."""
    hostname = dns_name or "host-" + address.replace(".", "-").replace(":", "-")
    if hostname.endswith("."):
        return {"ip_address": address, "hostname": hostname.split(".")[0], "fqdn": hostname}
    fqdn = f"{hostname}.{domain.rstrip('.')}." if domain else hostname
    return {"ip_address": address, "hostname": hostname, "fqdn": fqdn}


def groups_of(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the groups by port, in one query."""
    c = t.port_security_groups.c
    found: dict[str, list[str]] = {}
    for row in tx.among(c.port_id, ids, c.port_id, c.security_group_id):
        found.setdefault(row.port_id, []).append(row.security_group_id)
    return found


def bindings_of(tx: Tx, ids: Sequence[str]) -> dict[str, sa.Row[Any]]:
    """Return the active binding by port, in one query."""
    found = tx.among(t.port_bindings.c.port_id, ids)
    return {row.port_id: row for row in found if row.status == ACTIVE}


_BINDING_VIEWS = sa.select(
    t.port_bindings.c.port_id,
    t.port_bindings.c.host.label("binding_host_id"),
    t.port_bindings.c.vnic_type.label("binding_vnic_type"),
    t.port_bindings.c.profile.label("binding_profile"),
    t.port_bindings.c.vif_type.label("binding_vif_type"),
    t.port_bindings.c.vif_details.label("binding_vif_details"),
).where(
    t.port_bindings.c.port_id.in_(sa.bindparam("ids", expanding=True)),
    t.port_bindings.c.status == ACTIVE,
)
_BINDING_NAMES = tuple(_BINDING_VIEWS.selected_columns.keys())[1:]


def _binding_views(tx: Tx, ids: Sequence[str]) -> dict[str, View]:
    """Return what views show of the active binding by port, in one query."""
    rows = tx.all(_BINDING_VIEWS, {"ids": ids}) if ids else ()
    return {row.port_id: dict(zip(_BINDING_NAMES, row[1:], strict=True)) for row in rows}


def binding_of(tx: Tx, port_id: str) -> sa.Row[Any]:
    """Return the active binding of a port."""
    return bindings_of(tx, [port_id])[port_id]


def set_groups(tx: Tx, port_id: str, groups: Sequence[str]) -> None:
    """Replace the groups that a port wears."""
    tx.delete_by(t.port_security_groups.c.port_id, port_id)
    add_groups(tx, port_id, groups)


def add_groups(tx: Tx, port_id: str, groups: Sequence[str]) -> None:
    """Let a port that wears none wear groups."""
    tx.insert_many(
        t.port_security_groups,
        [{"port_id": port_id, "security_group_id": group} for group in sorted(set(groups))],
    )


# --- filters ------------------------------------------------------------------------------------


def visible(ctx: Context) -> Where:
    """See the ports of the own project, and those in the networks of the own project."""
    mine = ctx.project_id or ""
    return sa.or_(
        t.ports.c.project_id == mine,
        t.ports.c.network_id.in_(sa.select(t.networks.c.id).where(t.networks.c.project_id == mine)),
    )


def _fixed_ips(ctx: Context, values: list[str]) -> Where:
    c = t.ip_allocations.c
    found: dict[str, list[str]] = {}
    for value in values:
        name, separator, wanted = value.partition("=")
        if not separator or name not in ("ip_address", "subnet_id", "ip_address_substr"):
            raise BadRequest(f"Invalid input for operation: fixed_ips filter {value[:60]!r}")
        found.setdefault(name, []).append(wanted)
    where: list[Where] = []
    for name, texts in found.items():
        if name == "ip_address":
            condition: Where = c.ip_address.in_([_plain(text) for text in texts])
        elif name == "subnet_id":
            condition = c.subnet_id.in_(texts)
        else:
            condition = sa.or_(*(c.ip_address.contains(x, autoescape=True) for x in texts))
        where.append(condition)
    return t.ports.c.id.in_(sa.select(c.port_id).where(*where))


def _plain(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _security_groups(ctx: Context, values: list[str]) -> Where:
    c = t.port_security_groups.c
    return t.ports.c.id.in_(sa.select(c.port_id).where(c.security_group_id.in_(values)))


def _binding(column: sa.Column[Any]) -> Any:
    def condition(ctx: Context, values: list[str]) -> Where:
        found = sa.select(t.port_bindings.c.port_id).where(
            matches(column, values), t.port_bindings.c.status == ACTIVE
        )
        return t.ports.c.id.in_(found)

    return condition


def _mac(ctx: Context, values: list[str]) -> Where:
    return t.ports.c.mac_address.in_([value.lower() for value in values])


PORT = Noun(
    t.ports,
    "port",
    "ports",
    PortNotFound,
    visible,
    views,
    special={
        "fixed_ips": _fixed_ips,
        "security_groups": _security_groups,
        "security_group_id": _security_groups,
        "mac_address": _mac,
        "binding:host_id": _binding(t.port_bindings.c.host),
        "binding:vnic_type": _binding(t.port_bindings.c.vnic_type),
        "binding:vif_type": _binding(t.port_bindings.c.vif_type),
    },
    partial=True,
)
