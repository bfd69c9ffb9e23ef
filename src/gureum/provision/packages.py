"""The Debian packages of a node, and how they get onto it.

Owns: the list with the reason for each, `missing`, `install`. Must not: configure what it installs.
One apt-get call installs only what is missing, without recommended packages.
"""

from collections.abc import Sequence
from pathlib import Path

from gureum.core.runner import CommandError, Runner
from gureum.provision.ledger import Ledger
from gureum.provision.steps import Progress, StepFailed

PACKAGES: dict[str, str] = {
    "ca-certificates": "https to other services",
    "conntrack": "forget connections of a removed floating address",
    "cpio": "unpack the kernel image of the guest image",
    "curl": "the README's health checks",
    "dnsmasq-base": "addresses for guests",
    "e2fsprogs": "file system of the guest image (mke2fs -d needs no root)",
    "ethtool": "checksum settings of veth pairs",
    "genisoimage": "config drives",
    "haproxy": "metadata proxy in each namespace",
    "iproute2": "namespaces, veth pairs",
    "iptables": "translation of floating addresses",
    "iputils-arping": "announce a floating address",
    "iputils-ping": "the test of the main job",
    "libvirt-clients": "virsh, for the operator",
    "libvirt-daemon-system": "drives QEMU",
    "nftables": "rules of routers",
    "novnc": "screen of a guest in a browser",
    "openssh-client": "ssh into guests",
    "openvswitch-switch": "switch of the guests",
    "procps": "sysctl",
    "python3-libvirt": "the binding that matches the installed libvirt",
    "qemu-system-x86": "runs guests",
    "qemu-utils": "disks of guests",
    "radvd": "IPv6 router advertisements",
    "zstd": "unpack packages and kernels of the guest image",
}

TEST_PACKAGES: dict[str, str] = {
    "apache2-bin": "the web server in front of logins through a provider (no service, no settings)",
    "busybox": "the DHCP client of a test's guest",
    "chromium": "the screen of a guest, as a person sees it",
    "libapache2-mod-auth-mellon": "the web server's side of SAML",
    "libapache2-mod-auth-openidc": "the web server's side of OpenID Connect",
    "mariadb-server": "every service's tables and sagas on MariaDB",
    "memcached": "tokens known among processes; the distributed form",
    "postgresql": "every service's tables and sagas on PostgreSQL",
    "python3-pysaml2": "a SAML provider for logins through one",
    "rabbitmq-server": "the bus on RabbitMQ",
    "slapd": "users and groups of a directory",
    "swift-account": "images in Swift itself",
    "swift-container": "images in Swift itself",
    "swift-object": "images in Swift itself",
    "swift-proxy": "images in Swift itself",
    "tcpdump": "what really crosses a wire",
    "xmlsec1": "signatures of the SAML provider",
}
"""What only `gureum test` needs, on a machine where it may install."""

_ENV = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l", "UCF_FORCE_CONFFOLD": "1"}
_APT = (
    "apt-get", "-q", "-y", "--no-install-recommends",
    "-o", "DPkg::Lock::Timeout=300",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip


def installed(runner: Runner) -> set[str]:
    """Names of all installed Debian packages."""
    done = runner.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"], timeout_s=60)
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[-1] for row in rows if row and row[0].startswith("ii")}


def missing(runner: Runner, wanted: Sequence[str] = tuple(PACKAGES)) -> list[str]:
    """Which of the wanted packages are not installed."""
    return sorted(set(wanted) - installed(runner))


def install_for_tests(runner: Runner, progress: Progress) -> list[str]:
    """Install what tests need besides; returns what was missing. Raises: StepFailed."""
    wanted = missing(runner, (*PACKAGES, *TEST_PACKAGES))
    if wanted:
        _apt(runner, ["install", *wanted], progress)
    return wanted


def install(
    runner: Runner,
    ledger: Ledger,
    progress: Progress,
    needed: Sequence[str] = tuple(PACKAGES),
) -> str:
    """Install what is missing and write down everything that came with it. Raises: StepFailed."""
    before = installed(runner)
    wanted = sorted(set(needed) - before)
    if not wanted:
        return f"all {len(needed)} are there"
    if not Path("/usr/bin/apt-get").exists():
        raise StepFailed(
            "apt-get is not here; Gureum installs itself on Debian and Ubuntu",
            "On another system install these by hand: " + " ".join(wanted),
        )
    try:
        progress.at(f"downloading and installing {len(wanted)}")
        _apt(runner, ["install", *wanted], progress)
    finally:
        for name in sorted(installed(runner) - before):
            ledger.note("packages", name)
    return f"{len(wanted)} installed, {len(needed) - len(wanted)} were there"


def _apt(runner: Runner, words: Sequence[str], progress: Progress) -> None:
    """Run apt-get; when it fails, once more after an update of the lists."""
    try:
        runner.run([*_APT, *words], timeout_s=1800, env=_ENV)
        return
    except CommandError:
        progress.at("updating the package lists")
    try:
        runner.run(["apt-get", "-q", "update"], timeout_s=600, env=_ENV)
        progress.at("downloading and installing")
        runner.run([*_APT, *words], timeout_s=1800, env=_ENV)
    except CommandError as error:
        tail = "\n".join(str(error).splitlines()[-6:])
        raise StepFailed(
            f"apt-get could not install: {' '.join(words[1:])}",
            f"It said:\n{tail}\nTry: apt-get update && apt-get install {' '.join(words[1:])}",
        ) from error


def remove(runner: Runner, names: Sequence[str]) -> None:
    """Remove packages with their settings. Raises: CommandError."""
    there = sorted(set(names) & installed(runner))
    if there:
        words = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "purge", *there]
        runner.run(words, timeout_s=1200, env=_ENV)


def would_also_remove(runner: Runner, names: Sequence[str]) -> set[str]:
    """Packages that apt would take along although they are not among the names."""
    there = sorted(set(names) & installed(runner))
    if not there:
        return set()
    done = runner.run(["apt-get", "-s", "-q", "purge", *there], timeout_s=300, check=False)
    rows = (line.split() for line in done.stdout.splitlines())
    gone = {row[1].split(":")[0] for row in rows if len(row) > 1 and row[0] in ("Purg", "Remv")}
    return gone - {name.split(":")[0] for name in names}
