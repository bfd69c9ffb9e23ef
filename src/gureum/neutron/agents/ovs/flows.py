"""Flow tables as sets: what is wanted, what is installed, and one atomic bundle for the difference.

Owns: Flow and FlowTable. Must not: know what a flow is for, flush, or touch a flow without our mark.
A flow's cookie is a mark and a hash of its text, so what is installed is recognised after a restart
by its cookie alone. Follows ovs-ofctl(8), "--bundle".
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gureum.core import log as logs
from gureum.core.runner import CommandError, CommandTimeout, Runner

log = logs.get(__name__)

MARK = 0x67
LEARNED_MARK = 0x68
_MARK_SHIFT = 56
_MARKED = f"cookie={MARK << _MARK_SHIFT:#x}/{0xFF << _MARK_SHIFT:#x}"
_PROTOCOL = ("-O", "OpenFlow14")
_COOKIE = re.compile(r"^ *cookie=(0x[0-9a-f]+)", re.MULTILINE)
_FLOW_COUNT = re.compile(r"flow_count=(\d+)")


def hash_bits(text: str, bits: int) -> int:
    """Return a stable hash of a text, never 0."""
    digest = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return (digest >> (64 - bits)) or 1


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow, in ovs-ofctl's words. An empty match matches everything."""

    table: int
    priority: int
    match: str
    actions: str
    cookie: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        text = f"{self.table}|{self.priority}|{self.match}|{self.actions}"
        cookie = MARK << _MARK_SHIFT | hash_bits(text, _MARK_SHIFT)
        object.__setattr__(self, "cookie", cookie)

    def __hash__(self) -> int:
        return self.cookie

    @property
    def key(self) -> tuple[int, int, str]:
        """Return what makes two flows exclude each other."""
        return (self.table, self.priority, self.match)

    def __str__(self) -> str:
        match = f",{self.match}" if self.match else ""
        return f"table={self.table},priority={self.priority}{match} actions={self.actions}"


Unit = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a commit did; `failed` says per unit why its flows stayed as they were."""

    added: int
    deleted: int
    failed: Mapping[Unit, str]


class FlowTable:
    """The flows of one bridge, wanted in units that change independently of each other."""

    def __init__(self, bridge: str, runner: Runner, timeout_s: float = 60.0) -> None:
        self.bridge = bridge
        self._runner = runner
        self._timeout_s = timeout_s
        self._units: dict[Unit, frozenset[Flow]] = {}
        self._staged: dict[Unit, frozenset[Flow]] = {}
        self._holders: dict[Flow, set[Unit]] = {}
        self._keys: dict[tuple[int, int, str], Flow] = {}
        self._wanted: dict[int, Flow] = {}
        self._installed: set[int] | None = None

    def stage(self, unit: Unit, flows: Iterable[Flow]) -> None:
        """Note the flows a unit wants; none means that the unit is gone."""
        wanted = frozenset(flows)
        if wanted != self._units.get(unit, frozenset()) or unit in self._staged:
            self._staged[unit] = wanted

    def units(self) -> set[Unit]:
        """Return the units that want flows now."""
        return {unit for unit, flows in self._units.items() if flows}

    def flows(self) -> list[Flow]:
        """Return every wanted flow, for tests and dumps."""
        return sorted(self._holders, key=lambda flow: (flow.table, -flow.priority, flow.match))

    def commit(self) -> Applied:
        """Make the bridge's flows what is wanted, in one atomic bundle.

        When the switch refuses the bundle, the units are tried one by one, so that a bad one fails
        alone and keeps the flows it had. Raises: CommandError (nothing at all could be applied).
        """
        staged, self._staged = self._staged, {}
        failed: dict[Unit, str] = {}
        try:
            look_again = self._installed is None
            if look_again:
                self._installed = self._dump_cookies()
            added, deleted = self._apply(staged, failed, everything=look_again)
        except CommandError:
            self._staged = {**staged, **self._staged}
            self._installed = None
            raise
        return Applied(added, deleted, failed)

    def verify(self) -> bool:
        """Return whether the switch has as many of our flows as it should; if not, look again.

        After False the next commit repairs what is missing (the switch was restarted) or too much.
        """
        if self._installed is None:
            return False
        done = self._ofctl("dump-aggregate", self.bridge, _MARKED)
        found = _FLOW_COUNT.search(done)
        if found and int(found[1]) == len(self._wanted):
            return True
        log.warning(
            "flows differ from what was applied",
            bridge=self.bridge,
            found=found[1] if found else None,
            wanted=len(self._wanted),
        )
        self._installed = None
        return False

    def doubt(self) -> None:
        """Forget what is installed, so that the next commit looks."""
        self._installed = None

    def differences(self) -> tuple[dict[Unit, int], set[int]]:
        """Look now: how many flows each unit misses, and the cookies that nobody wants."""
        found = self._dump_cookies()
        missing: dict[Unit, int] = {}
        for flow, units in self._holders.items():
            if flow.cookie not in found:
                for unit in units:
                    missing[unit] = missing.get(unit, 0) + 1
        return missing, found - set(self._wanted)

    # --- inside -----------------------------------------------------------------------------------

    def _apply(
        self, staged: Mapping[Unit, frozenset[Flow]], failed: dict[Unit, str], *, everything: bool
    ) -> tuple[int, int]:
        before = {unit: self._units.get(unit, frozenset()) for unit in staged}
        touched = self._take(staged, failed)
        try:
            return self._send(self._every_cookie() if everything else touched)
        except CommandError as error:
            self._take(before, {})
            if _unreachable(error) or not staged:
                raise
            log.warning("flow bundle refused", bridge=self.bridge, units=len(staged), error=error)
            if len(staged) == 1 and not everything:
                failed.update(dict.fromkeys(staged, error.text))
                return (0, 0)
        items = list(staged.items())
        middle = (len(items) + 1) // 2
        parts = [
            self._apply(dict(half), failed, everything=False)
            for half in (items[:middle], items[middle:])
            if half
        ]
        if everything:
            parts.append(self._send(self._every_cookie()))
        return (sum(added for added, _ in parts), sum(deleted for _, deleted in parts))

    def _every_cookie(self) -> set[int]:
        return set(self._wanted) | (self._installed or set())

    def _take(self, staged: Mapping[Unit, frozenset[Flow]], failed: dict[Unit, str]) -> set[int]:
        """Put units in place of what they were and return the cookies that may differ."""
        nothing: frozenset[Flow] = frozenset()
        before = {unit: self._units.pop(unit, nothing) for unit in staged}
        touched: set[int] = set()
        for unit, flows in staged.items():
            for flow in before[unit] - flows:
                touched.add(flow.cookie)
                self._release(unit, flow)
        for unit, flows in staged.items():
            new = flows - before[unit]
            clash = next((flow for flow in new if self._keys.get(flow.key, flow) != flow), None)
            if clash is not None:
                failed[unit] = f"another flow has the match of {clash}"
                flows = before[unit]
                new = frozenset(f for f in flows - staged[unit] if f.key not in self._keys)
                flows = (flows & staged[unit]) | new
            for flow in new:
                touched.add(flow.cookie)
                self._hold(unit, flow)
            if flows:
                self._units[unit] = flows
        return touched

    def _hold(self, unit: Unit, flow: Flow) -> None:
        self._holders.setdefault(flow, set()).add(unit)
        self._keys[flow.key] = flow
        self._wanted[flow.cookie] = flow

    def _release(self, unit: Unit, flow: Flow) -> None:
        holders = self._holders[flow]
        holders.discard(unit)
        if not holders:
            del self._holders[flow]
            del self._keys[flow.key]
            del self._wanted[flow.cookie]

    def _send(self, touched: set[int]) -> tuple[int, int]:
        installed = self._installed if self._installed is not None else set()
        add = [cookie for cookie in touched if cookie in self._wanted and cookie not in installed]
        delete = [
            cookie for cookie in touched if cookie in installed and cookie not in self._wanted
        ]
        if not add and not delete:
            return (0, 0)
        # Deletions first: a new flow may have the match of an old one.
        lines = [f"delete cookie={cookie:#x}/-1" for cookie in delete]
        lines += [f"add cookie={cookie:#x},{self._wanted[cookie]}" for cookie in add]
        self._ofctl("--bundle", "add-flows", self.bridge, "-", input="\n".join(lines) + "\n")
        installed.difference_update(delete)
        installed.update(add)
        return (len(add), len(delete))

    def _dump_cookies(self) -> set[int]:
        text = self._ofctl("--no-stats", "dump-flows", self.bridge, _MARKED)
        return {int(found, 16) for found in _COOKIE.findall(text)}

    def _ofctl(self, *args: str, input: str | None = None) -> str:
        done = self._runner.run(
            ["ovs-ofctl", *_PROTOCOL, *args],
            timeout_s=self._timeout_s,
            input=input.encode() if input is not None else None,
        )
        return done.stdout


def _unreachable(error: CommandError) -> bool:
    """Return whether the switch itself could not be asked, so that smaller bundles fail as well."""
    return isinstance(error, CommandTimeout) or any(
        sign in error.text for sign in ("failed to connect", "is not a bridge", "exit 127")
    )


def flush_zone(runner: Runner, bridge: str, zone: int) -> None:
    """Forget the tracked connections of a zone of the bridge's datapath. Raises: CommandError."""
    runner.run(["ovs-ofctl", "ct-flush-zone", bridge, str(zone)], timeout_s=10.0)
