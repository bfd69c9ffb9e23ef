"""`gureum config sample|check|show`."""

import argparse
from pathlib import Path

from gureum import components
from gureum.cli import place
from gureum.core.config import load
from gureum.core.config_docs import dump, sample_toml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three verbs and the file."""
    place.add_arguments(parser)
    parser.add_argument(
        "verb",
        choices=("sample", "check", "show"),
        help="sample: every option with its text; check: say what is wrong; show: values in force",
    )
    parser.add_argument("file", nargs="*", type=Path, help="instead of the cloud's own files")


def run(args: argparse.Namespace) -> int:
    """Print or check. A wrong configuration is exit code 1, with every problem told."""
    if args.verb == "sample":
        print(sample_toml(components.sections()), end="")
        return 0
    if args.file:
        config = load(args.file, components.sections())
        shown = ", ".join(str(path) for path in args.file)
        for warning in config.warnings:
            print(f"warning: {warning}")
    else:
        where = place.existing(args)
        config = place.read_config(where)
        shown = f"{where.config_file} and {where.secrets_file}"
    print(f"{shown}: fine" if args.verb == "check" else dump(config))
    return 0
