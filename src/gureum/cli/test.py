"""`gureum test`: linter, types, fast tests, on a root machine the main job, and a turn of the long ones."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gureum.cli.place import Unusable
from gureum.core.runner import Runner
from gureum.pages import pages
from gureum.provision import host, packages
from gureum.provision.ledger import Ledger
from gureum.provision.steps import Progress, StepFailed

MAIN_JOB = "tests/real/test_main_job.py"
"""What runs with every test on a root machine; the other long tests take `--all`, `--real` or a turn."""

SAMPLE_S = 480.0
"""How many seconds of the other long tests a check (CI=true) runs; each commit begins elsewhere."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much is tested."""
    parser.add_argument("--all", action="store_true", help="also every slow and every real test")
    parser.add_argument(
        "--real", action="store_true", help="only the tests on this machine, every one"
    )
    parser.add_argument(
        "--sample",
        type=float,
        metavar="SECONDS",
        help=f"also long tests for so long, others with each commit; {SAMPLE_S:.0f} where CI is set",
    )
    parser.add_argument(
        "--shard", metavar="K/N", help="one of N parts of the long tests, with --all"
    )
    parser.add_argument("--fast", action="store_true", help="without the main job on this machine")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")


def run(args: argparse.Namespace) -> int:
    """Run each part and go on after a failure; exit code 1 when any failed."""
    try:
        top = pages.clone()
    except pages.NoClone as error:
        raise Unusable(str(error)) from error
    if not (top / "tests").is_dir():
        raise Unusable("the tests are not here: use a clone of the project")
    words = list(args.pytest)
    reason = why_not_real()
    wants_real = not args.fast and (args.real or not words)
    if args.real and reason:
        raise Unusable(f"tests/real cannot run: {reason}")
    if wants_real and not reason:
        _install_packages()
    results: list[tuple[str, int, float]] = []
    if args.shard:
        words += ["--shard", args.shard]
    if not args.real:
        if not args.pytest:
            results.append(_part("ruff", [_tool("ruff"), "check", "."], top))
            results.append(_part("mypy", [_tool("mypy"), *_typed(top)], top))
        marks = "not real" if args.all else "not real and not slow"
        fast = [sys.executable, "-m", "pytest", "-m", marks, *words]
        results.append(_part("tests", fast, top))
    if wants_real and reason:
        print(f"\ntests/real skipped: {reason}")
    elif wants_real:
        real = [sys.executable, "-m", "pytest", "-m", "real", "--timeout=1500"]
        if not any(word.startswith("tests/") for word in words):
            real.append("tests/real" if args.all or args.real else MAIN_JOB)
        results.append(_part("real", [*real, *words], top))
    budget = args.sample if args.sample is not None else SAMPLE_S if os.environ.get("CI") else 0.0
    if budget and not (args.all or args.real or args.fast or words):
        results.append(_part("turn", _turn(budget, reason, top), top))
    print()
    for name, code, seconds in results:
        print(f"{name:8} {'ok' if code == 0 else 'FAILED':8} {seconds:6.1f} s")
    return 0 if all(code == 0 for _, code, _ in results) else 1


def _turn(budget_s: float, why_not_real: str, top: Path) -> list[str]:
    """Return the run of the long tests that are due at this commit."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=top, capture_output=True, text=True, check=False
    ).stdout
    number = int(found[:8], 16) if found else 0
    marks = "slow and not real" if why_not_real else "slow or real"
    return [
        *(sys.executable, "-m", "pytest", "-m", marks, "--timeout=1500"),
        *("--sample", str(budget_s), "--turn", str(number), f"--ignore={MAIN_JOB}"),
    ]


def _install_packages() -> None:
    """Install what tests with real servers and browsers need; a test that misses one skips and says so."""
    progress = Progress("packages of the tests", sys.stdout)
    try:
        added = packages.install_for_tests(Runner(), progress)
        host.link_libvirt_binding(Runner(), progress)
        if os.environ.get("CI"):  # a machine that is there for tests: agents find their daemons
            with tempfile.TemporaryDirectory() as folder:
                ledger = Ledger(Path(folder) / "ledger.json")
                host.start_libvirt(Runner(), ledger, progress)
                host.start_openvswitch(Runner(), ledger, progress)
        progress.end(f"{len(added)} installed" if added else "all there")
    except StepFailed as error:
        progress.end(str(error), ok=False)


def why_not_real() -> str:
    """Why the main job cannot run on this machine; empty when it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return "it needs Debian or Ubuntu"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is missing, so there can be no guest network"
    if os.environ.get("GUREUM_SKIP_REAL"):
        return "GUREUM_SKIP_REAL is set"
    return ""


TYPED = ("core", "cli", "provision", "pages", "components.py", "__main__.py")
"""What mypy checks: the core, strictly, and what stands around the services."""


def _typed(top: Path) -> list[str]:
    return ["--follow-imports=silent", *(str(top / "src" / "gureum" / name) for name in TYPED)]


def _tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def _part(name: str, words: list[str], top: Path) -> tuple[str, int, float]:
    """Run one program with its output passing through."""
    print(
        f"\n--- {name}: {' '.join(words[1:] if words[0] != sys.executable else words[2:])}",
        flush=True,
    )
    begun = time.monotonic()
    env = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    env.pop("GUREUM_STATE_DIR", None)
    try:
        code = subprocess.run(
            words, cwd=top, env=env, stdin=subprocess.DEVNULL, check=False
        ).returncode
    except FileNotFoundError:
        print(f"{words[0]} is not installed; run the tests through the launcher: ./gureum test")
        code = 127
    return name, code, time.monotonic() - begun
