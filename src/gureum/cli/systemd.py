"""`gureum systemd units --out DIR`: unit files for machines where systemd runs the components."""

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

from gureum import components
from gureum.cli import place as places
from gureum.cli import run as run_command
from gureum.cli.place import Place, Unusable
from gureum.core.run import BusOptions
from gureum.core.runner import Runner
from gureum.provision import host, units


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command with its verb."""
    text = "unit files for machines where systemd runs the components"
    parser = commands.add_parser("systemd", help=text, description=text[0].upper() + text[1:] + ".")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    making = verbs.add_parser("units", help="write them, and let systemd-analyze check them")
    making.add_argument("name", nargs="*", help="components, or control or node (both halves)")
    making.add_argument("--out", required=True, metavar="DIR", type=Path, help="where to write them")
    making.add_argument(
        "--processes", type=int, default=1, metavar="N", help="of each API, conductor and scheduler"
    )
    making.add_argument("--user", default=host.USER, help=f"of the control components ({host.USER})")
    making.add_argument(
        "--python", default=sys.executable, help="interpreter that has Gureum installed"
    )
    places.add_arguments(making)
    making.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the units. Exit code 1 when systemd-analyze finds them bad."""
    if not 1 <= args.processes <= 64:
        raise Unusable(f"--processes {args.processes}; give 1 to 64")
    place = places.under(args.state_dir) if args.state_dir else places.production()
    _check_bus(place)
    wanted = run_command.expand(args.name or [components.CONTROL, components.NODE])
    layout = units.Layout(place, args.python, args.user, args.processes)
    files = units.units(layout, wanted)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (args.out / name).write_text(text)
        print(args.out / name)
    good, said = units.verify(Runner(), args.out, [n for n in files if n.endswith(".service")])
    if good is False:
        print(f"systemd-analyze says:\n{said}", file=sys.stderr)
        return 1
    print(said or "systemd-analyze finds nothing wrong.")
    print(f"\nCopy them to /etc/systemd/system, then: systemctl enable --now {units.TARGET}")
    return 0


def _check_bus(place: Place) -> None:
    """Processes of several units need a bus that none of them hosts. Raises: Unusable."""
    try:
        if not place.exists():
            return
    except PermissionError:
        return
    url = places.read_config(place).get(BusOptions).transport_url
    if urlsplit(url.split(",", 1)[0]).scheme == "local":
        raise Unusable(
            f"the bus of {place.config_file} is inside one process; components under systemd need\n"
            'RabbitMQ: set transport_url = "rabbit://user:password@host:5672/" in [bus]'
        )
