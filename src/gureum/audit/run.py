"""One audit: look, look again at what was found, mend, look whether it helped.

Owns: the order, the second look, what counts as clean. Must not: know what is compared.

A cloud lives on while it is looked at. What was found counts only when a second look, a moment later,
finds it too; what a saga owns or what is younger than the grace is no finding at all.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gureum.audit import allocations, hosts, images, network, owners, servers, verbs
from gureum.audit.finding import CannotLook, Finding
from gureum.audit.world import World, read_servers
from gureum.core import log
from gureum.core.db.errors import DatabaseError
from gureum.core.http.client import RemoteError, RemoteUnavailable

LOG = log.get(__name__)

CLEAN, FINDINGS, BLIND = 0, 1, 2
SETTLE_S = 3.0
ROUNDS = 3
"""How often mending is tried: one repair may uncover what hid behind it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong, what was mended, and what could not be seen."""

    findings: tuple[Finding, ...] = ()
    mended: tuple[Finding, ...] = ()
    silent: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """0: clean, 1: findings, 2: something could not be looked at."""
        if self.silent:
            return BLIND
        return FINDINGS if self.findings else CLEAN

    def as_json(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "clean": self.code == CLEAN,
            "count": len(self.findings),
            "findings": [one.as_json() for one in self.findings],
            "mended": [one.as_json() for one in self.mended],
            "could_not_look": list(self.silent),
            "could_not_mend": list(self.failed),
        }


Wait = Callable[[float], object]


def look(world: World) -> tuple[list[Finding], list[str]]:
    """Compare everything once; returns findings, and what could not be looked at."""
    silent: list[str] = []
    found: dict[tuple[str, str, str], Finding] = {}
    for part in (_databases, _nodes):
        for one in _careful(part(world, silent), silent):
            found.setdefault(one.key, one)
    return list(found.values()), silent


def _databases(world: World, silent: list[str]) -> Iterator[Finding]:
    rows = read_servers(world)
    for one in (
        servers.compare(world, rows),
        network.compare(world, rows),
        allocations.compare(world, rows),
        images.compare(world),
        owners.compare(world),
        verbs.compare(world),
    ):
        yield from _careful(one, silent)


def _nodes(world: World, silent: list[str]) -> Iterator[Finding]:
    """Hosts are asked before rows are read: a server that is made meanwhile has its row then."""
    seen, mute = hosts.inspect(world)
    silent += mute
    agents, mute = network.inspect(world)
    silent += mute
    yield from _careful(hosts.compare(world, read_servers(world), seen), silent)
    yield from _careful(network.compare_agents(world, agents), silent)


def _careful(findings: Iterator[Finding], silent: list[str]) -> Iterator[Finding]:
    """Go on with the next comparison when one cannot be made."""
    try:
        yield from findings
    except (CannotLook, DatabaseError, RemoteError, RemoteUnavailable) as error:
        silent.append(str(error))


def audit(
    world: World, *, repair: bool = False, settle_s: float = SETTLE_S, wait: Wait | None = None
) -> Report:
    """Look, and mend when asked; `wait` is given by tests only."""
    pause = wait or threading.Event().wait
    findings, silent = _confirmed(world, settle_s, pause)
    if not repair or not findings:
        return Report(tuple(findings), (), tuple(silent))
    first = findings
    failed: list[str] = []
    for _ in range(ROUNDS):
        failed = _mend(findings)
        findings, silent = _confirmed(world, settle_s, pause)
        if not any(one.mend for one in findings):
            break
    left = {one.key for one in findings}
    mended = tuple(one for one in first if one.key not in left)
    return Report(tuple(findings), mended, tuple(silent), tuple(failed))


def _confirmed(world: World, settle_s: float, pause: Wait) -> tuple[list[Finding], list[str]]:
    """Return what two looks find."""
    findings, silent = look(world)
    if not findings and not silent:
        return findings, silent
    pause(settle_s)
    before = {one.key for one in findings}
    findings, silent = look(world)
    return [one for one in findings if one.key in before], silent


def _mend(findings: list[Finding]) -> list[str]:
    failed = []
    done: set[object] = set()
    for one in findings:
        if one.mend is None:
            continue
        again = _identity(one.mend)
        if again in done:  # one agent mends all that it found at once
            continue
        done.add(again)
        try:
            one.mend()
        except (CannotLook, DatabaseError, RemoteError, RemoteUnavailable) as error:
            failed.append(f"{one.kind} {one.id}: {error}")
            LOG.error("finding is not mended", kind=one.kind, id=one.id, error=str(error))
        else:
            LOG.warning("finding is mended", kind=one.kind, id=one.id, where=one.where, why=one.why)
    return failed


def _identity(mend: Callable[[], object]) -> object:
    """Two calls of one function with the same plain arguments are the same repair."""
    words = [str(word) for word in getattr(mend, "args", ()) if isinstance(word, str | int)]
    name = getattr(getattr(mend, "func", mend), "__qualname__", repr(mend))
    keys = getattr(mend, "keywords", {}) or {}
    inner = [id(word) for word in getattr(mend, "args", ()) if callable(word)]
    return (name, tuple(words), tuple(sorted(map(str, keys.items()))), tuple(inner))
