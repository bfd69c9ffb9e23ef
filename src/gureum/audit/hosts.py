"""Compute hosts against Nova's rows: guests, disks, cards, leftovers.

Owns: asking each host to look, and comparing. Must not: open a file of a host; its agent does that.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from gureum.audit.finding import CannotLook, Finding
from gureum.audit.world import Servers, World, ask_all
from gureum.core.bus.contract import AgentError, BusError
from gureum.nova.agent.contract import INSPECT_S, FoundGuest, FoundPart, HostInspection
from gureum.nova.model import ACTIVE, PAUSED, POWER_NUMBERS, STOPPED, SUSPENDED
from gureum.nova.store import hosts

HAS_GUEST = (ACTIVE, STOPPED, PAUSED, SUSPENDED)
DESTROY_S = 120.0


def inspect(world: World) -> tuple[list[HostInspection], list[str]]:
    """Ask every compute host; returns the answers, and which hosts did not give one."""
    with world.nova.cell1.read() as tx:
        services = hosts.list_services(tx, binary=hosts.COMPUTE)
    asked: dict[str, Callable[[], HostInspection]] = {}
    silent: list[str] = []
    oldest = world.clock() - timedelta(seconds=world.nova.nova.service_down_time)
    for service in services:
        if service.forced_down or service.last_seen_at is None or service.last_seen_at < oldest:
            silent.append(f"nova-compute on {service.host} is down")
            continue
        agent = world.nova.compute(service.host, INSPECT_S)
        asked[f"nova-compute on {service.host}"] = agent.inspect
    answers, mute = ask_all(asked)
    return answers, silent + mute


def compare(world: World, found: Servers, seen: list[HostInspection]) -> Iterator[Finding]:
    """Find guests without a server, servers without a guest, and what is wrong with guests."""
    alive = found.alive()
    for host in seen:
        guests = {guest.guest_id: guest for guest in host.guests}
        for guest in host.guests:
            yield from _guest(world, found, alive, host.host, guest)
        for part in host.parts:
            yield from _part(world, found, alive, host.host, part)
        for server_id, (_cell, row) in alive.items():
            if row.host != host.host or server_id in guests or row.vm_state not in HAS_GUEST:
                continue
            if found.is_busy(server_id) or world.is_young(row.updated_at or row.created_at):
                continue
            yield Finding(
                "server", server_id, host.host, f"it is {row.vm_state}, and its guest is gone",
                "put it in ERROR with the reason", partial(_mend_host, world, host.host),
            )  # fmt: skip


def _guest(
    world: World,
    found: Servers,
    alive: Mapping[str, tuple[str, Any]],
    host: str,
    guest: FoundGuest,
) -> Iterator[Finding]:
    if guest.busy or found.is_busy(guest.guest_id):
        return
    known = alive.get(guest.guest_id)
    if known is None or known[1].host != host:
        why = _why_unwanted(found, known, guest.guest_id)
        yield Finding(
            "guest", guest.guest_id, host, f"{why}; the domain is {guest.name}",
            "destroy it with its disks and taps", partial(_destroy, world, host, guest.guest_id),
        )  # fmt: skip
        return
    row = known[1]
    if world.is_young(row.updated_at or row.created_at):
        return
    mend = partial(_mend_host, world, host)
    if row.vm_state in HAS_GUEST and POWER_NUMBERS[guest.power_state] != row.power_state:
        yield Finding(
            "power-state", guest.guest_id, host,
            f"the guest is {guest.power_state}, the server says {_power_name(row.power_state)}",
            "write what the guest is", mend,
        )  # fmt: skip
    for card in guest.cards:
        if card.trouble:
            yield Finding(
                "tap", card.device, host,
                f"{card.trouble} (port {card.port_id}, server {guest.guest_id})",
                "plug the card again", mend,
            )  # fmt: skip
    for path in guest.missing:
        yield Finding(
            "disk", path, host, f"server {guest.guest_id} needs it, and it is gone",
            "nothing: what was on it is lost; rebuild or delete the server",
        )  # fmt: skip


def _why_unwanted(found: Servers, known: tuple[str, Any] | None, guest_id: str) -> str:
    if known is not None:
        return f"its server is on {known[1].host or 'no host'}"
    return "its server is deleted" if guest_id in found.rows else "no server has this id"


def _part(
    world: World,
    found: Servers,
    alive: Mapping[str, tuple[str, Any]],
    host: str,
    part: FoundPart,
) -> Iterator[Finding]:
    if part.busy or (part.guest_id and found.is_busy(part.guest_id)):
        return
    if part.kind == "image-part":
        if part.age_s >= world.grace_s:
            yield Finding(
                "image-cache", part.name, host, "a fetch of an image died", "remove the part",
                partial(_mend_host, world, host),
            )  # fmt: skip
        return
    known = alive.get(part.guest_id)
    if part.kind == "tap":
        yield Finding(
            "tap", part.name, host, f"no guest has it (it was one of {part.guest_id})",
            "take it off its bridge", partial(_remove_part, world, host, part),
        )  # fmt: skip
        return
    if known is not None and known[1].host == host:
        return  # the server without a guest is the finding; its disks are kept for it
    why = _why_unwanted(found, known, part.guest_id)
    if part.age_s >= world.grace_s:
        yield Finding(
            "guest-folder", part.guest_id, host, f"{why}; disks and console log are left",
            "remove them", partial(_destroy, world, host, part.guest_id),
        )  # fmt: skip


def _power_name(number: int) -> str:
    return next((name for name, one in POWER_NUMBERS.items() if one == number), str(number))


def _destroy(world: World, host: str, guest_id: str) -> None:
    """Remove a guest whole. The key is this repair's own: what a saga does is never fenced by it."""
    key = f"audit-{uuid.uuid4().hex}/destroy"
    _asked(lambda: world.nova.compute(host, DESTROY_S).destroy(key, 0, guest_id, True), host)


def _mend_host(world: World, host: str) -> None:
    _asked(lambda: world.nova.compute(host, INSPECT_S).mend(), host)


def _remove_part(world: World, host: str, part: FoundPart) -> None:
    remove_tap(world, host, part.name)


def remove_tap(world: World, host: str, device: str) -> None:
    """Let a compute host take a tap of no guest off its bridge."""
    _asked(lambda: world.nova.compute(host, INSPECT_S).remove_part("tap", device), host)


def _asked(call: Any, host: str) -> None:
    try:
        call()
    except (AgentError, BusError) as error:
        raise CannotLook(f"nova-compute on {host}: {error}") from error
