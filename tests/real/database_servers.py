"""Private MariaDB and PostgreSQL servers for tests: own folder, Unix socket only, gone afterwards."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

MARIADB = shutil.which("mariadbd")
POSTGRES_BIN = next(
    (str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None
)
START_S = 60


def available():
    """Return the kinds of servers that can be started here."""
    return [kind for kind, found in (("mysql", MARIADB), ("postgresql", POSTGRES_BIN)) if found]


@contextlib.contextmanager
def server(kind):
    """Run a server; gives a function from the name of a database to its URL (it is made empty)."""
    with tempfile.TemporaryDirectory(prefix=f"gureum-{kind}-", dir="/tmp") as folder:
        directory = Path(folder)
        directory.chmod(0o755)
        with (_mariadb if kind == "mysql" else _postgres)(directory) as make:
            yield make


def _run(args):
    done = subprocess.run(args, capture_output=True, text=True, timeout=START_S, check=False)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


def _wait(process, ready, log):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        if ready():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    raise AssertionError("the database server did not start in time")


def _stop(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _mariadb(directory):
    data, socket, log = directory / "data", directory / "sock", directory / "log"
    user = ["--user=root"] if os.getuid() == 0 else []
    _run(["mariadb-install-db", "--no-defaults", f"--datadir={data}",
          "--auth-root-authentication-method=normal", "--skip-test-db", *user])
    args = [MARIADB, "--no-defaults", f"--datadir={data}", f"--socket={socket}", *user,
            "--skip-networking", f"--pid-file={directory / 'pid'}",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"]
    with log.open("wb") as out:
        process = subprocess.Popen(args, stdout=out, stderr=out, start_new_session=True)
    ask = ["mariadb", "--no-defaults", f"--socket={socket}", "-uroot", "-e"]

    def make(name):
        _run([*ask, f"DROP DATABASE IF EXISTS {name};"
              f" CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"])
        return f"mysql+pymysql://root@localhost/{name}?unix_socket={socket}&charset=utf8mb4"

    try:
        _wait(process, lambda: socket.exists() and subprocess.run(
            [*ask, "SELECT 1"], capture_output=True, check=False).returncode == 0, log)
        yield make
    finally:
        _stop(process)


@contextlib.contextmanager
def _postgres(directory):
    data, log = directory / "data", directory / "log"
    as_user = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(directory, "postgres")
    _run([*as_user, f"{POSTGRES_BIN}/initdb", "-D", str(data), "-U", "postgres", "-A", "trust",
          "-E", "UTF8", "--no-sync"])
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*as_user, f"{POSTGRES_BIN}/postgres", "-D", str(data), "-k", str(directory),
             "-h", "", "-c", "fsync=off", "-c", "max_connections=200"],
            stdout=out, stderr=out, start_new_session=True,
        )
    ask = [f"{POSTGRES_BIN}/psql", "-h", str(directory), "-U", "postgres", "-q", "-c"]

    def make(name):
        _run([*ask, f"DROP DATABASE IF EXISTS {name}"])
        _run([*ask, f"CREATE DATABASE {name}"])
        return f"postgresql+psycopg://postgres@/{name}?host={directory}"

    try:
        _wait(process, lambda: subprocess.run(
            [*ask, "SELECT 1"], capture_output=True, check=False).returncode == 0, log)
        yield make
    finally:
        _stop(process)
