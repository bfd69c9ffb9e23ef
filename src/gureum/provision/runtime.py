"""A copy of the program that the control user can read.

A clone in somebody's home folder is often closed to other users, and the control process runs as one.
Owns: finding that out, and keeping a copy under the state folder up to date. Must not: change the clone.
"""

import hashlib
import os
import pwd
import shutil
import sys
import sysconfig
from pathlib import Path

from gureum.cli.place import Place
from gureum.core.runner import CommandError, Runner
from gureum.provision.ledger import Ledger
from gureum.provision.steps import Progress, StepFailed


def readable_by(user: str, *paths: Path) -> bool:
    """Whether a user may pass through to, and read, every path."""
    entry = pwd.getpwnam(user)
    return all(_readable(entry, part) for path in paths for part in _chain(path.resolve()))


def _chain(path: Path) -> list[Path]:
    return [*reversed(path.parents), path]


def _readable(entry: pwd.struct_passwd, path: Path) -> bool:
    about = path.stat()
    needed = 0o5 if path.is_dir() else 0o4
    if about.st_uid == entry.pw_uid:
        granted = about.st_mode >> 6
    elif about.st_gid == entry.pw_gid:
        granted = about.st_mode >> 3
    else:
        granted = about.st_mode
    if path.is_dir():
        needed = 0o1 if not granted & 0o4 else 0o5
    return granted & needed == needed


def prepare(
    runner: Runner, ledger: Ledger, place: Place, user: str, source: Path, progress: Progress
) -> tuple[Path, Path, str]:
    """The interpreter and the source folder that `user` can use, and what was done.

    Raises: StepFailed.
    """
    python = Path(sys.executable)
    site = Path(sysconfig.get_path("purelib"))
    if readable_by(user, Path(sys.prefix), site, source / "gureum"):
        return python, source, f"the program in {source} is readable for {user}"
    root = place.state_dir / "runtime"
    target = root / "site"
    copied = "copied-" + stamp(source, site)
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if not readable_by(user, base):
        raise StepFailed(
            f"{base} cannot be run by the user {user}",
            "Use the system's Python: rm -rf .venv, then: GUREUM_PYTHON=/usr/bin/python3 ./gureum up",
        )
    if not (root / copied).exists():
        progress.at(f"copying the program to {root}")
        ledger.note("folders", str(root))
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(mode=0o755)
        os.chmod(root, 0o755)
        try:
            _copy_packages(runner, site, target)
            runner.run(["cp", "-aL", str(source / "gureum"), str(target)], timeout_s=60)
            runner.run(["chmod", "-R", "u=rwX,go=rX", str(target / "gureum")], timeout_s=120)
        except CommandError as error:
            raise StepFailed(f"the program could not be copied: {error}") from error
        for left in target.glob("*.pth"):
            left.unlink()
        (root / copied).write_text("")
    return base, target, f"a copy in {root} that {user} can read"


def _copy_packages(runner: Runner, site: Path, target: Path) -> None:
    """The installed packages; as hard links where that works, which takes no time and no room."""
    open_to_all = all(p.stat().st_mode & 0o004 for p in site.glob("*/__init__.py"))
    same_disk = site.stat().st_dev == target.parent.stat().st_dev
    if open_to_all and same_disk:
        runner.run(["cp", "-al", str(site), str(target)], timeout_s=300)
        runner.run(
            ["find", str(target), "-type", "d", "-exec", "chmod", "755", "{}", "+"], timeout_s=120
        )
        return
    runner.run(["cp", "-aL", str(site), str(target)], timeout_s=300)
    runner.run(["chmod", "-R", "u=rwX,go=rX", str(target)], timeout_s=120)


def stamp(source: Path, site: Path, *more: Path) -> str:
    """Changes when a file of the program, the set of installed packages or a further file does."""
    seen = hashlib.sha256(",".join(sorted(p.name for p in site.iterdir())).encode())
    for path in sorted((source / "gureum").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            about = path.stat()
            seen.update(f"{path} {about.st_size} {about.st_mtime_ns}".encode())
    for path in more:
        seen.update(path.read_bytes())
    return seen.hexdigest()[:16]
