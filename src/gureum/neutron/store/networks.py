"""Rows of networks and their segments.

Owns: the view of a network with a constant number of queries, and the allocation of segments: next
free by query, guarded by the unique constraint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Conflict, Stale, Tx
from gureum.neutron.errors import NetworkNotFound
from gureum.neutron.ml2.base import Range, Segment
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import (
    Noun,
    View,
    Where,
    asked,
    flag,
    grouped,
    matches,
    own_or_granted,
    shared_ids,
    standard_views,
)
from gureum.neutron.store.rows import new_id

_SEGMENTS = (
    "segments",
    "provider:network_type",
    "provider:physical_network",
    "provider:segmentation_id",
)


def _subnets_of(tx: Tx, ids: Sequence[str]) -> dict[str, list[sa.Row[Any]]]:
    return grouped(tx.all(_SUBNETS, {"ids": ids}), "network_id") if ids else {}


_SUBNETS = (
    sa.select(t.subnets.c.id, t.subnets.c.network_id)
    .where(t.subnets.c.network_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(t.subnets.c.created_at, t.subnets.c.id)
)


def views(
    ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]], only: frozenset[str] = frozenset()
) -> list[View]:
    """Return networks with subnets, segments, sharing and tags: five queries for any number."""
    ids = [row.id for row in rows]
    shared = shared_ids(ctx, tx, "network", ids) if asked(only, "shared") else set()
    subnets = _subnets_of(tx, ids) if asked(only, "subnets") else {}
    found = segments_of(tx, ids) if asked(only, *_SEGMENTS) else {}
    zones = _zones(tx, ids) if asked(only, "availability_zones") else {}
    out = standard_views(tx, rows, tags=asked(only, "tags"))
    for view in out:
        view["shared"] = view["id"] in shared
        view["subnets"] = [row.id for row in subnets.get(view["id"], ())]
        view["availability_zones"] = zones.get(view["id"], [])
        view["availability_zone_hints"] = view["availability_zone_hints"] or []
        view["ipv4_address_scope"] = view["ipv6_address_scope"] = None
        if not view["router_external"]:
            del view["is_default"]
        _show_segments(view, found.get(view["id"], []))
    return out


def _show_segments(view: View, found: Sequence[Segment]) -> None:
    shown = [
        {
            "provider:network_type": segment.network_type,
            "provider:physical_network": segment.physical_network or None,
            "provider:segmentation_id": segment.segmentation_id
            if segment.network_type != "flat"
            else None,
        }
        for segment in found
    ]
    if len(shown) > 1:
        view["segments"] = shown
        return
    only = (
        shown[0]
        if shown
        else dict.fromkeys(
            ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
        )
    )
    view["provider_network_type"] = only["provider:network_type"]
    view["provider_physical_network"] = only["provider:physical_network"]
    view["provider_segmentation_id"] = only["provider:segmentation_id"]


def _zones(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in tx.all(_ZONES, {"ids": ids}) if ids else ():
        found.setdefault(row.network_id, []).append(row.availability_zone)
    return found


_ZONES = (
    sa.select(t.network_dhcp_agents.c.network_id, t.agents.c.availability_zone)
    .join(t.agents, t.agents.c.id == t.network_dhcp_agents.c.agent_id)
    .where(t.network_dhcp_agents.c.network_id.in_(sa.bindparam("ids", expanding=True)))
    .distinct()
    .order_by(t.agents.c.availability_zone)
)


def segments_of(tx: Tx, ids: Sequence[str]) -> dict[str, list[Segment]]:
    """Return the segments by network, in one query."""
    c = t.segments.c
    return {
        key: [Segment(r.network_type, r.physical_network, r.segmentation_id) for r in rows]
        for key, rows in grouped(tx.among(c.network_id, ids, c.segment_index), "network_id").items()
    }


# --- filters ------------------------------------------------------------------------------------


def shared_filter(table: sa.Table, object_type: str) -> Any:
    """Return the filter `shared=`: the caller's view of being shared."""

    def condition(ctx: Context, values: list[str]) -> Where:
        rbac = t.rbac_policies
        inside = table.c.id.in_(
            sa.select(rbac.c.object_id).where(
                rbac.c.object_type == object_type,
                rbac.c.action == "access_as_shared",
                rbac.c.target_tenant.in_(("*", ctx.project_id or "*")),
            )
        )
        return sa.or_(sa.false(), *(inside if flag(v) else sa.not_(inside) for v in values))

    return condition


def _by_segment(column: sa.Column[Any]) -> Any:
    def condition(ctx: Context, values: list[str]) -> Where:
        return t.networks.c.id.in_(
            sa.select(t.segments.c.network_id).where(matches(column, values))
        )

    return condition


def _by_subnet(ctx: Context, values: list[str]) -> Where:
    return t.networks.c.id.in_(sa.select(t.subnets.c.network_id).where(t.subnets.c.id.in_(values)))


NETWORK = Noun(
    t.networks,
    "network",
    "networks",
    NetworkNotFound,
    own_or_granted(t.networks, "network", "access_as_shared", "access_as_external"),
    views,
    special={
        "shared": shared_filter(t.networks, "network"),
        "subnets": _by_subnet,
        "provider:network_type": _by_segment(t.segments.c.network_type),
        "provider:physical_network": _by_segment(t.segments.c.physical_network),
        "provider:segmentation_id": _by_segment(t.segments.c.segmentation_id),
    },
    wire={"router:external": "router_external"},
    partial=True,
)


# --- segments -----------------------------------------------------------------------------------


def add_segment(tx: Tx, network_id: str, segment: Segment, index: int) -> None:
    """Take a segment that was asked for. Raises: Conflict when another network has it."""
    tx.insert(
        t.segments,
        id=new_id(),
        network_id=network_id,
        network_type=segment.network_type,
        physical_network=segment.physical_network,
        segmentation_id=segment.segmentation_id,
        segment_index=index,
    )


def segment_taken(tx: Tx, segment: Segment) -> bool:
    """Return whether a network has this segment."""
    if segment.segmentation_id is None:
        return False
    c = t.segments.c
    statement = sa.select(c.id).where(
        c.network_type == segment.network_type,
        c.physical_network == segment.physical_network,
        c.segmentation_id == segment.segmentation_id,
    )
    return tx.first(statement) is not None


def allocate_segment(
    tx: Tx, network_id: str, network_type: str, ranges: Sequence[Range], index: int
) -> Segment | None:
    """Take the next free segment of these ranges, or None when they are used up. Raises: Stale."""
    for span in ranges:
        number = _next_free(tx, network_type, span)
        if number is None:
            continue
        segment = Segment(network_type, span.physical_network, number)
        try:
            add_segment(tx, network_id, segment, index)
        except Conflict as error:
            raise Stale("another request took the segment") from error
        return segment
    return None


def _next_free(tx: Tx, network_type: str, span: Range) -> int | None:
    inside = {
        "kind": network_type,
        "physical": span.physical_network,
        "first": span.first,
        "last": span.last,
    }
    highest = tx.scalar(_HIGHEST, inside)
    if highest is None:
        return span.first
    if highest < span.last:
        return int(highest) + 1
    if tx.scalar(_LOWEST, inside) > span.first:
        return span.first
    found = tx.scalar(_GAP, inside)
    return None if found is None else int(found)


_OTHER = t.segments.alias("other")
_INSIDE = sa.and_(
    t.segments.c.network_type == sa.bindparam("kind"),
    t.segments.c.physical_network == sa.bindparam("physical"),
    t.segments.c.segmentation_id.between(sa.bindparam("first"), sa.bindparam("last")),
)
_HIGHEST = sa.select(sa.func.max(t.segments.c.segmentation_id)).where(_INSIDE)
_LOWEST = sa.select(sa.func.min(t.segments.c.segmentation_id)).where(_INSIDE)
_GAP = (
    sa.select(t.segments.c.segmentation_id + 1)
    .select_from(
        t.segments.outerjoin(
            _OTHER,
            sa.and_(
                _OTHER.c.network_type == t.segments.c.network_type,
                _OTHER.c.physical_network == t.segments.c.physical_network,
                _OTHER.c.segmentation_id == t.segments.c.segmentation_id + 1,
            ),
        )
    )
    .where(_INSIDE, t.segments.c.segmentation_id < sa.bindparam("last"), _OTHER.c.id.is_(None))
    .order_by(t.segments.c.segmentation_id)
    .limit(1)
)
