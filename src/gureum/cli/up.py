"""`gureum up`: a cloud on this machine, or its continuation where the last run stopped."""

import argparse
import fcntl
import os
import sys
import time

from gureum import presets
from gureum.cli import place as places
from gureum.cli.place import Place, Unusable
from gureum.core.config import CloudOptions
from gureum.provision import cloud as clouds
from gureum.provision import daemons, purge, seed, supervisor
from gureum.provision.cloud import Cloud
from gureum.provision.options import InstallOptions
from gureum.provision.steps import StepFailed
from gureum.provision.steps import run as run_steps
from gureum.testing.ports import ANY_PORTS, free_offset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What kind of cloud, and where."""
    places.add_arguments(parser)
    parser.add_argument(
        "--simulated",
        action="store_true",
        help="the whole API on fake drivers: no root, no packages, no guests",
    )
    parser.add_argument(
        "--ephemeral",
        action="store_true",
        help="start from nothing; with --simulated in memory and in this terminal, gone at Ctrl-C,"
        " else `down` forgets everything",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="each component a process of its own, on a database server, RabbitMQ and memcached"
        " from Debian packages, with ports and folders of their own",
    )
    parser.add_argument(
        "--database", choices=daemons.KINDS, help="of a distributed one (mariadb)"
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="of each API, conductor and scheduler of a distributed one (1)",
    )
    parser.add_argument(
        "--preset", metavar="FILE", help="users, projects, networks and more that it holds (YAML)"
    )
    parser.add_argument(
        "--openrc", metavar="FILE", help="of an ephemeral one: write its credentials there when it is up"
    )
    parser.add_argument(
        "--port-offset",
        type=_offset,
        metavar="N",
        help="added to every API port; `auto` takes free ones",
    )
    parser.add_argument("--address", metavar="IP", help="where the APIs listen (127.0.0.1)")
    parser.add_argument(
        "--name", default="", help="of a cloud beside others; its bridges and namespaces carry it"
    )
    parser.add_argument("--no-image", action="store_true", help="do not build the guest image")
    parser.add_argument("--no-client", action="store_true", help="do not install openstack")


def run(args: argparse.Namespace) -> int:
    """Run every step; the second time it is quick and changes nothing."""
    if args.simulated and args.ephemeral:
        from gureum.cli import ephemeral

        return ephemeral.run(args)
    if (args.database or args.processes) and not args.distributed and not _place(args).exists():
        raise Unusable("--database and --processes go with --distributed")
    if args.processes is not None and not 1 <= args.processes <= 64:
        raise Unusable(f"--processes {args.processes}; give 1 to 64")
    if args.openrc:
        raise Unusable("--openrc goes with --simulated --ephemeral; else use: gureum openrc")
    place = _place(args)
    if not args.simulated and os.geteuid() != 0:
        raise Unusable(
            "real guests and networks need root.\n"
            "Run:  sudo ./gureum up\n"
            "or, without root and without guests:  ./gureum up --simulated"
        )
    preset = _preset(args.preset)
    place.config_dir.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(place):
        cloud = _cloud(args, place)
        cloud.preset = preset
        if args.ephemeral:
            supervisor.stop(place.run_dir)
            purge.forget_state(place)
            cloud.ephemeral = True
        steps = clouds.steps(cloud)
        try:
            seconds = run_steps(steps, cloud)
        except StepFailed as error:
            print(f"\n{error.text}", file=sys.stderr)
            if error.fix:
                print(error.fix, file=sys.stderr)
            print("Then run the same command again: it continues here.", file=sys.stderr)
            return 1
    _tell(cloud, seconds)
    return 0


def _offset(text: str) -> int:
    return ANY_PORTS if text == "auto" else int(text)


def _preset(path: str | None) -> presets.Preset | None:
    """Read before anything is made. Raises: Unusable."""
    if path is None:
        return None
    try:
        return presets.read(path)
    except presets.PresetError as error:
        raise Unusable(f"the preset cannot be used:\n{error}") from error


def _place(args: argparse.Namespace) -> Place:
    named = args.state_dir or os.environ.get("GUREUM_STATE_DIR")
    if named:
        place = places.under(named)
    elif args.simulated:
        place = places.simulated_default()
    elif args.name:
        raise Unusable("a cloud with a --name needs a --state-dir of its own too")
    else:
        place = places.production()
    if len(str(place.run_dir / "metadata_proxy.sock")) > 100:
        raise Unusable(
            f"{place.state_dir} is too long a path for Unix sockets; choose a shorter one"
        )
    return place


def _cloud(args: argparse.Namespace, place: Place) -> Cloud:
    """What was asked now, or what the settings of an existing cloud say."""
    if place.exists():
        config = places.read_config(place)
        options = config.get(CloudOptions)
        install = config.get(InstallOptions)
        _refuse_other_form(args, install, place)
        if install.simulated != args.simulated:
            kind = "simulated" if install.simulated else "real"
            mine = {"simulated": install.simulated}
            raise Unusable(
                f"the cloud in {place.state_dir} is a {kind} one. Start it with:"
                f" {places.command(place, 'up', **mine)}\n"
                "Or use another --state-dir, or remove it:"
                f" {places.command(place, 'down', '--purge', **mine)}"
            )
        cloud = clouds.cloud_from(place, install, options.port_offset, options.address)
        cloud.region = options.region
    else:
        cloud = Cloud(
            place,
            simulated=args.simulated,
            ephemeral=args.ephemeral,
            name=args.name,
            port_offset=free_offset() if args.port_offset == ANY_PORTS else args.port_offset or 0,
            address=args.address or "127.0.0.1",
            distributed=args.distributed,
            database=args.database or daemons.MARIADB,
            processes=args.processes or 1,
        )
    cloud.with_image = not args.no_image
    cloud.with_client = not args.no_client and not args.simulated
    return cloud


def _refuse_other_form(args: argparse.Namespace, install: InstallOptions, place: Place) -> None:
    """A cloud stays as it was made; its settings say how. Raises: Unusable."""
    wrong = []
    if args.distributed and not install.distributed:
        wrong.append("one process (see docs/databases.md to move it: gureum db copy)")
    if args.database and args.database != install.database:
        wrong.append(f"on {install.database}")
    if args.processes and args.processes != install.processes:
        wrong.append(f"with processes = {install.processes} (change it in [install] there)")
    if wrong:
        raise Unusable(f"the cloud of {place.config_file} runs {' and '.join(wrong)}.")


class _one_at_a_time:
    """Two `up` of one cloud would disturb each other."""

    def __init__(self, place: Place) -> None:
        self._path = place.config_dir / "up.lock"

    def __enter__(self) -> None:
        self._held = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unusable("another `gureum up` of this cloud is running") from error

    def __exit__(self, *_: object) -> None:
        os.close(self._held)


def _tell(cloud: Cloud, seconds: float) -> None:
    """The last thing a newcomer reads: what there is and what to type next."""
    print(f"\nThe cloud is up ({seconds:.1f} s, {time.strftime('%H:%M')}).")
    print(f"  APIs      {cloud.auth_url} (Keystone; the others are in its catalogue)")
    if not cloud.simulated:
        outside = cloud.outside
        print(f"  outside   {outside.cidr}, from the namespace `{outside.namespace}`")
        print(f"  image     {seed.IMAGE}, user gureum, password gureum")
    print(f"  settings  {cloud.place.config_file}")
    print(f"  logs      {_command(cloud, 'logs')}")
    print("\nNow:")
    print(f'  eval "$({_command(cloud, "openrc")})"')
    print("  openstack server list")


def _command(cloud: Cloud, verb: str) -> str:
    return places.command(cloud.place, verb, simulated=cloud.simulated)
