"""Taking a subnet's CIDR from a subnet pool.

Owns: the choice of a free prefix. Two pools never overlap inside an address scope, and inside a pool no
two subnets do; the pool's row is locked while one is chosen.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Struct
from gureum.neutron.errors_pools import (
    MaxPrefixSubnetAllocationError,
    MinPrefixSubnetAllocationError,
    SubnetAllocationError,
    SubnetPoolNotFound,
    SubnetPoolQuotaExceeded,
)
from gureum.neutron.store import subnetpools as pool_store
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import load_row

Net = ipaddress.IPv4Network | ipaddress.IPv6Network


def pool_of(
    ctx: Context, tx: Tx, new: Struct, network: Mapping[str, Any], version: int | None
) -> str | None:
    """Return the id of the pool that a new subnet comes from, or None. Raises: BadRequest."""
    asked = new.get("subnetpool_id")
    if asked == "prefix_delegation":
        raise BadRequest("Prefix delegation is not available.")
    if asked:
        row = load_row(ctx, tx, pool_store.SUBNETPOOL, asked)
        if version is not None and row.ip_version != version:
            raise BadRequest("Bad subnets request: ip_version does not match the subnet pool's.")
        return str(asked)
    wants_default = new.get("use_default_subnetpool", False)
    if not wants_default:
        return None
    if version is None:
        version = 4
    found = tx.scalar(
        sa.select(t.subnetpools.c.id).where(
            t.subnetpools.c.is_default.is_(True), t.subnetpools.c.ip_version == version
        )
    )
    if found is None:
        raise SubnetPoolNotFound(f"No default subnetpool found for IPv{version}")
    return str(found)


def allocate(tx: Tx, pool_id: str, new: Struct, project_id: str) -> Net:
    """Choose the CIDR. Raises: SubnetAllocationError and its relatives."""
    pool = tx.one(sa.select(t.subnetpools).where(t.subnetpools.c.id == pool_id).with_for_update())
    assert pool is not None
    prefixes = [ipaddress.ip_network(prefix) for prefix in pool.prefixes]
    taken = [
        ipaddress.ip_network(row.cidr)
        for row in tx.all(sa.select(t.subnets.c.cidr).where(t.subnets.c.subnetpool_id == pool_id))
    ]
    wanted: Net | None = ipaddress.ip_network(new.get("cidr")) if new.get("cidr") else None
    if wanted is not None and new.get("prefixlen") is not None:
        raise BadRequest("Bad subnets request: cidr and prefixlen must not be supplied together.")
    length = wanted.prefixlen if wanted else new.get("prefixlen") or pool.default_prefixlen
    if length < pool.min_prefixlen:
        raise MinPrefixSubnetAllocationError(prefixlen=length, min_prefixlen=pool.min_prefixlen)
    if length > pool.max_prefixlen:
        raise MaxPrefixSubnetAllocationError(prefixlen=length, max_prefixlen=pool.max_prefixlen)
    _check_quota(tx, pool, project_id, length)
    if wanted is not None:
        inside = any(wanted.version == p.version and wanted.subnet_of(p) for p in prefixes)  # type: ignore[arg-type]
        if not inside or any(wanted.overlaps(other) for other in taken):
            raise SubnetAllocationError(
                reason="Cannot allocate requested subnet from the available set of prefixes"
            )
        return wanted
    found = _free(prefixes, taken, length)
    if found is None:
        raise SubnetAllocationError(
            reason=f"Insufficient prefix space to allocate subnet size /{length}"
        )
    return found


def _check_quota(tx: Tx, pool: Any, project_id: str, length: int) -> None:
    if pool.default_quota is None:
        return
    widest = 32 if pool.ip_version == 4 else 64
    found = tx.all(
        sa.select(t.subnets.c.cidr).where(
            t.subnets.c.subnetpool_id == pool.id, t.subnets.c.project_id == project_id
        )
    )
    used = sum(_units(ipaddress.ip_network(row.cidr).prefixlen, widest) for row in found)
    if used + _units(length, widest) > pool.default_quota:
        raise SubnetPoolQuotaExceeded()


def _units(length: int, widest: int) -> int:
    return 1 << max(0, widest - length)


def _free(prefixes: Sequence[Net], taken: Sequence[Net], length: int) -> Net | None:
    """Return the lowest free block of a size: walks over the taken ones, never over the space."""
    for prefix in sorted(
        prefixes, key=lambda p: (p.prefixlen, int(p.network_address)), reverse=True
    ):
        if prefix.prefixlen > length:
            continue
        size = 1 << (prefix.max_prefixlen - length)
        start, end = int(prefix.network_address), int(prefix.broadcast_address)
        used = sorted(
            (int(n.network_address), int(n.broadcast_address)) for n in taken if n.overlaps(prefix)
        )
        for low, high in used:
            if start + size - 1 < low:
                break
            if high >= start:
                start = (high // size + 1) * size
        if start + size - 1 <= end:
            return type(prefix)((start, length))
    return None
