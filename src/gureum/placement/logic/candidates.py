"""Who could take what: working out allocation candidates.

Reads a bounded number of queries, whatever the number of providers, then combines in memory. Candidates are
made breadth-first (one from each tree, then the second of each, …) and only up to the limit, so a wide tree
can neither fill memory nor hide other hosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.placement.errors import BadQuery
from gureum.placement.logic import names
from gureum.placement.logic.requests import Group, Wanted
from gureum.placement.store import providers as store
from gureum.placement.store.tables import (
    inventories,
    provider_aggregates,
    provider_traits,
    providers,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to satisfy a request: amounts by provider and class, and who serves which group."""

    amounts: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    mappings: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class World:
    """Everything about the providers that may take part."""

    rows: Mapping[str, Any]
    inventory: Mapping[str, Mapping[str, Any]]
    used: Mapping[str, Mapping[str, int]]
    traits: Mapping[str, frozenset[str]]
    aggregates: Mapping[str, frozenset[str]]
    trees: Mapping[str, tuple[str, ...]]
    sharing: tuple[str, ...]


def find(tx: Tx, wanted: Wanted, cap: int) -> tuple[list[Candidate], World]:
    """Return candidates up to the request's limit (at most `cap`) and the world they live in."""
    classes = {name for group in wanted.groups for name in group.resources}
    names.need_classes(tx, classes, query=True)
    traits = {name for group in wanted.groups for name in group.traits}
    missing = names.unknown_traits(tx, traits | wanted.root_required | wanted.root_forbidden)
    if missing:
        raise BadQuery(f"No such trait(s): {', '.join(missing)}.")
    world = _world(tx, classes)
    streams = [
        _of_tree(world, wanted, root)
        for root in world.trees
        if wanted.root_required <= world.traits.get(root, frozenset())
        and not wanted.root_forbidden & world.traits.get(root, frozenset())
    ]
    most = min(wanted.limit or cap, cap)
    return list(islice(_breadth_first(streams), most)), world


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


def _world(tx: Tx, classes: set[str]) -> World:
    """Read every tree in which a provider has inventory of a wanted class."""
    roots = (
        sa.select(providers.c.root_uuid)
        .join(inventories, inventories.c.provider_uuid == providers.c.uuid)
        .where(inventories.c.resource_class.in_(classes))
    )
    rows = {
        row.uuid: row
        for row in tx.all(sa.select(providers).where(providers.c.root_uuid.in_(roots)))
    }
    trees: dict[str, list[str]] = {}
    for uuid, row in rows.items():
        trees.setdefault(row.root_uuid, []).append(uuid)
    scope = sa.select(providers.c.uuid).where(providers.c.root_uuid.in_(roots))
    traits = _sets(tx, provider_traits, provider_traits.c.trait, scope)
    return World(
        rows,
        store.inventories_of(tx, rows),
        store.used_of(tx, rows),
        traits,
        _sets(tx, provider_aggregates, provider_aggregates.c.aggregate_uuid, scope),
        {root: tuple(sorted(members)) for root, members in sorted(trees.items())},
        tuple(uuid for uuid, have in traits.items() if names.SHARES in have),
    )


def _sets(
    tx: Tx, table: sa.Table, column: sa.ColumnElement[Any], scope: Any
) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in tx.all(
        sa.select(table.c.provider_uuid, column.label("value")).where(
            table.c.provider_uuid.in_(scope)
        )
    ):
        found.setdefault(row.provider_uuid, set()).add(row.value)
    return {uuid: frozenset(values) for uuid, values in found.items()}


def fits(world: World, uuid: str, name: str, amount: int) -> bool:
    """Whether a provider has room for an amount of a class."""
    row = world.inventory.get(uuid, {}).get(name)
    if row is None or not row.min_unit <= amount <= row.max_unit or amount % row.step_size:
        return False
    capacity = int((row.total - row.reserved) * row.allocation_ratio)
    return world.used.get(uuid, {}).get(name, 0) + amount <= capacity


def _belongs(world: World, uuid: str, group: Group) -> bool:
    """Whether a provider's aggregates (or its root's) are those that a group asks for."""
    mine = world.aggregates.get(uuid, frozenset()) | world.aggregates.get(
        world.rows[uuid].root_uuid, frozenset()
    )
    return all(set(choice) & mine for choice in group.member_of) and not group.not_member_of & mine


def _has_traits(have: frozenset[str], group: Group) -> bool:
    return all(set(choice) & have for choice in group.required) and not group.forbidden & have


Choice = tuple[tuple[str, str, int], ...]
"""(provider, class, amount) for every resource of a group."""


def _of_tree(world: World, wanted: Wanted, root: str) -> Iterator[Candidate]:
    mine = world.aggregates.get(root, frozenset())
    shared = [u for u in world.sharing if u != root and mine & world.aggregates.get(u, frozenset())]
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
    if group.in_tree is not None and world.rows.get(group.in_tree, None) is None:
        return
    if group.in_tree is not None:
        shared = []
        if world.rows[group.in_tree].root_uuid != root:
            return
    tree = [uuid for uuid in world.trees[root] if _belongs(world, uuid, group)]
    others = [uuid for uuid in shared if _belongs(world, uuid, group)]
    if group.suffix:
        for uuid in (*tree, *others):
            if not _has_traits(world.traits.get(uuid, frozenset()), group):
                continue
            if all(fits(world, uuid, name, amount) for name, amount in group.resources.items()):
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
        if group.forbidden and any(
            group.forbidden & world.traits.get(uuid, frozenset()) for uuid, _, _ in got
        ):
            return
        together = frozenset().union(*(world.traits.get(uuid, frozenset()) for uuid, _, _ in got))
        if all(set(choice) & together for choice in group.required):
            yield got
        return
    name, amount = left[0]
    for uuid in pool:
        if fits(world, uuid, name, amount):
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
    if not any(world.rows[uuid].root_uuid == root for uuid in amounts):
        return None  # only shared providers: the tree itself adds nothing
    if wanted.isolate:
        numbered = [
            uuid for g, choice in picked if g.suffix and g.resources for uuid in {choice[0][0]}
        ]
        if len(numbered) != len(set(numbered)):
            return None
    for uuid, mine in amounts.items():
        for name, amount in mine.items():
            row = world.inventory[uuid][name]
            capacity = int((row.total - row.reserved) * row.allocation_ratio)
            room = world.used.get(uuid, {}).get(name, 0) + amount <= capacity
            if not room or amount > row.max_unit:
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
            at = world.rows[at].parent_uuid
        return line

    lines = [above(uuid) for uuid in members]
    return any(all(uuid in line for line in lines) for uuid in members)
