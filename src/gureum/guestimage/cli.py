"""`gureum image build`.

Owns: its arguments and what it prints. Must not: build anything itself.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from gureum.core.runner import CommandError, Runner
from gureum.guestimage.build import build
from gureum.guestimage.packages import PackagesUnavailable

_STATE_DIR = Path("/var/lib/gureum")


def default_output(state_dir: Path) -> Path:
    """Return where the image of this installation lies."""
    return state_dir / "guest-image" / "gureum-guest.qcow2"


def add_parser(subparsers: Any) -> None:
    """Add `image build` to the program's commands."""
    image = subparsers.add_parser("image", help="make the guest test image")
    commands = image.add_subparsers(dest="image_command", required=True)
    parser = commands.add_parser(
        "build", help="build the bootable test image from Debian packages; needs no root"
    )
    parser.add_argument("--output", type=Path, help="the qcow2 file to write")
    parser.add_argument("--cache", type=Path, help="where downloaded packages are kept")
    parser.add_argument("--state-dir", type=Path, default=_STATE_DIR, help=argparse.SUPPRESS)
    parser.add_argument(
        "--triple",
        action="store_true",
        help="also write the same guest as .ami, .aki and .ari (disk, kernel, ramdisk)",
    )
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Build the image and print where it is."""
    output = args.output or default_output(args.state_dir)
    cache = args.cache or output.parent / "cache"
    try:
        files = build(Runner(), output, cache, triple=args.triple, force=args.force)
    except (PackagesUnavailable, CommandError, OSError) as error:
        print(f"gureum image build: {error}", file=sys.stderr)
        return 1
    for path in (files.qcow2, *((files.ami, files.aki, files.ari) if args.triple else ())):
        print(f"{path} {path.stat().st_size // 1024} KiB")
    return 0
