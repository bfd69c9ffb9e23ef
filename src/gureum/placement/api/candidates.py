"""Allocation candidates: who could take what is asked for."""

from __future__ import annotations

from typing import Any

import msgspec

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
    show = _Shown(query, frozenset(classes))
    return {
        "allocation_requests": [show.request(item) for item in found],
        "provider_summaries": {
            uuid: show.summary(world.providers[uuid]) for uuid in sorted(members)
        },
    }


class _Shown:
    """Shows candidates and providers. What a provider looks like is kept with it, as JSON: it is the same
    in every answer until the provider changes."""

    def __init__(self, query: CandidateQuery, classes: frozenset[str]) -> None:
        self._query = query
        self._classes = frozenset() if query.shows_all else classes
        self._key = (self._classes, query.shows_all, query.shows_traits, query.shows_tree)
        self._amounts: dict[Any, bytes] = {}

    def request(self, item: candidates.Candidate) -> Any:
        """Return one way to satisfy the request."""
        query = self._query
        if not query.as_map:
            return {
                "allocations": [
                    {"resource_provider": {"uuid": uuid}, "resources": dict(amounts)}
                    for uuid, amounts in item.amounts
                ]
            }
        shown = item.shown.get(query.shows_mappings)
        if shown is None:
            shown = item.shown[query.shows_mappings] = self._request(item)
        return shown

    def _request(self, item: candidates.Candidate) -> msgspec.Raw:
        held = b",".join(
            b'"%b":%b' % (uuid.encode(), self._resources(amounts)) for uuid, amounts in item.amounts
        )
        if not self._query.shows_mappings:
            return msgspec.Raw(b'{"allocations":{%b}}' % held)
        mappings = msgspec.json.encode(dict(item.mappings))
        return msgspec.Raw(b'{"allocations":{%b},"mappings":%b}' % (held, mappings))

    def _resources(self, amounts: tuple[tuple[str, int], ...]) -> bytes:
        shown = self._amounts.get(amounts)
        if shown is None:
            shown = self._amounts[amounts] = msgspec.json.encode({"resources": dict(amounts)})
        return shown

    def summary(self, one: Provider) -> msgspec.Raw:
        """Return what a provider has, and what of it is taken."""
        shown = one.shown.get(self._key)
        if shown is None:
            shown = one.shown[self._key] = msgspec.Raw(msgspec.json.encode(self._summary(one)))
        return shown

    def _summary(self, one: Provider) -> dict[str, Any]:
        query, used = self._query, one.used
        out: dict[str, Any] = {
            "resources": {
                name: {"capacity": stock.capacity, "used": used.get(name, 0)}
                for name, stock in one.stock.items()
                if query.shows_all or name in self._classes
            }
        }
        if query.shows_traits:
            out["traits"] = sorted(one.traits)
        if query.shows_tree:
            out["parent_provider_uuid"] = one.parent_uuid
            out["root_provider_uuid"] = one.root_uuid
        return out
