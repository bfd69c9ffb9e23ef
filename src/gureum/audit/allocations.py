"""Placement against Nova: who holds room, and who should.

Owns: that comparison. Must not: judge consumers that are not servers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gureum.audit.finding import CannotLook, Finding
from gureum.audit.world import Servers, World
from gureum.core.http.client import RemoteError, RemoteUnavailable
from gureum.nova.conductor.guest_spec import schedule_request
from gureum.nova.scheduler.choose import resources_of
from gureum.nova.store import hosts
from gureum.nova.store import servers as store

WHERE = "placement"
NODE_TRAIT = "COMPUTE_NODE"


@dataclass(frozen=True, slots=True)
class _Held:
    """What consumers hold, by consumer and provider; `names` by provider."""

    by_consumer: Mapping[str, Mapping[str, Mapping[str, int]]]
    names: Mapping[str, str]


def compare(world: World, found: Servers) -> Iterator[Finding]:
    """Find room that is held for nobody, and servers that hold none."""
    with world.nova.cell1.read() as tx:
        nodes = {node.id: node for node in hosts.list_nodes(tx)}
    try:
        held = _read(world)
        lost = [
            uuid
            for uuid in held.names
            if uuid not in nodes and NODE_TRAIT in world.placement.traits(uuid)
        ]
    except (RemoteError, RemoteUnavailable) as error:
        raise CannotLook(f"placement: {error}") from error
    yield from _orphans(world, found, held)
    yield from _servers(world, found, held, nodes)
    for uuid in lost:
        yield Finding(
            "resource-provider", uuid, WHERE,
            f"no compute node is behind {held.names[uuid]}", "delete it, unless somebody holds room",
            partial(world.placement.delete_provider, uuid),
        )  # fmt: skip


def _read(world: World) -> _Held:
    by_consumer: dict[str, dict[str, Mapping[str, int]]] = {}
    names = {}
    for provider in world.placement.providers():
        names[provider["uuid"]] = provider["name"]
        for consumer, amounts in world.placement.consumers_of(provider["uuid"]).items():
            by_consumer.setdefault(consumer, {})[provider["uuid"]] = amounts
    return _Held(by_consumer, names)


def _orphans(world: World, found: Servers, held: _Held) -> Iterator[Finding]:
    for consumer, by_provider in sorted(held.by_consumer.items()):
        if found.is_busy(consumer):
            continue
        live = [row for _, row in found.rows.get(consumer, []) if not row.deleted]
        if any(row.host is not None for row in live):
            continue
        if any(world.is_young(row.updated_at or row.created_at) for row in live):
            continue
        if consumer not in found.rows and not _may_be_server(by_provider):
            continue
        why = "its server is on no host" if live else "its server is deleted"
        if consumer not in found.rows:
            why = "no server has this id"
        names = ", ".join(sorted(held.names.get(one, one) for one in by_provider))
        yield Finding(
            "allocation", consumer, WHERE, f"{why}; it holds room of {names}",
            "give the room back", partial(world.placement.release, consumer),
        )  # fmt: skip


def _may_be_server(by_provider: Mapping[str, Mapping[str, int]]) -> bool:
    """Servers hold processors and memory; other services' consumers are theirs."""
    return any({"VCPU", "MEMORY_MB"} & set(amounts) for amounts in by_provider.values())


def _servers(
    world: World, found: Servers, held: _Held, nodes: Mapping[str, Any]
) -> Iterator[Finding]:
    by_host = {node.host: node for node in nodes.values()}
    for server_id, (cell, row) in found.alive().items():
        if row.host is None or found.is_busy(server_id) or row.host not in by_host:
            continue
        if world.is_young(row.updated_at or row.created_at):
            continue
        node = by_host[row.host]
        providers = set(held.by_consumer.get(server_id, ()))
        if providers == {node.id}:
            continue
        if not providers:
            why = f"the server on {row.host} holds no room"
        else:
            names = ", ".join(sorted(held.names.get(one, one) for one in providers))
            why = f"the server is on {row.host} and holds room of {names}"
        yield Finding(
            "allocation", server_id, WHERE, why, f"let it hold what its flavor says of {row.host}",
            partial(_allocate, world, cell, server_id, node.id),
        )  # fmt: skip


def _allocate(world: World, cell: str, server_id: str, provider_id: str) -> None:
    with world.nova.cells[cell].read() as tx:
        row, request = store.get(tx, server_id), store.request_of(tx, server_id)
    if row is None:
        return
    with world.nova.api.read() as tx:
        asked = schedule_request(tx, request, row, exclude_hosts=())
    world.placement.allocate(
        server_id,
        {provider_id: resources_of(asked)},
        project_id=row.project_id,
        user_id=row.user_id,
    )
