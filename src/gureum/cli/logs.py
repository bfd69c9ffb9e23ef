"""`gureum logs [PROCESS] [-f]`."""

import argparse
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gureum.cli import place as places
from gureum.cli.place import Place, Unusable
from gureum.core.trace_story import Line, parse

Wanted = Callable[[Line], bool]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which log, and how much of it."""
    places.add_arguments(parser)
    parser.add_argument(
        "name",
        nargs="?",
        help="control, node, simulated, supervisor, or a component: its lines only",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    parser.add_argument("-n", "--lines", type=int, default=50, help="of each log (50)")
    parser.add_argument("--request", metavar="ID", help="only lines with this request id")


def run(args: argparse.Namespace) -> int:
    """Print the end of the logs."""
    place = places.existing(args)
    paths, wanted = _choose(place, args.name)
    if args.request:
        wanted = _both(wanted, lambda line: line.names(args.request))
    positions: dict[Path, int] = {}
    for path in paths:
        if len(paths) > 1:
            print(f"==> {path}")
        for line in _tail(path, args.lines, wanted):
            print(line)
        positions[path] = path.stat().st_size
    while args.follow:
        time.sleep(0.3)
        for path in paths:
            positions[path] = _print_new(path, positions[path], wanted)
    return 0


def _choose(place: Place, name: str | None) -> tuple[list[Path], Wanted | None]:
    """Log files, and which of their lines; None: all."""
    if not os.access(place.log_dir, os.R_OK):
        raise Unusable(f"{place.log_dir} may not be read: run this as root, with sudo")
    there = sorted(place.log_dir.glob("*.log"))
    if not there:
        raise Unusable(f"there is no log in {place.log_dir}; the cloud was never started")
    if name is None:
        return [path for path in there if path.stem != "supervisor"] or there, None
    numbered = re.compile(re.escape(name) + r"(-\d+)?")  # of several processes of one component
    named = [path for path in there if numbered.fullmatch(path.stem)]
    if named:
        return named, None
    from gureum import components
    from gureum.cli.stories import component_of

    entry = components.COMPONENTS.get(name)
    if entry is None:
        known = ", ".join([*(path.stem for path in there), *components.COMPONENTS])
        raise Unusable(f"there is no log of {name}; known: {known}")
    halves = [path for path in there if path.stem in (entry.process, "simulated")]
    if not halves:
        raise Unusable(f"no process of this cloud runs {name}")
    return halves, lambda line: name == component_of(line) or name in line.fields.values()


def _both(one: Wanted | None, other: Wanted) -> Wanted:
    return other if one is None else lambda line: one(line) and other(line)


def _only(texts: Iterable[str], wanted: Wanted | None) -> Iterator[str]:
    """The lines that are wanted, each with the lines of its traceback."""
    follows = wanted is None
    for text in texts:
        line = parse(text) if wanted is not None else None
        if line is not None and wanted is not None:
            follows = wanted(line)
        if follows:
            yield text


def _tail(path: Path, lines: int, wanted: Wanted | None) -> list[str]:
    """The last matching lines; reads the end of the file, all of it only for a filter."""
    with path.open("rb") as file:
        if wanted is None:
            file.seek(max(0, path.stat().st_size - lines * 400))
            if file.tell():
                file.readline()
        text = file.read().decode(errors="replace").splitlines()
    return list(_only(text, wanted))[-lines:]


def _print_new(path: Path, position: int, wanted: Wanted | None) -> int:
    try:
        size = path.stat().st_size
    except FileNotFoundError:  # between two files of a rotation
        return 0
    if size < position:
        position = 0
    if size > position:
        with path.open("rb") as file:
            file.seek(position)
            text = file.read(size - position)
        end = text.rfind(b"\n") + 1
        for line in _only(text[:end].decode(errors="replace").splitlines(), wanted):
            print(line, flush=True)
        position += end
    return position
