"""`gureum logs [PROCESS] [-f]`."""

import argparse
import os
import re
import time
from pathlib import Path

from gureum.cli import place as places
from gureum.cli.place import Place, Unusable


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
        wanted = [args.request]
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


def _choose(place: Place, name: str | None) -> tuple[list[Path], list[str]]:
    """Log files, and what a line must contain."""
    if not os.access(place.log_dir, os.R_OK):
        raise Unusable(f"{place.log_dir} may not be read: run this as root, with sudo")
    there = sorted(place.log_dir.glob("*.log"))
    if not there:
        raise Unusable(f"there is no log in {place.log_dir}; the cloud was never started")
    if name is None:
        return [path for path in there if path.stem != "supervisor"] or there, []
    numbered = re.compile(re.escape(name) + r"(-\d+)?")  # of several processes of one component
    named = [path for path in there if numbered.fullmatch(path.stem)]
    if named:
        return named, []
    from gureum import components

    entry = components.COMPONENTS.get(name)
    if entry is None:
        known = ", ".join([*(path.stem for path in there), *components.COMPONENTS])
        raise Unusable(f"there is no log of {name}; known: {known}")
    halves = [path for path in there if path.stem in (entry.process, "simulated")]
    package = entry.module.rsplit(".", 1)[0]
    return halves, [f" {package}.", f" {package} ", f"={name}"]


def _tail(path: Path, lines: int, wanted: list[str]) -> list[str]:
    """The last matching lines; reads the end of the file, all of it only for a filter."""
    with path.open("rb") as file:
        if not wanted:
            file.seek(max(0, path.stat().st_size - lines * 400))
            if file.tell():
                file.readline()
        text = file.read().decode(errors="replace").splitlines()
    return [line for line in text if _matches(line, wanted)][-lines:]


def _matches(line: str, wanted: list[str]) -> bool:
    return not wanted or any(word in line for word in wanted)


def _print_new(path: Path, position: int, wanted: list[str]) -> int:
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
        for line in text[:end].decode(errors="replace").splitlines():
            if _matches(line, wanted):
                print(line, flush=True)
        position += end
    return position
