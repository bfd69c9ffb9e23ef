"""Measure this project's distributed form: a process for each component, MariaDB or PostgreSQL, RabbitMQ.

    python bench/servers.py --json servers.json                       # MariaDB, two processes of each API
    python bench/servers.py --database postgresql --only network,compute

Starts `./gureum up --simulated --distributed` in a folder of its own on free ports, with Debian's servers as
its children, runs `run.py` against it with the processor time of every process, and removes it again. Fake
drivers and no root: what is measured is the control plane.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RUN = ("--only", "--repeat", "--seconds", "--json")
"""Options that run.py is given as they are."""


def gureum(folder: Path, *words: str, python: str) -> str:
    """Run a command of the launcher on the cloud in `folder`. Raises: CalledProcessError."""
    launcher = [python, "-m", "gureum"] if python else [str(ROOT / "gureum")]
    command, *rest = words
    return subprocess.run(
        [*launcher, command, *rest, "--state-dir", str(folder / "cloud")],
        check=True, text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder / "config")},
    ).stdout  # fmt: skip


def pss_mib(pid: int) -> float:
    """Return the memory of a process, shared pages counted in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def settings(openrc: str) -> dict[str, str]:
    """Return what an openrc exports."""
    exports = (line.removeprefix("export ") for line in openrc.splitlines() if "=" in line)
    pairs = (line.partition("=") for line in exports)
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def measure(folder: Path, args: argparse.Namespace, more: list[str]) -> int:
    """Start, measure; returns run.py's exit code."""
    gureum(
        folder, "up", "--simulated", "--distributed", "--processes", str(args.processes),
        "--database", args.database, "--port-offset", "auto", python=args.python,
    )  # fmt: skip
    shown = json.loads(gureum(folder, "status", "--json", python=args.python))
    pids = {one["name"]: one["pid"] for one in shown["processes"] if one["pid"]}
    memory = {name: pss_mib(pid) for name, pid in pids.items()}
    print(f"== {len(pids)} processes, {sum(memory.values()):.0f} MiB (PSS)", flush=True)
    login = settings(gureum(folder, "openrc", python=args.python))
    words = [word for pid in pids.values() for word in ("--pid", str(pid))]
    return subprocess.run(
        [sys.executable, str(HERE / "run.py"), "--auth-url", login["OS_AUTH_URL"],
         "--password", login["OS_PASSWORD"], *words, *more],
        check=False,
    ).returncode  # fmt: skip


def main() -> int:
    """Read the arguments; whatever happens, the cloud is removed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("mariadb", "postgresql"), default="mariadb")
    parser.add_argument("--processes", type=int, default=2, help="of each API and conductor (2)")
    parser.add_argument(
        "--python", default="", help="an interpreter with this project, instead of ./gureum"
    )
    for name in RUN:
        parser.add_argument(name, help="see run.py")
    args = parser.parse_args()
    given = ((name, getattr(args, name[2:])) for name in RUN)
    more = [word for name, value in given if value is not None for word in (name, value)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing stays then either
    with tempfile.TemporaryDirectory(prefix="gureum-b-") as made:
        folder = Path(made)
        folder.chmod(0o711)  # as root, the servers run as users of their own and pass through
        try:
            return measure(folder, args, more)
        finally:
            gureum(folder, "down", "--purge", "--yes", python=args.python)


if __name__ == "__main__":
    sys.exit(main())
