"""`gureum audit`: what stands in databases, services or on nodes only, and mending it."""

import argparse
import json
import sys

from gureum.audit.open import open_world
from gureum.audit.run import BLIND, SETTLE_S, Report, audit
from gureum.cli import place
from gureum.cli.table import table
from gureum.core import log
from gureum.core.config import Config
from gureum.core.run import BusOptions, Runtime
from gureum.provision import supervisor

GRACE_S = 30.0
EPILOG = (
    "Exit code: 0 nothing is wrong, 1 findings, 2 something could not be looked at. "
    "What a running verb owns is never touched."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cloud, and whether to mend."""
    place.add_arguments(parser)
    parser.epilog = EPILOG
    parser.add_argument("--repair", action="store_true", help="mend what is found")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--grace",
        type=float,
        default=GRACE_S,
        metavar="SECONDS",
        help=f"leave alone what is younger (default {GRACE_S:g})",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=SETTLE_S,
        metavar="SECONDS",
        help=f"time until the second look, which has to agree (default {SETTLE_S:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Look, and with --repair mend. To be run as root or as the user of the control process."""
    log.setup("ERROR")
    where = place.existing(args)
    config = place.read_config(where)
    if config.get(BusOptions).transport_url.startswith("local:") and (
        supervisor.running_pid(where.run_dir) is None
    ):
        report = Report(silent=("the cloud does not run; start it with: gureum up",))
    else:
        report = _look(config, args)
    if args.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _show(report, repair=args.repair)
    return report.code


def _look(config: Config, args: argparse.Namespace) -> Report:
    runtime = Runtime(config, name="audit", bus_role="leaf")
    try:
        world = open_world(runtime, args.grace)
        return audit(world, repair=args.repair, settle_s=args.settle)
    finally:
        runtime.close()


def _show(report: Report, *, repair: bool) -> None:
    for one in report.mended:
        print(f"mended: {one.kind} {one.id} ({one.where}): {one.why}")
    if report.findings:
        head = ["kind", "id", "where", "why", "left to do" if repair else "repair would"]
        rows = [[one.kind, one.id, one.where, one.why, one.repair] for one in report.findings]
        print(table(head, rows))
    for text in report.failed:
        print(f"could not mend: {text}", file=sys.stderr)
    for text in report.silent:
        print(f"could not look: {text}", file=sys.stderr)
    if report.code == BLIND:
        print("The audit did not see everything: start what is down, then run it again.")
    elif not report.findings:
        print("Nothing is wrong: databases, services and nodes agree.")
    elif not repair:
        print(f"{len(report.findings)} findings. Mend them with: gureum audit --repair")
