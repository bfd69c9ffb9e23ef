"""`gureum image build`: the guest image. The work is in gureum/guestimage."""

import argparse
import importlib

WORK = "gureum.guestimage.cli"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the image builder."""
    importlib.import_module(WORK).add_parser(parser)


def run(args: argparse.Namespace) -> int:
    """Build an image."""
    return int(importlib.import_module(WORK).run(args))
