"""Delays and faults of the simulated drivers: what was asked for, and what a driver has to do about it.

Owns: the rules (in one file, so that a running cloud takes new ones from outside), their counting over
all processes of the cloud, `FaultPoint` for the drivers. Must not: know what a driver does.

A rule waits for calls of a component on a host; the nth one that fits is made to fail or is held up, or
everything that the component does is held up for a while, as if its process were stopped.
"""

import argparse
import contextlib
import fcntl
import fnmatch
import hashlib
import os
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import msgspec

from gureum.core.config import option, section

FAIL: Final = "fail"
DELAY: Final = "delay"
SILENCE: Final = "silence"
FILE = "faults.json"

_CONFIGURED = "config-"
_LOOK_S = 0.1
"""How often a held-up component looks whether it may go on."""


@section("simulated", "What the fake drivers of a simulated cloud take, and fail at.")
@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """Delays and faults that are there from the start; `gureum fault` adds more at run time."""

    delays: Mapping[str, float] = option(
        "Seconds that work takes, by verb or by COMPONENT.VERB, such as"
        ' { spawn = 2.0, "nova-compute.destroy" = 0.5 }.',
        default={},
    )
    faults: tuple[str, ...] = option(
        "Faults from the start, as `gureum fault` takes them, such as"
        ' "fail spawn --nth 3" or "silence neutron-l3-agent 60".',
        default=(),
    )
    faults_file: str = option(
        "Where the faults of a running cloud stand.", default="{state_dir}/" + FILE
    )


class BadRule(ValueError):
    """A rule that says nothing; the text says why and how to write it."""


class Rule(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing to go wrong. `component`, `host` and `verb` are names or patterns with `*`.

    nth: which fitting call is the first (1: the next). times: how many in a row; 0 means all from then on.
    seconds: how long a delay lasts. until: when a silence ends (seconds since 1970). seen and hits: calls
    that fitted, and that were disturbed, so far.
    """

    id: str
    action: Literal["fail", "delay", "silence"]
    verb: str = "*"
    component: str = "*"
    host: str = "*"
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    text: str = ""
    until: float = 0.0
    seen: int = 0
    hits: int = 0
    cleared: bool = False

    def fits(self, component: str, host: str, verb: str) -> bool:
        """Whether a call is one of those that the rule is about."""
        return all(
            fnmatch.fnmatchcase(value, pattern)
            for value, pattern in (
                (component, self.component),
                (host, self.host),
                (verb, self.verb),
            )
        )

    def spent(self, now: float | None = None) -> bool:
        """Whether the rule will never do anything again."""
        if self.cleared:
            return True
        if self.action == SILENCE:
            return self.until <= (time.time() if now is None else now)
        return self.times > 0 and self.seen >= self.nth + self.times - 1

    def words(self) -> str:
        """The rule as one writes it."""
        parts: list[str] = [self.action]
        if self.action == SILENCE:
            left_s = max(0.0, self.until - time.time())
            parts += [self.component, f"({left_s:.0f} s left)"]
        else:
            parts.append(self.verb)
            if self.action == DELAY:
                parts.append(f"{self.seconds:g}")
            if self.component != "*":
                parts += ["--component", self.component]
            if self.nth != 1:
                parts += ["--nth", str(self.nth)]
            if self.times != (1 if self.action == FAIL else 0):
                parts += ["--times", str(self.times)]
        if self.host != "*":
            parts += ["--host", self.host]
        return " ".join(parts)


def failure(
    verb: str,
    *,
    component: str = "*",
    host: str = "*",
    nth: int = 1,
    times: int = 1,
    text: str = "",
) -> Rule:
    """Make the nth `verb` from now fail, and the `times - 1` after it. Raises: BadRule."""
    _counts(nth, times)
    return Rule(
        id=_new_id(), action=FAIL, verb=verb, component=component, host=host, nth=nth,
        times=times, text=text,
    )  # fmt: skip


def delay(
    verb: str,
    seconds: float,
    *,
    component: str = "*",
    host: str = "*",
    nth: int = 1,
    times: int = 0,
) -> Rule:
    """Make every `verb` take longer, or from the nth on `times` of them. Raises: BadRule."""
    _counts(nth, times)
    if not 0 < seconds <= 86400:
        raise BadRule(f"a delay of {seconds:g} s; give more than 0 and at most 86400")
    return Rule(
        id=_new_id(), action=DELAY, verb=verb, component=component, host=host, nth=nth,
        times=times, seconds=seconds,
    )  # fmt: skip


def silence(component: str, seconds: float, *, host: str = "*") -> Rule:
    """Hold up all that a component does, heartbeats too, from now on. Raises: BadRule."""
    if not 0 < seconds <= 86400:
        raise BadRule(f"a silence of {seconds:g} s; give more than 0 and at most 86400")
    return Rule(
        id=_new_id(), action=SILENCE, component=component, host=host, until=time.time() + seconds
    )


def _counts(nth: int, times: int) -> None:
    if nth < 1:
        raise BadRule(f"nth is {nth}; the next one is 1")
    if times < 0:
        raise BadRule(f"times is {times}; 0 means all from then on")


def _new_id() -> str:
    return uuid.uuid4().hex[:8]


def add_rule_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """The three kinds of rules as commands, for `gureum fault` and for the configuration."""
    for action, text in (
        (FAIL, "make work fail"),
        (DELAY, "make work take longer"),
        (SILENCE, "hold up all that a component does, heartbeats too"),
    ):
        parser = commands.add_parser(action, help=text, description=text[0].upper() + text[1:])
        if action == SILENCE:
            parser.add_argument("component", help="such as nova-compute, or a pattern")
            parser.add_argument("seconds", type=float)
        else:
            parser.add_argument("verb", help="such as spawn, or a pattern")
            if action == DELAY:
                parser.add_argument("seconds", type=float)
            parser.add_argument("--component", default="*", help="only of this one")
            parser.add_argument("--nth", type=int, default=1, help="the first is the nth from now")
            parser.add_argument(
                "--times",
                type=int,
                default=1 if action == FAIL else 0,
                help="how many in a row; 0: all from then on",
            )
        if action == FAIL:
            parser.add_argument("--text", default="", help="what the failure says")
        parser.add_argument("--host", default="*", help="only on this one")


def from_arguments(args: argparse.Namespace) -> Rule:
    """The rule that parsed arguments ask for. Raises: BadRule."""
    if args.action == SILENCE:
        return silence(args.component, args.seconds, host=args.host)
    where = {"component": args.component, "host": args.host, "nth": args.nth, "times": args.times}
    if args.action == DELAY:
        return delay(args.verb, args.seconds, **where)
    return failure(args.verb, text=args.text, **where)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise BadRule(message)


def parse(words: str) -> Rule:
    """Read a rule as `gureum fault` takes it. Raises: BadRule."""
    parser = _Parser(add_help=False)
    add_rule_arguments(parser.add_subparsers(dest="action", required=True))
    try:
        return from_arguments(parser.parse_args(shlex.split(words)))
    except ValueError as error:
        raise BadRule(f"{words!r}: {error}") from error


class FaultBook:
    """The rules of one cloud. Several processes may use the file at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rules(self) -> list[Rule]:
        """Every rule that can still do something."""
        return [rule for rule in self._read() if not rule.spent()]

    def add(self, rule: Rule) -> Rule:
        """Take a rule; it holds from the next call on."""
        with self._change() as rules:
            # Of the configuration's, also the spent ones stay: a restart must not begin them anew.
            now = time.time()
            rules[:] = [r for r in rules if not r.spent(now) or r.id.startswith(_CONFIGURED)]
            if all(known.id != rule.id for known in rules):
                rules.append(rule)
        return rule

    def fail(self, verb: str, **more: Any) -> Rule:
        """`failure`, added."""
        return self.add(failure(verb, **more))

    def delay(self, verb: str, seconds: float, **more: Any) -> Rule:
        """`delay`, added."""
        return self.add(delay(verb, seconds, **more))

    def silence(self, component: str, seconds: float, **more: Any) -> Rule:
        """`silence`, added."""
        return self.add(silence(component, seconds, **more))

    def clear(self, rule_id: str | None = None) -> int:
        """Forget one rule, or all; returns how many. What is held up goes on."""
        with self._change() as rules:
            gone = [rule for rule in rules if rule_id in (None, rule.id) and not rule.spent()]
            for rule in gone:  # those of the configuration must not come back at a restart
                rule.cleared = True
        return len(gone)

    def take(self, component: str, host: str, verb: str) -> list[Rule]:
        """Count one call; returns the rules that disturb it."""
        if not self._present():
            return []
        if not any(r.action != SILENCE and r.fits(component, host, verb) for r in self.rules()):
            return []
        hitting: list[Rule] = []
        with self._change() as rules:
            for rule in rules:
                if rule.action == SILENCE or rule.spent() or not rule.fits(component, host, verb):
                    continue
                rule.seen += 1
                if rule.seen < rule.nth:
                    continue
                rule.hits += 1
                hitting.append(rule)
        return hitting

    def holds(self, rule_id: str) -> bool:
        """Whether a rule was not cleared meanwhile."""
        return any(rule.id == rule_id and not rule.cleared for rule in self._read())

    def silent(self, component: str, host: str) -> bool:
        """Whether a component is held up now."""
        return self._present() and any(
            rule.action == SILENCE and rule.fits(component, host, rule.verb)
            for rule in self.rules()
        )

    def _present(self) -> bool:
        try:
            return os.stat(self.path).st_size > 2
        except FileNotFoundError:
            return False

    def _read(self) -> list[Rule]:
        try:
            return msgspec.json.decode(self.path.read_bytes() or b"[]", type=list[Rule])
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _change(self) -> Iterator[list[Rule]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        held = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            rules = self._read()
            yield rules
            part = self.path.with_suffix(".part")
            with os.fdopen(os.open(part, flags | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(rules))
            os.replace(part, self.path)
        finally:
            os.close(held)


class FaultPoint:
    """Where a simulated driver asks whether its work is disturbed. Thread-safe.

    error: what a failure raises, from its text. stopping: ends every wait at once.
    """

    def __init__(
        self,
        component: str,
        host: str,
        options: SimulatedOptions,
        error: Callable[[str], Exception],
        stopping: threading.Event | None = None,
    ) -> None:
        self.component = component
        self.host = host
        self.book = FaultBook(Path(options.faults_file))
        self._delays = options.delays
        self._error = error
        self._stopping = stopping or threading.Event()
        for number, words in enumerate(options.faults):
            rule = parse(words)
            digest = hashlib.sha256(f"{number} {words}".encode()).hexdigest()
            self.book.add(msgspec.structs.replace(rule, id=_CONFIGURED + digest[:8]))

    def act(self, verb: str) -> None:
        """Do what the rules say of one piece of work: wait, and raise when it is to fail."""
        self.listen()
        hitting = self.book.take(self.component, self.host, verb)
        usual_s = self._delays.get(f"{self.component}.{verb}", self._delays.get(verb, 0.0))
        if usual_s > 0:
            self._stopping.wait(usual_s)
        for rule in hitting:
            if rule.action == DELAY:
                self._hold(rule)
        self.listen()
        for rule in hitting:
            if rule.action == FAIL:
                raise self._error(rule.text or f"injected fault: {rule.words()}")

    def _hold(self, rule: Rule) -> None:
        """Wait as long as a delay says, or until it is cleared."""
        until = time.monotonic() + rule.seconds
        while (left_s := until - time.monotonic()) > 0 and self.book.holds(rule.id):
            if self._stopping.wait(min(left_s, _LOOK_S)):
                return

    def listen(self) -> None:
        """Wait while the component is held up, as a stopped process would."""
        while self.book.silent(self.component, self.host):
            if self._stopping.wait(_LOOK_S):
                return
