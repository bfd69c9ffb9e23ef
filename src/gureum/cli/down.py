"""`gureum down`: stop the cloud; with --purge leave the machine as it was found."""

import argparse
import os
import sys

from gureum.cli import place as places
from gureum.cli.place import Place, Unusable
from gureum.core.config import CloudOptions, ConfigError
from gureum.core.runner import Runner
from gureum.provision import daemons, purge, supervisor
from gureum.provision.network import Outside
from gureum.provision.options import InstallOptions
from gureum.provision.steps import StepFailed
from gureum.provision.steps import run as run_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much goes."""
    places.add_arguments(parser)
    parser.add_argument(
        "--purge",
        action="store_true",
        help="remove guests, networks, data, settings, packages and daemons that `up` brought",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before a purge")
    parser.add_argument("--keep-packages", action="store_true", help="a purge keeps the packages")


def run(args: argparse.Namespace) -> int:
    """Stop the processes; guests and their traffic go on unless purged."""
    place = places.find(args)
    install = _install(place)
    purging = args.purge or install.ephemeral
    if place == places.production() and os.geteuid() != 0 and place.config_dir.exists():
        raise Unusable("the machine's own cloud is stopped by root: sudo ./gureum down")
    if purging and not args.yes and not install.ephemeral and not _sure(place):
        return 1
    try:
        stopped = supervisor.stop(place.run_dir)
    except TimeoutError as error:
        raise Unusable(str(error)) from error
    except PermissionError as error:
        raise Unusable("the cloud is another user's: run this with sudo") from error
    if install.distributed:
        offset = places.read_config(place).get(CloudOptions).port_offset
        ours = daemons.Daemons(place, install.database, offset, "")
        daemons.stop_leftovers(ours, Runner())
    if not purging:
        if stopped:
            more = "" if install.simulated else " Guests and their networks go on."
            again = places.command(place, "up", simulated=install.simulated)
            print(f"The cloud is down.{more} Start it again with: {again}")
        else:
            print("The cloud is not running.")
        return 0
    if not place.config_dir.exists() and not place.state_dir.exists():
        print("There is no cloud here.")
        return 0
    work = purge.Purge(
        place,
        Outside.named(install.name),
        keep_packages=args.keep_packages,
        simulated=install.simulated,
    )
    try:
        run_steps(work.steps(), work)
    except StepFailed as error:
        print(f"\n{error.text}\n{error.fix}", file=sys.stderr)
        return 1
    print("Nothing of the cloud is left.")
    return 0


def _install(place: Place) -> InstallOptions:
    """What the settings say; an unreadable or broken file must not keep a cloud from going."""
    try:
        if place.exists():
            return places.read_config(place).get(InstallOptions)
    except (ConfigError, Unusable, PermissionError):
        pass
    return InstallOptions(simulated=place == places.simulated_default())


def _sure(place: Place) -> bool:
    print(
        f"This removes the cloud in {place.state_dir} with every server, image and network in it."
    )
    if not sys.stdin.isatty():
        print("Nobody is there to ask; add --yes.", file=sys.stderr)
        return False
    try:
        return input("Type yes to go on: ").strip() == "yes"
    except EOFError:
        return False
