"""`gureum top`: operations, verbs under way, agents, queues and memory, live in the terminal.

Owns: drawing, keys. Must not: read; `figures.py` does. Plain ANSI: it works over any ssh.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from typing import Any

from gureum.cli import place as places
from gureum.cli.figures import Reader, compare
from gureum.cli.table import ago, table
from gureum.core import log

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
OTHER_SCREEN, USUAL_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often, and whether for a reader or a program."""
    places.add_arguments(parser)
    parser.add_argument(
        "-i", "--interval", type=float, default=2.0, metavar="SECONDS", help="between looks (2)"
    )
    parser.add_argument("--once", action="store_true", help="one look, then end")
    parser.add_argument("--json", action="store_true", help="for programs: an object a look, a line each")


def run(args: argparse.Namespace) -> int:
    """Look until `q` or Ctrl-C. To be run as the user of the control process."""
    log.setup("ERROR")
    place = places.existing(args)
    interval_s = max(0.1, args.interval)
    reader = Reader(place, places.read_config(place))
    try:
        if args.json or args.once or not sys.stdout.isatty():
            return _print(reader, interval_s, once=args.once, as_json=args.json)
        return _live(reader, interval_s)
    finally:
        reader.close()


def _print(reader: Reader, interval_s: float, *, once: bool, as_json: bool) -> int:
    before = reader.read()
    while True:
        time.sleep(interval_s)
        now = reader.read()
        seen = compare(before, now)
        print(json.dumps(seen) if as_json else "\n".join(page(seen)), flush=True)
        if once:
            return 0 if now.processes else 3
        before = now


def _live(reader: Reader, interval_s: float) -> int:
    before = reader.read()
    with _screen():
        wait_s = 0.5  # the first figures come soon
        while not _asked_to_end(wait_s):
            now = reader.read()
            size = shutil.get_terminal_size()
            _draw(page(compare(before, now), rows=size.lines - 1), size.columns)
            before, wait_s = now, interval_s
    return 0


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """The terminal's other screen, keys without Enter; as it was afterwards."""
    keys = sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if keys else None
    sys.stdout.write(OTHER_SCREEN)
    try:
        if keys:
            tty.setcbreak(sys.stdin)
        yield
    finally:
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(USUAL_SCREEN)
        sys.stdout.flush()


def _asked_to_end(wait_s: float) -> bool:
    if not sys.stdin.isatty():
        time.sleep(wait_s)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    return bool(ready) and os.read(sys.stdin.fileno(), 16)[:1] in (b"q", b"Q", b"\x03")


def _draw(lines: Sequence[str], columns: int) -> None:
    text = HOME
    for line in lines:
        shown = line[:columns]
        heading = line.isupper() or line.startswith("gureum top")
        text += (f"{BOLD}{shown}{PLAIN}" if heading else shown) + CLEAR_LINE + "\n"
    sys.stdout.write(text + CLEAR_BELOW)
    sys.stdout.flush()


# -- what is shown ---------------------------------------------------------------------------------


def page(seen: dict[str, Any], *, rows: int = 0) -> list[str]:
    """Return the lines of a page; with `rows`, no more than that, each part getting its share."""
    stuck = sum(saga["state"] == "stuck" for saga in seen["sagas"])
    down = sum(not agent["up"] for agent in seen["agents"])
    memory = sum(process["memory_mib"] for process in seen["processes"])
    head = [
        f"gureum top  {time.strftime('%H:%M:%S')}  {seen['requests_per_s']:g} requests/s"
        f"  {len(seen['sagas'])} verbs under way{f', {stuck} STUCK' if stuck else ''}"
        f"  {len(seen['agents'])} agents{f', {down} DOWN' if down else ''}  {memory:.0f} MiB",
        *(f"! {trouble}" for trouble in seen["troubles"]),
    ]
    parts = [_processes(seen), _operations(seen), _sagas(seen), _agents(seen), _queues(seen)]
    parts = [part for part in parts if part]
    if rows:
        parts = _fit(parts, rows - len(head) - len(parts))
    for part in parts:
        head += ["", *part]
    return head


def _fit(parts: list[list[str]], rows: int) -> list[list[str]]:
    """Shorten the longest parts until all fit."""
    left = [len(part) for part in parts]
    while sum(left) > max(rows, 2 * len(parts)):
        left[left.index(max(left))] -= 1
    return [
        part if len(part) == keep else [*part[: keep - 1], f"  … {len(part) - keep + 1} more"]
        for part, keep in zip(parts, left, strict=True)
    ]


def _processes(seen: dict[str, Any]) -> list[str]:
    rows = [
        [one["name"], one["state"], one["pid"] or "-", f"{one['cpu_percent']:.0f} %",
         f"{one['memory_mib']:.0f} MiB", one["in_progress"], ago(one["up_s"]), one["restarts"]]
        for one in seen["processes"]
    ]  # fmt: skip
    head = ["process", "state", "pid", "cpu", "memory", "requests", "up", "restarts"]
    return table(head, rows).splitlines()


def _operations(seen: dict[str, Any]) -> list[str]:
    rows = [
        [one["service"], one["operation"], f"{one['per_s']:.1f}", f"{one['mean_ms']:.1f}",
         "-" if one["p95_ms"] is None else f"{one['p95_ms']:g}",
         f"{one['errors_per_s']:.1f}" if one["errors_per_s"] else ""]
        for one in seen["operations"]
    ]  # fmt: skip
    if not rows:
        return ["OPERATIONS: none"]
    head = ["service", "operation", "per s", "mean ms", "p95 ms <=", "errors/s"]
    return table(head, rows).splitlines()


def _sagas(seen: dict[str, Any]) -> list[str]:
    if not seen["sagas"]:
        return ["VERBS: none under way"]
    rows = [
        [one["saga"], one["step"], one["state"], ago(one["age_s"]), one["tries"], one["resource"],
         one["error"] or one["progress"]]
        for one in seen["sagas"]
    ]  # fmt: skip
    head = ["verb", "step", "state", "age", "tries", "resource", ""]
    return table(head, rows).splitlines()


def _agents(seen: dict[str, Any]) -> list[str]:
    # those that were silent longest come first
    found = sorted(seen["agents"], key=lambda one: (one["up"], -(one["heartbeat_age_s"] or 0.0)))
    rows = [
        [one["agent"], one["host"], "up" if one["up"] else "DOWN",
         "-" if one["heartbeat_age_s"] is None else f"{one['heartbeat_age_s']:.0f} s"]
        for one in found
    ]  # fmt: skip
    return table(["agent", "host", "state", "heard of"], rows).splitlines() if rows else []


def _queues(seen: dict[str, Any]) -> list[str]:
    # one that is empty tells nothing
    rows = [
        [one["queue"], one["at"], one["process"], one["requests"]]
        for one in sorted(seen["queues"], key=lambda one: -one["requests"])
        if one["requests"]
    ]
    if not rows:
        return [f"QUEUES: {len(seen['queues'])}, all empty"] if seen["queues"] else []
    return table(["queue", "waits at", "process", "requests"], rows).splitlines()
