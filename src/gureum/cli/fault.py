"""`gureum fault fail|delay|silence|list|clear`: what goes wrong in a simulated cloud, while it runs."""

import argparse
import json
from pathlib import Path

import msgspec

from gureum.cli import place as places
from gureum.cli.place import Unusable
from gureum.cli.table import table
from gureum.core.faults import (
    BadRule,
    FaultBook,
    SimulatedOptions,
    add_rule_arguments,
    from_arguments,
)
from gureum.provision.options import InstallOptions
from gureum.testing.points import POINTS, check


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command with its verbs."""
    known = "; ".join(f"{name}: {', '.join(verbs)}" for name, verbs in POINTS.items())
    parser = commands.add_parser(
        "fault",
        help="let a simulated cloud's work fail, be slow or stop",
        description="Let a simulated cloud's work fail, be slow or stop.",
        epilog=f"Components and their verbs: {known}.",
    )
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_rule_arguments(verbs)
    listing = verbs.add_parser("list", help="the faults to come")
    listing.add_argument("--json", action="store_true", help="for programs")
    clearing = verbs.add_parser("clear", help="forget one, or all; what is held up goes on")
    clearing.add_argument("id", nargs="?")
    for verb in verbs.choices.values():
        places.add_arguments(verb)
        verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Change or tell the rules. Whoever may write into the cloud's folder may do this."""
    config = places.read_config(places.existing(args))
    if not config.get(InstallOptions).simulated:
        raise Unusable("this cloud is a real one; only fake drivers fail on demand")
    book = FaultBook(Path(config.get(SimulatedOptions).faults_file))
    if args.action == "list":
        _list(book, as_json=args.json)
    elif args.action == "clear":
        gone = book.clear(args.id)
        if args.id and not gone:
            raise Unusable(f"no fault has the id {args.id}; see: gureum fault list")
        print(f"{gone} cleared")
    else:
        try:
            rule = book.add(check(from_arguments(args)))
        except BadRule as error:
            raise Unusable(str(error)) from error
        print(f"{rule.id}  {rule.words()}")
    return 0


def _list(book: FaultBook, *, as_json: bool) -> None:
    rules = book.rules()
    if as_json:
        print(json.dumps(msgspec.to_builtins(rules), indent=2))
    elif rules:
        rows = [[rule.id, rule.words(), rule.seen, rule.hits] for rule in rules]
        print(table(["id", "fault", "calls seen", "disturbed"], rows))
    else:
        print("no fault is to come")
