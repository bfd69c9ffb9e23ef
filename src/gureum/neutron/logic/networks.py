"""What can be done with networks: create, change, delete, share, choose segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Tx
from gureum.core.spec import Struct
from gureum.neutron.errors import (
    ExternalNetworkInUse,
    FlatNetworkInUse,
    InvalidInput,
    InvalidSharedSetting,
    NetworkInUse,
    NetworkMTUSubnetConflict,
    NoNetworkAvailable,
    NoNetworkFoundInMaximumAllowedAttempts,
    TunnelIdInUse,
    VlanIdInUse,
)
from gureum.neutron.logic import floatingips, quota, sharing
from gureum.neutron.logic import ports as port_logic
from gureum.neutron.ml2.base import InvalidSegment, Segment
from gureum.neutron.store import changes, rows, segment_ranges
from gureum.neutron.store import networks as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import View, reload

MIN_MTU = {4: 68, 6: 1280}
"""Least MTU by IP version: RFC 791 and RFC 8200."""
_AUTO_DELETED = ("network:dhcp",)


def create(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Create a network with its segments. Raises: OverQuota, InvalidInput, NoNetworkAvailable."""
    quota.check(ctx, tx, project_id, "network")
    network_id = rows.new_id()
    asked = _asked_segments(tx, new)
    external = bool(new.get("router_external", False))
    rows.insert(
        tx,
        t.networks,
        id=network_id,
        project_id=project_id,
        name=new.get("name", "") or "",
        description=new.get("description", "") or "",
        admin_state_up=new.get("admin_state_up", True),
        status="ACTIVE",
        mtu=0,
        port_security_enabled=new.get("port_security_enabled", True),
        router_external=external,
        is_default=False,
        availability_zone_hints=list(new.get("availability_zone_hints", ()) or ()),
        dns_domain=new.get("dns_domain", "") or "",
    )
    found = _take_segments(tx, network_id, project_id, asked)
    mtu = _mtu(tx, new.get("mtu", 0) or 0, found)
    tx.update_by(t.networks.c.id, network_id, mtu=mtu)
    if new.get("shared", False):
        sharing.open_to_all(tx, "network", network_id, project_id)
    if external:
        sharing.open_to_all(tx, "network", network_id, project_id, sharing.EXTERNAL)
        if new.get("is_default", False):
            _make_default(tx, network_id)
    elif new.get("is_default", False):
        raise InvalidInput(error_message="is_default can only be set on an external network")
    return reload(ctx, tx, store.NETWORK, network_id)


def _asked_segments(tx: Tx, new: Struct) -> list[Segment]:
    asked = [
        Segment(
            item.get("provider_network_type") or "",
            item.get("provider_physical_network") or "",
            item.get("provider_segmentation_id"),
        )
        for item in new.get("segments", None) or ()
    ]
    single = Segment(
        new.get("provider_network_type") or "",
        new.get("provider_physical_network") or "",
        new.get("provider_segmentation_id"),
    )
    if single != Segment(""):
        if asked:
            raise InvalidInput(error_message="Segments and provider values cannot both be set")
        asked = [single]
    checked = []
    for segment in asked:
        if not segment.network_type:
            raise InvalidInput(error_message="provider:network_type required")
        try:
            checked.append(tx.deps.ml2.driver(segment.network_type).check(segment))
        except InvalidSegment as error:
            raise InvalidInput(error_message=str(error)) from None
    return checked


def _take_segments(
    tx: Tx, network_id: str, project_id: str, asked: Sequence[Segment]
) -> list[Segment]:
    if not asked:
        return [_take_for_project(tx, network_id, project_id)]
    taken = []
    for index, segment in enumerate(asked):
        driver = tx.deps.ml2.driver(segment.network_type)
        spans = segment_ranges.choices(
            tx, segment.network_type, project_id, driver.ranges(segment.physical_network)
        )
        if segment.physical_network:
            spans = [s for s in spans if s.physical_network == segment.physical_network]
        if segment.segmentation_id is not None or segment.network_type == "local":
            if store.segment_taken(tx, segment):
                raise _taken(segment)
            try:
                store.add_segment(tx, network_id, segment, index)
            except Conflict:
                raise _taken(segment) from None
            taken.append(segment)
            continue
        found = store.allocate_segment(tx, network_id, segment.network_type, spans, index)
        if found is None:
            raise NoNetworkFoundInMaximumAllowedAttempts(network_type=segment.network_type)
        taken.append(found)
    return taken


def _take_for_project(tx: Tx, network_id: str, project_id: str) -> Segment:
    ml2 = tx.deps.ml2
    for name in ml2.tenant_types:
        if name == "local":
            segment = Segment("local")
            store.add_segment(tx, network_id, segment, 0)
            return segment
        spans = segment_ranges.choices(tx, name, project_id, ml2.driver(name).ranges(None))
        found = store.allocate_segment(tx, network_id, name, spans, 0)
        if found is not None:
            return found
    raise NoNetworkAvailable()


def _taken(segment: Segment) -> Exception:
    if segment.network_type == "flat":
        return FlatNetworkInUse(physical_network=segment.physical_network)
    if segment.network_type == "vlan":
        return VlanIdInUse(
            vlan_id=segment.segmentation_id, physical_network=segment.physical_network
        )
    return TunnelIdInUse(tunnel_id=segment.segmentation_id)


def check_mtu(network_id: str, mtu: int, version: int) -> None:
    """Refuse a network too narrow for an IP version. Raises: NetworkMTUSubnetConflict."""
    least = MIN_MTU[version]
    if mtu < least:
        raise NetworkMTUSubnetConflict(net_id=network_id, mtu=mtu, version=version, least=least)


def _mtu(tx: Tx, asked: int, found: Sequence[Segment]) -> int:
    most: int = tx.deps.ml2.max_mtu(found)
    if asked == 0:
        return most
    if asked > most:
        raise InvalidInput(error_message=f"Requested MTU is too big, maximum is {most}")
    return asked


def _make_default(tx: Tx, network_id: str) -> None:
    c = t.networks.c
    if tx.first(sa.select(c.id).where(c.is_default.is_(True), c.id != network_id)) is not None:
        raise InvalidInput(error_message="A default external network already exists")
    tx.update(t.networks, c.id == network_id, is_default=True)


def update(ctx: Context, tx: Tx, network: Mapping[str, Any], new: Struct) -> View:
    """Change a network. Raises: InvalidSharedSetting, ExternalNetworkInUse, InvalidInput."""
    rows.check_revision(ctx, network)
    network_id = network["id"]
    values: dict[str, Any] = {
        name: new.get(name)
        for name in ("admin_state_up", "port_security_enabled", "dns_domain")
        if new.has(name)
    }
    for name in ("name", "description"):
        if new.has(name):
            values[name] = new.get(name) or ""
    if new.has("mtu"):
        mtu = values["mtu"] = _mtu(tx, new.mtu, store.segments_of(tx, [network_id])[network_id])
        versions = sa.select(t.subnets.c.ip_version).where(t.subnets.c.network_id == network_id)
        for row in tx.all(versions.distinct()):
            check_mtu(network_id, mtu, row.ip_version)
    if new.has("availability_zone_hints"):
        values["availability_zone_hints"] = list(new.get("availability_zone_hints") or ())
    if any(new.has(f"provider_{name}") for name in ("network_type", "physical_network")):
        _same_provider(network, new)
    if new.has("provider_segmentation_id"):
        _same_provider(network, new)
    if new.has("shared") and new.shared != network["shared"]:
        _share(ctx, tx, network, new.shared)
    if new.has("router_external") and new.router_external != network["router_external"]:
        values["router_external"] = new.router_external
        _set_external(tx, network, new.router_external)
    rows.update(tx, t.networks, network, **values)
    if new.has("is_default"):
        if new.is_default:
            _make_default(tx, network_id)
        else:
            tx.update_by(t.networks.c.id, network_id, is_default=False)
    changes.note(tx, changes.network_items(tx, network_id))
    return reload(ctx, tx, store.NETWORK, network_id)


def _same_provider(network: Mapping[str, Any], new: Struct) -> None:
    for name in ("network_type", "physical_network", "segmentation_id"):
        key = f"provider_{name}"
        if new.has(key) and new.get(key) != network.get(key):
            raise InvalidInput(error_message="Plugin does not support updating provider attributes")


def _share(ctx: Context, tx: Tx, network: Mapping[str, Any], shared: bool) -> None:
    if shared:
        sharing.open_to_all(tx, "network", network["id"], network["project_id"])
        return
    if used_by_others(tx, network["id"], network["project_id"]):
        raise InvalidSharedSetting(network=network["name"])
    sharing.close_to_all(tx, network["id"])


def used_by_others(tx: Tx, network_id: str, project_id: str, target: str = "*") -> bool:
    """Return whether projects other than the owner have ports (of `target`, or of anyone)."""
    rbac = t.rbac_policies.c
    c = t.ports.c
    still = sa.select(rbac.target_tenant).where(
        rbac.object_id == network_id,
        rbac.action == "access_as_shared",
        rbac.target_tenant.not_in(("*", target)),
    )
    statement = sa.select(c.id).where(
        c.network_id == network_id,
        c.project_id.not_in((project_id, "")),
        c.device_owner.not_in(("network:dhcp", "network:floatingip", "network:router_gateway")),
        c.project_id.not_in(still),
    )
    if target != "*":
        everyone = sa.select(rbac.id).where(
            rbac.object_id == network_id,
            rbac.action == "access_as_shared",
            rbac.target_tenant == "*",
        )
        if tx.first(everyone) is not None:
            return False
        statement = statement.where(c.project_id == target)
    return tx.first(statement) is not None


def _set_external(tx: Tx, network: Mapping[str, Any], external: bool) -> None:
    if external:
        sharing.open_to_all(tx, "network", network["id"], network["project_id"], sharing.EXTERNAL)
        return
    c = t.ports.c
    gateways = sa.select(c.id).where(
        c.network_id == network["id"],
        c.device_owner.in_(("network:router_gateway", "network:floatingip")),
    )
    if tx.first(gateways) is not None:
        raise ExternalNetworkInUse(net_id=network["id"])
    rbac = t.rbac_policies.c
    tx.delete(
        t.rbac_policies,
        sa.and_(rbac.object_id == network["id"], rbac.action == "access_as_external"),
    )


_UNUSED_FLOATINGIPS = sa.select(t.floatingips).where(
    t.floatingips.c.floating_network_id == sa.bindparam("network"),
    t.floatingips.c.router_id.is_(None),
)


def delete(ctx: Context, tx: Tx, network: Mapping[str, Any]) -> None:
    """Delete a network, its subnets and the ports that the cloud itself made in it.

    Raises: NetworkInUse.
    """
    rows.check_revision(ctx, network)
    network_id = network["id"]
    items = changes.network_items(tx, network_id)
    for floatingip in tx.all(_UNUSED_FLOATINGIPS, {"network": network_id}):
        floatingips.remove(tx, floatingip)
    found = tx.among(t.ports.c.network_id, [network_id])
    if any(port.device_owner not in _AUTO_DELETED for port in found):
        raise NetworkInUse(id=network_id)
    for port in found:
        port_logic.remove(tx, port)
    for subnet in tx.among(t.subnets.c.network_id, [network_id]):
        rows.forget(tx, subnet.id)
    tx.delete_by(t.subnets.c.network_id, network_id)
    tx.delete_by(t.auto_topologies.c.network_id, network_id)
    tx.delete_by(t.segments.c.network_id, network_id)
    tx.delete_by(t.networks.c.id, network_id)
    rows.forget(tx, network_id)
    changes.note(tx, items)
