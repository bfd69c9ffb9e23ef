"""Who could take what: working out allocation candidates.

Works on the providers that this process knows (world.py), with no query of its own but for names. Candidates
are made breadth-first (one from each tree, then the second of each, …) and only up to the limit, so a wide
tree can neither fill memory nor hide other hosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gureum.core.db import Tx
from gureum.placement.errors import BadQuery
from gureum.placement.logic import names
from gureum.placement.logic.requests import Group, Wanted
from gureum.placement.logic.world import KnownWorld, Provider, World

_NONE: frozenset[str] = frozenset()
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to satisfy a request: amounts by provider and class, and who serves which group.

    shown: how answers show it, kept by those who show it.
    """

    amounts: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    mappings: tuple[tuple[str, tuple[str, ...]], ...]
    shown: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def find(tx: Tx, known: KnownWorld, wanted: Wanted, cap: int) -> tuple[list[Candidate], World]:
    """Return candidates up to the request's limit (at most `cap`) and the world they live in."""
    classes = {name for group in wanted.groups for name in group.resources}
    names.need_classes(tx, classes, query=True)
    traits = {name for group in wanted.groups for name in group.traits}
    missing = names.unknown_traits(tx, traits | wanted.root_required | wanted.root_forbidden)
    if missing:
        raise BadQuery(f"No such trait(s): {', '.join(missing)}.")
    world = known.now(tx)
    most = min(wanted.limit or cap, cap)
    if world.alone and len(wanted.groups) == 1 and wanted.groups[0].resources:
        return list(islice(_alone(known, world, wanted), most)), world
    streams = [_of_tree(world, wanted, root) for root in world.trees if _root(world, wanted, root)]
    return list(islice(_breadth_first(streams), most)), world


def _root(world: World, wanted: Wanted, root: str) -> bool:
    """Whether a root's traits are those that are asked of roots."""
    one = world.providers.get(root)
    have = _NONE if one is None else one.traits
    return wanted.root_required <= have and not wanted.root_forbidden & have


def _alone(known: KnownWorld, world: World, wanted: Wanted) -> Iterator[Candidate]:
    """Yield the providers that can serve the only group, when every provider is its own tree.

    What one of them can give depends on nothing else, and is kept with it until it changes: most questions
    are asked again and again, and between two of them few providers change.
    """
    (group,) = wanted.groups
    amounts = tuple(sorted(group.resources.items()))
    of_group = (group.suffix, amounts, group.required, group.forbidden, group.in_tree)
    of_places = (group.member_of, group.not_member_of, wanted.root_required, wanted.root_forbidden)
    question = known.token((of_group, of_places))
    for uuid in world.trees:
        one = world.providers[uuid]
        kept = one.offered.get(question, _UNKNOWN)
        if kept is _UNKNOWN:
            kept = _offer(world, wanted, one, amounts)
            one.keep_offer(question, kept)
        if kept is not None:
            yield kept


def _offer(
    world: World, wanted: Wanted, one: Provider, amounts: tuple[tuple[str, int], ...]
) -> Candidate | None:
    """Return what a provider that is a tree of its own can give to the only group."""
    (group,) = wanted.groups
    serves = (
        group.in_tree in (None, one.uuid)
        and one.fits_all(amounts)
        and _root(world, wanted, one.uuid)
        and _member(one.aggregates, group)
        and _has_traits(one.traits, group)
    )
    return Candidate(((one.uuid, amounts),), ((group.suffix, (one.uuid,)),)) if serves else None


def _breadth_first(streams: list[Iterator[Candidate]]) -> Iterator[Candidate]:
    seen: set[Candidate] = set()
    while streams:
        left = []
        for stream in streams:
            candidate = next(stream, None)
            if candidate is None:
                continue
            left.append(stream)
            if candidate not in seen:
                seen.add(candidate)
                yield candidate
        streams = left


def _fits(world: World, uuid: str, name: str, amount: int) -> bool:
    return world.providers[uuid].fits(name, amount)


def _traits(world: World, uuid: str) -> frozenset[str]:
    return world.providers[uuid].traits


def _belongs(world: World, uuid: str, group: Group) -> bool:
    """Whether a provider's aggregates (or its root's) are those that a group asks for."""
    one = world.providers[uuid]
    root = world.providers.get(one.root_uuid, one)
    return _member(one.aggregates | root.aggregates, group)


def _member(mine: frozenset[str], group: Group) -> bool:
    return all(set(choice) & mine for choice in group.member_of) and not group.not_member_of & mine


def _has_traits(have: frozenset[str], group: Group) -> bool:
    return all(set(choice) & have for choice in group.required) and not group.forbidden & have


Choice = tuple[tuple[str, str, int], ...]
"""(provider, class, amount) for every resource of a group."""


def _of_tree(world: World, wanted: Wanted, root: str) -> Iterator[Candidate]:
    mine = _aggregates(world, root)
    shared = [u for u in world.sharing if u != root and mine & _aggregates(world, u)]
    options: list[tuple[Group, list[Choice]]] = []
    for group in wanted.groups:
        choices = list(_choices(world, group, root, shared))
        if not choices:
            return
        options.append((group, choices))
    for picked in _product(options, 0, ()):
        candidate = _combine(world, wanted, root, picked)
        if candidate is not None:
            yield candidate


def _aggregates(world: World, uuid: str) -> frozenset[str]:
    one: Provider | None = world.providers.get(uuid)
    return _NONE if one is None else one.aggregates


def _product(
    options: list[tuple[Group, list[Choice]]], index: int, picked: tuple[tuple[Group, Choice], ...]
) -> Iterator[tuple[tuple[Group, Choice], ...]]:
    if index == len(options):
        yield picked
        return
    group, choices = options[index]
    for choice in choices:
        yield from _product(options, index + 1, (*picked, (group, choice)))


def _choices(world: World, group: Group, root: str, shared: list[str]) -> Iterator[Choice]:
    """Yield the ways in which one tree (and providers that share with it) can serve one group."""
    if group.in_tree is not None:
        named = world.providers.get(group.in_tree)
        if named is None or named.root_uuid != root:
            return
        shared = []
    tree = [uuid for uuid in world.trees[root] if _belongs(world, uuid, group)]
    others = [uuid for uuid in shared if _belongs(world, uuid, group)]
    if group.suffix:
        for uuid in (*tree, *others):
            if not _has_traits(_traits(world, uuid), group):
                continue
            if all(_fits(world, uuid, name, amount) for name, amount in group.resources.items()):
                if group.resources:
                    yield tuple((uuid, name, amount) for name, amount in group.resources.items())
                else:
                    yield ((uuid, "", 0),)
        return
    yield from _split(world, group, [*tree, *others], list(group.resources.items()), ())


def _split(
    world: World, group: Group, pool: list[str], left: list[tuple[str, int]], got: Choice
) -> Iterator[Choice]:
    """Yield assignments of an unnumbered group: each class from any one provider of the pool."""
    if not left:
        if group.forbidden and any(group.forbidden & _traits(world, uuid) for uuid, _, _ in got):
            return
        together = _NONE.union(*(_traits(world, uuid) for uuid, _, _ in got))
        if all(set(choice) & together for choice in group.required):
            yield got
        return
    name, amount = left[0]
    for uuid in pool:
        if _fits(world, uuid, name, amount):
            yield from _split(world, group, pool, left[1:], (*got, (uuid, name, amount)))


def _combine(
    world: World, wanted: Wanted, root: str, picked: tuple[tuple[Group, Choice], ...]
) -> Candidate | None:
    amounts: dict[str, dict[str, int]] = {}
    mappings: dict[str, tuple[str, ...]] = {}
    for group, choice in picked:
        mappings[group.suffix] = tuple(dict.fromkeys(uuid for uuid, _, _ in choice))
        for uuid, name, amount in choice:
            if name:
                mine = amounts.setdefault(uuid, {})
                mine[name] = mine.get(name, 0) + amount
    if not any(world.providers[uuid].root_uuid == root for uuid in amounts):
        return None  # only shared providers: the tree itself adds nothing
    if wanted.isolate:
        numbered = [
            uuid for g, choice in picked if g.suffix and g.resources for uuid in {choice[0][0]}
        ]
        if len(numbered) != len(set(numbered)):
            return None
    for uuid, mine in amounts.items():
        one = world.providers[uuid]
        for name, amount in mine.items():
            stock = one.stock[name]
            if one.used.get(name, 0) + amount > stock.capacity or amount > stock.max_unit:
                return None
    if not all(_same_subtree(world, mappings, suffixes) for suffixes in wanted.same_subtree):
        return None
    return Candidate(
        tuple((uuid, tuple(sorted(mine.items()))) for uuid, mine in sorted(amounts.items())),
        tuple(sorted(mappings.items())),
    )


def _same_subtree(
    world: World, mappings: Mapping[str, tuple[str, ...]], suffixes: frozenset[str]
) -> bool:
    """Whether one of the groups' providers is an ancestor of (or is) all others."""
    members = {uuid for suffix in suffixes for uuid in mappings[suffix]}

    def above(uuid: str) -> set[str]:
        line = set()
        at: str | None = uuid
        while at is not None:
            line.add(at)
            at = world.providers[at].parent_uuid
        return line

    lines = [above(uuid) for uuid in members]
    return any(all(uuid in line for line in lines) for uuid in members)
