"""`gureum db migrate|bootstrap|status|copy`."""

import argparse
import os

from gureum import components
from gureum.cli import place
from gureum.core import log
from gureum.core.config_docs import toml_value
from gureum.core.db import Database
from gureum.core.db.errors import DatabaseError
from gureum.core.db.migrate import applied, discover
from gureum.core.run import Runtime
from gureum.provision import daemons, db_copy, supervisor
from gureum.provision.databases import bootstrap_all, migrate_all, names
from gureum.provision.options import InstallOptions


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command with its verbs."""
    text = "databases: migrate, status, copy to another server"
    parser = commands.add_parser("db", help=text, description=text[0].upper() + text[1:] + ".")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("migrate", help="apply what is missing")
    verbs.add_parser("bootstrap", help="apply what is missing and make the first rows")
    verbs.add_parser("status", help="tell what is missing")
    copying = verbs.add_parser("copy", help="all rows of a stopped cloud into empty databases")
    copying.add_argument(
        "--to", required=True, metavar="URL", help="with {service} for the name of each database"
    )
    copying.add_argument(
        "--from",
        dest="source",
        metavar="URL",
        help="with {service}, or the folder of SQLite files (what the cloud's settings say)",
    )
    copying.add_argument("--resume", action="store_true", help="go on with a copy that was stopped")
    copying.add_argument(
        "--batch", type=int, default=db_copy.BATCH, metavar="N", help="rows a transaction (500)"
    )
    for verb in verbs.choices.values():
        place.add_arguments(verb)
        verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Migrate or tell. To be run as the user of the control process."""
    log.setup("WARNING")
    if args.verb == "copy":
        return _copy(args)
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


def _copy(args: argparse.Namespace) -> int:
    """Copy every database; nothing may write meanwhile. Raises: place.Unusable."""
    if args.batch < 1:
        raise place.Unusable(f"--batch {args.batch}; give 1 or more")
    _check_url(args.to)
    where = place.existing(args)
    if supervisor.running_pid(where.run_dir) is not None:
        raise place.Unusable("the cloud runs and would go on writing; stop it first: gureum down")
    runtime = Runtime(place.read_config(where), name="db-copy")
    databases: list[Database] = []

    def opened(url: str) -> Database:
        databases.append(Database(url, pool_size=2))
        return databases[-1]

    try:
        copied = 0
        targets: list[Database] = []
        for service in components.services():
            for spec in service.databases:
                source = opened(_source(args.source, spec.name) or runtime.database_url(spec.name))
                targets.append(opened(args.to.replace("{service}", spec.name)))
                done = db_copy.copy(spec, source, targets[-1], resume=args.resume, batch=args.batch)
                more = f" ({done.resumed_from} were there)" if done.resumed_from else ""
                print(
                    f"{done.name:14} {done.rows} rows in {len(done.tables)} tables{more},"
                    f" counts and checksums agree, {done.seconds:.1f} s",
                    flush=True,
                )
                copied += done.rows
        for target in targets:
            db_copy.forget(target)
    except db_copy.CopyFailed as error:
        raise place.Unusable(str(error)) from error
    except DatabaseError as error:
        raise place.Unusable(f"{error}\nThen go on with the same command and --resume") from error
    finally:
        for database in databases:
            database.close()
        runtime.close()
    print(f"\n{copied} rows are copied. Put into {where.secrets_file}, then start the cloud again:\n")
    print("[database]\nconnection = " + toml_value(args.to))
    return 0


def _source(given: str | None, name: str) -> str:
    if not given:
        return ""
    if "://" in given:
        return given.replace("{service}", name)
    path = os.path.join(os.path.abspath(given), f"{name}.sqlite")
    if not os.path.exists(path):
        raise place.Unusable(f"{path} is not there; --from takes the folder of the SQLite files")
    return f"sqlite:///{path}"


def _check_url(url: str) -> None:
    """Raises: place.Unusable."""
    if "{service}" not in url:
        raise place.Unusable("--to needs {service} in it: each service's rows have a database of their own")
    if url.startswith(("mysql", "mariadb")) and "charset=utf8mb4" not in url:
        raise place.Unusable("--to a MariaDB needs ?charset=utf8mb4 at its end")
