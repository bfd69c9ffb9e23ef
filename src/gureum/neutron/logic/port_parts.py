"""The parts of a port that are lists: wished addresses, allowed address pairs, DHCP options.

Owns: their checks beyond what one field can say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.spec import Struct
from gureum.neutron.errors import (
    AddressPairAndPortSecurityRequired,
    AllowedAddressPairExhausted,
    DuplicateAddressPairInRequest,
    InvalidInput,
    SubnetNotFound,
)
from gureum.neutron.logic.ipam import Wish
from gureum.neutron.store import tables as t


def wishes(tx: Tx, asked: Sequence[Struct]) -> list[Wish]:
    """Return fixed_ips as wishes. Raises: InvalidInput, SubnetNotFound."""
    found: list[Wish] = []
    for item in asked:
        wish = Wish(item.get("subnet_id"), item.get("ip_address"))
        if wish.ip_address and any(w.ip_address == wish.ip_address for w in found):
            raise InvalidInput(
                error_message=f"Duplicate IP address '{wish.ip_address}' in fixed_ips"
            )
        found.append(wish)
    if len(found) > tx.deps.options.max_fixed_ips_per_port:
        raise InvalidInput(error_message="Exceeded maximum amount of fixed ips per port")
    ids = {wish.subnet_id for wish in found if wish.subnet_id}
    if ids:
        known = {r.id for r in tx.all(sa.select(t.subnets.c.id).where(t.subnets.c.id.in_(ids)))}
        for missing in sorted(ids - known):
            raise SubnetNotFound(id=missing)
    return found


def address_pairs(
    tx: Tx, asked: Sequence[Struct], secured: bool, *, existing: bool = False
) -> list[dict[str, Any]]:
    """Return checked pairs; `existing` ones stand for pairs that the port has already.

    Raises: AddressPairAndPortSecurityRequired, AllowedAddressPairExhausted,
    DuplicateAddressPairInRequest.
    """
    if (asked or existing) and not secured:
        raise AddressPairAndPortSecurityRequired()
    most = tx.deps.options.max_allowed_address_pair
    if len(asked) > most:
        raise AllowedAddressPairExhausted(quota=most)
    pairs: list[dict[str, Any]] = []
    for item in asked:
        pair = {"ip_address": item.get("ip_address"), "mac_address": item.get("mac_address")}
        if pair in pairs:
            raise DuplicateAddressPairInRequest(**pair)
        pairs.append(pair)
    return pairs


def with_mac(pairs: Sequence[Mapping[str, Any]], mac: str) -> list[dict[str, Any]]:
    """Return pairs whose missing MAC is the port's."""
    return [{**pair, "mac_address": pair["mac_address"] or mac} for pair in pairs]


def dhcp_options(asked: Sequence[Struct]) -> list[dict[str, Any]]:
    """Return the options that have a value."""
    return [option for option in map(_option, asked) if option["opt_value"] is not None]


def merged_options(
    now: Sequence[Mapping[str, Any]], asked: Sequence[Struct]
) -> list[dict[str, Any]]:
    """Return a port's options after a change: null removes one, others are set or added."""
    merged = {(o["opt_name"], o["ip_version"]): dict(o) for o in now}
    for option in map(_option, asked):
        key = (option["opt_name"], option["ip_version"])
        if option["opt_value"] is None:
            merged.pop(key, None)
        else:
            merged[key] = option
    return list(merged.values())


def _option(item: Struct) -> dict[str, Any]:
    return {
        "opt_name": item.get("opt_name"),
        "opt_value": item.get("opt_value"),
        "ip_version": item.get("ip_version", 4),
    }
