"""The typed client of Placement.

All calls are made at one microversion. Every write is idempotent: it carries the generation that was read,
or replaces the whole of what it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from gureum.core.http.client import HttpReply, RemoteError
from gureum.keystone.client import Session, error_text

T = TypeVar("T")

_VERSION = "placement 1.39"
_KNOWN_PARTS = 20_000
"""How many decoded parts of answers are kept: a few questions about some thousand providers."""


class Refused(Exception):
    """Placement refused a write: no room, or a generation that is not the present one."""


class Room(msgspec.Struct, frozen=True):
    """What a provider has of a class (allocation ratio and reservation applied) and what is taken."""

    capacity: int
    used: int

    @property
    def free(self) -> int:
        """What is left."""
        return self.capacity - self.used


class ProviderSummary(msgspec.Struct, frozen=True):
    """A provider as candidates show it: room by resource class."""

    resources: dict[str, Room]


class Amounts(msgspec.Struct, frozen=True):
    """What a candidate takes of one provider, by resource class."""

    resources: dict[str, int]


class CandidateRequest(msgspec.Struct, frozen=True):
    """One way to satisfy a request: amounts by provider."""

    allocations: dict[str, Amounts]


class _RawCandidates(msgspec.Struct, frozen=True):
    """The same, its parts not decoded."""

    allocation_requests: list[msgspec.Raw]
    provider_summaries: dict[str, msgspec.Raw]


class Candidates(msgspec.Struct, frozen=True):
    """The answer to a request for candidates."""

    allocation_requests: list[CandidateRequest]
    provider_summaries: dict[str, ProviderSummary]


class _Decoder(Generic[T]):
    """Decodes parts of an answer; what was decoded before is given again.

    Most providers look as they did in the answer before.
    """

    def __init__(self, shape: type[T]) -> None:
        self._decode = msgspec.json.Decoder(shape).decode
        self._known: dict[bytes, T] = {}

    def __call__(self, raw: msgspec.Raw) -> T:
        text = bytes(raw)
        one = self._known.get(text)
        if one is None:
            if len(self._known) >= _KNOWN_PARTS:
                self._known.clear()
            one = self._known[text] = self._decode(text)
        return one


@dataclass(frozen=True, slots=True)
class Held:
    """What a consumer holds. generation is None for an unknown consumer."""

    amounts: Mapping[str, Mapping[str, int]]
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class InventoryRecord:
    """One inventory."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = 2**31 - 1
    step_size: int = 1
    allocation_ratio: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """Return the body of the API."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CandidateQuery:
    """What a server needs of one host. forbidden and member_of as the API means them."""

    resources: Mapping[str, int]
    required: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    member_of: Sequence[Sequence[str]] = field(default_factory=tuple)
    in_tree: str | None = None
    limit: int | None = 1000


class PlacementClient:
    """Calls Placement in a service's own name. Raises RemoteError for unexpected answers."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._requests = _Decoder(CandidateRequest)
        self._summaries = _Decoder(ProviderSummary)

    def _call(
        self,
        method: str,
        path: str,
        json: Any = None,
        ok: Sequence[int] = (200, 201, 204),
        *,
        version: str = _VERSION,
    ) -> HttpReply:
        headers = {"OpenStack-API-Version": version}
        reply = self._session.request(method, "placement", path, json=json, headers=headers)
        if reply.status == 409 and 409 not in ok:
            raise Refused(error_text(reply))
        if reply.status not in ok:
            raise RemoteError(method, path, reply.status, error_text(reply))
        return reply

    # -- providers ---------------------------------------------------------------------------------

    def ensure_provider(self, uuid: str, name: str, parent: str | None = None) -> int:
        """Make a provider if it is missing; return its generation."""
        reply = self._call("GET", f"/resource_providers/{uuid}", ok=(200, 404))
        if reply.status == 404:
            body = {"uuid": uuid, "name": name, "parent_provider_uuid": parent}
            reply = self._call("POST", "/resource_providers", body, ok=(200, 409))
            if reply.status == 409:
                reply = self._call("GET", f"/resource_providers/{uuid}")
        return int(reply.json()["generation"])

    def providers(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return providers (uuid, name, generation, …), all or those of a name."""
        query = "?" + urlencode({"name": name}) if name else ""
        found: list[dict[str, Any]] = self._call("GET", f"/resource_providers{query}").json()[
            "resource_providers"
        ]
        return found

    def delete_provider(self, uuid: str) -> None:
        """Delete a provider; a missing one is fine. Raises: Refused (it has allocations)."""
        self._call("DELETE", f"/resource_providers/{uuid}", ok=(204, 404))

    def set_inventories(self, uuid: str, wanted: Mapping[str, InventoryRecord]) -> None:
        """Replace a provider's inventories if they differ. Raises: Refused."""
        path = f"/resource_providers/{uuid}/inventories"
        have = self._call("GET", path).json()
        body = {name: record.as_json() for name, record in wanted.items()}
        if have["inventories"] != body:
            generation = have["resource_provider_generation"]
            self._call(
                "PUT", path, {"resource_provider_generation": generation, "inventories": body}
            )

    def set_traits(self, uuid: str, wanted: Sequence[str]) -> None:
        """Replace a provider's traits if they differ; custom ones are made. Raises: Refused."""
        path = f"/resource_providers/{uuid}/traits"
        have = self._call("GET", path).json()
        if sorted(set(wanted)) == have["traits"]:
            return
        for name in wanted:
            if name.startswith("CUSTOM_"):
                self._call("PUT", f"/traits/{name}")
        generation = have["resource_provider_generation"]
        body = {"traits": sorted(set(wanted)), "resource_provider_generation": generation}
        self._call("PUT", path, body)

    def traits(self, uuid: str) -> list[str]:
        """Return a provider's traits; none for a missing one."""
        reply = self._call("GET", f"/resource_providers/{uuid}/traits", ok=(200, 404))
        return [] if reply.status == 404 else list(reply.json()["traits"])

    def room(self, uuid: str) -> dict[str, tuple[int, int]] | None:
        """Return (capacity, used) by class of a provider; None for a missing one."""
        path = f"/resource_providers/{uuid}"
        stock = self._call("GET", f"{path}/inventories", ok=(200, 404))
        used = self._call("GET", f"{path}/usages", ok=(200, 404))
        if 404 in (stock.status, used.status):
            return None
        taken = used.json()["usages"]
        return {
            name: (
                int((row["total"] - row["reserved"]) * row["allocation_ratio"]),
                int(taken.get(name, 0)),
            )
            for name, row in stock.json()["inventories"].items()
        }

    def consumers_of(self, uuid: str) -> dict[str, Mapping[str, int]]:
        """Return what consumers hold of a provider; nothing for a missing one."""
        reply = self._call("GET", f"/resource_providers/{uuid}/allocations", ok=(200, 404))
        if reply.status == 404:
            return {}
        return {id: held["resources"] for id, held in reply.json()["allocations"].items()}

    # -- candidates and allocations ----------------------------------------------------------------

    def candidates(self, query: CandidateQuery) -> Candidates:
        """Return ways to satisfy a request."""
        pairs: list[tuple[str, str]] = [
            (
                "resources",
                ",".join(f"{n}:{amount}" for n, amount in sorted(query.resources.items())),
            )
        ]
        if query.required or query.forbidden:
            names = [*query.required, *(f"!{name}" for name in query.forbidden)]
            pairs.append(("required", ",".join(names)))
        pairs += [("member_of", "in:" + ",".join(choice)) for choice in query.member_of]
        if query.in_tree:
            pairs.append(("in_tree", query.in_tree))
        if query.limit:
            pairs.append(("limit", str(query.limit)))
        path = f"/allocation_candidates?{urlencode(pairs)}"
        reply = self._call("GET", path, version=_least_version(query))
        found = msgspec.json.decode(reply.body, type=_RawCandidates)
        return Candidates(
            [self._requests(raw) for raw in found.allocation_requests],
            {uuid: self._summaries(raw) for uuid, raw in found.provider_summaries.items()},
        )

    def held(self, consumer_uuid: str) -> Held:
        """Return what a consumer holds."""
        body = self._call("GET", f"/allocations/{consumer_uuid}").json()
        amounts = {uuid: mine["resources"] for uuid, mine in body["allocations"].items()}
        return Held(amounts, body.get("consumer_generation"))

    def allocate(
        self,
        consumer_uuid: str,
        amounts: Mapping[str, Mapping[str, int]],
        *,
        project_id: str,
        user_id: str,
        consumer_type: str = "INSTANCE",
        new: bool = False,
    ) -> None:
        """Let a consumer hold exactly this; the same again changes nothing. Raises: Refused.

        new: it most likely holds nothing, so it is not asked first.
        """
        body: dict[str, Any] = {
            "allocations": {uuid: {"resources": dict(mine)} for uuid, mine in amounts.items()},
            "project_id": project_id,
            "user_id": user_id,
            "consumer_generation": None,
            "consumer_type": consumer_type,
        }
        path = f"/allocations/{consumer_uuid}"
        if new and self._call("PUT", path, body, ok=(204, 409)).status == 204:
            return
        held = self.held(consumer_uuid)
        if held.amounts == amounts:
            return
        body["consumer_generation"] = held.generation
        self._call("PUT", path, body)

    def release(self, consumer_uuid: str) -> None:
        """Let a consumer hold nothing; an unknown one is fine."""
        self._call("DELETE", f"/allocations/{consumer_uuid}", ok=(204, 404))


def _least_version(query: CandidateQuery) -> str:
    """Return the oldest microversion that can ask this: newer ones say more of every provider."""
    if query.forbidden or query.member_of or query.in_tree:
        return _VERSION
    return "placement 1.17" if query.required else "placement 1.16"
