"""What can be done with subnet pools, address scopes and address groups.

Follows: Network API v2.0, "Subnet pools extension", "Address scopes", "Address groups".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Struct
from gureum.neutron.errors import InvalidInput
from gureum.neutron.errors_pools import (
    AddressScopeInUse,
    AddressScopePrefixConflict,
    AddressScopeUpdateError,
    IllegalSubnetPoolAssociationToAddressScope,
    IllegalSubnetPoolIpVersionAssociationToAddressScope,
    IllegalSubnetPoolPrefixBounds,
    IllegalSubnetPoolPrefixUpdate,
    SubnetPoolInUse,
)
from gureum.neutron.logic import quota, sharing
from gureum.neutron.store import rows
from gureum.neutron.store import subnetpools as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import View, load, reload

Net = ipaddress.IPv4Network | ipaddress.IPv6Network
_WIDEST = {4: 32, 6: 128}
_NARROWEST = {4: 8, 6: 64}


def create(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Create a pool. Raises: the errors of this module's imports."""
    quota.check(ctx, tx, project_id, "subnetpool")
    prefixes = _compact(new.get("prefixes"))
    version = prefixes[0].version
    lengths = _lengths(new, version, {})
    scope_id = new.get("address_scope_id")
    if scope_id:
        _check_scope(ctx, tx, scope_id, version, prefixes, None, new.get("shared", False))
    pool_id = rows.insert(
        tx,
        t.subnetpools,
        project_id=project_id,
        name=new.get("name") or "",
        description=new.get("description", "") or "",
        ip_version=version,
        **lengths,
        default_quota=new.get("default_quota"),
        prefixes=[str(prefix) for prefix in prefixes],
        address_scope_id=scope_id,
        is_default=False,
    )
    if new.get("shared", False):
        sharing.open_to_all(tx, "subnetpool", pool_id, project_id)
    if new.get("is_default", False):
        _make_default(tx, pool_id, version)
    return reload(ctx, tx, store.SUBNETPOOL, pool_id)


def _compact(asked: Sequence[str]) -> list[Net]:
    prefixes = [ipaddress.ip_network(prefix) for prefix in asked]
    if len({prefix.version for prefix in prefixes}) > 1:
        raise IllegalSubnetPoolPrefixUpdate(
            msg="prefixes of different IP versions cannot be in one pool"
        )
    return list(ipaddress.collapse_addresses(prefixes))  # type: ignore[type-var]


def _lengths(new: Struct, version: int, now: Mapping[str, Any]) -> dict[str, int]:
    widest = _WIDEST[version]
    low = int(new.get("min_prefixlen", now.get("min_prefixlen", _NARROWEST[version])))
    high = int(new.get("max_prefixlen", now.get("max_prefixlen", widest)))
    default = int(new.get("default_prefixlen", now.get("default_prefixlen", low)))
    for name, value in (("min", low), ("max", high), ("default", default)):
        if not 0 <= value <= widest:
            raise InvalidInput(error_message=f"{name}_prefixlen must be between 0 and {widest}")
    for first, one, second, two in (
        ("min_prefixlen", low, "max_prefixlen", high),
        ("min_prefixlen", low, "default_prefixlen", default),
        ("default_prefixlen", default, "max_prefixlen", high),
    ):
        if one > two:
            raise IllegalSubnetPoolPrefixBounds(
                prefix_type=first, prefixlen=one, base_prefix_type=second, base_prefixlen=two
            )
    return {"min_prefixlen": low, "max_prefixlen": high, "default_prefixlen": default}


def _make_default(tx: Tx, pool_id: str, version: int) -> None:
    c = t.subnetpools.c
    other = sa.select(c.id).where(c.is_default.is_(True), c.ip_version == version, c.id != pool_id)
    if tx.first(other) is not None:
        raise InvalidInput(
            error_message=f"A default subnetpool for family IPv{version} has already been set."
            " Only one default may exist per IP family"
        )
    tx.update(t.subnetpools, c.id == pool_id, is_default=True)


def _check_scope(
    ctx: Context,
    tx: Tx,
    scope_id: str,
    version: int,
    prefixes: Sequence[Net],
    pool_id: str | None,
    shared: bool,
) -> None:
    scope = load(ctx, tx, store.ADDRESS_SCOPE, scope_id)
    if scope["project_id"] != ctx.project_id and not _may_use(ctx, tx, scope_id):
        raise IllegalSubnetPoolAssociationToAddressScope(
            subnetpool_id=pool_id, address_scope_id=scope_id
        )
    if scope["ip_version"] != version:
        raise IllegalSubnetPoolIpVersionAssociationToAddressScope(
            subnetpool_id=pool_id, address_scope_id=scope_id, ip_version=scope["ip_version"]
        )
    c = t.subnetpools.c
    statement = sa.select(c.id, c.prefixes).where(c.address_scope_id == scope_id)
    for other in tx.all(statement):
        if other.id == pool_id:
            continue
        theirs = [ipaddress.ip_network(prefix) for prefix in other.prefixes]
        if any(a.overlaps(b) for a in prefixes for b in theirs):  # type: ignore[arg-type]
            raise AddressScopePrefixConflict()


def _may_use(ctx: Context, tx: Tx, scope_id: str) -> bool:
    """A scope open to everyone is for reading; taking part needs a policy for the project itself."""
    c = t.rbac_policies.c
    named = sa.select(c.id).where(
        c.object_id == scope_id, c.target_tenant == (ctx.project_id or "")
    )
    return ctx.is_admin or tx.first(named) is not None


def update(ctx: Context, tx: Tx, pool: Mapping[str, Any], new: Struct) -> View:
    """Change a pool. Raises: the errors of this module's imports."""
    rows.check_revision(ctx, pool)
    values: dict[str, Any] = {n: new.get(n) or "" for n in ("name", "description") if new.has(n)}
    prefixes = [ipaddress.ip_network(prefix) for prefix in pool["prefixes"]]
    if new.has("prefixes"):
        wanted = _compact(new.get("prefixes"))
        if wanted[0].version != pool["ip_version"]:
            raise IllegalSubnetPoolPrefixUpdate(msg="the IP version of a pool stays")
        if not all(any(_inside(old, one) for one in wanted) for old in prefixes):
            raise IllegalSubnetPoolPrefixUpdate(
                msg=f"existing prefixes must be a subset of the new prefixes {pool['prefixes']}"
            )
        prefixes = wanted
        values["prefixes"] = [str(prefix) for prefix in prefixes]
    if any(new.has(f"{name}_prefixlen") for name in ("min", "max", "default")):
        values.update(_lengths(new, pool["ip_version"], pool))
    if new.has("default_quota"):
        values["default_quota"] = new.get("default_quota")
    scope_id = (
        new.get("address_scope_id") if new.has("address_scope_id") else pool["address_scope_id"]
    )
    if scope_id and (new.has("address_scope_id") or new.has("prefixes")):
        _check_scope(ctx, tx, scope_id, pool["ip_version"], prefixes, pool["id"], pool["shared"])
    if new.has("address_scope_id"):
        values["address_scope_id"] = scope_id
    rows.update(tx, t.subnetpools, pool, **values)
    if new.has("is_default"):
        if new.is_default:
            _make_default(tx, pool["id"], pool["ip_version"])
        else:
            tx.update_by(t.subnetpools.c.id, pool["id"], is_default=False)
    return reload(ctx, tx, store.SUBNETPOOL, pool["id"])


def _inside(inner: Net, outer: Net) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def delete(ctx: Context, tx: Tx, pool: Mapping[str, Any]) -> None:
    """Delete a pool without subnets. Raises: SubnetPoolInUse."""
    rows.check_revision(ctx, pool)
    c = t.subnets.c
    if tx.first(sa.select(c.id).where(c.subnetpool_id == pool["id"])) is not None:
        raise SubnetPoolInUse(id=pool["id"])
    tx.delete_by(t.subnetpools.c.id, pool["id"])
    rows.forget(tx, pool["id"])


def add_prefixes(ctx: Context, tx: Tx, pool: Mapping[str, Any], more: Sequence[str]) -> View:
    """Add prefixes. Raises: IllegalSubnetPoolPrefixUpdate, AddressScopePrefixConflict."""
    prefixes = _compact([*pool["prefixes"], *more])
    if pool["address_scope_id"]:
        _check_scope(
            ctx, tx, pool["address_scope_id"], pool["ip_version"], prefixes, pool["id"], False
        )
    rows.update(tx, t.subnetpools, pool, prefixes=[str(prefix) for prefix in prefixes])
    return reload(ctx, tx, store.SUBNETPOOL, pool["id"])


def remove_prefixes(ctx: Context, tx: Tx, pool: Mapping[str, Any], fewer: Sequence[str]) -> View:
    """Remove prefixes that no subnet uses. Raises: IllegalSubnetPoolPrefixUpdate."""
    left = [ipaddress.ip_network(prefix) for prefix in pool["prefixes"]]
    for text in fewer:
        gone = ipaddress.ip_network(text)
        after: list[Net] = []
        for prefix in left:
            if gone == prefix or _inside(prefix, gone):
                continue
            if _inside(gone, prefix):
                after.extend(prefix.address_exclude(gone))  # type: ignore[arg-type]
            else:
                after.append(prefix)
        left = after
    c = t.subnets.c
    for row in tx.all(sa.select(c.cidr).where(c.subnetpool_id == pool["id"])):
        if not any(_inside(ipaddress.ip_network(row.cidr), prefix) for prefix in left):
            raise IllegalSubnetPoolPrefixUpdate(
                msg="one or more of the prefixes to be removed is in use by a subnet"
            )
    prefixes = ipaddress.collapse_addresses(left)  # type: ignore[type-var]
    rows.update(tx, t.subnetpools, pool, prefixes=[str(prefix) for prefix in prefixes])
    return reload(ctx, tx, store.SUBNETPOOL, pool["id"])


# --- address scopes -----------------------------------------------------------------------------


def create_scope(ctx: Context, tx: Tx, new: Struct, project_id: str) -> View:
    """Create an address scope."""
    scope_id = rows.insert(
        tx,
        t.address_scopes,
        project_id=project_id,
        name=new.get("name", "") or "",
        description="",
        ip_version=new.ip_version,
    )
    if new.get("shared", False):
        sharing.open_to_all(tx, "address_scope", scope_id, project_id)
    return reload(ctx, tx, store.ADDRESS_SCOPE, scope_id)


def update_scope(ctx: Context, tx: Tx, scope: Mapping[str, Any], new: Struct) -> View:
    """Change an address scope. Raises: AddressScopeUpdateError."""
    rows.check_revision(ctx, scope)
    values = {"name": new.get("name") or ""} if new.has("name") else {}
    if new.has("shared") and new.shared != scope["shared"]:
        if not new.shared:
            raise AddressScopeUpdateError(
                id=scope["id"], reason="Shared address scope can't be unshared"
            )
        sharing.open_to_all(tx, "address_scope", scope["id"], scope["project_id"])
    rows.update(tx, t.address_scopes, scope, **values)
    return reload(ctx, tx, store.ADDRESS_SCOPE, scope["id"])


def delete_scope(ctx: Context, tx: Tx, scope: Mapping[str, Any]) -> None:
    """Delete an address scope without pools. Raises: AddressScopeInUse."""
    rows.check_revision(ctx, scope)
    c = t.subnetpools.c
    if tx.first(sa.select(c.id).where(c.address_scope_id == scope["id"])) is not None:
        raise AddressScopeInUse(id=scope["id"])
    tx.delete_by(t.address_scopes.c.id, scope["id"])
    rows.forget(tx, scope["id"])
