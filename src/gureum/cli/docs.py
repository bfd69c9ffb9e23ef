"""`gureum docs generate|check`: the generated pages of this clone."""

import argparse

from gureum.cli.place import Unusable
from gureum.pages import pages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb."""
    parser.add_argument("verb", choices=("generate", "check"), nargs="?", default="check")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Write the pages that changed, or name them with exit code 1."""
    try:
        docs = pages.clone() / "docs"
    except pages.NoClone as error:
        raise Unusable(str(error)) from error
    if args.verb == "generate" and not args.check:
        changed = pages.generate(docs)
        print("\n".join(f"written: docs/{name}" for name in changed) or "all pages are up to date")
        return 0
    old = sorted(pages.differing(docs))
    if old:
        print("\n".join(f"out of date: docs/{name}" for name in old))
        print("mend it with: ./gureum docs generate")
        return 1
    print("all pages are up to date")
    return 0
