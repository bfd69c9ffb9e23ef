"""`gureum trace REQUEST_ID` and `gureum trace --server ID`: the whole story of a request, in order.

Owns: how a story looks. Must not: gather it; `stories.py` does.
"""

import argparse
import atexit
import json
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gureum.cli import place as places
from gureum.cli import stories
from gureum.cli.place import Unusable
from gureum.cli.stories import Sources, Story
from gureum.core import log
from gureum.core.run import Runtime
from gureum.core.trace_story import Node

_UUID = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b([0-9a-f]{8})[0-9a-f]{24}\b")
_SHOWN_ELSEWHERE = frozenset(
    ("method", "path", "status", "saga_id", "request_id", "resource_id", "host", "waited_ms",
     "round", "error", "detail", "agent", "undo")
)  # fmt: skip
_SAID_BY_ITS_SPAN = frozenset(("agent", "step", "undo", "tries", "topic", "method", "resource_id"))
_WAITED_MS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which request, from which logs."""
    places.add_arguments(parser)
    parser.add_argument(
        "id", nargs="?", metavar="REQUEST_ID",
        help="as an answer's x-openstack-request-id says, or as the client sent it",
    )  # fmt: skip
    parser.add_argument("--server", metavar="ID", help="what was done to this server")
    parser.add_argument(
        "-n", "--newest", type=int, default=10, help="with --server: this many requests (10)"
    )
    parser.add_argument(
        "--log", action="append", default=[], type=Path, metavar="PATH",
        help="a log file, a folder of them, or a pipe such as <(journalctl -o cat -u 'gureum-*'),"
        " besides the cloud's own: those of other machines",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="checks of tokens too")
    parser.add_argument("--no-notes", action="store_true", help="leave out plain log lines")
    parser.add_argument("--wide", action="store_true", help="ids and texts in full")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    if bool(args.id) == bool(args.server):
        raise Unusable("name a request, such as req-…, or a server: gureum trace --server ID")
    log.setup("ERROR")
    sources = find_sources(args)
    try:
        wanted = (
            stories.requests_of_server(sources, args.server, args.newest)
            if args.server
            else [args.id]
        )
        told = [story for story in (stories.story(sources, one) for one in wanted) if story]
    finally:
        if sources.runtime is not None:
            sources.runtime.close()
    for trouble in dict.fromkeys(sources.troubles):
        print(f"warning: {trouble}", file=sys.stderr)
    if not told:
        raise Unusable(
            f"nothing is known of {args.id or args.server} in {len(sources.files)} log files and"
            " the saga logs; requests that only look are in the log at log_level = DEBUG"
        )
    if args.json:
        print(json.dumps([plain(story) for story in told], indent=2))
        return 0
    for number, story in enumerate(told):
        if number:
            print()
        _print(story, _Look(args.all, not args.no_notes, args.wide))
    return 0


def find_sources(args: argparse.Namespace) -> Sources:
    """The logs and databases of the cloud, and other logs that were named. Raises: Unusable."""
    for number, path in enumerate(args.log):
        if not path.exists():
            raise Unusable(f"there is no log at {path}")
        if not path.is_file() and not path.is_dir():
            args.log[number] = _kept(path)
    try:
        place = places.existing(args)
    except Unusable:
        if not args.log:
            raise
        return Sources(stories.log_files(args.log))
    try:
        files = stories.log_files([*([place.log_dir] if place.log_dir.exists() else []), *args.log])
        runtime = Runtime(places.read_config(place), name="trace")
    except PermissionError as error:
        raise Unusable(f"{error.filename} may not be read: run this as root, with sudo") from error
    return Sources(files, runtime)


def _kept(pipe: Path) -> Path:
    """Return what a pipe holds as a file: a story is looked for more than once."""
    with tempfile.NamedTemporaryFile(prefix="pipe-", suffix=".log", delete=False) as copy:
        atexit.register(os.unlink, copy.name)
        with pipe.open("rb") as source:
            shutil.copyfileobj(source, copy)
    return Path(copy.name)


def plain(story: Story) -> dict[str, object]:
    """Return a story as JSON."""
    ended = story.ended
    return {
        "request_id": story.request_id,
        "begun": _moment(story.begun),
        "duration_ms": None if ended is None else round((ended - story.begun) * 1000, 3),
        "sagas": [{"id": one.id, "name": one.name, "state": one.state} for one in story.sagas],
        "spans": [root.plain(story.begun) for root in story.roots],
    }


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


@dataclass(frozen=True, slots=True)
class _Look:
    """What a reader wants to see: checks of tokens, plain log lines, ids in full."""

    tokens: bool
    notes: bool
    wide: bool

    def shows(self, node: Node) -> bool:
        """Whether a node is shown; a check of a token that passed is left out unless asked for."""
        if node.kind == "note":
            return self.notes
        passed = node.fields.get("status") == "200"
        return self.tokens or node.what != "keystone show_token" or not passed


def _print(story: Story, look: _Look) -> None:
    ended = story.ended
    length = "it goes on" if ended is None else f"{ended - story.begun:.3f} s"
    print(f"{story.request_id}  begun {_moment(story.begun)}  {length}")
    rows = []
    for root in story.roots:
        for branch, node in _branches(root, "", last=True, outermost=True, look=look):
            rows.append((node, branch))
    width = max((len(node.component) for node, _ in rows), default=0)
    print(f"{'offset':>9} {'took':>9}  {'component':{width}}  what")
    for node, branch in rows:
        offset = f"{node.started_at - story.begun:8.3f}s"
        text = f"{branch}{_what(node, wide=look.wide)}"
        mark = "  <-- failed" if node.failed and node.kind != "note" else ""
        print(f"{offset} {_took(node):>9}  {node.component:{width}}  {text}{mark}")
        indent = " " * (22 + width + len(branch))
        for text in _why(node):
            print(f"{indent}{_short(text, look.wide, most=200)}")


def _branches(
    node: Node, before: str, *, last: bool, outermost: bool, look: _Look
) -> list[tuple[str, Node]]:
    """Return the lines of a tree, each with what is drawn to the left of it."""
    own = before if outermost else before + ("└─ " if last else "├─ ")
    below = before if outermost else before + ("   " if last else "│  ")
    children = [child for child in map(_answer, node.children) if look.shows(child)]
    found = [(own, node)]
    for number, child in enumerate(children, 1):
        at_end = number == len(children)
        found += _branches(child, below, last=at_end, outermost=False, look=look)
    return found


def _answer(node: Node) -> Node:
    """Return what was asked for instead of the asking, when nothing else is told of it."""
    return node.children[0] if node.kind == "ask" and len(node.children) == 1 else node


def _why(node: Node) -> list[str]:
    """Return what is known of a failure: what the user reads, and what operators read besides."""
    if node.kind == "note":
        return []
    error, detail = node.fields.get("error", ""), node.fields.get("detail", "")
    lines = [line for line in [*error.split("\n"), *detail.split("\n")] if line]
    return list(dict.fromkeys(lines))


def _took(node: Node) -> str:
    if node.kind == "note":
        return ""
    if node.seconds is None:
        return "..."
    if node.seconds < 1:
        return f"{node.seconds * 1000:.1f} ms"
    return f"{node.seconds:.2f} s"


def _what(node: Node, *, wide: bool) -> str:
    fields = node.fields
    if node.kind == "api":
        text = f"{fields.get('method', '')} {_short(fields.get('path', ''), wide)}"
        return f"{text} -> {fields.get('status', '?')}"
    if node.kind == "saga":
        text = f"saga {node.what} of {_short(fields.get('resource_id', ''), wide)}: {node.outcome}"
    elif node.kind == "step":
        undo = "undo of " if fields.get("undo") or node.outcome == "undone" else ""
        text = f"{undo}step {stories.step_name(node)}: {node.outcome}"
        if fields.get("round"):
            text += f" (round {int(fields['round']) + 1})"
    elif node.kind == "pass":
        text = "makes its host as it is wanted: " + node.outcome
    elif node.kind == "note":
        mark = "!" if node.failed else "·"
        text = f"{mark} {node.what}"
    else:
        text = f"{node.kind} {node.what}: {node.outcome}"
    more = [
        f"{key}={_short(value, wide, most=200)}"
        for key, value in fields.items()
        if key not in (_SAID_BY_ITS_SPAN if node.kind == "note" else _SHOWN_ELSEWHERE)
    ]
    if fields.get("host") and node.kind in ("step", "call", "job", "pass"):
        more.insert(0, f"on {fields['host']}")
    if float(fields.get("waited_ms") or 0) >= _WAITED_MS:
        more.append(f"waited {float(fields['waited_ms']):.1f} ms")
    return text + (f"  {' '.join(more)}" if more else "")


def _short(text: str, wide: bool, *, most: int = 120) -> str:
    text = text.replace("\n", "; ")
    if wide:
        return text
    short = _UUID.sub(lambda found: found[1] or found[3], text)
    return short if len(short) <= most else short[: most - 1] + "…"
