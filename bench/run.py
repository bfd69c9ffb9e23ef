"""Measure any cloud that speaks the OpenStack APIs, or two of them side by side.

    python bench/run.py --auth-url http://127.0.0.1:5000/v3 --password PW
    python bench/run.py --auth-url URL_A --password A --auth-url URL_B --password B   # and their ratios

Standard library only. Every figure is the median of the repeats; the JSON holds them all, with the load of
the machine at each. With --pid (once for each server process of the first cloud) the processor time that the
servers spent on each request is a figure too: it says something on a machine that is busy with other things.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from cloud import Cloud, Failed
from drive import Figures
from sections import SECTIONS, Section

LOWER_IS_BETTER = frozenset({"ms", "s", ""})


def ratio(unit: str, first: float, second: float) -> float:
    """Return how many times better the first cloud is than the second."""
    better, worse = (second, first) if unit in LOWER_IS_BETTER else (first, second)
    return better / worse if worse else float("nan")


def measure(cloud: Cloud, pids: list[int], args: argparse.Namespace) -> Figures:
    """Run the sections that the cloud has a service for."""
    figures = Figures(pids)
    for name in args.only.split(","):
        if not cloud.has(name):
            print(f"== {name}: not in the catalogue of {cloud.auth_url}")
            continue
        print(f"== {name} at {cloud.auth_url}, load {os.getloadavg()[0]:.2f}", flush=True)
        before = set(figures.names)
        cloud.login()
        try:
            SECTIONS[name](Section(cloud, figures, args.repeat, args.seconds))
        except (Failed, OSError, KeyError, ValueError) as error:
            print(f"  ! {name} stopped: {error!r}", file=sys.stderr)
        show(figures.result(), before)
    return figures


def show(rows: dict[str, dict[str, Any]], but: set[str]) -> None:
    """Print new figures."""
    for name, row in rows.items():
        if name not in but:
            errors = f"  errors: {row['errors']}" if row["errors"] else ""
            spread = f"({row['low']:.2f} to {row['high']:.2f})"
            print(f"  {name:64} {row['median']:10.2f} {row['unit']:6} {spread}{errors}", flush=True)


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    """Print and return the ratios of what both clouds have."""
    print("== first cloud against second: times better")
    found = {}
    for name, row in first.items():
        if name in second and row["unit"]:
            found[name] = ratio(row["unit"], row["median"], second[name]["median"])
            print(f"  {name:64} {found[name]:8.1f} x")
    return found


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--auth-url", action="append", required=True, help="once or twice")
    parser.add_argument("--password", action="append", required=True, help="as often as --auth-url")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--project", default="admin")
    parser.add_argument("--domain", default="Default")
    parser.add_argument("--only", default=",".join(SECTIONS), help="kinds of services")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of runs that read")
    parser.add_argument("--pid", type=int, action="append", default=[])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if len(args.auth_url) != len(args.password) or len(args.auth_url) > 2:
        parser.error("give one or two --auth-url, and a --password for each")
    unknown = set(args.only.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown sections: {', '.join(sorted(unknown))}")
    began = time.time()
    clouds = []
    for index, (url, password) in enumerate(zip(args.auth_url, args.password, strict=True)):
        cloud = Cloud(url, args.user, password, args.project, args.domain)
        figures = measure(cloud, args.pid if index == 0 else [], args)
        clouds.append({"auth_url": url, "figures": figures.result()})
    document: dict[str, Any] = {
        "began": began,
        "seconds": time.time() - began,
        "repeat": args.repeat,
        "processors": os.cpu_count(),
        "clouds": clouds,
    }
    if len(clouds) == 2:
        document["ratios"] = compare(clouds[0]["figures"], clouds[1]["figures"])
    if args.json is not None:
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
