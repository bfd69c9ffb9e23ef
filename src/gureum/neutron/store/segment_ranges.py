"""Rows of network segment ranges: segmentation ids that an admin sets aside, for all or one project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_pools import NetworkSegmentRangeNotFound
from gureum.neutron.ml2.base import Range
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import Noun, View, standard_views

_MOST_LISTED = 4096


def views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
    """Return ranges with what is used and free of them; of very large ones not each free id."""
    out = standard_views(tx, rows)
    for view in out:
        taken = used(tx, view["network_type"], view["physical_network"], _span(view))
        view["used"] = {str(number): project for number, project in taken.items()}
        size = view["maximum"] - view["minimum"] + 1
        view["available"] = (
            [n for n in range(view["minimum"], view["maximum"] + 1) if n not in taken]
            if size <= _MOST_LISTED
            else []
        )
        view["default"] = False
        view["physical_network"] = view["physical_network"] or None
        view["project_id"] = view["tenant_id"] = view["project_id"] or None
    return out


def _span(view: View) -> tuple[int, int]:
    return view["minimum"], view["maximum"]


SEGMENT_RANGE = Noun(
    t.segment_ranges,
    "network_segment_range",
    "network_segment_ranges",
    NetworkSegmentRangeNotFound,
    lambda ctx: sa.false(),
    views,
)


def used(tx: Tx, network_type: str, physical_network: str, span: tuple[int, int]) -> dict[int, str]:
    """Return the taken ids of a span and the projects that have them."""
    s = t.segments.c
    statement = (
        sa.select(s.segmentation_id, t.networks.c.project_id)
        .join(t.networks, t.networks.c.id == s.network_id)
        .where(
            s.network_type == network_type,
            s.physical_network == physical_network,
            s.segmentation_id.between(*span),
        )
    )
    return {row.segmentation_id: row.project_id for row in tx.all(statement)}


def choices(tx: Tx, network_type: str, project_id: str, configured: Sequence[Range]) -> list[Range]:
    """Return where a project's free ids come from, in order: its own ranges, then those of all.

    What is set aside for other projects is cut out.
    """
    rows = tx.among(t.segment_ranges.c.network_type, [network_type], t.segment_ranges.c.id)
    if not rows:
        return list(configured)
    own = [_range(row) for row in rows if not row.shared and row.project_id == project_id]
    common = [*configured, *(_range(row) for row in rows if row.shared)]
    for row in rows:
        if not row.shared:
            common = [part for span in common for part in _without(span, _range(row))]
    return own + common


def _range(row: Any) -> Range:
    return Range(row.physical_network, row.minimum, row.maximum)


def _without(span: Range, hole: Range) -> list[Range]:
    if span.physical_network != hole.physical_network:
        return [span]
    parts = [
        Range(span.physical_network, span.first, min(span.last, hole.first - 1)),
        Range(span.physical_network, max(span.first, hole.last + 1), span.last),
    ]
    return [part for part in parts if part.first <= part.last]
