"""The database server, the broker and memcached of `gureum up --distributed`, from Debian packages.

Owns: their folders, settings, ports and first start; the supervisor keeps them running as its children.
Must not: touch a server of this machine: every port, folder, socket and cookie is the cloud's own, and
all of them listen at 127.0.0.1 only.
Follows: mariadbd and mariadb-install-db, postgres and initdb, rabbitmq-server (environment variables
and rabbitmq.conf), memcached: their manual pages.
"""

import os
import pwd
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from gureum.cli.place import Place
from gureum.core.runner import CommandError, Runner
from gureum.provision.runtime import readable_by
from gureum.provision.steps import Progress, StepFailed
from gureum.provision.supervisor import Child

MARIADB, POSTGRESQL = "mariadb", "postgresql"
KINDS = (MARIADB, POSTGRESQL)

PORTS = {MARIADB: 3316, POSTGRESQL: 5442, "rabbitmq": 5682, "rabbitmq-dist": 5683, "epmd": 4379,
         "memcached": 9311}  # fmt: skip
"""Before the cloud's offset; none is one that the packages' own services use."""

ACCOUNTS = {MARIADB: "mysql", POSTGRESQL: "postgres", "rabbitmq": "rabbitmq", "memcached": "memcache"}
"""Whom root lets a daemon run as; anybody else runs it himself."""

PACKAGES = {
    MARIADB: {"mariadb-server": "every service's rows"},
    POSTGRESQL: {"postgresql": "every service's rows"},
}
COMMON_PACKAGES = {
    "memcached": "what is known of tokens, shared by all processes",
    "rabbitmq-server": "messages between processes",
}

_USER = "gureum"
_INSTALL_S = 120.0


@dataclass(frozen=True, slots=True)
class Daemons:
    """The daemons of one cloud. password: of the user `gureum` of the database and of the broker."""

    place: Place
    kind: str
    port_offset: int
    password: str

    def __repr__(self) -> str:
        return f"Daemons({self.kind!r} in {str(self.home)!r})"

    @property
    def home(self) -> Path:
        """The folder of all of them."""
        return self.place.state_dir / "daemons"

    def port(self, name: str) -> int:
        """Where one listens."""
        return PORTS[name] + self.port_offset

    @property
    def names(self) -> tuple[str, ...]:
        """The daemons, in starting order."""
        return (self.kind, "rabbitmq", "memcached")

    @property
    def database_url(self) -> str:
        """The connection of every service."""
        at = f"{_USER}:{self.password}@127.0.0.1:{self.port(self.kind)}"
        if self.kind == MARIADB:
            return f"mysql+pymysql://{at}/gureum_{{service}}?charset=utf8mb4"
        return f"postgresql+psycopg://{at}/gureum_{{service}}"

    @property
    def transport_url(self) -> str:
        """The bus."""
        return f"rabbit://{_USER}:{self.password}@127.0.0.1:{self.port('rabbitmq')}//"

    @property
    def cache_server(self) -> str:
        """memcached's address."""
        return f"127.0.0.1:{self.port('memcached')}"


def program(*names: str) -> str | None:
    """Find a program of the packages, whose folders are not all in PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/rabbitmq/bin", *map(str, newest)]
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(places))
        if found:
            return found
    return None


def missing(kind: str) -> list[str]:
    """The Debian packages whose programs are not on this machine."""
    needs = {
        "mariadb-server": ("mariadbd", "mariadb-install-db"),
        "postgresql": ("postgres", "initdb"),
        "rabbitmq-server": ("rabbitmq-server",),
        "memcached": ("memcached",),
    }
    wanted = (*PACKAGES[kind], *COMMON_PACKAGES)
    return [name for name in wanted if any(program(one) is None for one in needs[name])]


def account(name: str) -> str | None:
    """The user that root starts a daemon as; None for anybody else. Raises: StepFailed."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(ACCOUNTS[name])
    except KeyError as error:
        raise StepFailed(
            f"the user {ACCOUNTS[name]} is missing, whom {name} runs as",
            "Its Debian package makes it: install that again",
        ) from error
    return ACCOUNTS[name]


def prepare(daemons: Daemons, databases: list[str], runner: Runner, progress: Progress) -> str:
    """Folders, settings and empty databases of a first start. Raises: StepFailed."""
    made: list[str] = []
    if not daemons.home.exists():
        daemons.home.mkdir(mode=0o711)
    os.chmod(daemons.home, 0o711)
    _check_way_in(daemons)
    for name in daemons.names:
        folder = daemons.home / name
        if not folder.exists():
            folder.mkdir(mode=0o700)
            _give(folder, name)
    if not (daemons.home / daemons.kind / "data").exists():
        progress.at(f"making the data folder of {daemons.kind}")
        _make_data(daemons, runner)
        made.append(daemons.kind)
    if daemons.kind == MARIADB:
        _write(daemons, MARIADB, "init.sql", _mariadb_sql(daemons, databases))
    _write(daemons, "rabbitmq", "rabbitmq.conf", _rabbit_settings(daemons))
    return f"{', '.join(daemons.names)}{': data of ' + made[0] + ' made' if made else ''}"


def _check_way_in(daemons: Daemons) -> None:
    """Raises: StepFailed when a daemon's user may not pass through the folders above its own."""
    for name in daemons.names:
        owner = account(name)
        if owner is not None and not readable_by(owner, daemons.home):
            raise StepFailed(
                f"the user {owner}, whom {name} runs as, may not pass through to {daemons.home}",
                "Choose a --state-dir whose folders others may pass through, such as one in /srv",
            )


def _give(path: Path, name: str) -> None:
    owner = account(name)
    if owner is not None:
        entry = pwd.getpwnam(owner)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _write(daemons: Daemons, name: str, file: str, text: str) -> None:
    path = daemons.home / name / file
    part = path.with_name(path.name + ".new")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    _give(part, name)
    os.replace(part, path)


def _make_data(daemons: Daemons, runner: Runner) -> None:
    folder = daemons.home / daemons.kind
    half = folder / "data.new"  # a run that was stopped left half a folder
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    _give(half, daemons.kind)
    password = folder / "password"
    if daemons.kind == MARIADB:
        words = [
            program("mariadb-install-db") or "mariadb-install-db", "--no-defaults",
            f"--datadir={half}", "--skip-test-db", "--auth-root-authentication-method=socket",
        ]  # fmt: skip
    else:
        _write(daemons, POSTGRESQL, "password", daemons.password)
        words = [
            program("initdb") or "initdb", "-D", str(half), "-U", _USER, "-E", "UTF8",
            "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password}",
        ]  # fmt: skip
    try:
        runner.run(_as(daemons.kind, words), timeout_s=_INSTALL_S, cwd=str(folder))
    except CommandError as error:
        text = f"{daemons.kind} could not make its data folder"
        raise StepFailed(text, str(error)[-800:]) from error
    finally:
        password.unlink(missing_ok=True)
    os.replace(half, folder / "data")


def _as(name: str, words: list[str]) -> list[str]:
    owner = account(name)
    if owner is None:
        return words
    return ["setpriv", f"--reuid={owner}", f"--regid={_group(owner)}", "--clear-groups", "--", *words]


def _group(owner: str) -> int:
    return pwd.getpwnam(owner).pw_gid


def _mariadb_sql(daemons: Daemons, databases: list[str]) -> str:
    """What the server runs at each start, before it takes connections. One statement a line."""
    lines = [
        f"CREATE DATABASE IF NOT EXISTS gureum_{name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"
        for name in databases
    ]
    for host in ("localhost", "127.0.0.1"):
        lines += [
            f"CREATE USER IF NOT EXISTS '{_USER}'@'{host}' IDENTIFIED BY '{daemons.password}';",
            f"GRANT ALL PRIVILEGES ON `gureum\\_%`.* TO '{_USER}'@'{host}';",
        ]
    return "\n".join(lines) + "\n"


def _rabbit_settings(daemons: Daemons) -> str:
    return (
        f"listeners.tcp.1 = 127.0.0.1:{daemons.port('rabbitmq')}\n"
        f"default_user = {_USER}\n"
        f"default_pass = {daemons.password}\n"
    )


def children(daemons: Daemons) -> list[Child]:
    """What the supervisor runs."""
    make = {MARIADB: _mariadb, POSTGRESQL: _postgresql, "rabbitmq": _rabbitmq,
            "memcached": _memcached}  # fmt: skip
    found = []
    for name in daemons.names:
        words, env = make[name](daemons)
        ends = signal.SIGINT if name == POSTGRESQL else signal.SIGTERM  # INT: cut connections
        found.append(
            Child(
                name,
                # A daemon that outlived a killed supervisor would hold its ports and its data.
                ["setpriv", "--pdeathsig", ends.name[3:], "--", *words],
                str(daemons.place.log_dir / f"{name}.log"),
                str(daemons.place.run_dir / f"{name}.ready"),
                account(name),
                {"HOME": str(daemons.home / name), "LC_ALL": "C.UTF-8", **env},
                port=daemons.port(name),
                stage=0,
                own=False,
                stop_signal=ends,
            )
        )
    return found


def _mariadb(daemons: Daemons) -> tuple[list[str], dict[str, str]]:
    home = daemons.home / MARIADB
    return [
        program("mariadbd") or "mariadbd",
        "--no-defaults",
        f"--datadir={home}/data",
        f"--socket={home}/mariadb.sock",
        f"--pid-file={home}/mariadb.pid",
        f"--tmpdir={home}",
        f"--init-file={home}/init.sql",
        "--bind-address=127.0.0.1",
        f"--port={daemons.port(MARIADB)}",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--max-connections=2000",
        "--innodb-buffer-pool-size=128M",
        "--innodb-flush-log-at-trx-commit=1",
    ], {}


def _postgresql(daemons: Daemons) -> tuple[list[str], dict[str, str]]:
    home = daemons.home / POSTGRESQL
    settings = ("max_connections=1000", "shared_buffers=128MB")
    return [
        program("postgres") or "postgres",
        *("-D", f"{home}/data", "-k", str(home), "-h", "127.0.0.1"),
        *("-p", str(daemons.port(POSTGRESQL))),
        *(word for one in settings for word in ("-c", one)),
    ], {}


def _rabbitmq(daemons: Daemons) -> tuple[list[str], dict[str, str]]:
    home = daemons.home / "rabbitmq"
    # Debian's command in /usr/sbin changes the user; the one behind it does not.
    behind = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    words = [str(behind) if behind.exists() else program("rabbitmq-server") or "rabbitmq-server"]
    return words, {
        "RABBITMQ_NODENAME": f"gureum{daemons.port_offset}@localhost",
        "RABBITMQ_DIST_PORT": str(daemons.port("rabbitmq-dist")),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"
        " -start_epmd true +S 2:2 +sbwt none",
        "ERL_EPMD_PORT": str(daemons.port("epmd")),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _memcached(daemons: Daemons) -> tuple[list[str], dict[str, str]]:
    port = str(daemons.port("memcached"))
    return [
        program("memcached") or "memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64",
        "-c", "2048",
    ], {}  # fmt: skip


def stop_leftovers(daemons: Daemons, runner: Runner) -> None:
    """End the port mapper that the broker's runtime leaves behind."""
    epmd = program("epmd")
    if epmd is not None:
        env = {"ERL_EPMD_PORT": str(daemons.port("epmd")), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        runner.run([epmd, "-kill"], timeout_s=10, env=env, check=False)


def make_postgresql_databases(daemons: Daemons, databases: list[str]) -> int:
    """Make what is missing on a running server; returns how many. Raises: StepFailed."""
    import sqlalchemy as sa

    url = sa.make_url(daemons.database_url).set(database="postgres")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    made = 0
    try:
        with engine.connect() as connection:
            there = set(connection.scalars(sa.text("SELECT datname FROM pg_database")))
            for name in databases:
                if f"gureum_{name}" not in there:
                    statement = f"CREATE DATABASE gureum_{name} ENCODING 'UTF8' TEMPLATE template0"
                    connection.exec_driver_sql(statement)
                    made += 1
    except sa.exc.DBAPIError as error:
        log = daemons.place.log_dir / f"{POSTGRESQL}.log"
        raise StepFailed(f"PostgreSQL does not answer: {error.orig}", f"Read {log}") from error
    finally:
        engine.dispose()
    return made
