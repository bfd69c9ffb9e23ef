"""Private MariaDB and PostgreSQL servers for tests.

Owns: starting a server on loopback with directories and a port of its own, stopping and killing it.
Must not: touch a server of this machine. The daemons run as an unprivileged user; nothing is synced to
disk beyond what a restart of the daemon needs, since no test cuts the power.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa
from loopback import free_port
from sqlalchemy import exc

START_S = 90.0
_COMMIT = re.compile(rb"COMMIT(?!TED)")
_USERS = {"mariadb": ("mysql", "nobody"), "postgresql": ("postgres", "nobody")}


def program(*names: str) -> str | None:
    """Find a program of the Debian packages, whose folders are not all in PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, newest)])
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return found
    return None


def missing(kind: str) -> str:
    """Say why a kind of server cannot run here; "" when it can."""
    wanted = {
        "mariadb": ("mariadb-server", ("mariadbd", "mariadb-install-db")),
        "postgresql": ("postgresql", ("postgres", "initdb")),
    }
    package, programs = wanted[kind]
    lacking = [name for name in programs if program(name) is None]
    return f"Debian's {package} is missing ({', '.join(lacking)})" if lacking else ""


def available() -> list[str]:
    """The kinds of servers that can run here."""
    return [kind for kind in _USERS if not missing(kind)]


class NoRoom(Exception):
    """A file system of one's own cannot be mounted here; the text says why."""


class Room:
    """A small file system that only the processes in its mount namespace see."""

    def __init__(self, at: Path, mib: int) -> None:
        self._at = at
        at.mkdir()
        mount = f"mount -t tmpfs -o mode=755,size={mib}m gureum-test '{at}' && echo mounted && exec cat"
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._keeper.stdout is not None and self._keeper.stderr is not None
        if self._keeper.stdout.readline().strip() != "mounted":
            why = self._keeper.stderr.read().strip()
            self.close()
            raise NoRoom(f"no file system of one's own can be mounted here: {why}")

    @property
    def words(self) -> list[str]:
        """What stands before a command that runs in it; root's."""
        return ["nsenter", "--target", str(self._keeper.pid), "--mount", "--"]

    @property
    def inside(self) -> Path:
        """The folder, seen from outside."""
        return Path(f"/proc/{self._keeper.pid}/root{self._at}")

    def fill(self) -> None:
        """Leave no byte."""
        with (self.inside / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass

    def clear(self) -> None:
        """Give back what was filled."""
        (self.inside / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Forget it, when nobody is in it any more."""
        for end in (self._keeper.stdin, self._keeper.stdout, self._keeper.stderr):
            if end is not None:
                end.close()
        self._keeper.wait(30)


class Server:
    """One private server. kind: mariadb or postgresql. room_mib: the size of a file system of its own
    for its data; as large as the machine's when 0."""

    def __init__(self, kind: str, directory: Path | None = None, *, room_mib: int = 0) -> None:
        self.kind = kind
        self.room: Room | None = None
        memory = Path("/dev/shm")
        parent = str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
        self._home = directory or Path(tempfile.mkdtemp(prefix=f"gureum-{kind}-", dir=parent))
        self._data = self._home / "data"
        self.port = free_port()
        self._account = self._find_account()
        self._process: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self._home, self._account.pw_uid, self._account.pw_gid)
        if room_mib:
            self._move_in(room_mib)

    def _move_in(self, room_mib: int) -> None:
        """Raises: NoRoom."""
        try:
            if self._account is None:
                raise NoRoom("only root can mount a file system")
            self.room = Room(self._home / "room", room_mib)
        except (NoRoom, OSError) as error:
            shutil.rmtree(self._home, ignore_errors=True)
            raise NoRoom(str(error)) from error
        self._data = self._home / "room" / "data"
        seen = self.room.inside / "data"
        seen.mkdir(mode=0o700)
        os.chown(seen, self._account.pw_uid, self._account.pw_gid)

    def _find_account(self) -> pwd.struct_passwd | None:
        if os.geteuid() != 0:
            return None
        for name in _USERS[self.kind]:
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise RuntimeError("no unprivileged user to run a database server as")

    def _popen(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        account = self._account
        if self.room is not None and account is not None:  # who enters it is root until then
            ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            words = [*self.room.words, "setpriv", *ids, "--", *words]
            account = None
        with log.open("ab") as output:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._home,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._home), "LC_ALL": "C"},
                start_new_session=True,
            )

    def create(self) -> "Server":
        """Make the data directory."""
        words = (
            [
                program("mariadb-install-db") or "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
            if self.kind == "mariadb"
            else [
                program("initdb") or "initdb", "-D", str(self._data), "-U", "gureum", "-E", "UTF8",
                "--locale=C.UTF-8", "--auth=trust", "--no-sync",
            ]
        )  # fmt: skip
        code = self._popen(words, self._home / "create.log").wait(START_S)
        if code != 0:
            raise RuntimeError((self._home / "create.log").read_text(errors="replace"))
        return self

    def _words(self) -> list[str]:
        if self.kind == "mariadb":
            return [
                program("mariadbd") or "mariadbd",
                "--no-defaults",
                f"--datadir={self._data}",
                f"--socket={self._home}/mariadb.sock",
                f"--pid-file={self._home}/mariadb.pid",
                f"--tmpdir={self._home}",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                "--innodb-buffer-pool-size=64M",
                "--innodb-log-file-size=32M",
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-flush-method=nosync",
                "--sync-frm=0",
                "--max-connections=400",
                "--performance-schema=OFF",
                "--skip-log-bin",
                "--character-set-server=latin1",  # schemas must say utf8mb4 themselves
            ]
        return [
            program("postgres") or "postgres",
            "-D",
            str(self._data),
            "-k",
            str(self._home),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            *("-c", "fsync=off"),
            *("-c", "max_connections=400"),
            *("-c", "shared_buffers=64MB"),
        ]

    def start(self) -> "Server":
        """Start the daemon and wait until it answers."""
        log = self._home / "server.log"
        self._process = self._popen(self._words(), log)
        engine = sa.create_engine(self.admin_url)
        deadline = time.monotonic() + START_S
        try:
            while True:
                try:
                    with engine.connect():
                        return self
                except exc.DBAPIError:
                    gone = self._process.poll() is not None
                    if gone or time.monotonic() > deadline:
                        raise RuntimeError(log.read_text(errors="replace")[-4000:]) from None
                    threading.Event().wait(0.1)
        finally:
            engine.dispose()

    def stop(self, how: signal.Signals | None = None) -> None:
        """End the daemon: orderly (connections are cut), or with SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        orderly = signal.SIGTERM if self.kind == "mariadb" else signal.SIGINT
        if how == signal.SIGKILL:  # PostgreSQL's children die with their session
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(how or orderly)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def remove(self) -> None:
        """Stop and forget everything."""
        self.stop()
        if self.room is not None:
            self.room.close()
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def admin_url(self) -> str:
        """The URL of the administrator's own database."""
        return self.url("mysql" if self.kind == "mariadb" else "postgres")

    def url(self, name: str) -> str:
        """The URL of a database. name may be a template such as {service}_{unique}."""
        if self.kind == "mariadb":
            return f"mysql+pymysql://root@127.0.0.1:{self.port}/{name}?charset=utf8mb4"
        return f"postgresql+psycopg://gureum@127.0.0.1:{self.port}/{name}"

    def plain_url(self, name: str) -> str:
        """The URL of a database for an account that may do everything in it, and is no administrator."""
        if self.kind == "postgresql":
            self.admin(
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'plain') THEN"
                " CREATE ROLE plain LOGIN CREATEDB; END IF; END $$"
            )
            return self.url(name).replace("gureum@", "plain@")
        for host in ("127.0.0.1", "localhost"):
            self.admin(
                f"CREATE USER IF NOT EXISTS 'plain'@'{host}'",
                f"GRANT ALL PRIVILEGES ON `%%`.* TO 'plain'@'{host}'",
            )
        return self.url(name).replace("root@", "plain@")

    @property
    def alive(self) -> bool:
        """Whether the daemon runs."""
        return self._process is not None and self._process.poll() is None

    def admin(self, *statements: str) -> list[sa.Row[tuple[object, ...]]]:
        """Run statements outside transactions; returns the rows of the last one."""
        engine = sa.create_engine(self.admin_url, isolation_level="AUTOCOMMIT")
        rows: list[sa.Row[tuple[object, ...]]] = []
        try:
            with engine.connect() as connection:
                for statement in statements:
                    result = connection.exec_driver_sql(statement)
                    rows = list(result.all()) if result.returns_rows else []
        finally:
            engine.dispose()
        return rows

    def empty(self, name: str) -> str:
        """Make a database anew and return its URL."""
        quoted = f"`{name}`" if self.kind == "mariadb" else f'"{name}"'
        self.admin(f"DROP DATABASE IF EXISTS {quoted}", f"CREATE DATABASE {quoted}")
        return self.url(name)

    def cut_connections(self, name: str) -> int:
        """Kill every connection to a database, as a failing network would; returns how many."""
        if self.kind == "postgresql":
            return len(
                self.admin(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    f" WHERE datname = '{name}'"
                )
            )
        found = self.admin(f"SELECT id FROM information_schema.processlist WHERE db = '{name}'")
        if found:
            self.admin(*(f"KILL CONNECTION {row[0]}" for row in found))
        return len(found)


@contextlib.contextmanager
def running(kind: str, *, room_mib: int = 0) -> Iterator[Server]:
    """A fresh server that is gone afterwards. Raises: NoRoom."""
    server = Server(kind, room_mib=room_mib)
    try:
        yield server.create().start()
    finally:
        server.remove()


class Cut:
    """A wire to a server that breaks when a commit is on its way: the server hears it, nobody its answer."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._armed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def break_at_commit(self) -> None:
        """Break once, at the next commit."""
        self._armed.set()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            deaf = threading.Event()
            for source, sink, outward in ((client, server, True), (server, client, False)):
                words = (source, sink, outward, deaf)
                threading.Thread(target=self._pass, args=words, daemon=True).start()

    def _pass(
        self, source: socket.socket, sink: socket.socket, outward: bool, deaf: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if outward and self._armed.is_set() and _COMMIT.search(data):
                    self._armed.clear()
                    deaf.set()
                if not outward and deaf.is_set():
                    break  # the answer has come, and is not passed on
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
