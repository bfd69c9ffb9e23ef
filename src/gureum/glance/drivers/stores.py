"""The stores of this image service by name, as the operator enabled them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gureum.glance.drivers.base import Store


class UnknownStore(Exception):
    """There is no store of this name."""


class Stores:
    """Every enabled store. Iterates in the order in which they are asked for bytes: by weight, then name."""

    def __init__(self, stores: Iterable[Store], default: str) -> None:
        known = list(stores)
        self._by_name = {store.name: store for store in known}
        if len(self._by_name) != len(known):
            raise ValueError("two stores have the same name")
        if default not in self._by_name:
            raise ValueError(f"the default store {default!r} is not enabled")
        if self._by_name[default].read_only:
            raise ValueError(f"the default store {default!r} takes no images")
        self._order = sorted(known, key=lambda store: (-store.weight, store.name))
        self._listed = known
        self.default = self._by_name[default]

    def __iter__(self) -> Iterator[Store]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def listed(self) -> list[Store]:
        """The stores in the order of the configuration."""
        return list(self._listed)

    def __getitem__(self, name: str) -> Store:
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownStore(name) from None

    def get(self, name: str | None) -> Store | None:
        """The store of a name, or None."""
        return self._by_name.get(name or "")

    def writable(self) -> list[Store]:
        """The stores that take images."""
        return [store for store in self._order if not store.read_only]

    def external(self) -> Store | None:
        """The store that reads URLs, if one is enabled."""
        return next((store for store in self._order if store.external), None)

    def position(self, name: str) -> int:
        """Where a store stands in the order of reading; unknown ones come last."""
        return next((at for at, s in enumerate(self._order) if s.name == name), len(self._order))

    def close(self) -> None:
        """End the use of every store."""
        for store in self._order:
            store.close()
