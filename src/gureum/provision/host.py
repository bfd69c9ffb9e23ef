"""The machine under the cloud: its user, folders, libvirt and Open vSwitch daemons.

Owns: making them be there, with or without systemd, and telling what is there. Must not: touch a guest, a
switch port, or a daemon that runs already.
"""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from gureum.cli.place import Place
from gureum.core.runner import CommandError, Runner
from gureum.provision.ledger import Ledger
from gureum.provision.steps import Progress, StepFailed

USER = "gureum"
LIBVIRT_URI = "qemu:///system"


def has_systemd() -> bool:
    """Whether systemd is the first process."""
    return Path("/run/systemd/system").is_dir()


def make_user(runner: Runner, ledger: Ledger, place: Place) -> str:
    """The user of the control process. Raises: StepFailed."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam(USER)
        return f"{USER} exists"
    ledger.note("users", USER)
    try:
        runner.run(
            ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir",
             str(place.state_dir), "--shell", "/usr/sbin/nologin", USER],
            timeout_s=60,
        )  # fmt: skip
    except CommandError as error:
        raise StepFailed(f"the user {USER} could not be made: {error}") from error
    return f"{USER} made"


def make_folders(ledger: Ledger, place: Place, owner: str | None) -> str:
    """The folders of the cloud with their modes; `owner` None means the caller, for all of them."""
    state = place.state_dir
    own = 0o750 if owner else 0o700
    wanted: list[tuple[Path, int, str | None]] = [
        (state, 0o711, owner),  # QEMU's user passes through to the disks
        (state / "db", 0o700, owner),
        (state / "images", own, owner),
        (state / "tmp", 0o700, owner),
        (state / "instances", 0o711, None),
        (state / "agents", 0o700, None),
        (place.config_dir, own, owner),
        (place.run_dir, 0o711 if owner else 0o700, owner),  # agents' proxies pass through
        (place.log_dir, own, owner),
    ]
    made = 0
    for path, mode, user in wanted:
        if not path.exists():
            ledger.note("folders", str(path))
            path.mkdir(parents=True)
            made += 1
        os.chmod(path, mode)
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
    return f"{made} made under {place.state_dir}" if made else "all there"


def link_libvirt_binding(runner: Runner, progress: Progress) -> str:
    """Let this environment use Debian's libvirt binding, or build the one from PyPI.

    Debian's is made for the installed libvirt and needs no compiler; it fits only the system's Python.
    Raises: StepFailed.
    """
    site = Path(sysconfig.get_path("purelib"))
    if _imports(runner, "libvirt"):
        what = "libvirt binding is there"
    else:
        debian = Path("/usr/lib/python3/dist-packages")
        for pattern in ("libvirt*.py", "libvirtmod*.so", "libvirt_python*"):
            for source in debian.glob(pattern):
                target = site / source.name
                if not target.exists():
                    target.symlink_to(source)
        if _imports(runner, "libvirt"):
            what = "Debian's libvirt binding linked"
        else:
            _pip(runner, progress, ["libvirt-python"])
            what = "libvirt binding built"
    if not _imports(runner, "pyroute2") or not _imports(runner, "ovs"):
        _pip(runner, progress, [line for line in node_requirements() if "libvirt" not in line])
        what += ", network packages installed"
    return what


def node_requirements() -> list[str]:
    """The `node` extra of this clone's pyproject.toml."""
    import tomllib

    import gureum

    package = Path(gureum.__file__).parent
    for folder in (package.parent, package.parent.parent):
        if (folder / "pyproject.toml").exists():
            project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
            return list(project["optional-dependencies"]["node"])
    return ["ovs", "pyroute2"]


def _imports(runner: Runner, module: str) -> bool:
    return (
        runner.run([sys.executable, "-c", f"import {module}"], timeout_s=60, check=False).code == 0
    )


def _pip(runner: Runner, progress: Progress, what: list[str]) -> None:
    progress.at("installing " + " ".join(what))
    try:
        runner.run(
            [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *what],
            timeout_s=1200,
        )
    except CommandError as error:
        raise StepFailed(
            f"pip could not install {' '.join(what)}",
            str(error)[-800:] + "\nA compiler may be missing: apt-get install gcc libvirt-dev"
            " python3-dev pkg-config",
        ) from error


def start_libvirt(runner: Runner, ledger: Ledger, progress: Progress) -> str:
    """libvirtd and virtlogd run, and QEMU's user may try KVM. Raises: StepFailed."""
    open_kvm(ledger)
    if libvirt_answers(runner):
        return "libvirt answers"
    progress.at("starting")
    try:
        if has_systemd():
            ledger.note("daemons", "systemd:libvirtd")
            runner.run(["systemctl", "enable", "--now", "libvirtd"], timeout_s=90)
        else:
            os.makedirs("/run/libvirt", exist_ok=True)
            for daemon in ("virtlogd", "libvirtd"):
                if not pids_of(daemon) and shutil.which(daemon):
                    ledger.note("daemons", daemon)
                    runner.run([daemon, "-d"], timeout_s=60)
    except CommandError as error:
        raise StepFailed(f"libvirtd does not start: {error}", "See: libvirtd --verbose") from error
    wait_until(
        lambda: libvirt_answers(runner), "libvirt does not answer", "See: libvirtd --verbose"
    )
    return "libvirtd started"


def open_kvm(ledger: Ledger, device: Path = Path("/dev/kvm")) -> None:
    """Give /dev/kvm to the group `kvm`, as udev does where it runs.

    When only root may open it, libvirt's look at QEMU's abilities waits a minute for every guest.
    """
    try:
        about = device.stat()
        group = grp.getgrnam("kvm").gr_gid
    except (FileNotFoundError, KeyError):
        return
    if about.st_gid == 0 and not about.st_mode & 0o006:
        ledger.note("files", f"mode:{device}:{about.st_gid}:{about.st_mode & 0o777:o}")
        os.chown(device, -1, group)
        os.chmod(device, 0o660)


def libvirt_answers(runner: Runner) -> bool:
    """Whether the system's libvirt answers."""
    if not shutil.which("virsh"):
        return False
    try:
        done = runner.run(["virsh", "-c", LIBVIRT_URI, "uri"], timeout_s=20, check=False)
    except CommandError:
        return False
    return done.code == 0


SWITCH_DAEMONS = ("ovsdb-server", "ovs-vswitchd")


def start_openvswitch(runner: Runner, ledger: Ledger, progress: Progress) -> str:
    """ovsdb-server and ovs-vswitchd run. Raises: StepFailed."""
    if switch_answers(runner):
        return f"Open vSwitch answers, {datapath_type(runner)} datapath"
    progress.at("starting")
    try:
        if has_systemd():
            ledger.note("daemons", "systemd:openvswitch-switch")
            runner.run(["systemctl", "enable", "--now", "openvswitch-switch"], timeout_s=90)
        else:
            ledger.note("daemons", "openvswitch")
            for name in SWITCH_DAEMONS:
                # ovs-ctl takes a dead process that nobody has reaped for a running one.
                if not pids_of(name):
                    Path(f"/var/run/openvswitch/{name}.pid").unlink(missing_ok=True)
            # Without the kernel module ovs-ctl complains, and the user-space datapath still works.
            runner.run(
                ["/usr/share/openvswitch/scripts/ovs-ctl", "--system-id=random", "--no-monitor",
                 "start"],
                timeout_s=90,
                check=False,
            )  # fmt: skip
    except CommandError as error:
        raise StepFailed(f"Open vSwitch does not start: {error}") from error
    log = "/var/log/openvswitch/ovs-vswitchd.log"
    wait_until(lambda: switch_answers(runner), "Open vSwitch does not answer", f"See: {log}")
    return f"Open vSwitch started, {datapath_type(runner)} datapath"


def switch_answers(runner: Runner) -> bool:
    """Whether ovsdb-server and ovs-vswitchd answer."""
    if not shutil.which("ovs-vsctl"):
        return False
    words = ["ovs-vsctl", "--timeout=5", "get", "Open_vSwitch", ".", "datapath_types"]
    try:
        done = runner.run(words, timeout_s=20, check=False)
        if done.code != 0 or "netdev" not in done.stdout:
            return False
        # The database answers for a switch that has died; this asks ovs-vswitchd itself.
        return (
            runner.run(["ovs-appctl", "--timeout=5", "version"], timeout_s=20, check=False).code
            == 0
        )
    except CommandError:
        return False


def datapath_type(runner: Runner) -> str:
    """`system` where the kernel has Open vSwitch, else `netdev` (in user space)."""
    if Path("/sys/module/openvswitch").exists():
        return "system"
    if shutil.which("modprobe"):
        done = runner.run(["modprobe", "openvswitch"], timeout_s=30, check=False)
        if done.code == 0 and Path("/sys/module/openvswitch").exists():
            return "system"
    return "netdev"


def stop_daemon(runner: Runner, name: str) -> None:
    """Stop a daemon that `gureum up` started, as the ledger names it."""
    if name.startswith("systemd:"):
        unit = name.removeprefix("systemd:")
        runner.run(["systemctl", "disable", "--now", unit], timeout_s=120, check=False)
    elif name == "openvswitch":
        script = "/usr/share/openvswitch/scripts/ovs-ctl"
        if Path(script).exists():
            runner.run([script, "stop"], timeout_s=90, check=False)
    else:
        for pid in pids_of(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(StepFailed):
            wait_until(lambda: not pids_of(name), f"{name} still runs", "")


def pids_of(program: str) -> list[int]:
    """Processes of this machine's own namespace whose program has this name."""
    found: list[int] = []
    own = os.readlink("/proc/self/ns/mnt")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "comm").read_text().strip()
            if name == program[:15] and os.readlink(entry / "ns" / "mnt") == own:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def wait_until(what: Callable[[], bool], failure: str, fix: str, *, seconds: float = 60.0) -> None:
    """Wait for something that another process brings about. Raises: StepFailed."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise StepFailed(f"{failure} after {seconds:.0f} s", fix)
        time.sleep(0.1)


def check_machine(runner: Runner) -> str:
    """Whether this machine can carry a cloud at all. Raises: StepFailed."""
    if not Path("/etc/debian_version").exists():
        raise StepFailed("this is neither Debian nor Ubuntu", "Gureum installs itself on these.")
    if os.uname().machine != "x86_64":
        raise StepFailed(
            f"this is {os.uname().machine}; only x86_64 is supported for real guests",
            "The simulated cloud works everywhere: ./gureum up --simulated",
        )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory_mib = pages >> 20
    disk = shutil.disk_usage("/var/lib")
    free_gib = disk.free / 2**30
    if memory_mib < 1500:
        raise StepFailed(f"this machine has {memory_mib} MiB of memory; 2 GiB are needed")
    if free_gib < 3:
        raise StepFailed(f"{free_gib:.1f} GiB are free in /var/lib; 3 GiB are needed")
    return f"{os.cpu_count()} CPUs, {memory_mib / 1024:.0f} GiB memory, {free_gib:.0f} GiB disk"
