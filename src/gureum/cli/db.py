"""`gureum db migrate|status`."""

import argparse

from gureum import components
from gureum.cli import place
from gureum.core import log
from gureum.core.db.migrate import applied, discover
from gureum.core.run import Runtime
from gureum.provision.databases import migrate_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb."""
    place.add_arguments(parser)
    parser.add_argument(
        "verb", choices=("migrate", "status"), help="apply what is missing, or tell what is"
    )


def run(args: argparse.Namespace) -> int:
    """Migrate or tell. To be run as the user of the control process."""
    log.setup("WARNING")
    runtime = Runtime(place.read_config(place.existing(args)), name="db")
    try:
        if args.verb == "migrate":
            lines = migrate_all(runtime)
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
