"""Allocation candidates: who could take what is asked for."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Behaviour, Struct, operation
from gureum.placement.errors import BadQuery
from gureum.placement.logic import candidates, requests
from gureum.placement.logic.world import Provider


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
    found, world = candidates.find(tx, tx.deps.known, wanted, cap)
    classes = {name for group in wanted.groups for name in group.resources}
    members = {uuid for item in found for uuid, _ in item.amounts}
    if query.shows_tree and not world.alone:
        roots = {world.providers[uuid].root_uuid for uuid in members}
        members |= {uuid for root in roots for uuid in world.trees.get(root, ())}
    show = _Requests(query)
    return {
        "allocation_requests": [show(item) for item in found],
        "provider_summaries": {
            uuid: _summary(query, world.providers[uuid], classes) for uuid in sorted(members)
        },
    }


class _Requests:
    """Shows candidates; equal amounts are one object."""

    def __init__(self, query: CandidateQuery) -> None:
        self._as_map = query.as_map
        self._shows_mappings = query.shows_mappings
        self._shown: dict[Any, dict[str, Any]] = {}

    def _held(self, amounts: tuple[tuple[str, int], ...]) -> dict[str, Any]:
        shown = self._shown.get(amounts)
        if shown is None:
            shown = self._shown[amounts] = {"resources": dict(amounts)}
        return shown

    def __call__(self, item: candidates.Candidate) -> dict[str, Any]:
        held = {uuid: self._held(amounts) for uuid, amounts in item.amounts}
        if not self._as_map:
            return {
                "allocations": [
                    {"resource_provider": {"uuid": uuid}, **mine} for uuid, mine in held.items()
                ]
            }
        out: dict[str, Any] = {"allocations": held}
        if self._shows_mappings:
            out["mappings"] = {suffix: list(uuids) for suffix, uuids in item.mappings}
        return out


def _summary(query: CandidateQuery, one: Provider, classes: set[str]) -> dict[str, Any]:
    used = one.used
    out: dict[str, Any] = {
        "resources": {
            name: {"capacity": stock.capacity, "used": used.get(name, 0)}
            for name, stock in one.stock.items()
            if query.shows_all or name in classes
        }
    }
    if query.shows_traits:
        out["traits"] = sorted(one.traits)
    if query.shows_tree:
        out["parent_provider_uuid"] = one.parent_uuid
        out["root_provider_uuid"] = one.root_uuid
    return out
