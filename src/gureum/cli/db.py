"""`gureum db migrate|bootstrap|status`."""

import argparse

from gureum import components
from gureum.cli import place
from gureum.core import log
from gureum.core.db.migrate import applied, discover
from gureum.core.run import Runtime
from gureum.provision import daemons
from gureum.provision.databases import bootstrap_all, migrate_all, names
from gureum.provision.options import InstallOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb."""
    place.add_arguments(parser)
    parser.add_argument(
        "verb",
        choices=("migrate", "bootstrap", "status"),
        help="apply what is missing; do so and make the first rows; tell what is missing",
    )


def run(args: argparse.Namespace) -> int:
    """Migrate or tell. To be run as the user of the control process."""
    log.setup("WARNING")
    runtime = Runtime(place.read_config(place.existing(args)), name="db")
    try:
        if args.verb == "bootstrap":
            _make_databases(runtime)
        if args.verb in ("migrate", "bootstrap"):
            lines = migrate_all(runtime)
            if args.verb == "bootstrap":
                bootstrap_all(runtime)
            print("\n".join(lines) if lines else "every database is up to date")
            return 0
        for service in components.services():
            for spec in service.databases:
                database = runtime.database(spec.name)
                with database.write() as tx:
                    have = applied(tx)
                known = {step.number for step in discover(spec.migrations)}
                missing = sorted(known - have)
                state = f"missing {missing}" if missing else "up to date"
                print(f"{spec.name:14} {len(have)} of {len(known)} migrations, {state}")
    finally:
        runtime.close()
    return 0


def _make_databases(runtime: Runtime) -> None:
    """Of a PostgreSQL server that `up` runs; MariaDB makes its own at its start."""
    install = runtime.config.get(InstallOptions)
    if install.distributed and install.database == daemons.POSTGRESQL:
        ours = daemons.Daemons(
            place.under(runtime.cloud.state_dir),
            install.database,
            runtime.cloud.port_offset,
            install.daemon_password,
        )
        daemons.make_postgresql_databases(ours, names())
