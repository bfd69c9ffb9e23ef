"""Where a cloud lives on this machine, and how a command finds it.

Owns: the folders of a cloud, its config files, the `--state-dir` and `--config` arguments.
Must not: start anything.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from gureum.core.config import Config, ConfigError, load

PRODUCTION_STATE = Path("/var/lib/gureum")


class Unusable(Exception):
    """A command cannot do what was asked; the text says why and what to do. Exit code 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one cloud."""

    state_dir: Path
    config_dir: Path
    run_dir: Path
    log_dir: Path

    @property
    def config_file(self) -> Path:
        """Settings, readable by the control process."""
        return self.config_dir / "gureum.toml"

    @property
    def secrets_file(self) -> Path:
        """Passwords; read after the settings."""
        return self.config_dir / "secrets.toml"

    @property
    def is_production(self) -> bool:
        """Whether this is the machine's own cloud and not one beside it."""
        return self.state_dir == PRODUCTION_STATE

    def exists(self) -> bool:
        """Whether `gureum up` made settings here."""
        return self.config_file.exists()


def production() -> Place:
    """The folders of the machine's own cloud."""
    return Place(
        PRODUCTION_STATE, Path("/etc/gureum"), Path("/run/gureum"), Path("/var/log/gureum")
    )


def under(state_dir: str | Path) -> Place:
    """The folders of a cloud that lives whole in one folder."""
    root = Path(state_dir).expanduser().absolute()
    return Place(root, root / "etc", root / "run", root / "log")


def simulated_default() -> Place:
    """Where `gureum up --simulated` keeps its state unless told otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return under(Path(base) / "gureum")


def launcher() -> str:
    """What the user types: the file of a clone, or the installed command."""
    named = os.environ.get("GUREUM_LAUNCHER")
    return "./" + os.path.basename(named) if named else "gureum"


def command(place: Place, verb: str, *words: str, simulated: bool = False) -> str:
    """What the person at the keyboard types for this cloud, ready to be pasted."""
    line = [launcher(), verb]
    if not simulated and os.geteuid() == 0 and os.environ.get("SUDO_UID"):
        line.insert(0, "sudo")
    if verb == "up" and simulated:
        line.append("--simulated")
    if place != find(argparse.Namespace(state_dir=None)) or os.environ.get("GUREUM_STATE_DIR"):
        line += ["--state-dir", str(place.state_dir)]
    return " ".join([*line, *words])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which cloud a command is about."""
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        help="the cloud in this folder, instead of the machine's own (also $GUREUM_STATE_DIR)",
    )


def find(args: argparse.Namespace) -> Place:
    """The cloud a command is about: the one named, else the machine's, else the simulated one."""
    named = getattr(args, "state_dir", None) or os.environ.get("GUREUM_STATE_DIR")
    if named:
        return under(named)
    machine = production()
    if machine.config_dir.exists():
        return machine
    simulated = simulated_default()
    return simulated if simulated.exists() else machine


def existing(args: argparse.Namespace) -> Place:
    """`find`, for commands that need a cloud. Raises: Unusable."""
    place = find(args)
    try:
        there = place.exists()
    except PermissionError as error:
        raise Unusable(
            f"{place.config_dir} may not be read: run this as root, with sudo"
        ) from error
    if not there:
        raise Unusable(
            f"there is no cloud in {place.state_dir} ({place.config_file} is missing).\n"
            "Make one with: ./gureum up        (real guests, needs root)\n"
            "           or: ./gureum up --simulated   (no root, no guests)"
        )
    return place


def read_config(place: Place, extra: tuple[Path, ...] = ()) -> Config:
    """The settings of a cloud, checked. Raises: ConfigError, Unusable."""
    from gureum import components  # imports much that other commands do not need

    paths = [place.config_file, *extra]
    if place.secrets_file.exists():
        if not os.access(place.secrets_file, os.R_OK):
            raise Unusable(f"{place.secrets_file} may not be read: run this as root, with sudo")
        paths.append(place.secrets_file)
    config = load(paths, components.sections())
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return config


def explain(error: ConfigError) -> str:
    """Every problem on a line of its own."""
    count = len(error.problems)
    head = "1 problem" if count == 1 else f"{count} problems"
    return "\n".join([f"the configuration has {head}:", *(f"  {p}" for p in error.problems)])
