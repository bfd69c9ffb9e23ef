"""Allocation candidates: who could take what is asked for."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Behaviour, Struct, operation
from gureum.placement.errors import BadQuery
from gureum.placement.logic import candidates, requests


class CandidateQuery(Struct, extra="keep"):
    """`resources`, `required`, `member_of`, `in_tree` with any suffix, and what binds the groups."""

    as_map = Behaviour("Allocations are maps by provider.", since="1.12")
    shows_traits = Behaviour("Summaries show traits.", since="1.17")
    shows_all = Behaviour("Summaries show every resource class.", since="1.27")
    shows_tree = Behaviour("Summaries show parent and root.", since="1.29")
    shows_mappings = Behaviour("Requests show which provider serves which group.", since="1.34")


@operation(
    "GET",
    "/allocation_candidates",
    policy="placement:allocation_candidates:list",
    since="1.10",
    query=CandidateQuery,
    errors=(BadQuery,),
)
def list_candidates(ctx: Context, tx: Tx, query: CandidateQuery) -> Any:
    """List ways to satisfy a request, with a summary of every provider that takes part."""
    wanted = requests.read_wanted(query.extra_values)
    cap = tx.deps.options.max_allocation_candidates
    found, world = candidates.find(tx, wanted, cap)
    classes = {name for group in wanted.groups for name in group.resources}
    roots = {world.rows[uuid].root_uuid for item in found for uuid, _ in item.amounts}
    members = (
        {uuid for root in roots for uuid in world.trees.get(root, ())}
        if query.shows_tree
        else set()
    )
    members |= {uuid for item in found for uuid, _ in item.amounts}
    return {
        "allocation_requests": [_request(query, item) for item in found],
        "provider_summaries": {
            uuid: _summary(query, world, uuid, classes) for uuid in sorted(members)
        },
    }


def _request(query: CandidateQuery, item: candidates.Candidate) -> dict[str, Any]:
    held = {uuid: {"resources": dict(amounts)} for uuid, amounts in item.amounts}
    if not query.as_map:
        return {
            "allocations": [
                {"resource_provider": {"uuid": uuid}, **mine} for uuid, mine in held.items()
            ]
        }
    out: dict[str, Any] = {"allocations": held}
    if query.shows_mappings:
        out["mappings"] = {suffix: list(uuids) for suffix, uuids in item.mappings}
    return out


def _summary(
    query: CandidateQuery, world: candidates.World, uuid: str, classes: set[str]
) -> dict[str, Any]:
    used = world.used.get(uuid, {})
    out: dict[str, Any] = {
        "resources": {
            name: {
                "capacity": int((row.total - row.reserved) * row.allocation_ratio),
                "used": used.get(name, 0),
            }
            for name, row in world.inventory.get(uuid, {}).items()
            if query.shows_all or name in classes
        }
    }
    if query.shows_traits:
        out["traits"] = sorted(world.traits.get(uuid, ()))
    if query.shows_tree:
        out["parent_provider_uuid"] = world.rows[uuid].parent_uuid
        out["root_provider_uuid"] = world.rows[uuid].root_uuid
    return out
