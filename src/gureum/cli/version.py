"""`gureum version`."""

import argparse
import platform

from gureum import __version__


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the version of the program and of its Python."""
    print(f"gureum {__version__} (Python {platform.python_version()})")
    return 0
