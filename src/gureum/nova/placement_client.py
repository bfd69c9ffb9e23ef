"""Nova's `Placement` over the placement service's typed client.

Owns: what an answer means for Nova: busy, full, or broken. Must not: know paths or bodies.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from gureum.core.http.client import RemoteError, RemoteUnavailable
from gureum.nova.placement import (
    Allocated,
    Candidate,
    PlacementConflict,
    PlacementError,
    PlacementUnavailable,
    Stock,
    Usage,
)
from gureum.placement.client import CandidateQuery, InventoryRecord, PlacementClient, Refused

T = TypeVar("T")

OWN_TRAITS = ("COMPUTE_", "HW_", "MISC_", "STORAGE_")
"""Prefixes of traits that the compute host reports; others are an operator's and stay."""
_TRIES = 4


class ClientPlacement:
    """`Placement` for the conductor and the scheduler."""

    def __init__(self, client: PlacementClient) -> None:
        self._client = client

    def candidates(
        self,
        resources: Mapping[str, int],
        *,
        required: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[Candidate]:
        """Return providers with room and the traits."""
        query = CandidateQuery(resources, required, forbidden, limit=limit)
        found = _asked(lambda: self._client.candidates(query))
        summaries = found.provider_summaries
        candidates = []
        for request in found.allocation_requests:
            if len(request.allocations) != 1:
                continue  # a server is on one provider
            ((provider_id, amounts),) = request.allocations.items()
            rooms = summaries[provider_id].resources
            candidates.append(Candidate(provider_id, amounts.resources, rooms))
        return candidates

    def usages(self, provider_id: str) -> dict[str, Usage] | None:
        """Return what a provider has and what is taken."""
        room = _asked(lambda: self._client.room(provider_id))
        return None if room is None else {name: Usage(*pair) for name, pair in room.items()}

    def allocation(self, consumer_id: str) -> Allocated:
        """Return what a consumer holds."""
        return Allocated(consumer_id, _asked(lambda: self._client.held(consumer_id)).amounts)

    def allocate(
        self,
        consumer_id: str,
        provider_id: str,
        resources: Mapping[str, int],
        *,
        project_id: str,
        user_id: str,
        new: bool = False,
    ) -> None:
        """Take room for a consumer."""
        amounts = {provider_id: resources}
        _asked(
            lambda: self._client.allocate(
                consumer_id, amounts, project_id=project_id, user_id=user_id, new=new
            )
        )

    def release(self, consumer_id: str) -> None:
        """Give back all that a consumer holds."""
        _asked(lambda: self._client.release(consumer_id))

    def consumers(self, provider_id: str) -> list[str]:
        """Return who holds something of a provider."""
        return list(_asked(lambda: self._client.consumers_of(provider_id)))

    def put_provider(
        self, provider_id: str, name: str, stocks: Mapping[str, Stock], traits: Sequence[str]
    ) -> None:
        """Make a provider have these inventories and traits; traits of operators stay."""
        wanted = {
            key: InventoryRecord(
                total=stock.total,
                reserved=stock.reserved,
                min_unit=stock.min_unit,
                max_unit=stock.max_unit or stock.total,
                step_size=stock.step_size,
                allocation_ratio=stock.allocation_ratio,
            )
            for key, stock in stocks.items()
            if stock.total > 0
        }
        _asked(lambda: self._client.ensure_provider(provider_id, name))
        _again(lambda: self._client.set_inventories(provider_id, wanted))
        _again(lambda: self._set_traits(provider_id, traits))

    def _set_traits(self, provider_id: str, traits: Sequence[str]) -> None:
        kept = [
            name for name in self._client.traits(provider_id) if not name.startswith(OWN_TRAITS)
        ]
        self._client.set_traits(provider_id, sorted({*kept, *traits}))

    def remove_provider(self, provider_id: str) -> None:
        """Remove a provider."""
        _asked(lambda: self._client.delete_provider(provider_id))


def _asked(call: Callable[[], T]) -> T:
    try:
        return call()
    except Refused as error:
        raise PlacementConflict(str(error)) from error
    except RemoteUnavailable as error:
        raise PlacementUnavailable(str(error)) from error
    except RemoteError as error:
        if error.status >= 500 or error.status in (401, 403, 429):
            raise PlacementUnavailable(str(error)) from error
        raise PlacementError(str(error)) from error


def _again(write: Callable[[], None]) -> None:
    """Repeat a write that reads its generation itself, when another one was faster."""
    for _ in range(_TRIES - 1):
        try:
            return _asked(write)
        except PlacementConflict:
            continue
    return _asked(write)
