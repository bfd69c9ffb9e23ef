"""`gureum node`: the components of a compute and network node, as root."""

import argparse

from gureum import components
from gureum.cli import place
from gureum.cli import run as run_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing but where the cloud is and how the process stands among others."""
    place.add_arguments(parser)
    run_command.add_process_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run every node component in this process until a signal."""
    names = components.names(components.NODE)
    if not names:
        raise place.Unusable("no node component is installed")
    return run_command.run_process(args, place.read_config(place.existing(args)), names)
