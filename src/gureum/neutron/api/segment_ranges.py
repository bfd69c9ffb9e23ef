"""Network segment ranges. Follows: Network API v2.0, "Network Segment Ranges"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Enum,
    Integer,
    Json,
    ListOf,
    Page,
    String,
    Struct,
    operation,
)
from gureum.neutron.api.common import (
    ListQuery,
    ShowQuery,
    Standard,
    View,
    loader,
)
from gureum.neutron.errors_pools import (
    NetworkSegmentRangeNotFound,
    NetworkSegmentRangeOverlaps,
    NetworkSegmentRangeReferencedByProject,
)
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import list_page, reload
from gureum.neutron.store.segment_ranges import SEGMENT_RANGE, used

_LARGEST = {"vlan": 4094, "vxlan": 2**24 - 1, "gre": 2**32 - 1}


class SegmentRange(Standard):
    """A range of segmentation ids."""

    default = Boolean("Whether it comes from the configuration.")
    shared = Boolean("Whether every project's networks may use it.")
    network_type = String("Type.")
    physical_network = String("Physical network.")
    minimum = Integer("First id.")
    maximum = Integer("Last id.")
    used = Json("Taken ids and the projects that have them.")
    available = ListOf(Integer(""), "Free ids; empty for very large ranges.")


class SegmentRangeCreate(Struct):
    """A new range."""

    name = String("Name.", default="")
    description = String("Free text.", default="")
    project_id = String("The only project that may use it.", null=True)
    tenant_id = String("The same, under its older name.", null=True)
    shared = Boolean("Every project may use it.", default=True)
    network_type = Enum("Type.", *_LARGEST, required=True)
    physical_network = String("Physical network.", null=True, max=64)
    minimum = Integer("First id.", required=True, min=1, max=2**32)
    maximum = Integer("Last id.", required=True, min=1, max=2**32)


class SegmentRangeUpdate(Struct):
    """Changes of a range."""

    name = String("Name.")
    description = String("Free text.")
    minimum = Integer("First id.", min=1, max=2**32)
    maximum = Integer("Last id.", min=1, max=2**32)


def _check(
    tx: Tx, network_type: str, physical_network: str, span: tuple[int, int], own: str
) -> None:
    low, high = span
    if low > high or high > _LARGEST[network_type]:
        raise BadRequest(
            f"Invalid input for operation: {low}-{high} is not a range of {network_type}."
        )
    if (network_type == "vlan") != bool(physical_network):
        raise BadRequest("Invalid input for operation: physical_network is for VLAN ranges only.")
    c = t.segment_ranges.c
    other = sa.select(c.id).where(
        c.network_type == network_type,
        c.physical_network == physical_network,
        c.minimum <= high,
        c.maximum >= low,
        c.id != own,
    )
    if tx.first(other) is not None:
        raise NetworkSegmentRangeOverlaps(minimum=low, maximum=high)


@operation(
    "POST",
    "/network_segment_ranges",
    policy="create_network_segment_range",
    wrap="network_segment_range",
    request=SegmentRangeCreate,
    response=SegmentRange,
    errors=(NetworkSegmentRangeOverlaps,),
)
def create_network_segment_range(ctx: Context, tx: Tx, new: Any) -> View:
    """Set segmentation ids aside."""
    project = new.get("project_id") or new.get("tenant_id") or ""
    if new.shared and project:
        raise BadRequest("Invalid input for operation: a shared range has no project.")
    if not new.shared and not project:
        raise BadRequest("Invalid input for operation: a range that is not shared needs a project.")
    physical = new.get("physical_network") or ""
    _check(tx, new.network_type, physical, (new.minimum, new.maximum), "")
    range_id = rows.insert(
        tx,
        t.segment_ranges,
        project_id=project,
        name=new.get("name", "") or "",
        description=new.get("description", "") or "",
        shared=new.shared,
        network_type=new.network_type,
        physical_network=physical,
        minimum=new.minimum,
        maximum=new.maximum,
    )
    return reload(ctx, tx, SEGMENT_RANGE, range_id)


@operation(
    "GET",
    "/network_segment_ranges",
    policy="get_network_segment_range",
    query=ListQuery,
    items=SegmentRange,
    response_wrap="network_segment_ranges",
)
def list_network_segment_ranges(ctx: Context, tx: Tx, query: Any) -> Page:
    """List segment ranges."""
    return list_page(ctx, tx, SEGMENT_RANGE, query)


@operation(
    "GET",
    "/network_segment_ranges/{network_segment_range_id}",
    policy="get_network_segment_range",
    load=loader(SEGMENT_RANGE),
    query=ShowQuery,
    response=SegmentRange,
    response_wrap="network_segment_range",
    errors=(NetworkSegmentRangeNotFound,),
)
def show_network_segment_range(ctx: Context, tx: Tx, found: View, query: Any) -> View:
    """Show a segment range."""
    return found


@operation(
    "PUT",
    "/network_segment_ranges/{network_segment_range_id}",
    policy="update_network_segment_range",
    load=loader(SEGMENT_RANGE),
    wrap="network_segment_range",
    request=SegmentRangeUpdate,
    response=SegmentRange,
    errors=(NetworkSegmentRangeNotFound, NetworkSegmentRangeReferencedByProject),
)
def update_network_segment_range(ctx: Context, tx: Tx, found: View, new: Any) -> View:
    """Change a segment range; ids in use stay inside."""
    span = (new.get("minimum", found["minimum"]), new.get("maximum", found["maximum"]))
    physical = found["physical_network"] or ""
    _check(tx, found["network_type"], physical, span, found["id"])
    if any(not span[0] <= number <= span[1] for number in _taken(tx, found)):
        raise NetworkSegmentRangeReferencedByProject(project_id=found["project_id"])
    values = {n: new.get(n) or "" for n in ("name", "description") if new.has(n)}
    rows.update(tx, t.segment_ranges, found, minimum=span[0], maximum=span[1], **values)
    return reload(ctx, tx, SEGMENT_RANGE, found["id"])


def _taken(tx: Tx, found: Mapping[str, Any]) -> dict[int, str]:
    span = (found["minimum"], found["maximum"])
    taken = used(tx, found["network_type"], found["physical_network"] or "", span)
    if found["shared"]:
        return taken
    return {number: owner for number, owner in taken.items() if owner == found["project_id"]}


@operation(
    "DELETE",
    "/network_segment_ranges/{network_segment_range_id}",
    policy="delete_network_segment_range",
    load=loader(SEGMENT_RANGE),
    errors=(NetworkSegmentRangeNotFound, NetworkSegmentRangeReferencedByProject),
)
def delete_network_segment_range(ctx: Context, tx: Tx, found: View) -> None:
    """Delete a segment range that no network uses."""
    if not found["shared"] and _taken(tx, found):
        raise NetworkSegmentRangeReferencedByProject(project_id=found["project_id"])
    tx.delete_by(t.segment_ranges.c.id, found["id"])
    rows.forget(tx, found["id"])
