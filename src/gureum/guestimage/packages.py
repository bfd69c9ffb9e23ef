"""Which Debian packages the guest is made of, and fetching them without installing them.

Owns: the list of packages, the search for the libraries they need, the download, the unpacking into
one tree. Must not: install, or write outside the folders it is given.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from gureum.core.log import get
from gureum.core.runner import CommandError, Runner

log = get(__name__)

# The general kernel, not the cloud one: rescue disks on USB and IDE, and emulated network cards,
# need drivers that the cloud kernel leaves out. The second name is Ubuntu's.
KERNELS = ("linux-image-amd64", "linux-image-generic")
PROGRAMS = (
    "busybox",  # not busybox-static: its shell prefers its own applets to real programs
    "curl",
    "dosfstools",
    "dropbear-bin",
    "e2fsprogs",
    "iputils-ping",
    "jq",
    "libpam-modules",
    "mount",
    "openssh-client",
    "qemu-guest-agent",
    "socat",
    "sudo",
    "util-linux",
)
TOOLS = ("grub-common", "grub-pc-bin", "kmod")

_FOLLOWED = re.compile(r"(lib(?!perl).*|zlib1g|linux-image-.*|linux-modules-.*|util-linux-extra)$")
_DEPENDS = re.compile(r" (?P<more>[ |])(?:Pre)?Depends: (?P<name>[a-z0-9][a-z0-9+.:-]*)$")
_APT_TIMEOUT_S = 60
_DOWNLOAD_TIMEOUT_S = 900


class PackagesUnavailable(Exception):
    """apt does not know a package that the guest needs."""


def resolve(runner: Runner) -> tuple[str, ...]:
    """Return the packages to download: ours and the libraries they name, in a stable order.

    Raises: PackagesUnavailable.
    """
    kernel = next((name for name in KERNELS if _depends(runner, [name])), None)
    if kernel is None:
        raise PackagesUnavailable("no kernel package is known to apt; run: apt-get update")
    names = set(PROGRAMS) | set(TOOLS)
    frontier = {kernel, *names}
    seen: set[str] = set()
    while frontier:
        seen |= frontier
        found = {name for name in _depends(runner, sorted(frontier)) if _FOLLOWED.match(name)}
        frontier = found - seen
    return tuple(sorted(seen - {kernel}))


def fetch(runner: Runner, names: Iterable[str], folder: Path) -> tuple[Path, ...]:
    """Download the newest version of each package into `folder` unless it is there; return them.

    Raises: PackagesUnavailable, CommandError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(names)
    try:
        answer = runner.run(
            ["apt-get", "download", "--print-uris", *names], timeout_s=_APT_TIMEOUT_S
        )
    except CommandError as error:
        raise PackagesUnavailable(f"{error.text}; run: apt-get update") from error
    wanted = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("'")]
    if len(wanted) != len(names):
        # A package that is in no source any more (only installed here) prints no address.
        raise PackagesUnavailable(f"apt finds {len(wanted)} of {len(names)} packages")
    missing = [file.split("_")[0] for file in wanted if not (folder / file).exists()]
    if missing:
        log.info("downloading packages for the guest image", packages=len(missing))
        runner.run(
            ["apt-get", "download", "-q", *missing],
            timeout_s=_DOWNLOAD_TIMEOUT_S,
            cwd=str(folder),
        )
    return tuple(folder / file for file in sorted(wanted))


def unpack(runner: Runner, files: Iterable[Path], tree: Path) -> None:
    """Unpack the packages into `tree`, which stands for their root folder."""
    tree.mkdir(parents=True)
    for file in files:
        runner.run(["dpkg-deb", "-x", str(file), str(tree)], timeout_s=_APT_TIMEOUT_S)


def locate(tree: Path, name: str) -> Path:
    """Return where `name` is in an unpacked tree, whether or not the package says `/usr`.

    Raises: FileNotFoundError.
    """
    bare = name.removeprefix("/").removeprefix("usr/")
    for path in (tree / "usr" / bare, tree / bare):
        if path.exists() or path.is_symlink():
            return path
    raise FileNotFoundError(f"no downloaded package holds {name}")


def _depends(runner: Runner, names: list[str]) -> set[str]:
    """Return what the packages depend on, first alternatives and installable ones only."""
    flags = [
        f"--no-{kind}"
        for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    ]
    done = runner.run(
        ["apt-cache", "depends", *flags, *names], timeout_s=_APT_TIMEOUT_S, check=False
    )
    found: set[str] = set()
    alternative = False
    for line in done.stdout.splitlines():
        match = _DEPENDS.match(line)
        if match is None:
            continue
        if not alternative:
            found.add(match["name"])
        alternative = match["more"] == "|"
    return found
