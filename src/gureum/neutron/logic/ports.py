"""What can be done with ports.

Owns: creation with MAC, addresses, groups and binding; changes; deletion with what hangs on a port.
Follows: Network API v2.0, "Ports".
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Stale, Tx
from gureum.core.spec import Struct
from gureum.neutron.errors import (
    DeviceIDNotOwnedByTenant,
    InvalidInput,
    MacAddressInUse,
    PortBound,
    PortSecurityAndIPRequiredForSecurityGroups,
    PortSecurityPortHasSecurityGroup,
    ServicePortInUse,
)
from gureum.neutron.logic import binding, ipam, port_parts, quota
from gureum.neutron.logic import security_groups as group_logic
from gureum.neutron.store import addresses, changes, rows
from gureum.neutron.store import ports as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import View, reload, sees_all

SERVICE_OWNERS = (
    "network:router_interface",
    "network:router_gateway",
    "network:floatingip",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
_MAC_ATTEMPTS = 16
_OF_ITS_HOST = frozenset({"name", "description", "admin_state_up"})
"""What of a port only the L2 agent of its host looks at; other hosts need not hear of it."""


def is_trusted(device_owner: str) -> bool:
    """Return whether a port is the cloud's own."""
    return device_owner.startswith("network:")


def create(ctx: Context, tx: Tx, new: Struct, network: Mapping[str, Any], project_id: str) -> View:
    """Create a port.

    Raises: OverQuota, MacAddressInUse, DeviceIDNotOwnedByTenant, and what ipam and port_parts raise.
    """
    quota.check(ctx, tx, project_id, "port")
    owner = new.get("device_owner", "") or ""
    device_id = new.get("device_id", "") or ""
    check_device(ctx, tx, owner, device_id)
    secured = new.get("port_security_enabled")
    if secured is None:
        secured = network["port_security_enabled"] and not is_trusted(owner)
    pairs = port_parts.address_pairs(tx, new.get("allowed_address_pairs", ()) or (), secured)
    groups = _groups_of_new(ctx, tx, new, project_id, owner, secured)
    wishes = new.get("fixed_ips")
    return add(
        ctx,
        tx,
        network["id"],
        project_id=project_id,
        name=new.get("name", "") or "",
        description=new.get("description", "") or "",
        device_id=device_id,
        device_owner=owner,
        admin_state_up=new.get("admin_state_up", True),
        port_security_enabled=secured,
        mac_address=new.get("mac_address"),
        dns_name=new.get("dns_name", "") or "",
        dns_domain=new.get("dns_domain", "") or "",
        pairs=pairs,
        options=port_parts.dhcp_options(new.get("extra_dhcp_opts", ()) or ()),
        groups=groups,
        wishes=None if wishes is None else port_parts.wishes(tx, wishes),
        host=new.get("binding_host_id", "") or "",
        vnic_type=new.get("binding_vnic_type", "normal") or "normal",
        profile=new.get("binding_profile", {}) or {},
    )


def add(ctx: Context, tx: Tx, network_id: str, **values: Any) -> View:
    """Write a port that was checked, with everything that belongs to it; see `write`."""
    return reload(ctx, tx, store.PORT, write(tx, network_id, **values))


def write(
    tx: Tx,
    network_id: str,
    *,
    project_id: str,
    device_owner: str,
    device_id: str,
    name: str = "",
    description: str = "",
    admin_state_up: bool = True,
    port_security_enabled: bool = False,
    mac_address: str | None = None,
    dns_name: str = "",
    dns_domain: str = "",
    pairs: Sequence[Mapping[str, Any]] = (),
    options: Sequence[Mapping[str, Any]] = (),
    groups: Sequence[str] = (),
    wishes: Sequence[ipam.Wish] | None = None,
    host: str = "",
    vnic_type: str = "normal",
    profile: Any = None,
    status: str = "DOWN",
) -> str:
    """Write a port that was checked, with everything that belongs to it; returns its id."""
    port_id = rows.new_id()
    mac = mac_address or free_mac(tx, network_id)
    if mac_address and _mac_taken(tx, network_id, mac_address):
        raise MacAddressInUse(network_id=network_id, mac_address=mac_address)
    try:
        rows.insert(
            tx,
            t.ports,
            id=port_id,
            project_id=project_id,
            network_id=network_id,
            name=name,
            description=description,
            mac_address=mac,
            admin_state_up=admin_state_up,
            status=status,
            device_id=device_id,
            device_owner=device_owner,
            port_security_enabled=port_security_enabled,
            dns_name=dns_name,
            dns_domain=dns_domain,
            allowed_address_pairs=port_parts.with_mac(pairs, mac),
            extra_dhcp_opts=list(options),
        )
    except Conflict as error:
        raise Stale("another request took the MAC") from error
    place = ipam.Place(network_id, port_id, mac, device_owner)
    ipam.choose(tx, place, wishes)
    store.add_groups(tx, port_id, groups)
    binding.insert(tx, port_id, network_id, host, vnic_type, profile, device_owner)
    router_id = device_id if device_owner in ipam.ROUTER_OWNERS else None
    changes.note(
        tx, changes.port_items(tx, port_id, network_id, {host}, groups, router_id=router_id)
    )
    return port_id


def _groups_of_new(
    ctx: Context, tx: Tx, new: Struct, project_id: str, owner: str, secured: bool
) -> list[str]:
    asked = new.get("security_groups")
    if asked is None:
        if is_trusted(owner) or not secured:
            return []
        return [group_logic.default_group(tx, project_id)]
    if asked and not secured:
        raise PortSecurityAndIPRequiredForSecurityGroups()
    return group_logic.check_usable(ctx, tx, asked)


def free_mac(tx: Tx, network_id: str) -> str:
    """Return a MAC under the configured base that the network does not have."""
    base = tx.deps.options.base_mac.lower().split(":")
    fixed = 4 if base[3] != "00" else 3
    for _ in range(_MAC_ATTEMPTS):
        tail = [f"{random.getrandbits(8):02x}" for _ in range(6 - fixed)]
        mac = ":".join(base[:fixed] + tail)
        if not _mac_taken(tx, network_id, mac):
            return mac
    raise Stale("no free MAC found")


def _mac_taken(tx: Tx, network_id: str, mac: str) -> bool:
    return tx.first(_MAC, {"network": network_id, "mac": mac}) is not None


_MAC = sa.select(t.ports.c.id).where(
    t.ports.c.network_id == sa.bindparam("network"), t.ports.c.mac_address == sa.bindparam("mac")
)


def check_device(ctx: Context, tx: Tx, owner: str, device_id: str) -> None:
    """Refuse a port that claims to be an interface of somebody else's router.

    Raises: DeviceIDNotOwnedByTenant.
    """
    if owner not in ipam.ROUTER_OWNERS or not device_id or sees_all(ctx):
        return
    found = tx.one(sa.select(t.routers.c.project_id).where(t.routers.c.id == device_id))
    if found is None or found.project_id != ctx.project_id:
        raise DeviceIDNotOwnedByTenant(device_id=device_id)


# --- change -------------------------------------------------------------------------------------


def update(ctx: Context, tx: Tx, port: Mapping[str, Any], new: Struct) -> View:
    """Change a port. Raises: what create raises, PortBound, PortSecurityPortHasSecurityGroup."""
    rows.check_revision(ctx, port)
    port_id = port["id"]
    values = _simple_values(ctx, tx, port, new)
    after = {**port, **values}
    groups_before = set(port["security_groups"])
    groups = _groups_after(ctx, tx, port, new, after["port_security_enabled"])
    _parts_after(tx, port, new, after, values)
    rows.update(tx, t.ports, port, **values)
    if set(groups) != groups_before:
        store.set_groups(tx, port_id, groups)
    moved = _addresses_after(tx, port, new, after)
    readdressed = moved or after["mac_address"] != port["mac_address"]
    if readdressed:
        tx.update_by(t.ports.c.id, port_id, dhcp_ready=False)
    elsewhere = readdressed or set(groups) != groups_before
    if elsewhere:
        binding.guests_changed(tx, [port_id])
    hosts = {port["binding_host_id"]}
    rebound = any(new.has(f"binding_{name}") for name in ("host_id", "vnic_type", "profile"))
    if rebound:
        host = new.get("binding_host_id", port["binding_host_id"]) or ""
        profile = new.get("binding_profile") if new.has("binding_profile") else None
        if new.has("binding_profile") and profile is None:
            profile = {}
        binding.rebind(tx, after, host, vnic_type=new.get("binding_vnic_type"), profile=profile)
        hosts.add(host)
    _note_router(tx, port, after)
    if elsewhere or rebound or not _OF_ITS_HOST.issuperset(values):
        worn = groups_before | set(groups)
        changes.note(tx, changes.port_items(tx, port_id, port["network_id"], hosts, worn))
    else:
        changes.note(tx, {changes.Item(changes.L2, host, "ports", port_id) for host in hosts})
    return reload(ctx, tx, store.PORT, port_id)


def _simple_values(ctx: Context, tx: Tx, port: Mapping[str, Any], new: Struct) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in ("name", "description", "device_id", "device_owner", "dns_name", "dns_domain"):
        if new.has(name):
            values[name] = new.get(name) or ""
    for name in ("admin_state_up", "port_security_enabled"):
        if new.has(name):
            values[name] = new.get(name)
    if "device_owner" in values or "device_id" in values:
        owner = values.get("device_owner", port["device_owner"])
        check_device(ctx, tx, owner, values.get("device_id", port["device_id"]))
        if port["device_owner"] in SERVICE_OWNERS and owner != port["device_owner"]:
            raise ServicePortInUse(
                port_id=port["id"], reason="it has a device owner " + port["device_owner"]
            )
    if new.has("mac_address") and new.get("mac_address") != port["mac_address"]:
        mac = new.get("mac_address") or free_mac(tx, port["network_id"])
        if port["binding_vif_type"] not in ("unbound", "binding_failed"):
            raise PortBound(
                port_id=port["id"],
                vif_type=port["binding_vif_type"],
                old_mac=port["mac_address"],
                new_mac=mac,
            )
        if _mac_taken(tx, port["network_id"], mac):
            raise MacAddressInUse(network_id=port["network_id"], mac_address=mac)
        values["mac_address"] = mac
    return values


def _groups_after(
    ctx: Context, tx: Tx, port: Mapping[str, Any], new: Struct, secured: bool
) -> list[str]:
    groups = list(port["security_groups"])
    if new.has("security_groups"):
        groups = group_logic.check_usable(ctx, tx, new.get("security_groups") or ())
    if groups and not secured:
        if new.has("security_groups") and new.get("security_groups"):
            raise PortSecurityAndIPRequiredForSecurityGroups()
        raise PortSecurityPortHasSecurityGroup()
    return groups


def _parts_after(
    tx: Tx, port: Mapping[str, Any], new: Struct, after: Mapping[str, Any], values: dict[str, Any]
) -> None:
    secured = after["port_security_enabled"]
    mac = after["mac_address"]
    if new.has("allowed_address_pairs"):
        pairs = port_parts.address_pairs(tx, new.get("allowed_address_pairs") or (), secured)
        values["allowed_address_pairs"] = port_parts.with_mac(pairs, mac)
    elif port["allowed_address_pairs"]:
        port_parts.address_pairs(tx, (), secured, existing=True)
    if new.has("extra_dhcp_opts"):
        values["extra_dhcp_opts"] = port_parts.merged_options(
            port["extra_dhcp_opts"], new.get("extra_dhcp_opts") or ()
        )


def _addresses_after(
    tx: Tx, port: Mapping[str, Any], new: Struct, after: Mapping[str, Any]
) -> bool:
    if not new.has("fixed_ips"):
        return False
    place = ipam.Place(port["network_id"], port["id"], after["mac_address"], after["device_owner"])
    wishes = port_parts.wishes(tx, new.get("fixed_ips") or ())
    if port["device_owner"] in SERVICE_OWNERS[:2] and not wishes:
        raise InvalidInput(error_message="A router port needs an address")
    _, moved = ipam.change(tx, place, wishes, tx.deps.options.max_fixed_ips_per_port)
    if moved:
        from gureum.neutron.logic import port_forwardings

        _clear_lost_floatingips(tx, port["id"])
        port_forwardings.port_changed(tx, port["id"])
    return moved


def _clear_lost_floatingips(tx: Tx, port_id: str) -> None:
    have = [item.ip_address for item in addresses.of_port(tx, port_id)]
    c = t.floatingips.c
    lost = tx.all(sa.select(c.id).where(c.port_id == port_id, c.fixed_ip_address.not_in(have)))
    if lost:
        from gureum.neutron.logic import floatingips  # it needs ports for its own

        floatingips.disassociate(tx, [row.id for row in lost])


def _note_router(tx: Tx, port: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for owner, device in (
        (port["device_owner"], port["device_id"]),
        (after["device_owner"], after["device_id"]),
    ):
        router_id = device if owner in ipam.ROUTER_OWNERS else None
        if router_id:
            changes.note(tx, changes.router_items(tx, router_id))


# --- delete -------------------------------------------------------------------------------------


def delete(ctx: Context, tx: Tx, port: Mapping[str, Any]) -> None:
    """Delete a port that no router or floating IP needs. Raises: ServicePortInUse."""
    rows.check_revision(ctx, port)
    if port["device_owner"] in SERVICE_OWNERS and port["device_id"]:
        table = t.floatingips if port["device_owner"] == "network:floatingip" else t.routers
        if tx.first(sa.select(table.c.id).where(table.c.id == port["device_id"])) is not None:
            raise ServicePortInUse(
                port_id=port["id"], reason="has device owner " + port["device_owner"]
            )
    row = tx.by(t.ports.c.id, port["id"])
    if row is not None:
        remove(tx, row)


def remove(tx: Tx, port: sa.Row[Any]) -> None:
    """Take a port away, with its addresses, binding and associations."""
    from gureum.neutron.logic import floatingips, port_forwardings  # they need ports for their own

    associated = tx.among(t.floatingips.c.port_id, [port.id])
    if associated:
        floatingips.disassociate(tx, [row.id for row in associated])
    port_forwardings.port_removed(tx, port.id)
    groups = store.groups_of(tx, [port.id]).get(port.id, [])
    host = store.binding_of(tx, port.id).host
    router_id = port.device_id if port.device_owner in ipam.ROUTER_OWNERS else None
    items = changes.port_items(tx, port.id, port.network_id, {host}, groups, router_id=router_id)
    tx.delete_by(t.port_security_groups.c.port_id, port.id)
    tx.delete_by(t.ip_allocations.c.port_id, port.id)
    tx.delete_by(t.port_bindings.c.port_id, port.id)
    tx.delete_by(t.ports.c.id, port.id)
    rows.forget(tx, port.id)
    changes.note(tx, items)
    if port.device_owner.startswith(binding.GUEST) and port.device_id:
        binding.tell_nova(tx, "network-vif-deleted", port)
