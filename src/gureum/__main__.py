"""The program: `gureum COMMAND …`.

Owns: the list of commands and what an error looks like to the caller. A command is one file in
gureum/cli. Must not: import a command that was not asked for.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from gureum import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("gureum.cli.up", "make a cloud on this machine, or continue where it stopped"),
    "down": ("gureum.cli.down", "stop the cloud; guests keep running"),
    "status": ("gureum.cli.status", "what runs, where, and how well"),
    "logs": ("gureum.cli.logs", "read the logs"),
    "top": ("gureum.cli.top", "operations, verbs under way, agents and memory, live"),
    "trace": ("gureum.cli.trace", "the whole story of a request, or of a server"),
    "doctor": ("gureum.cli.doctor", "what is wrong here, and the command that mends it"),
    "openrc": ("gureum.cli.openrc", "shell variables for the openstack client"),
    "run": ("gureum.cli.run", "run components in this process"),
    "node": ("gureum.cli.node", "run the components of a compute and network node"),
    "db": ("gureum.cli.db", "databases: migrate, status"),
    "audit": ("gureum.cli.audit", "compare databases with what nodes and stores hold, and mend it"),
    "fault": ("gureum.cli.fault", "let a simulated cloud's work fail, be slow or stop"),
    "systemd": ("gureum.cli.systemd", "unit files for machines where systemd runs the components"),
    "saga": ("gureum.cli.saga", "verbs under way: list, show, retry, skip, cancel"),
    "config": ("gureum.cli.config", "settings: sample, check, show"),
    "keystone": ("gureum.cli.keystone", "identity: the keys of tokens and stored secrets"),
    "image": ("gureum.guestimage.cli", "build the guest image"),
    "docs": ("gureum.cli.docs", "write the generated pages, or check them"),
    "test": ("gureum.cli.test", "run the tests"),
    "version": ("gureum.cli.version", "which version this is"),
}


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the chosen command's own arguments are loaded."""
    parser = argparse.ArgumentParser(
        prog="gureum",
        description="A private OpenStack cloud in one program.",
        epilog='Start with: ./gureum up   Then: eval "$(./gureum openrc)"; openstack server list',
    )
    parser.add_argument("--version", action="version", version=f"gureum {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        loaded = importlib.import_module(module) if name == chosen else None
        if loaded is not None and hasattr(loaded, "add_parser"):
            loaded.add_parser(commands)  # it has commands of its own below
            continue
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if loaded is not None:
            loaded.add_arguments(sub)
            sub.set_defaults(run=loaded.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in words if not word.startswith("-")), None)
    args = build_parser(chosen if chosen in COMMANDS else None).parse_args(words)
    from gureum.cli.place import Unusable, explain
    from gureum.core.config import ConfigError

    try:
        return int(args.run(args))
    except Unusable as error:
        print(f"gureum: {error}", file=sys.stderr)
        return 1
    except ConfigError as error:
        print(f"gureum: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:  # `gureum logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
