"""The providers as they are, kept in memory and brought up to date by what changed.

Owns: `World` (never changed once made) and `KnownWorld`, which reads, in the caller's transaction, only the
providers whose revision is newer than what it knows; the first time, and after a provider went, all of them.
Must not: choose. A process knows what every other process committed, since each look begins with the
revision in the database.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gureum.core.db import Tx
from gureum.placement.logic import names
from gureum.placement.store import providers as store

QUESTIONS = 128
"""Of how many questions the answers are kept: there are about as many as flavors in use."""


@dataclass(frozen=True, slots=True)
class Stock:
    """One inventory. capacity: with reservation and allocation ratio applied."""

    capacity: int
    min_unit: int
    max_unit: int
    step_size: int


def fits(stock: Any, used: int, amount: int) -> bool:
    """Whether a `Stock` or a row of inventories (None: there is none) has room for an amount."""
    if stock is None or not stock.min_unit <= amount <= stock.max_unit:
        return False
    if amount % stock.step_size:
        return False
    return bool(used + amount <= capacity_of(stock))


def capacity_of(stock: Any) -> int:
    """What may be taken of an inventory in all."""
    if isinstance(stock, Stock):
        return stock.capacity
    return int((stock.total - stock.reserved) * stock.allocation_ratio)


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider with everything that hangs on it; never changed once made.

    most: the largest amount of each class that still fits, whatever its steps. stepped: the classes whose
    amounts have a least value or steps. shown: how answers show it; offered: what it could give to whom who
    asked before. Both are kept by those who make them, and go with the provider.
    """

    uuid: str
    parent_uuid: str | None
    root_uuid: str
    stock: Mapping[str, Stock]
    used: Mapping[str, int]
    traits: frozenset[str]
    aggregates: frozenset[str]
    most: dict[str, int] = field(init=False, compare=False)
    stepped: frozenset[str] = field(init=False, compare=False)
    shown: dict[Any, Any] = field(init=False, compare=False, repr=False)
    offered: dict[Any, Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        used = self.used
        most = {
            name: min(stock.capacity - used.get(name, 0), stock.max_unit)
            for name, stock in self.stock.items()
        }
        stepped = frozenset(
            name for name, one in self.stock.items() if one.min_unit > 1 or one.step_size > 1
        )
        for name, value in (("most", most), ("stepped", stepped), ("shown", {}), ("offered", {})):
            object.__setattr__(self, name, value)

    def keep_offer(self, question: object, offer: Any) -> None:
        """Keep what was found out for a question (a token of KnownWorld)."""
        if len(self.offered) >= QUESTIONS:
            self.offered.clear()
        self.offered[question] = offer

    def fits(self, name: str, amount: int) -> bool:
        """Whether there is room for an amount of a class."""
        if self.most.get(name, -1) < amount:
            return False
        if name not in self.stepped:
            return True
        stock = self.stock[name]
        return stock.min_unit <= amount and amount % stock.step_size == 0

    def fits_all(self, amounts: Iterable[tuple[str, int]]) -> bool:
        """Whether there is room for amounts of several classes."""
        most, stepped = self.most, self.stepped
        for name, amount in amounts:
            if most.get(name, -1) < amount or (name in stepped and not self.fits(name, amount)):
                return False
        return True


@dataclass(frozen=True, slots=True)
class World:
    """Every provider. trees: members by root, both in order. sharing: who serves whole aggregates.

    alone: whether every provider is a tree of its own and none shares.
    """

    providers: Mapping[str, Provider] = field(default_factory=dict)
    trees: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sharing: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether a candidate is always one provider."""
        return not self.sharing and len(self.trees) == len(self.providers)

    def with_changed(self, changed: Mapping[str, Provider]) -> World:
        """Return the world in which these providers are new or otherwise."""
        known = {**self.providers, **changed}
        same = all(
            uuid in self.providers and self.providers[uuid].root_uuid == one.root_uuid
            for uuid, one in changed.items()
        )
        shares = {uuid for uuid in self.sharing if uuid not in changed}
        shares |= {uuid for uuid, one in changed.items() if names.SHARES in one.traits}
        return World(known, self.trees if same else _trees(known), tuple(sorted(shares)))


def _trees(providers: Mapping[str, Provider]) -> dict[str, tuple[str, ...]]:
    members: dict[str, list[str]] = {}
    for uuid, one in providers.items():
        members.setdefault(one.root_uuid, []).append(uuid)
    return {root: tuple(sorted(members[root])) for root in sorted(members)}


class KnownWorld:
    """What one process knows of the providers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._world = World()
        self._revision = 0
        self._tokens: dict[Hashable, object] = {}

    def token(self, question: Hashable) -> object:
        """Return what stands for a question in `Provider.offered`, and is quicker to look up."""
        with self._lock:
            if len(self._tokens) >= QUESTIONS and question not in self._tokens:
                self._tokens.clear()
            return self._tokens.setdefault(question, object())

    def now(self, tx: Tx) -> World:
        """Return the world as this transaction may see it, or newer."""
        newest, floor = store.current_revision(tx)
        with self._lock:
            if newest <= self._revision:
                return self._world
            if self._revision < floor or self._revision == 0:
                self._world = World().with_changed(_read(tx, store.everything(tx)))
            else:
                changed = store.changed_since(tx, self._revision)
                self._world = self._world.with_changed(_read(tx, changed))
            self._revision = newest
            return self._world


def _read(tx: Tx, rows: Iterable[Any]) -> dict[str, Provider]:
    wanted = {row.uuid: row for row in rows}
    stocks, used = store.inventories_of(tx, wanted), store.used_of(tx, wanted)
    traits, aggregates = store.traits_of(tx, wanted), store.aggregates_of(tx, wanted)
    return {
        uuid: Provider(
            uuid,
            row.parent_uuid,
            row.root_uuid,
            {
                name: Stock(capacity_of(one), one.min_unit, one.max_unit, one.step_size)
                for name, one in stocks.get(uuid, {}).items()
            },
            used.get(uuid, {}),
            frozenset(traits.get(uuid, ())),
            frozenset(aggregates.get(uuid, ())),
        )
        for uuid, row in wanted.items()
    }
